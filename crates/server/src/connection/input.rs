//! What a connection receives: room for it, and lending a large argument to the key that it is put at.
//!
//! ```text
//! read ─► input ─► lent while its commands run ─► taken back, unless a key now holds most of it
//! ```
//!
//! Deliberately not here: what the bytes say (`wire::request`), waiting for them beside other things (`connection.rs`).
//!
//! Invariant: bytes that a key holds are not written to again: what follows them goes on in a buffer of its own.

use super::{Connection, End, IDLE_BUFFER_BYTES_MAX, Stream};
use crate::statistics::Counter;
use keyspace::SHARED_BYTES_MIN;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes asked for in one read.
pub(super) const READ_BYTES: usize = 16 << 10;
/// Once one in this many of the bytes announced has come there is room for all of them.
const AHEAD_PART: usize = 8;

/// The input while its commands run.
pub(super) enum Lent {
    /// To nobody.
    Own(Vec<u8>),
    /// To keys whose values are most of it.
    Shared(Arc<Vec<u8>>),
}

impl Deref for Lent {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Lent::Own(input) => input,
            Lent::Shared(input) => input,
        }
    }
}

impl<S: Stream, const KEEPS_REPLIES: bool> Connection<S, KEEPS_REPLIES> {
    /// Takes the input for a pass over it, to be lent where it may hold a large argument.
    #[inline]
    pub(super) fn lend_input(&mut self) -> Lent {
        let input = std::mem::take(&mut self.input);
        if input.len() < SHARED_BYTES_MIN {
            return Lent::Own(input);
        }
        let input = Arc::new(input);
        self.scratch.source = Some(Arc::clone(&input));
        Lent::Shared(input)
    }

    /// The input after a pass: all of it, or what is not done with yet when a key holds the rest.
    #[inline]
    pub(super) fn take_back(&mut self, input: Lent) -> Vec<u8> {
        match input {
            Lent::Own(input) => input,
            Lent::Shared(input) => {
                self.scratch.source = None;
                Arc::try_unwrap(input).unwrap_or_else(|shared| shared[std::mem::take(&mut self.done)..].to_vec())
            }
        }
    }

    /// Reads what there is, making room for `bytes_missing`. What the client is sent without asking comes first.
    pub(super) async fn read(&mut self, bytes_missing: usize) -> Result<(), End> {
        self.make_room(bytes_missing);
        let (query_bytes, free_bytes) = (self.input.len(), self.input.capacity() - self.input.len());
        self.client.set_buffers(query_bytes, free_bytes, self.out.len());
        let queued_bytes = self.session.transaction.as_ref().map_or(0, |transaction| transaction.queued_bytes());
        if self.server.settings.query_bytes_max() < query_bytes + queued_bytes {
            self.server.statistics.count(Counter::QueryLimitReached, 1);
            return Err(End::OverLimit);
        }
        let (client, stream, input) = (&self.client, &mut self.stream, &mut self.input);
        let count = poll_fn(|ctx| {
            let told = |is_killed: bool| match (is_killed, client.feed.is_waiting()) {
                (true, _) => Poll::Ready(Err(End::Killed)),
                (false, true) => Poll::Ready(Ok(None)),
                (false, false) => Poll::Pending,
            };
            if let Poll::Ready(told) = told(client.was_killed()) {
                return Poll::Ready(told);
            }
            match poll_read_into(Pin::new(&mut *stream), ctx, input) {
                Poll::Ready(read) => Poll::Ready(read.map(Some).map_err(End::from)),
                // Who comes to tell from here on wakes this task.
                Poll::Pending => told(client.is_killed(ctx)),
            }
        })
        .await?;
        let Some(count) = count else {
            self.take_feed();
            return Ok(());
        };
        if count == 0 {
            return Err(End::Closed);
        }
        self.client.count_in(count);
        Ok(())
    }

    /// Moves an unfinished command to the front and grows the buffer towards its end: by what has already come, so that
    /// announcing costs nothing, and once an eighth has come by all that was announced, since growing by steps copies.
    fn make_room(&mut self, bytes_missing: usize) {
        if self.done > 0 {
            self.input.drain(..self.done);
            self.done = 0;
        }
        if self.input.is_empty() && IDLE_BUFFER_BYTES_MAX < self.input.capacity() {
            self.input = Vec::new();
        }
        let come = self.input.len();
        let ahead = if bytes_missing / AHEAD_PART <= come { bytes_missing } else { come.max(READ_BYTES) };
        let wanted = bytes_missing.min(ahead).max(READ_BYTES / 2);
        if self.input.capacity() - come < wanted {
            self.input.reserve(wanted.max(READ_BYTES));
        }
    }
}

/// Reads into the spare capacity of `input`.
pub(super) fn poll_read_into(
    stream: Pin<&mut impl AsyncRead>,
    ctx: &mut Context<'_>,
    input: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let before = input.len();
    let mut buffer = ReadBuf::uninit(input.spare_capacity_mut());
    match stream.poll_read(ctx, &mut buffer) {
        Poll::Ready(Ok(())) => {
            let count = buffer.filled().len();
            set_len(input, before + count);
            Poll::Ready(Ok(count))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

#[expect(unsafe_code, reason = "zeroing 16 KiB before each read would cost more than parsing it")]
fn set_len(input: &mut Vec<u8>, bytes: usize) {
    assert!(bytes <= input.capacity(), "a read fills no more than the spare capacity");
    // SAFETY: the bytes up to the old length were initialised, and `ReadBuf` vouches for those behind it.
    unsafe { input.set_len(bytes) }
}
