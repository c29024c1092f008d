//! Append-only files: the commands in them, one after the other.
//!
//! ```text
//! *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n …        as clients send them
//! #TS:1700000000\r\n                                 when those that follow ran
//! ```
//! Deliberately not here: running them, and what an unfinished end means.
//!
//! Invariant: memory grows with bytes read, never with a count that was announced.

use std::fmt;
use std::io::Read;
use wire::args::{Args, Ranges};
use wire::request::{Limits, Login, Parsed, RequestParser};

/// Bytes asked of the system at a time.
const READ_BYTES: usize = 256 << 10;
/// Room that is kept from one command to the next.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Why the commands cannot be read on.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The system refused.
    Io(std::io::Error),
    /// Something else stands where a command must begin or go on.
    Broken {
        /// Where the command begins.
        offset_bytes: u64,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "cannot be read: {error}"),
            ReadError::Broken { offset_bytes, what } => write!(f, "is damaged at byte {offset_bytes}: {what}"),
        }
    }
}

/// What stands next.
pub(super) enum Next<'r> {
    /// A command, and where it begins.
    Command(u64, Args<'r>),
    /// Nothing; `unfinished_bytes` of a command that was not written to its end.
    End {
        /// 0 when the file ends with a command.
        unfinished_bytes: u64,
    },
}

/// Reads commands.
pub(super) struct CommandsReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Where the next command begins in the buffer, and where the buffer begins in the file.
    start: usize,
    passed_bytes: u64,
    parser: RequestParser,
    ranges: Ranges,
    limits: Limits,
}

enum Step {
    Command(usize),
    Pass(usize),
    More,
}

impl<R: Read> CommandsReader<R> {
    /// Of the bytes that `ahead` begins and `inner` continues; the first is byte `offset_bytes` of the file.
    pub(super) fn new(ahead: Vec<u8>, inner: R, offset_bytes: u64) -> Self {
        CommandsReader {
            inner,
            buffer: ahead,
            start: 0,
            passed_bytes: offset_bytes,
            parser: RequestParser::new(),
            ranges: Ranges::new(),
            limits: Limits::standard(Login::Done),
        }
    }

    /// The next command.
    ///
    /// # Cost
    /// No copy, but for what a read left unfinished.
    pub(super) fn read_next(&mut self) -> Result<Next<'_>, ReadError> {
        loop {
            match self.step()? {
                Step::Command(bytes) => {
                    let (begin, at) = (self.start, self.passed_bytes + self.start as u64);
                    self.start += bytes;
                    return Ok(Next::Command(at, self.ranges.args(&self.buffer[begin..self.start])));
                }
                Step::Pass(bytes) => self.start += bytes,
                Step::More if self.read_more()? => {}
                Step::More => return Ok(Next::End { unfinished_bytes: (self.buffer.len() - self.start) as u64 }),
            }
        }
    }

    fn step(&mut self) -> Result<Step, ReadError> {
        let unread = &self.buffer[self.start..];
        match unread.first() {
            None => Ok(Step::More),
            Some(b'#') => {
                Ok(unread.iter().position(|byte| *byte == b'\n').map_or(Step::More, |end| Step::Pass(end + 1)))
            }
            Some(b'*') => match self.parser.parse(unread, &self.limits, &mut self.ranges) {
                Ok(Parsed::Command { bytes }) => Ok(Step::Command(bytes)),
                Ok(Parsed::Empty { .. }) => Err(self.broken("a command without arguments")),
                Ok(Parsed::Incomplete { .. }) => Ok(Step::More),
                Err(error) => Err(self.broken(&error.to_string())),
            },
            Some(byte) => Err(self.broken(&format!("a command cannot begin with {:?}", char::from(*byte)))),
        }
    }

    fn broken(&self, what: &str) -> ReadError {
        ReadError::Broken { offset_bytes: self.passed_bytes + self.start as u64, what: what.to_owned() }
    }

    /// Reads some more bytes behind those of the unfinished command. Returns whether there were any.
    fn read_more(&mut self) -> Result<bool, ReadError> {
        self.buffer.drain(..self.start);
        self.passed_bytes += self.start as u64;
        self.start = 0;
        if self.buffer.len() < SPARE_BYTES_MAX {
            self.buffer.shrink_to(SPARE_BYTES_MAX);
        }
        let read = (&mut self.inner).take(READ_BYTES as u64).read_to_end(&mut self.buffer);
        read.map(|read| 0 < read).map_err(ReadError::Io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands in `bytes`, shown in pieces, and the bytes left over at the end.
    fn commands(bytes: &[u8], ahead_bytes: usize) -> Result<(Vec<String>, u64), ReadError> {
        let (ahead, rest) = bytes.split_at(ahead_bytes.min(bytes.len()));
        let mut reader = CommandsReader::new(ahead.to_vec(), rest, 100);
        let mut all = Vec::new();
        loop {
            match reader.read_next()? {
                Next::Command(at, args) => {
                    let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
                    all.push(format!("{at} {}", words.join(" ")));
                }
                Next::End { unfinished_bytes } => return Ok((all, unfinished_bytes)),
            }
        }
    }

    const TWO: &[u8] =
        b"#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#x\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n";

    #[test]
    fn commands_and_annotations_are_told_apart_wherever_the_bytes_are_cut() {
        for ahead_bytes in 0..=TWO.len() {
            let (all, left) = commands(TWO, ahead_bytes).unwrap();
            assert_eq!(all, ["116 SELECT 0", "142 SET k \r\n"]);
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn an_unfinished_end_is_measured_and_anything_else_refused() {
        for cut in 43..TWO.len() {
            let (all, left) = commands(&TWO[..cut], 0).unwrap();
            assert_eq!((all.len(), left), (1, cut as u64 - 42), "cut at {cut}");
        }
        for bytes in [&b"SET k v\r\n"[..], b"*1\r\n+PING\r\n", b"*0\r\n", b"*-1\r\n", b"*x\r\n", b"\0\0\0"] {
            assert!(matches!(commands(bytes, 0), Err(ReadError::Broken { offset_bytes: 100, .. })), "{bytes:?}");
        }
    }
}
