//! Accepting connections of every door, refusing too many, and closing idle ones.

use crate::config::SettingId;
use crate::connection::Connection;
use crate::http::connection::HttpConnection;
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

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The Redis protocol.
    Resp,
    /// HTTP.
    Http,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 2] = [Door::Resp, Door::Http];

    /// The setting that says which port it is.
    pub const fn setting(self) -> SettingId {
        match self {
            Door::Resp => const { SettingId::of("port") },
            Door::Http => const { SettingId::of("http-port") },
        }
    }
}

/// A listener, and what stops it.
pub struct Listening {
    door: Door,
    address: SocketAddr,
    task: tokio::task::AbortHandle,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct Unavailable {
    /// The setting that names its port.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

/// What one too many is told over HTTP.
const HTTP_TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Listens for one door on `port` of every configured address, and no longer anywhere else; port 0 listens nowhere. Listeners
/// that are wanted still go on undisturbed.
///
/// # Errors
/// The address that cannot be listened on; the listeners there were go on.
pub fn listen(server: &Arc<Server>, door: Door, port: u16) -> Result<(), Unavailable> {
    let addresses = server.settings.bind_addresses().into_iter().filter(|_| port != 0);
    let wanted: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, port)).collect();
    let mut listeners = server.listeners.lock();
    let is_new = |address: &SocketAddr| listeners.iter().all(|old| (old.door, &old.address) != (door, address));
    let setting = door.setting().row().name;
    let added = bind_each(&wanted, is_new, bind).map_err(|(address, error)| Unavailable { setting, address, error })?;
    for old in listeners.extract_if(.., |old| old.door == door && !wanted.contains(&old.address)) {
        old.task.abort();
    }
    for (address, listener) in added {
        tracing::info!(%address, "listening for {}", match door { Door::Resp => "RESP", Door::Http => "HTTP" });
        let task = tokio::spawn(accept(Arc::clone(server), door, listener)).abort_handle();
        listeners.push(Listening { door, address, task });
    }
    Ok(())
}

/// As [`listen`] for every door, on the ports that are configured.
///
/// # Errors
/// As [`listen`]; doors before the one that failed are listened for.
pub fn listen_all(server: &Arc<Server>) -> Result<(), Unavailable> {
    Door::ALL.into_iter().try_for_each(|door| listen(server, door, server.settings.number(door.setting()) as u16))
}

/// Binds every address that is `wanted` and `is_new`. IPv6 may be missing where all of IPv4 is listened on: `*` means
/// whatever there is.
///
/// # Errors
/// The address that cannot be listened on.
pub(crate) fn bind_each<L>(
    wanted: &[SocketAddr],
    is_new: impl Fn(&SocketAddr) -> bool,
    bind: impl Fn(SocketAddr) -> io::Result<L>,
) -> Result<Vec<(SocketAddr, L)>, (SocketAddr, io::Error)> {
    let is_all = |address: &SocketAddr| address.ip().is_unspecified();
    let has_all_ipv4 = wanted.iter().any(|address| address.is_ipv4() && is_all(address));
    let mut bound = Vec::with_capacity(wanted.len());
    for address in wanted.iter().filter(|address| is_new(address)) {
        match bind(*address) {
            Ok(listener) => bound.push((*address, listener)),
            Err(error) if has_all_ipv4 && address.is_ipv6() && is_all(address) && is_missing(&error) => {
                tracing::warn!(%error, "not listening on IPv6, which this machine does not have");
            }
            Err(error) => return Err((*address, error)),
        }
    }
    Ok(bound)
}

/// Whether a family of addresses is what is missing, rather than a port that is free.
fn is_missing(error: &io::Error) -> bool {
    /// Linux's number of "address family not supported", which has no `ErrorKind`.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Listens on one address: an IPv6 address takes no IPv4 with it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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

async fn accept(server: Arc<Server>, door: Door, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => welcome(&server, door, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(server: &Arc<Server>, door: Door, mut stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = tune(server, &stream) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let local = stream.local_addr().unwrap_or(peer);
    let registered = server.clients.register(peer, local, &stream, server.settings.clients_max());
    let Some(client) = registered else {
        server.statistics.count(Counter::ConnectionsRejected, 1);
        let refusal: &[u8] = match door {
            Door::Resp => b"-ERR max number of clients reached\r\n",
            Door::Http => HTTP_TOO_MANY,
        };
        tokio::spawn(async move { stream.write_all(refusal).await });
        return;
    };
    server.statistics.count(Counter::Connections, 1);
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let clients = Arc::clone(&server.clients);
        let id = client.id();
        match door {
            Door::Resp => Connection::new(server, client, stream).serve().await,
            Door::Http => HttpConnection::new(server, client, stream).serve().await,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// A machine without IPv6.
    fn only_ipv4(address: SocketAddr) -> io::Result<SocketAddr> {
        if address.is_ipv4() { Ok(address) } else { Err(io::Error::from_raw_os_error(97)) }
    }

    #[test]
    fn every_address_means_those_there_are_and_a_named_one_must_be_there() {
        let every = addresses(&["0.0.0.0:1", "[::]:1"]);
        assert_eq!(bind_each(&every, |_| true, only_ipv4).expect("IPv4 is enough"), [(every[0], every[0])]);
        for named in [&["[::]:1"][..], &["0.0.0.0:1", "[::1]:1"], &["127.0.0.1:1", "[::]:1"]] {
            let named = addresses(named);
            let refused = bind_each(&named, |_| true, only_ipv4).expect_err("it was asked for");
            assert_eq!(Some(&refused.0), named.last());
        }
        let taken = |_| Err::<(), _>(io::Error::from(io::ErrorKind::AddrInUse));
        assert!(bind_each(&every[1..], |_| true, taken).is_err() && bind_each(&every, |_| true, taken).is_err());
    }

    #[tokio::test]
    async fn both_families_listen_on_one_port_side_by_side() {
        let first = bind("0.0.0.0:0".parse().expect("an address")).expect("a free port");
        let port = first.local_addr().expect("it is bound").port();
        let other = SocketAddr::new("::".parse().expect("an address"), port);
        if let Err(error) = bind(other) {
            assert!(is_missing(&error), "{error}");
        }
    }
}
