//! Accepting RESP connections, refusing too many, and closing idle ones.

use crate::connection::Connection;
use crate::serve::Server;
use crate::statistics::Counter;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Connections the system queues before they are accepted.
const BACKLOG: i32 = 511;
/// How often idle connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed accept: the process is out of descriptors, and asking again at once will not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on `port` of every configured address, and no longer anywhere else; port 0 listens nowhere. Listeners
/// that are wanted still go on undisturbed.
///
/// # Errors
/// The address that cannot be listened on; the listeners there were go on.
pub fn listen(server: &Arc<Server>, port: u16) -> Result<(), (SocketAddr, io::Error)> {
    let addresses = server.settings.bind_addresses().into_iter().filter(|_| port != 0);
    let wanted: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, port)).collect();
    let mut listeners = server.listeners.lock();
    let is_new = |address: &&SocketAddr| listeners.iter().all(|(other, _)| other != *address);
    let bound = |address: &SocketAddr| bind(*address).map(|it| (*address, it)).map_err(|error| (*address, error));
    let added = wanted.iter().filter(is_new).map(bound).collect::<Result<Vec<_>, _>>()?;
    for (_, old) in listeners.extract_if(.., |(address, _)| !wanted.contains(address)) {
        old.abort();
    }
    for (address, listener) in added {
        tracing::info!(%address, "listening for RESP");
        listeners.push((address, tokio::spawn(accept(Arc::clone(server), listener)).abort_handle()));
    }
    Ok(())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => welcome(&server, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(server: &Arc<Server>, mut stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = tune(server, &stream) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let local = stream.local_addr().unwrap_or(peer);
    let registered = server.clients.register(peer, local, &stream, server.settings.clients_max());
    let Some(client) = registered else {
        server.statistics.count(Counter::ConnectionsRejected, 1);
        tokio::spawn(async move { stream.write_all(b"-ERR max number of clients reached\r\n").await });
        return;
    };
    server.statistics.count(Counter::Connections, 1);
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let clients = Arc::clone(&server.clients);
        let id = client.id();
        Connection::new(server, client, stream).serve().await;
        clients.unregister(id);
    });
}

fn tune(server: &Server, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let seconds = server.settings.keepalive_seconds();
    if seconds > 0 {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(seconds))
            .with_interval(Duration::from_secs((seconds / 3).max(1)))
            .with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

/// Closes connections that have been idle for longer than `timeout` allows, and those that read too slowly, once a
/// second.
pub async fn sweep(server: Arc<Server>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        server.clients.close_slow();
        let seconds_max = server.settings.idle_seconds_max();
        if seconds_max > 0 {
            server.clients.close_idle(seconds_max);
        }
    }
}
