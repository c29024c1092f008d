//! The echo floor: a server that parses commands and answers them with the right shapes and sizes, and stores nothing.
//!
//! On tokio's multi-threaded runtime with one worker, a task per connection, one write per read: the machinery Larder
//! itself stands on, so that what Larder costs above this is Larder's own. Not a server anybody should use: it does
//! no more with a command than find its first letter and its end.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::error::Error;

/// First and least free size of a connection's read buffer.
const INPUT_BYTES: usize = 32 << 10;
/// Arguments of a command; more ends the connection.
const ARGS_MAX: usize = 1024;
/// Bytes of an argument; more ends the connection.
const ARG_BYTES_MAX: usize = 16 << 20;

/// Serves until the process is killed.
pub fn serve(port: u16, value_bytes: usize) -> Result<(), Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_io().build().map_err(Error::io("start the runtime"))?;
    let replies = Arc::new(Replies::new(value_bytes));
    // Accepting is a task too: the thread that blocks here would be a second worker otherwise.
    let accepting = runtime.spawn(accept(port, replies));
    match runtime.block_on(accepting) {
        Ok(Err(source)) => Err(Error::Io { op: "accept connections", source }),
        Err(error) => Err(Error::Io { op: "accept connections", source: io::Error::other(error) }),
    }
}

async fn accept(port: u16, replies: Arc<Replies>) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, Arc::clone(&replies)));
    }
}

/// The encoded replies, made once.
struct Replies {
    bulk: Vec<u8>,
}

impl Replies {
    fn new(value_bytes: usize) -> Self {
        let mut bulk = format!("${value_bytes}\r\n").into_bytes();
        bulk.resize(bulk.len() + value_bytes, b'x');
        bulk.extend_from_slice(b"\r\n");
        Self { bulk }
    }

    fn for_command(&self, name: &[u8]) -> &[u8] {
        match name.first().map(u8::to_ascii_uppercase) {
            Some(b'G') => &self.bulk,
            Some(b'P') => b"+PONG\r\n",
            Some(b'I' | b'H') => b":1\r\n",
            _ => b"+OK\r\n",
        }
    }
}

/// Ends without a word when the peer does, or when it does not speak RESP.
async fn answer(mut stream: TcpStream, replies: Arc<Replies>) {
    let (mut input, mut filled, mut out) = (vec![0; INPUT_BYTES], 0, Vec::new());
    if stream.set_nodelay(true).is_err() {
        return;
    }
    while let Ok(count @ 1..) = stream.read(&mut input[filled..]).await {
        filled += count;
        let mut at = 0;
        loop {
            match parse(&input[at..filled]) {
                Parsed::Command { name, bytes } => {
                    out.extend_from_slice(replies.for_command(name));
                    at += bytes;
                }
                Parsed::Partial => break,
                Parsed::NotResp => return,
            }
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        if input.len() - filled < INPUT_BYTES {
            input.resize(filled + 2 * INPUT_BYTES, 0);
        }
        if !out.is_empty() && stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

#[derive(Debug, PartialEq)]
enum Parsed<'a> {
    Command { name: &'a [u8], bytes: usize },
    Partial,
    NotResp,
}

/// Finds the name and the end of the command at the start of `input`.
fn parse(input: &[u8]) -> Parsed<'_> {
    let (count, mut at) = match length(input, 0, b'*', ARGS_MAX) {
        Ok(Some(found)) => found,
        Ok(None) => return Parsed::Partial,
        Err(()) => return Parsed::NotResp,
    };
    let mut name: &[u8] = &[];
    for index in 0..count {
        let (bytes, start) = match length(input, at, b'$', ARG_BYTES_MAX) {
            Ok(Some(found)) => found,
            Ok(None) => return Parsed::Partial,
            Err(()) => return Parsed::NotResp,
        };
        at = start + bytes + 2;
        if input.len() < at {
            return Parsed::Partial;
        }
        if index == 0 {
            name = &input[start..start + bytes];
        }
    }
    Parsed::Command { name, bytes: at }
}

/// The number of the line `<kind><digits>\r\n` at `at` and where the next line starts; `None` while it is not whole.
fn length(input: &[u8], at: usize, kind: u8, max: usize) -> Result<Option<(usize, usize)>, ()> {
    let Some((&first, digits)) = input.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    if first != kind {
        return Err(());
    }
    let mut number = 0;
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if number <= max => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if number <= max => {
                let next = at + index + 3;
                return Ok((next <= input.len()).then_some((number, next)));
            }
            _ => return Err(()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_only_when_whole() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*1\r\n";
        let bytes = input.len() - 4;
        for cut in 0..bytes {
            assert_eq!(parse(&input[..cut]), Parsed::Partial, "cut at {cut}");
        }
        assert_eq!(parse(input), Parsed::Command { name: b"SET", bytes });
    }

    #[test]
    fn what_is_not_resp_or_too_large_is_refused() {
        for input in ["PING\r\n", "*x\r\n", "*1\r\n+OK\r\n", "*9999\r\n", "*1\r\n$99999999999999999999999\r\n"] {
            assert_eq!(parse(input.as_bytes()), Parsed::NotResp, "{input:?}");
        }
    }

    #[test]
    fn replies_have_the_shape_of_the_command() {
        let replies = Replies::new(3);
        assert_eq!(replies.for_command(b"GET"), b"$3\r\nxxx\r\n");
        assert_eq!(replies.for_command(b"PING"), b"+PONG\r\n");
        assert_eq!(replies.for_command(b"hset"), b":1\r\n");
        assert_eq!(replies.for_command(b"MSET"), b"+OK\r\n");
    }
}
