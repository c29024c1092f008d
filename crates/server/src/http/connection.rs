//! One HTTP/1.1 connection: requests in, the door asked, answers out in the order of their requests.
//!
//! ```text
//! read ─► every whole request in the buffer: head ─► admitted? ─► body ─► door ─► answer ─► gate ─► write ─► read …
//! ```
//!
//! Requests that come together (pipelining) pass the gate together and leave in one write. A body is received where
//! commands take their arguments from; one that is not wanted (too large, no permission) is not kept: the connection ends
//! after the answer, and what the client still sends is let go of for [`LINGER_SECONDS_MAX`].
//!
//! Deliberately not here: what paths mean (`doors.rs`), what is HTTP and what is not (`wire::http`).
//!
//! Limits: a head of `wire::http::HEAD_BYTES_MAX` that must come within [`HEAD_SECONDS_MAX`]; a body of the door's
//! choosing, at a pace of [`BYTES_PER_SECOND_MIN`] once [`GRACE_SECONDS`] are over and never standing still for that long;
//! answers are taken at that pace, too.
//! A connection that is silent between two requests is closed as RESP's are (`timeout`).

use super::answer::{Answer, Date};
use super::arguments::ARGUMENTS_BYTES;
use super::auth::Login;
use super::desk::Desk;
use super::doors::{self, Admitted, Visit};
use super::events;
use super::problem::refuse;
use super::request::{Method, Request};
use super::strangers::Harmless;
use crate::clients::Client;
use crate::connection::caller::{Pace, Received};
use crate::connection::{Caller, Connection, End, Stream};
use crate::listener::Door;
use crate::serve::Server;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::http::{BodyLength, ChunkError, Chunks, Head, HeadError, HeadReader};

/// Time in which a head must have come, from its first byte on.
pub const HEAD_SECONDS_MAX: u64 = 10;
/// Time before the pace of a body or an answer counts.
pub const GRACE_SECONDS: u64 = 30;
/// Pace of a body or an answer from then on, on average.
pub const BYTES_PER_SECOND_MIN: u64 = 4 << 10;
/// Bytes asked for in the first read of a connection, and in those after a read that filled its room.
const READ_BYTES: [usize; 2] = [2 << 10, 16 << 10];
/// Most bytes of a body that room is made for before they have come.
const BODY_AHEAD_BYTES_MAX: usize = 1 << 20;
/// Answers are written out at the latest when they reach this, however many requests are still waiting.
const ANSWERS_BYTES_MAX: usize = 256 << 10;
/// Bodies from this size on are written from where they lie.
const BODY_COPIED_BYTES_MAX: usize = 64 << 10;
/// Memory that an idle connection keeps of either buffer.
const IDLE_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Time spent on what a refused client still sends, so that it gets to read why; and the pace it must send at meanwhile.
pub const LINGER_SECONDS_MAX: u64 = 30;
const LINGER_PACE: Pace = Pace { grace: Duration::from_secs(1), bytes_per_second_min: 64 << 10 };

const PACE: Pace = Pace { grace: Duration::from_secs(GRACE_SECONDS), bytes_per_second_min: BYTES_PER_SECOND_MIN };

/// See the module's text.
pub struct HttpConnection<S> {
    caller: Caller<S>,
    port: Door,
    login: Login,
    harmless: Harmless,
    date: Date,
    out: Vec<u8>,
    /// When the head in the buffer, of which a part has come, must be whole.
    head_deadline: Option<Instant>,
}

/// What the requests in the buffer came to.
struct Passed {
    /// Bytes that are done with.
    bytes: usize,
    /// The connection ends.
    closes: bool,
}

impl<S: Stream> HttpConnection<S> {
    /// A connection that was just accepted on this port.
    pub fn new(server: Arc<Server>, port: Door, client: Arc<Client>, stream: S) -> Self {
        HttpConnection {
            caller: Connection::of_door(server, client, stream, "http"),
            port,
            login: Login::default(),
            harmless: Harmless::default(),
            date: Date::default(),
            out: Vec::new(),
            head_deadline: None,
        }
    }

