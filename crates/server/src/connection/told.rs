//! What a door's connection is sent without asking: the messages of its subscriptions, as they come in.
//!
//! ```text
//! feed ─► told: appended to the replies, as pushes ─► the door's words for them ─► settle ─► send ─► told_is_written
//! ```
//!
//! Deliberately not here: how messages are spelled for the client, which the door says.
//!
//! Invariant: bytes count against the bounds of the feed until [`Connection::told_is_written`].

use super::{Connection, End, Stream};
use crate::statistics::Counter;
use std::time::Duration;

impl<S: Stream> Connection<S, true> {
    /// Waits until there is something in the feed, which is then behind [`Connection::replies`]. Returns false when there was
    /// nothing for so long. What the client sends meanwhile is thrown away.
    ///
    /// # Errors
    /// The connection is to end: the client has gone, it was killed, or too much was waiting for it.
    pub async fn told(&mut self, quiet: Duration) -> Result<bool, End> {
        let quiet = std::pin::pin!(tokio::time::sleep(quiet));
        let is_quiet = self.unless_killed_or_told(quiet).await?.is_some();
        self.input.clear();
        if !is_quiet {
            self.take_feed();
        }
        Ok(!is_quiet)
    }

    /// What was told has been written.
    pub fn told_is_written(&mut self) {
        self.has_fed = false;
        self.client.feed.written();
    }

    /// Counts the end of a connection that was told more than it took, if it is one.
    pub fn count_overrun(&self) {
        if self.client.feed.has_overrun() {
            self.server.statistics.count(Counter::OutputLimitReached, 1);
        }
    }
}
