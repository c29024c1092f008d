//! The admin port: metrics and health over HTTP, for machines that watch machines.
//!
//! ```text
//! GET /              a page that lists what is here
//! GET /metrics       OpenMetrics text
//! GET /health/live   200 as long as the process answers at all
//! GET /health/ready  200 when commands are served, else 503 and why
//! ```
//!
//! Deliberately not: administration. Nothing here changes anything, and nothing here tells a key or a value, which
//! is why it may do without a password; it listens on the loopback address unless told otherwise.
//!
//! Limits: one request a connection, `CONNECTIONS_MAX` at a time, `CONNECTION_SECONDS_MAX` each, a head of at most
//! `HEAD_BYTES_MAX`; request bodies are not read.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::connection::Stream;
use crate::listener;
use crate::metrics::{self, Health, MetricsSource};
use crate::tls::Tls;

/// Connections served at a time; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 32;
/// Life of a connection, after its handshake if it is one over TLS.
const CONNECTION_SECONDS_MAX: u64 = 10;
/// Time in which a request's head must have arrived.
const HEAD_SECONDS_MAX: u64 = 5;
/// Bytes of a request's head; the least hyper can do.
const HEAD_BYTES_MAX: usize = 8192;
/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_RETRY_MS: u64 = 100;

const _: () = assert!(HEAD_SECONDS_MAX < CONNECTION_SECONDS_MAX, "a late head must be answered, not cut off");

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "larder\n\n/metrics       numbers for Prometheus\n/health/live   is the process alive\n\
                     /health/ready  are commands served\n";

/// Listens on every address, as the doors of RESP do.
///
/// # Errors
/// With the address that could not be had; nothing is listened on then.
pub fn bind(addresses: &[IpAddr], port: u16) -> Result<Vec<(SocketAddr, TcpListener)>, (SocketAddr, io::Error)> {
    let wanted: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    listener::bind_each(&wanted, |_| true, |address| listener::bind(address).and_then(listener::listen_on))
}

/// Serves a listener for ever, over TLS if one is given; drop the future to stop.
pub async fn serve(listener: TcpListener, source: Arc<dyn MetricsSource>, tls: Option<Arc<Tls>>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so this waits and cannot fail.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (source, tls) = (Arc::clone(&source), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve_connection(stream, source).await,
                        Some(tls) => {
                            if let Some(stream) = tls.accept(stream, peer).await {
                                serve_connection(stream, source).await;
                            }
                        }
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

async fn serve_connection(stream: impl Stream + 'static, source: Arc<dyn MetricsSource>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &source);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or is too slow, is no news to anybody.
    let _ = tokio::time::timeout(Duration::from_secs(CONNECTION_SECONDS_MAX), connection).await;
}

fn respond<B>(request: &Request<B>, source: &Arc<dyn MetricsSource>) -> Response<Full<Bytes>> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    match request.uri().path() {
        "/" | "/metrics" | "/health/live" | "/health/ready" if !is_read => {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD here\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/" => answer(StatusCode::OK, TEXT, INDEX.to_owned()),
        "/metrics" => match metrics::render(source) {
            Ok(text) => answer(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        "/health/live" => answer(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/health/ready" => match source.health() {
            Health::Ready => answer(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Health::NotReady(why) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        _ => answer(StatusCode::NOT_FOUND, TEXT, format!("nothing here; this is what there is:\n\n{INDEX}")),
    }
}

fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::metrics::Opening;
    use crate::metrics::tests::Sample;

    fn started(health: Health) -> SocketAddr {
        started_with(Arc::new(Sample(health)))
    }

    fn started_with(source: Arc<dyn MetricsSource>) -> SocketAddr {
        let (_, listener) = bind(&["127.0.0.1".parse().unwrap()], 0).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, source, None));
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nhost: larder\r\n\r\n")).await
    }

    #[tokio::test]
    async fn every_page_answers_and_says_what_it_is() {
        let address = started(Health::Ready);
        let metrics = get(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("content-type: application/openmetrics-text") && metrics.ends_with("# EOF\n"));
        assert!(get(address, "/").await.contains("/health/ready"));
        assert!(get(address, "/health/live").await.ends_with("\r\n\r\nalive\n"));
        assert!(get(address, "/health/ready?now=1").await.ends_with("\r\n\r\nready\n"));
    }

    #[tokio::test]
    async fn a_server_that_is_opening_is_alive_and_not_ready() {
        let opening = Arc::new(Opening::default());
        let address = started_with(Arc::clone(&opening) as Arc<dyn MetricsSource>);
        assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200 "));
        let ready = get(address, "/health/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("opening the data directory\n"), "{ready}");
        assert!(get(address, "/metrics").await.ends_with("\r\n\r\n# EOF\n"));
        opening.done(Arc::new(Sample(Health::Ready)));
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/metrics").await.contains("larder_connections 2.0"));
    }

    #[tokio::test]
    async fn what_is_not_served_is_refused_by_name() {
        let address = started(Health::Ready);
        assert!(get(address, "/favicon.ico").await.starts_with("HTTP/1.1 404 "));
        let post = ask(address, "POST /metrics HTTP/1.1\r\nhost: larder\r\ncontent-length: 3\r\n\r\nabc").await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
        let head = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: larder\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_head_past_its_limit_and_nonsense_are_cut_off() {
        let address = started(Health::Ready);
        let long = ask(address, &format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX))).await;
        assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
        assert!(ask(address, "PING\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let address = started(Health::Ready);
        let (refused, error) = bind(&[address.ip()], address.port()).err().unwrap();
        assert_eq!((refused, error.kind()), (address, io::ErrorKind::AddrInUse));
    }
}
