//! Accepting connections of every door, plain and over TLS, refusing too many, and closing idle ones.

use crate::clients::Client;
use crate::config::{SettingId, Settings};
use crate::connection::Connection;
use crate::http::connection::HttpConnection;
use crate::serve::Server;
use crate::statistics::Counter;
use crate::tls;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

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
    /// The Redis protocol over TLS.
    Tls,
    /// HTTP, with every path but the JSON store's.
    Http,
    /// The same over TLS.
    HttpTls,
    /// HTTP, with hustdb's and hustcache's paths only.
    Hustdb,
    /// The JSON store's HTTP.
    Json,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 6] = [Door::Resp, Door::Tls, Door::Http, Door::HttpTls, Door::Hustdb, Door::Json];

    /// The setting that says which port it is.
    pub const fn setting(self) -> SettingId {
        match self {
            Door::Resp => const { SettingId::of("port") },
            Door::Tls => const { SettingId::of("tls-port") },
            Door::Http => const { SettingId::of("http-port") },
            Door::HttpTls => const { SettingId::of("http-tls-port") },
            Door::Hustdb => const { SettingId::of("hustdb-port") },
            Door::Json => const { SettingId::of("json-port") },
        }
    }

    /// Whether it is spoken over TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Door::Tls | Door::HttpTls)
    }

    /// What the log calls it.
    fn name(self) -> &'static str {
        match self {
            Door::Resp => "RESP",
            Door::Tls => "RESP over TLS",
            Door::Http => "HTTP",
            Door::HttpTls => "HTTP over TLS",
            Door::Hustdb => "hustdb's HTTP",
            Door::Json => "the JSON store's HTTP",
        }
    }

    /// The addresses that `settings` want it on; port 0 is nowhere.
    fn addresses(self, settings: &Settings) -> Vec<SocketAddr> {
        let port = settings.number(self.setting()) as u16;
        let addresses = settings.bind_addresses().into_iter().filter(|_| port != 0);
        addresses.map(|address| SocketAddr::new(address, port)).collect()
    }
}

/// One address that is listened on.
pub(crate) struct Listening {
    door: Door,
    address: SocketAddr,
    socket: Arc<TcpListener>,
    task: AbortHandle,
}

impl Listening {
    /// Stops at once, so that another may listen there next.
    fn stop(&self) {
        // Closing it is the task's, which may run later. One that is no longer listening needs no stopping.
        let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Both);
        self.task.abort();
    }
}

/// An address that cannot be listened on. `Display` says why, and which setting names another.
#[derive(Debug)]
pub struct Unavailable {
    /// The setting that names its port.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unavailable { setting, address, error } = self;
        write!(f, "cannot listen on {address}: ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let without = if *setting == "port" { "" } else { ", 0 does without" };
                write!(f, "the port is taken, is another server running there? --{setting} names another{without}")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "this user may not listen on port {}; --{setting} names another", address.port())
            }
            _ if is_missing(error) => {
                let bind = if *setting == "admin-port" { "admin-bind" } else { "bind" };
                write!(f, "this machine does not have the address {}; --{bind} names others", address.ip())
            }
            _ => error.fmt(f),
        }
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// An address that is this process's, where nobody is listened to yet: connections are refused, not kept waiting.
pub(crate) struct Reserved {
    door: Door,
    address: SocketAddr,
    socket: Socket,
}

impl Reserved {
    fn listen(self) -> Result<(Door, SocketAddr, Arc<TcpListener>), Unavailable> {
        let Reserved { door, address, socket } = self;
        let refused = |error| Unavailable { setting: door.setting().row().name, address, error };
        Ok((door, address, Arc::new(listen_on(socket).map_err(refused)?)))
    }
}

/// What one too many is told over HTTP.
const HTTP_TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Takes every address that `settings` want `doors` on and that `is_new`.
///
/// # Errors
/// The address that cannot be had; none is taken then.
pub(crate) fn reserve(
    settings: &Settings,
    doors: &[Door],
    is_new: impl Fn(Door, &SocketAddr) -> bool,
) -> Result<Vec<Reserved>, Unavailable> {
    let mut reserved = Vec::new();
    for door in doors {
        let setting = door.setting().row().name;
        let refused = |(address, error)| Unavailable { setting, address, error };
        let bound = bind_each(&door.addresses(settings), |address| is_new(*door, address), bind).map_err(refused)?;
        reserved.extend(bound.into_iter().map(|(address, socket)| Reserved { door: *door, address, socket }));
    }
    Ok(reserved)
}

/// Opens the doors on the addresses that were `reserved` for them.
///
/// # Errors
/// The address that cannot be listened on, which another process was quicker to do; none is opened then.
pub(crate) fn open(server: &Arc<Server>, reserved: Vec<Reserved>) -> Result<(), Unavailable> {
    open_beside(server, &mut server.listeners.lock(), reserved)
}

