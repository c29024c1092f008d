//! The gate: no reply leaves before the state it reveals is as safe as this node promises.
//!
//! In every mode the bytes of a revealed batch are in the page cache first, so that they outlive `kill -9`; in
//! `always` they are on the device first. Refusals and reads wait alike: they too reveal what was written.

use crate::node::Node;
use journal::{Error, Position, SyncMode};
use std::future::poll_fn;
use std::task::Poll;

impl Node {
    /// Whether a reply that reveals everything before `revealed` may leave now. One or two atomic loads.
    #[inline]
    pub fn is_settled(&self, revealed: Position) -> bool {
        match self.journal.sync_mode() {
            SyncMode::Always => revealed <= self.journal.durable(),
            SyncMode::EverySec | SyncMode::Os => revealed <= self.journal.written(),
        }
    }

    /// Waits until a reply that reveals everything before `revealed` may leave.
    ///
    /// Gives the other connections that are ready one turn first, so that one `write`, or one sync, serves all of
    /// them. Replies that need not wait take that turn too: all requests at hand are read before the first reply is
    /// sent, so clients answer in bunches, and each look for events finds more of them (ADR 0003).
    ///
    /// # Errors
    /// The journal cannot get it there: what was written is then unknown, and the connection must say so.
    pub async fn settle(&self, revealed: Position) -> Result<(), Error> {
        if self.is_settled(revealed) {
            one_turn().await;
            return Ok(());
        }
        if self.journal.sync_mode() == SyncMode::Always {
            return self.durable(revealed).await;
        }
        one_turn().await;
        self.journal.write_through(revealed)
    }

    /// Waits until everything before `end` is on the device.
    ///
    /// # Errors
    /// The journal has stopped or is full.
    pub async fn durable(&self, end: Position) -> Result<(), Error> {
        if end <= self.journal.durable() {
            return Ok(());
        }
        self.journal.request_sync();
        poll_fn(|ctx| self.journal.poll_durable(end, ctx)).await
    }
}

/// Lets every other task that is ready now run once.
async fn one_turn() {
    let mut yielded = false;
    poll_fn(|ctx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        ctx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
