//! One non-blocking connection of a load generator, and the epoll set it waits in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{Timespec, epoll::Event};
use rustix::io::Errno;

use crate::error::Error;
use crate::resp;

/// First size of a connection's read buffer; it doubles when one reply does not fit.
const INPUT_BYTES_START: usize = 32 << 10;
/// Events taken from the kernel per wait.
const EVENTS_MAX: usize = 128;

/// A socket with what is still to be sent and what was received but not yet whole.
///
/// Invariants: `out_sent <= out.len()`, `input_filled <= input.len()`.
pub struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    out_sent: usize,
    input: Vec<u8>,
    input_filled: usize,
}

impl Connection {
    /// Connects to `port` of the loopback address.
    pub fn open(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("connect"))?;
        stream.set_nodelay(true).map_err(Error::io("set nodelay"))?;
        stream.set_nonblocking(true).map_err(Error::io("set non-blocking"))?;
        Ok(Self { stream, out: Vec::new(), out_sent: 0, input: vec![0; INPUT_BYTES_START], input_filled: 0 })
    }

    /// The buffer to append commands to before [`Connection::flush`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what the socket takes; true when nothing is left.
    pub fn flush(&mut self) -> Result<bool, Error> {
        while self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(count) => self.out_sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(source) => return Err(Error::Io { op: "send commands", source }),
            }
        }
        self.out.clear();
        self.out_sent = 0;
        Ok(true)
    }

    /// Reads once, hands each whole reply to `on_reply`, and returns how many there were.
    ///
    /// # Errors
    /// [`Error::Refused`] for an error reply: the workloads have none that is expected.
    pub fn receive(&mut self, mut on_reply: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<u64, Error> {
        match self.stream.read(&mut self.input[self.input_filled..]) {
            Ok(0) => return Err(Error::Closed),
            Ok(count) => self.input_filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(source) => return Err(Error::Io { op: "read replies", source }),
        }
        let (mut at, mut replies) = (0, 0);
        while at < self.input_filled {
            let Some(bytes) = resp::reply_bytes(&self.input[at..self.input_filled])? else { break };
            let reply = &self.input[at..at + bytes];
            if reply[0] == b'-' {
                return Err(Error::Refused { reply: String::from_utf8_lossy(reply).trim_end().to_string() });
            }
            on_reply(reply)?;
            at += bytes;
            replies += 1;
        }
        self.input_keep_from(at);
        Ok(replies)
    }

    fn input_keep_from(&mut self, at: usize) {
        self.input.copy_within(at..self.input_filled, 0);
        self.input_filled -= at;
        if self.input_filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Replies.
    Read,
    /// Replies, and room to send the rest.
    ReadAndWrite,
}

impl Interest {
    /// What to wait for after a flush that sent everything, or did not.
    pub fn after_flush(all_sent: bool) -> Self {
        if all_sent { Self::Read } else { Self::ReadAndWrite }
    }

    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadAndWrite => EventFlags::IN | EventFlags::OUT,
        }
    }
}

/// One thing that happened: which connection, and whether there is something to read.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Index in the slice the poller was made of.
    pub connection: usize,
    /// Bytes, or the end of the stream, are there to be read.
    pub readable: bool,
}

/// The epoll set of all connections, level-triggered.
pub struct Poller {
    epoll: OwnedFd,
    interests: Vec<Interest>,
    events: Vec<Event>,
}

impl Poller {
    /// Waits for replies on all `connections` at first.
    pub fn new(connections: &[Connection]) -> Result<Self, Error> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(os("create an epoll set"))?;
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(&epoll, &connection.stream, EventData::new_u64(index as u64), Interest::Read.flags())
                .map_err(os("watch a connection"))?;
        }
        let interests = vec![Interest::Read; connections.len()];
        Ok(Self { epoll, interests, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Changes what connection `index` waits for; no system call when nothing changes.
    pub fn watch(&mut self, index: usize, connection: &Connection, interest: Interest) -> Result<(), Error> {
        if self.interests[index] == interest {
            return Ok(());
        }
        self.interests[index] = interest;
        epoll::modify(&self.epoll, &connection.stream, EventData::new_u64(index as u64), interest.flags())
            .map_err(os("watch a connection"))
    }

    /// Waits until something is ready or `patience` is over (`None`: as long as it takes), and replaces `ready`.
    pub fn wait(&mut self, patience: Option<Duration>, ready: &mut Vec<Ready>) -> Result<(), Error> {
        let timeout = patience.map(|patience| Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        });
        self.events.clear();
        ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(os("wait for replies")(error)),
        }
        let readable = EventFlags::IN | EventFlags::HUP | EventFlags::ERR;
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Ready { connection: event.data.u64() as usize, readable: flags.intersects(readable) }
        }));
        Ok(())
    }
}

fn os(op: &'static str) -> impl FnOnce(Errno) -> Error {
    move |error| Error::Io { op, source: error.into() }
}