fn open_beside(
    server: &Arc<Server>,
    listeners: &mut Vec<Listening>,
    reserved: Vec<Reserved>,
) -> Result<(), Unavailable> {
    let added: Vec<_> = reserved.into_iter().map(Reserved::listen).collect::<Result<_, _>>()?;
    for (door, address, socket) in added {
        tracing::info!(%address, "listening for {}", door.name());
        let task = tokio::spawn(accept(Arc::clone(server), Arc::clone(&socket), door)).abort_handle();
        listeners.push(Listening { door, address, socket, task });
    }
    Ok(())
}

/// Opens `doors` on every address that the settings want them on, and closes them anywhere else. Listeners
/// that are wanted still go on undisturbed.
///
/// # Errors
/// The address that cannot be listened on; the listeners there were go on.
pub fn listen(server: &Arc<Server>, doors: &[Door]) -> Result<(), Unavailable> {
    let mut listeners = server.listeners.lock();
    let is_new = |door, address: &SocketAddr| listeners.iter().all(|old| (old.door, old.address) != (door, *address));
    let reserved = reserve(&server.settings, doors, is_new)?;
    open_beside(server, &mut listeners, reserved)?;
    let is_old =
        |old: &mut Listening| doors.contains(&old.door) && !old.door.addresses(&server.settings).contains(&old.address);
    for old in listeners.extract_if(.., is_old) {
        old.stop();
    }
    Ok(())
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

/// Takes one address: an IPv6 address takes no IPv4 with it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens where a socket is bound. Belongs to the runtime it is called in.
pub(crate) fn listen_on(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(server: Arc<Server>, listener: Arc<TcpListener>, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => welcome(&server, stream, peer, door),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(server: &Arc<Server>, mut stream: TcpStream, peer: SocketAddr, door: Door) {
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
            Door::Http | Door::Hustdb | Door::Json => HTTP_TOO_MANY,
            // It could not read the reason before a handshake.
            Door::Tls | Door::HttpTls => return,
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
            Door::Resp => drop(Connection::new(server, client, stream).serve().await),
            Door::Tls | Door::HttpTls => serve_tls(server, client, stream, peer, door).await,
            Door::Http | Door::Hustdb | Door::Json => {
                drop(HttpConnection::new(server, door, client, stream).serve().await);
            }
        }
        clients.unregister(id);
    });
}

/// A connection over TLS from its handshake on, during which it can be killed, too.
async fn serve_tls(server: Arc<Server>, client: Arc<Client>, stream: TcpStream, peer: SocketAddr, door: Door) {
    let shaken = {
        let mut handshake = std::pin::pin!(server.tls.accept(stream, peer));
        poll_fn(|ctx| if client.is_killed(ctx) { Poll::Ready(None) } else { handshake.as_mut().poll(ctx) }).await
    };
    if let Some(stream) = shaken {
        let served = match door {
            Door::HttpTls => HttpConnection::new(server, door, client, stream).serve().await,
            _ => Connection::new(server, client, stream).serve().await,
        };
        tls::say_goodbye(served).await;
    }
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

    #[test]
    fn what_an_address_is_refused_for_is_said_and_who_else_is_asked_for_only_where_somebody_is() {
        let said = |setting, kind: io::ErrorKind| {
            let address = "10.0.0.1:80".parse().expect("an address");
            Unavailable { setting, address, error: kind.into() }.to_string()
        };
        for (setting, kind, expected) in [
            (
                "port",
                io::ErrorKind::AddrInUse,
                "the port is taken, is another server running there? --port names another",
            ),
            (
                "http-port",
                io::ErrorKind::AddrInUse,
                "the port is taken, is another server running there? --http-port names another, 0 does without",
            ),
            (
                "port",
                io::ErrorKind::AddrNotAvailable,
                "this machine does not have the address 10.0.0.1; --bind names others",
            ),
            (
                "admin-port",
                io::ErrorKind::AddrNotAvailable,
                "this machine does not have the address 10.0.0.1; --admin-bind names others",
            ),
            ("port", io::ErrorKind::PermissionDenied, "this user may not listen on port 80; --port names another"),
        ] {
            assert_eq!(said(setting, kind), format!("cannot listen on 10.0.0.1:80: {expected}"));
        }
    }

    #[test]
    fn no_door_is_forgotten_where_ports_are_compared() {
        let is_compared = |door: &Door| crate::config::PORTS.iter().any(|(port, _)| *port == door.setting());
        assert!(Door::ALL.iter().all(is_compared));
        assert_eq!(crate::config::PORTS.len(), Door::ALL.len() + 1, "and the admin port");
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
        let listening = |address| bind(address).and_then(listen_on);
        let first = listening("0.0.0.0:0".parse().expect("an address")).expect("a free port");
        let port = first.local_addr().expect("it is bound").port();
        let other = SocketAddr::new("::".parse().expect("an address"), port);
        if let Err(error) = listening(other) {
            assert!(is_missing(&error), "{error}");
        }
    }
}