    /// Serves until the connection ends. Returns its stream.
    pub async fn serve(mut self) -> S {
        // Not among the others: a request borrows them while it is served.
        let (mut input, mut heads) = (Vec::new(), HeadReader::default());
        let end = loop {
            if let Err(end) = self.turn(&mut input, &mut heads).await {
                break end;
            }
        };
        tracing::debug!(?end, "HTTP connection closed");
        self.caller.into_stream()
    }

    async fn turn(&mut self, input: &mut Vec<u8>, heads: &mut HeadReader) -> Result<(), End> {
        let mut desk = Desk::take();
        // Where a turn is cut off, the connection ends, and the desk with it.
        self.caller.exchange_replies(&mut desk.replies);
        let Passed { bytes, closes } = self.pass(&mut desk, input, heads).await?;
        self.caller.exchange_replies(&mut desk.replies);
        desk.give_back();
        if bytes == input.len() {
            input.clear();
        } else {
            input.drain(..bytes);
        }
        self.flush().await?;
        if closes {
            Box::pin(self.linger(input)).await;
            return Err(End::Closed);
        }
        self.read(input).await
    }

    /// Answers every request that is in the buffer.
    async fn pass(&mut self, desk: &mut Box<Desk>, input: &[u8], heads: &mut HeadReader) -> Result<Passed, End> {
        let mut start = 0;
        while start < input.len() {
            let (head, headers) = match heads.read(&input[start..]) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return Ok(Passed { bytes: start, closes: false }),
                Err(error) => {
                    self.caller.begin();
                    desk.answer.begin(false);
                    refuse(&mut desk.answer, status_of(error), &error.to_string());
                    self.finish(&mut desk.answer, true, true).await?;
                    return Ok(Passed { bytes: input.len(), closes: true });
                }
            };
            self.head_deadline = None;
            let request = Request::new(&head, headers);
            let behind = start + head.bytes;
            let (taken, is_whole) = self.request(desk, &head, &request, &input[behind..]).await?;
            let closes = !head.keeps_alive || !is_whole || desk.answer.closes();
            self.finish(&mut desk.answer, closes, head.is_http11).await?;
            if let Some(events) = desk.answer.streamed() {
                self.flush().await?;
                // The stream has no end: somebody else has the desk meanwhile, but for what was told since it began.
                desk.replies = self.caller.replies().to_vec();
                self.caller.exchange_replies(&mut desk.replies);
                std::mem::take(desk).give_back();
                return Err(Box::pin(events::serve(&mut self.caller, events, PACE)).await);
            }
            start = behind + taken;
            if closes {
                return Ok(Passed { bytes: input.len(), closes });
            }
        }
        Ok(Passed { bytes: start, closes: false })
    }

    /// Has a request answered. Returns how many bytes of `behind`, which follow its head, belong to it, and whether its body
    /// was received to its end.
    async fn request(
        &mut self,
        desk: &mut Desk,
        head: &Head<'_>,
        request: &Request<'_>,
        behind: &[u8],
    ) -> Result<(usize, bool), End> {
        self.caller.begin();
        desk.arguments.begin_request();
        desk.answer.begin(request.method == Method::Head);
        let has_body = head.body != BodyLength::Bytes(0);
        let admitted = doors::admit(&mut self.visit(desk, request)).await?;
        let Admitted::Yes { door, body_bytes_max, may_wait } = admitted else { return Ok((0, !has_body)) };
        if may_wait {
            self.flush().await?;
        }
        let mut taken = 0;
        if has_body {
            match self.body(desk, head, behind, body_bytes_max).await? {
                Some(bytes) => taken = bytes,
                None => return Ok((0, false)),
            }
        }
        pin!(doors::answer(door, &mut self.visit(desk, request))).await?;
        Ok((taken, true))
    }

    fn visit<'v>(&'v mut self, desk: &'v mut Desk, request: &'v Request<'v>) -> Visit<'v, S> {
        Visit {
            request,
            caller: &mut self.caller,
            arguments: &mut desk.arguments,
            answer: &mut desk.answer,
            port: self.port,
            login: &mut self.login,
            harmless: &mut self.harmless,
        }
    }

    /// Receives the body. Returns how many bytes of `behind` belong to it; `None` when it was refused.
    async fn body(
        &mut self,
        desk: &mut Desk,
        head: &Head<'_>,
        behind: &[u8],
        bytes_max: usize,
    ) -> Result<Option<usize>, End> {
        let announced = match head.body {
            BodyLength::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            BodyLength::Chunked => 0,
        };
        if bytes_max < announced {
            return Ok(refuse_body(desk, 413, &too_large(bytes_max)));
        }
        if head.expects_continue && behind.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await?;
        }
        match head.body {
            BodyLength::Bytes(_) => self.body_of_length(desk, announced, behind).await,
            BodyLength::Chunked => self.body_in_chunks(desk, behind, bytes_max).await,
        }
    }

    async fn body_of_length(&mut self, desk: &mut Desk, bytes: usize, behind: &[u8]) -> Result<Option<usize>, End> {
        let here = bytes.min(behind.len());
        let space = desk.arguments.body_space();
        // What came is all there is room for, until the rest comes: announcing costs a client nothing, and us neither.
        space.reserve(here.max(bytes.min(BODY_AHEAD_BYTES_MAX)) + ARGUMENTS_BYTES);
        space.extend_from_slice(&behind[..here]);
        if here < bytes {
            self.flush().await?;
            let begun = Instant::now();
            loop {
                let space = desk.arguments.body_space();
                let missing = bytes - space.len();
                // Once an eighth has come there is room for all of it: growing by halves would copy more, and twice.
                let ahead = if bytes / 8 <= space.len() { missing } else { space.len().max(BODY_AHEAD_BYTES_MAX) };
                let room = missing.min(ahead) + ARGUMENTS_BYTES;
                space.reserve_exact(room);
                let deadline = PACE.deadline(begun, space.len());
                if self.caller.read_more(space, room, Some(deadline)).await? == Received::TimedOut {
                    return Ok(refuse_body(desk, 408, TOO_SLOW));
                }
                if bytes <= space.len() {
                    let next = space.split_off(bytes);
                    self.caller.give_back(&next);
                    break;
                }
            }
        }
        desk.arguments.end_body();
        Ok(Some(here))
    }

    async fn body_in_chunks(&mut self, desk: &mut Desk, behind: &[u8], bytes_max: usize) -> Result<Option<usize>, End> {
        let mut chunks = Chunks::default();
        let mut taken = match chunks.decode(behind, desk.arguments.body_space(), bytes_max) {
            Ok(taken) => taken,
            Err(error) => return Ok(refuse_chunk(desk, error, bytes_max)),
        };
        if !chunks.is_done() {
            self.flush().await?;
            let begun = Instant::now();
            let mut encoded = behind[taken..].to_vec();
            taken = behind.len();
            while !chunks.is_done() {
                let deadline = PACE.deadline(begun, desk.arguments.body_space().len());
                if self.caller.read_more(&mut encoded, READ_BYTES[1], Some(deadline)).await? == Received::TimedOut {
                    return Ok(refuse_body(desk, 408, TOO_SLOW));
                }
                match chunks.decode(&encoded, desk.arguments.body_space(), bytes_max) {
                    Ok(bytes) => _ = encoded.drain(..bytes),
                    Err(error) => return Ok(refuse_chunk(desk, error, bytes_max)),
                }
            }
            self.caller.give_back(&encoded);
        }
        desk.arguments.end_body();
        Ok(Some(taken))
    }

    /// Puts the answer behind those that wait to be written; writes it at once when it is large.
    async fn finish(&mut self, answer: &mut Answer, closes: bool, is_http11: bool) -> Result<(), End> {
        let date = self.date.at(self.caller.clock_ns());
        answer.put_head(&mut self.out, date, closes, is_http11);
        let own = answer.own_part();
        if own.len() <= BODY_COPIED_BYTES_MAX {
            self.out.extend_from_slice(own);
        } else {
            self.flush().await?;
            self.caller.send(answer.own_part(), PACE).await?;
        }
        if let Some(part) = answer.reply_part() {
            if part.len() <= BODY_COPIED_BYTES_MAX {
                self.out.extend_from_slice(&self.caller.replies()[part]);
            } else {
                self.flush().await?;
                self.caller.send_reply(part, PACE).await?;
            }
        }
        if let Some((bytes, part)) = answer.take_shared_part() {
            self.flush().await?;
            self.caller.send(&bytes[part], PACE).await?;
        }
        if ANSWERS_BYTES_MAX <= self.out.len() {
            self.flush().await?;
        }
        Ok(())
    }

    /// Passes the gate, then writes the answers out.
    async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.caller.settle().await {
            // The answers in hand may claim what the journal does not hold: none of them may leave.
            tracing::error!(%error, "answers dropped: the journal cannot get their writes where they belong");
            let mut answer = Answer::new();
            refuse(&mut answer, 503, "the journal cannot be written; the outcome of the last requests is unknown");
            self.out.clear();
            answer.put_head(&mut self.out, self.date.at(self.caller.clock_ns()), true, true);
            self.out.extend_from_slice(answer.own_part());
            self.caller.send(&self.out, PACE).await?;
            return Err(End::Io);
        }
        self.caller.send(&self.out, PACE).await?;
        self.out.clear();
        if IDLE_BUFFER_BYTES_MAX < self.out.capacity() {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Reads what there is. A head of which a part has come must be whole in time.
    async fn read(&mut self, input: &mut Vec<u8>) -> Result<(), End> {
        self.caller.show_buffers(input, self.out.len());
        if input.is_empty() {
            if IDLE_BUFFER_BYTES_MAX < input.capacity() {
                *input = Vec::new();
            }
        } else if self.head_deadline.is_none() {
            self.head_deadline = Some(Instant::now() + Duration::from_secs(HEAD_SECONDS_MAX));
        }
        let room = input.capacity() - input.len();
        let wanted = if room == 0 && !input.is_empty() { READ_BYTES[1] } else { room.max(READ_BYTES[0]) };
        if self.caller.read_more(input, wanted, self.head_deadline).await? == Received::TimedOut {
            self.caller.begin();
            let mut answer = Answer::new();
            refuse(&mut answer, 408, "the head of the request did not come in time");
            self.finish(&mut answer, true, true).await?;
            self.flush().await?;
            return Err(End::TooSlow);
        }
        Ok(())
    }

    /// Lets a client that is still sending read its answer: closing at once would have the system throw it away, and a client
    /// that sends all of its body before it reads would be told of a broken pipe instead (RFC 9112, section 9.6).
    async fn linger(&mut self, input: &mut Vec<u8>) {
        let begun = Instant::now();
        let last = begun + Duration::from_secs(LINGER_SECONDS_MAX);
        if !matches!(tokio::time::timeout_at(last, self.caller.shut()).await, Ok(Ok(()))) {
            return;
        }
        let mut bytes = 0;
        loop {
            input.clear();
            let deadline = LINGER_PACE.deadline(begun, bytes).min(last);
            match self.caller.read_more(input, READ_BYTES[1], Some(deadline)).await {
                Ok(Received::Bytes(count)) if Instant::now() < last => bytes += count,
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn refuse_body(desk: &mut Desk, status: u16, detail: &str) -> Option<usize> {
    refuse(&mut desk.answer, status, detail);
    None
}

fn refuse_chunk(desk: &mut Desk, error: ChunkError, bytes_max: usize) -> Option<usize> {
    match error {
        ChunkError::Syntax => refuse_body(desk, 400, "the chunks of the body are not spelled as HTTP/1.1 has them"),
        ChunkError::TooLarge => refuse_body(desk, 413, &too_large(bytes_max)),
    }
}

const TOO_SLOW: &str = "the body of the request did not come in time";

fn too_large(bytes_max: usize) -> String {
    format!("a body has at most {bytes_max} bytes here (proto-max-bulk-len)")
}

fn status_of(error: HeadError) -> u16 {
    match error {
        HeadError::TooLarge => 431,
        HeadError::Version => 505,
        HeadError::Expectation => 417,
        HeadError::TransferEncoding => 501,
        HeadError::Syntax
        | HeadError::BareLineFeed
        | HeadError::Host
        | HeadError::ContentLength
        | HeadError::TwoLengths => 400,
    }
}
