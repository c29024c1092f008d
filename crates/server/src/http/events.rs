//! Server-sent events: an answer that has no end, of the messages that the connection has subscribed to.
//!
//! ```text
//! id: 7
//! data: {"channel":"news","message":"hello"}
//! ```
//!
//! Events are numbered from 1 in each stream. Nothing is kept for who is away: messages are told to those who listen, as
//! over RESP. A comment is sent when there was nothing for [`HEARTBEAT_SECONDS`], so that proxies keep the stream open and
//! a client that has gone is noticed. Bytes that are not UTF-8 are `{"base64": …}`.
//!
//! Deliberately not here: who may subscribe to what, which the commands decide that opened the stream.
//!
//! Invariants: no event leaves before the gate is passed; a reader that is too slow is closed by the same limits as
//! subscribers of RESP (`client-output-buffer-limit pubsub`), and at the pace of any other answer.
//!
//! Source: the HTML standard, "Server-sent events".

use super::json::put_string;
use super::v1::reply::{Bytes, put_json};
use crate::connection::caller::Pace;
use crate::connection::{Caller, End, Stream};
use std::io::Write;
use std::time::Duration;
use wire::value::{Decoded, Value};

/// Silence after which a comment is sent.
pub const HEARTBEAT_SECONDS: u64 = 15;

/// What the messages of a stream are to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Messages.
    Messages,
    /// Changes of keys: the channel says which key, the message what happened.
    Changes,
}

/// Sends events until the connection ends. The subscriptions are there, and the head of the answer has left.
pub async fn serve<S: Stream>(caller: &mut Caller<S>, events: Events, pace: Pace) -> End {
    let end = match stream(caller, events, pace).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    caller.count_overrun();
    end
}

async fn stream<S: Stream>(
    caller: &mut Caller<S>,
    events: Events,
    pace: Pace,
) -> Result<std::convert::Infallible, End> {
    let (mut out, mut count) = (Vec::new(), 0);
    loop {
        // What came between the subscription and here is behind its reply.
        put_events(&mut out, caller.replies(), events, &mut count);
        caller.begin();
        if !out.is_empty() {
            caller.settle().await.map_err(|_| End::Io)?;
            caller.send(&out, pace).await?;
            out = Vec::new();
        }
        caller.told_is_written();
        if !caller.told(Duration::from_secs(HEARTBEAT_SECONDS)).await? {
            out.extend_from_slice(b":\n\n");
        }
    }
}

/// Writes the messages among `pushes`, which are whole, as events.
fn put_events(out: &mut Vec<u8>, mut pushes: &[u8], events: Events, count: &mut u64) {
    while let Ok(Decoded::Value { value, bytes }) = Value::decode(pushes) {
        pushes = &pushes[bytes..];
        let (Value::Push(parts) | Value::Array(parts)) = value else { continue };
        let (pattern, channel, message) = match &parts[..] {
            [Value::Bulk(kind), channel, message] if kind == b"message" => (None, channel, message),
            [Value::Bulk(kind), pattern, channel, message] if kind == b"pmessage" => (Some(pattern), channel, message),
            _ => continue,
        };
        *count += 1;
        // Writing to memory cannot fail.
        let _ = write!(out, "id: {count}\ndata: ");
        match events {
            Events::Messages => put_message(out, pattern, channel, message),
            Events::Changes => put_change(out, channel, message),
        }
        out.extend_from_slice(b"\n\n");
    }
}

fn put_message(out: &mut Vec<u8>, pattern: Option<&Value>, channel: &Value, message: &Value) {
    out.extend_from_slice(b"{\"channel\":");
    put_json(out, channel, Bytes::Marked);
    if let Some(pattern) = pattern {
        out.extend_from_slice(b",\"pattern\":");
        put_json(out, pattern, Bytes::Marked);
    }
    out.extend_from_slice(b",\"message\":");
    put_json(out, message, Bytes::Marked);
    out.push(b'}');
}

/// The channel is `__keyspace@db__:key`, the message the event.
fn put_change(out: &mut Vec<u8>, channel: &Value, event: &Value) {
    let channel = channel.as_bytes().unwrap_or_default();
    let key = memchr::memchr(b':', channel).map_or(channel, |colon| &channel[colon + 1..]);
    out.extend_from_slice(b"{\"key\":");
    put_json(out, &Value::Bulk(key.to_vec()), Bytes::Marked);
    out.extend_from_slice(b",\"event\":");
    put_string(out, &String::from_utf8_lossy(event.as_bytes().unwrap_or_default()));
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pushes: &[u8], events: Events) -> String {
        let (mut out, mut count) = (Vec::new(), 0);
        put_events(&mut out, pushes, events, &mut count);
        String::from_utf8(out).expect("events are text")
    }

    #[test]
    fn messages_become_events_and_subscriptions_do_not() {
        let pushes = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\nx\ny\r\n\
            >4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$1\r\n\xff\r\n";
        assert_eq!(
            events(pushes, Events::Messages),
            "id: 1\ndata: {\"channel\":\"a\",\"message\":\"x\\ny\"}\n\n\
             id: 2\ndata: {\"channel\":\"ab\",\"pattern\":\"a*\",\"message\":{\"base64\":\"/w==\"}}\n\n"
        );
    }

    #[test]
    fn changes_name_key_and_event() {
        let pushes = b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$17\r\n__keyspace@0__:a:\r\n$3\r\nset\r\n";
        assert_eq!(events(pushes, Events::Changes), "id: 1\ndata: {\"key\":\"a:\",\"event\":\"set\"}\n\n");
    }
}
