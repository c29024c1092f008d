//! A connection whose script is debugged: bytes between its client and the thread on which the script runs.
//!
//! ```text
//! client ──► connection's task ──► thread: Lua stands still, or runs a line ──► lines of text ──► task ──► gate ──► client
//! ```
//!
//! A script that waits for a person must not wait on a thread of the runtime, so that it gets one of its own; the task
//! goes on driving the socket. The script holds no lock while it waits (`commands/src/script_debug.rs`).
//!
//! Deliberately not here: what is said on the way, and what the script's commands run on.
//!
//! Invariants: a client that has gone takes its channels along, and the script runs on without it; what it sends is read
//! whatever the script does, so that its going is seen; other clients are held back exactly as long as the thread of a
//! session with SYNC is there; lines pass the gate as replies do.

use super::{Connection, End, READ_BYTES, Stream, Watching, poll_read_into};
use crate::clients::Client;
use crate::serve::Server;
use commands::run::Engine;
use commands::{DebugLine, DebugMode, Debugging, Session};
use journal::Position;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use tokio::sync::mpsc;

/// Bytes of the client's that wait for the script: one that sends more has not waited for any answer, and is cut off.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// What a read that waits is counted for beside its bytes.
const READ_OVERHEAD_BYTES: usize = 64;
/// Stack of a script's thread: Lua nests functions of C 200 deep, buffers of some KiB each, and once more in code that is
/// run while it stands still.
const STACK_BYTES: usize = 16 << 20;
/// Answers that wait for the client.
const ANSWERS_COUNT_MAX: usize = 4;

/// What the thread has for the client.
struct Told {
    bytes: Vec<u8>,
    revealed: Position,
}

/// The thread's end of the way.
struct Line {
    to_client: mpsc::Sender<Told>,
    from_client: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl DebugLine for Line {
    fn send(&mut self, bytes: &[u8], revealed: Position) {
        // Whether the client is still there shows when it is waited for.
        drop(self.to_client.blocking_send(Told { bytes: bytes.to_vec(), revealed }));
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let bytes = self.from_client.blocking_recv()?;
        self.waiting_bytes.fetch_sub(bytes.len() + READ_OVERHEAD_BYTES, Ordering::Relaxed);
        Some(bytes)
    }

    fn is_gone(&self) -> bool {
        self.to_client.is_closed()
    }
}

/// Other clients are held back.
struct Alone(Arc<Server>);

impl Alone {
    fn of(server: &Arc<Server>) -> Alone {
        server.clients.hold_back(true);
        Alone(Arc::clone(server))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.clients.hold_back(false);
    }
}

/// Runs a session to its end, on this thread.
fn run(
    server: &Server,
    client: &Client,
    mut session: Session,
    debugging: &Debugging,
    line: Line,
    alone: Option<Alone>,
) {
    tracing::info!(client = client.id(), mode = ?debugging.mode, "a script is debugged");
    let to_client = line.to_client.clone();
    let observer = Watching { server, client, timer: Cell::new(server.statistics.timer()) };
    let (keyspace, journal) = (&server.node.keyspace, &server.node.journal);
    let engine = Engine { keyspace, journal, host: server.host(), observer: &observer };
    let mut debugged = debugging.run(engine, &mut session, &|| server.node.moment(), Box::new(line));
    drop(alone);
    server.node.discard(std::mem::take(&mut debugged.scratch.garbage));
    server.node.let_serve(std::mem::take(&mut debugged.scratch.ready));
    tracing::info!(client = client.id(), "a debugged script has ended");
    drop(to_client.blocking_send(Told { bytes: debugged.reply, revealed: debugged.revealed }));
}

impl<S: Stream, const KEEPS_REPLIES: bool> Connection<S, KEEPS_REPLIES> {
    /// Has a script run under the debugger of this connection's client, after which the connection ends.
    pub(super) async fn debug(&mut self, debugging: &Debugging) -> Result<Option<End>, End> {
        if KEEPS_REPLIES {
            self.reply_error("ERR a script is debugged over RESP only");
            return Ok(None);
        }
        let Some(counted) = self.server.host().scripts().begin_debugging() else {
            self.reply_error("ERR too many scripts are debugged");
            return Ok(None);
        };
        let (to_client, mut told) = mpsc::channel(ANSWERS_COUNT_MAX);
        let (to_script, from_client) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let line = Line { to_client, from_client, waiting_bytes: Arc::clone(&waiting_bytes) };
        let (server, client) = (Arc::clone(&self.server), Arc::clone(&self.client));
        let (session, debugging) = (self.session.clone(), debugging.clone());
        let alone = (debugging.mode == DebugMode::Sync).then(|| Alone::of(&server));
        let thread = std::thread::Builder::new().name("debugged".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            run(&server, &client, session, &debugging, line, alone);
            // The process does not end before this: nothing of the server may be held any more.
            drop((server, client));
            drop(counted);
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for a debugged script");
            self.reply_error("ERR there is no thread for a debugged script");
            return Ok(None);
        }
        let client = Arc::clone(&self.client);
        let _debugging = client.debugging();
        while let Some(Told { bytes, revealed }) = self.hear(&to_script, &waiting_bytes, &mut told).await? {
            self.session.revealed = self.session.revealed.max(revealed);
            self.out.extend_from_slice(&bytes);
            self.flush().await?;
        }
        self.client.close();
        Ok(Some(End::Closed))
    }

    /// Passes what the client sends on to the script, until there is something for the client; `None` when the script has
    /// ended.
    async fn hear(
        &mut self,
        to_script: &mpsc::UnboundedSender<Vec<u8>>,
        waiting_bytes: &AtomicUsize,
        told: &mut mpsc::Receiver<Told>,
    ) -> Result<Option<Told>, End> {
        let (client, stream) = (Arc::clone(&self.client), &mut self.stream);
        poll_fn(|ctx| {
            if client.is_killed(ctx) {
                return Poll::Ready(Err(End::Killed));
            }
            loop {
                if let Poll::Ready(told) = told.poll_recv(ctx) {
                    return Poll::Ready(Ok(told));
                }
                let mut bytes = Vec::with_capacity(READ_BYTES);
                let count = match poll_read_into(Pin::new(&mut *stream), ctx, &mut bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                    Poll::Ready(Ok(count)) => count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => return Poll::Pending,
                };
                client.count_in(count);
                bytes.shrink_to_fit();
                let more = count + READ_OVERHEAD_BYTES;
                if WAITING_BYTES_MAX < waiting_bytes.fetch_add(more, Ordering::Relaxed) + more {
                    return Poll::Ready(Err(End::OverLimit));
                }
                // A script that has ended says so by `told`.
                drop(to_script.send(bytes));
            }
        })
        .await
    }
}
