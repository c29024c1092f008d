//! What a connection sends: its replies past the gate, with the large strings that were not copied into them.
//!
//! ```text
//! out      *2\r\n $4\r\n tiny\r\n $268435456\r\n │ \r\n
//! apart                                         └ the value, where its key holds it
//! ```
//!
//! What is large is sent in turns: others run after each, and what lay apart is freed once it has gone.
//!
//! Deliberately not here: how replies are spelled (`wire::reply`).
//!
//! Invariant: a value that is being sent stays as it was, whatever happens to its key.

use super::{Connection, End, IDLE_BUFFER_BYTES_MAX, Stream};
use crate::clients::Client;
use crate::statistics::Counter;
use base::SharedBytes;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Bytes that a client takes at most before others have their turn: the kernel copies them, and a reader may be as fast.
pub(super) const TURN_BYTES_MAX: usize = 256 << 10;

/// Bytes on their way out, in pieces that lie in different places.
struct Outgoing<'o> {
    out: &'o [u8],
    /// What goes between bytes of `out`, and is still to come.
    apart: std::vec::IntoIter<(usize, SharedBytes)>,
    out_done: usize,
    /// Of the first that is apart.
    apart_done: usize,
    /// All that has gone out.
    bytes: usize,
}

impl<'o> Outgoing<'o> {
    #[inline]
    fn new(out: &'o [u8], apart: Vec<(usize, SharedBytes)>) -> Self {
        Outgoing { out, apart: apart.into_iter(), out_done: 0, apart_done: 0, bytes: 0 }
    }

    /// What goes out next; nothing when everything has.
    #[inline]
    fn rest(&self) -> &[u8] {
        match self.apart.as_slice().first() {
            None => &self.out[self.out_done..],
            Some((place, _)) if self.out_done < *place => &self.out[self.out_done..*place],
            Some((_, bytes)) => &bytes[self.apart_done..],
        }
    }

    /// So much of [`Outgoing::rest`] has gone out.
    #[inline]
    fn advance(&mut self, count: usize) {
        self.bytes += count;
        match self.apart.as_slice().first() {
            Some((place, bytes)) if self.out_done == *place => {
                self.apart_done += count;
                if self.apart_done == bytes.len() {
                    drop(self.apart.next());
                    self.apart_done = 0;
                }
            }
            _ => self.out_done += count,
        }
    }
}

impl<S: Stream, const KEEPS_REPLIES: bool> Connection<S, KEEPS_REPLIES> {
    pub(super) fn check_output_limit(&self) -> Result<(), End> {
        let limit = self.server.output_bytes_max();
        // What it was sent without asking has bounds of its own.
        if limit == 0 || self.out.len() + self.scratch.apart.bytes() <= limit || self.has_fed {
            return Ok(());
        }
        self.server.statistics.count(Counter::OutputLimitReached, 1);
        Err(End::OverLimit)
    }

    /// Passes the gate, then writes the replies out.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if KEEPS_REPLIES || self.out.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.server.node.settle(self.session.revealed).await {
            // The replies in hand may claim what the journal does not hold: none of them may leave.
            tracing::error!(%error, "replies dropped: the journal cannot get their writes where they belong");
            self.out.clear();
            self.scratch.apart.truncate(0);
            let text = "MISCONF the journal cannot be written; the outcome of the last commands is unknown";
            self.reply_error(text);
            self.write().await?;
            return Err(End::Io);
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), End> {
        let apart = self.scratch.apart.take();
        let mut outgoing = Outgoing::new(&self.out, apart);
        while !write_turn(&self.client, &mut self.stream, &mut outgoing).await? {
            tokio::task::yield_now().await;
        }
        self.client.count_out(outgoing.bytes);
        self.out.clear();
        if std::mem::take(&mut self.has_fed) {
            self.client.feed.written();
        }
        if IDLE_BUFFER_BYTES_MAX < self.out.capacity() {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// Writes what the stream takes, waiting for it, until a turn is over. Returns whether everything has gone.
async fn write_turn<S: Stream>(client: &Client, stream: &mut S, outgoing: &mut Outgoing<'_>) -> Result<bool, End> {
    let turn_end = outgoing.bytes + TURN_BYTES_MAX;
    poll_fn(|ctx| {
        while !outgoing.rest().is_empty() && !client.was_killed() {
            if turn_end <= outgoing.bytes {
                return Poll::Ready(Ok(false));
            }
            let rest = outgoing.rest();
            match Pin::new(&mut *stream).poll_write(ctx, &rest[..rest.len().min(TURN_BYTES_MAX)]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                Poll::Ready(Ok(count)) => outgoing.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending if client.is_killed(ctx) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        if !outgoing.rest().is_empty() {
            return Poll::Ready(Err(End::Killed));
        }
        // A stream may hold back what it has taken, as TLS does.
        match Pin::new(&mut *stream).poll_flush(ctx) {
            Poll::Pending if client.is_killed(ctx) => Poll::Ready(Err(End::Killed)),
            flushed => flushed.map_ok(|()| true).map_err(End::from),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_apart_goes_out_in_its_place_whatever_the_socket_takes() {
        let shared = |bytes: &[u8]| SharedBytes::from(bytes.to_vec());
        let out = b"*2\r\n$3\r\n\r\n$2\r\n\r\n+OK\r\n";
        let apart = [(8, shared(b"abc")), (14, shared(b"de"))];
        let whole = b"*2\r\n$3\r\nabc\r\n$2\r\nde\r\n+OK\r\n";
        for step in 1..=whole.len() {
            let (mut outgoing, mut sent) = (Outgoing::new(out, apart.to_vec()), Vec::new());
            while !outgoing.rest().is_empty() {
                let count = outgoing.rest().len().min(step);
                sent.extend_from_slice(&outgoing.rest()[..count]);
                outgoing.advance(count);
            }
            assert_eq!((&sent[..], outgoing.bytes), (&whole[..], whole.len()), "{step}");
        }
    }
}
