//! One command being run: what its handler sees, and what may follow.

use crate::error::Error;
use crate::host::Host;
use crate::script_debug::Debugging;
use crate::session::Session;
use crate::slices::Begun;
use crate::waiting::Waiter;
use crate::within::Observer;
use base::TimeMs;
use base::number::parse_i64;
use keyspace::{Event, Tx};
use std::sync::Arc;
use wire::args::Args;
use wire::reply::Reply;

/// A handler. It reads its arguments, looks at keys, changes them last, and writes exactly one reply, or returns
/// the error to reply with. It may be run anew from the start as long as it changed nothing (`Error::Spilled`).
pub type Handler = fn(&mut Call<'_>) -> Result<Flow, Error>;

/// What the connection does after a command.
#[derive(Debug)]
pub enum Flow {
    /// Goes on.
    Done,
    /// Closes once the reply is out.
    Close,
    /// The replies are pushes, which no CLIENT REPLY holds back.
    Subscribed,
    /// As `Subscribed`, and messages that already wait come before them.
    Unsubscribed,
    /// Waits for something before the reply is known; the handler has written none.
    Await(Await),
    /// The reply has begun, and goes on in slices between which others have their turn.
    Begun(Box<Begun>),
}

/// What a connection may wait for.
#[derive(Debug, Clone, PartialEq)]
pub enum Await {
    /// Everything this connection wrote is durable here (WAITAOF): `[local, replicas]` is the reply.
    Durable {
        /// How many local copies are asked for (0 or 1).
        local_count: i64,
        /// How many replicas are asked for.
        replica_count: i64,
        /// Milliseconds to wait; 0 is for ever.
        timeout_ms: u64,
    },
    /// Replicas have the connection's writes (WAIT): their number is the reply.
    Replicas {
        /// How many are asked for.
        replica_count: i64,
        /// Milliseconds to wait; 0 is for ever.
        timeout_ms: u64,
    },
    /// A key may have what was asked for: whoever changed it runs the command anew and hands over the reply. When the
    /// time is over first, the null array is the reply.
    Keys(Arc<Waiter>),
    /// A checkpoint of everything is durable (SAVE): +OK.
    Checkpoint,
    /// Time passes (DEBUG SLEEP): +OK.
    Sleep {
        /// Milliseconds.
        duration_ms: u64,
    },
    /// A script is stepped through by the client, whom nothing else is sent until its reply and the connection's end.
    Debug(Box<Debugging>),
    /// The server stops (SHUTDOWN).
    Shutdown {
        /// Write a checkpoint first.
        checkpoint: bool,
    },
}

/// See the module's text.
pub struct Call<'c> {
    /// The arguments; 0 is the command's name.
    pub args: Args<'c>,
    /// Where the reply goes.
    pub reply: Reply<'c>,
    /// The keys.
    pub tx: Tx<'c>,
    /// The connection.
    pub session: &'c mut Session,
    /// The node.
    pub host: &'c dyn Host,
    /// Who is told of the commands that this one runs.
    pub observer: &'c dyn Observer,
    /// Whether [`Flow::Await`] and [`Flow::Begun`] are possible. Inside MULTI and scripts it is not: who would wait there answers at once,
    /// as if its time were over, and replies are whole; the null array is written for whoever asks to wait nevertheless.
    pub may_wait: bool,
    /// Commands that may use more memory or disk are refused, with this.
    pub refuse_growth: Option<&'static str>,
}

impl<'c> Call<'c> {
    /// Argument `index`, which the arity promises.
    #[inline]
    pub fn arg(&self, index: usize) -> &'c [u8] {
        self.args.at(index)
    }

    /// Number of arguments, the name included.
    #[inline]
    pub fn arg_count(&self) -> usize {
        self.args.count()
    }

    /// Argument `index` as an integer.
    #[inline]
    pub fn integer(&self, index: usize) -> Result<i64, Error> {
        parse_i64(self.arg(index)).ok_or(Error::NotInteger)
    }

    /// Argument `index` as a float.
    pub fn float(&self, index: usize) -> Result<f64, Error> {
        base::number::parse_f64(self.arg(index)).ok_or(Error::NotFloat)
    }

    /// Whether argument `index` is this word, in any case. `word` is upper case.
    #[inline]
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Tells of something that happened to `key`, after it did; see [`Tx::notify`].
    #[inline]
    pub fn notify(&mut self, event: Event, name: &'static str, key: &[u8]) {
        self.tx.notify(event, name, key);
    }

    /// The time of the command.
    pub fn now(&self) -> TimeMs {
        self.tx.now()
    }

    /// Keys and fields that end then or before count as absent.
    pub fn horizon(&self) -> TimeMs {
        self.tx.horizon()
    }

    /// As [`Call::horizon`] where keys or fields are only counted: while what has ended is kept, it counts.
    pub fn horizon_of_counts(&self) -> TimeMs {
        if self.tx.keeps_ended() { TimeMs(0) } else { self.horizon() }
    }

    /// Whether what is to end at `at` is removed, or not stored to begin with.
    pub fn ends_at_once(&self, at: TimeMs) -> bool {
        at <= self.now() && !self.tx.keeps_ended()
    }
}
