//! The bytes of a file as they are read: buffered, counted, summed, and kept where a value is wanted whole.
//!
//! Deliberately not here: what the bytes say.
//!
//! Invariants: every byte that is passed is summed once; what is kept never grows by more than was read.

use super::FileError;
use crate::string;
use base::Reader;
use crc_fast::{CrcAlgorithm, Digest};
use std::io::Read;

/// Bytes asked of the system at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// Memory of a value that is held until the next one is read; more is given back.
const SPARE_BYTES_MAX: usize = 1 << 20;

const BROKEN_FORM: &str = "a string has an unknown form";

/// A cursor over a file.
pub(crate) struct Source<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// The next byte, and the end of what was read.
    start: usize,
    end: usize,
    /// Bytes of the buffer before this one are in `digest`.
    summed: usize,
    /// Bytes of the file before the buffer's first.
    passed_bytes: u64,
    digest: Digest,
    kept: Vec<u8>,
    keeping: Keeping,
}

/// Whether what is passed is kept, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    No,
    /// As long as it is no more than this.
    Upto(usize),
    /// It was more.
    TooMuch,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Source {
            inner,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            summed: 0,
            passed_bytes: 0,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            kept: Vec::new(),
            keeping: Keeping::No,
        }
    }

    /// Bytes of the file that were passed.
    pub(crate) fn position_bytes(&self) -> u64 {
        self.passed_bytes + self.start as u64
    }

    /// CRC-64 of everything that was passed.
    pub(crate) fn crc(&mut self) -> u64 {
        self.sum();
        self.digest.finalize()
    }

    fn sum(&mut self) {
        self.digest.update(&self.buffer[self.summed..self.start]);
        self.summed = self.start;
    }

    /// What was read ahead, and where more comes from.
    pub(crate) fn into_rest(self) -> (Vec<u8>, R) {
        (self.buffer[self.start..self.end].to_vec(), self.inner)
    }

    pub(crate) fn broken(&self, what: &'static str) -> FileError {
        FileError::Broken { offset_bytes: self.position_bytes(), what }
    }

    /// Has at least `count` bytes in the buffer.
    #[inline]
    fn ensure(&mut self, count: usize) -> Result<(), FileError> {
        if count <= self.end - self.start { Ok(()) } else { self.read_more(count) }
    }

    #[cold]
    fn read_more(&mut self, count: usize) -> Result<(), FileError> {
        assert!(count <= BUFFER_BYTES, "what is wanted at once fits the buffer");
        self.sum();
        self.buffer.copy_within(self.start..self.end, 0);
        self.passed_bytes += self.start as u64;
        (self.start, self.end, self.summed) = (0, self.end - self.start, 0);
        while self.end < count {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(FileError::Ended { offset_bytes: self.passed_bytes + self.end as u64 }),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::Io(error)),
            }
        }
        Ok(())
    }

    #[inline]
    fn pass(&mut self, count: usize) {
        if let Keeping::Upto(bytes_max) = self.keeping {
            self.keep(count, bytes_max);
        }
        self.start += count;
    }

    #[inline]
    fn keep(&mut self, count: usize, bytes_max: usize) {
        if bytes_max - self.kept.len() < count {
            self.keeping = Keeping::TooMuch;
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(&self.buffer[self.start..self.start + count]);
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        self.ensure(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.buffer[self.start..self.start + N]);
        self.pass(N);
        Ok(bytes)
    }

    /// Passes `count` bytes.
    #[inline]
    pub(crate) fn skip(&mut self, mut count: u64) -> Result<(), FileError> {
        loop {
            let here = count.min((self.end - self.start) as u64);
            self.pass(here as usize);
            count -= here;
            if count == 0 {
                return Ok(());
            }
            self.ensure(1)?;
        }
    }

    /// The next length.
    #[inline]
    pub(crate) fn length(&mut self) -> Result<u64, FileError> {
        match self.head()? {
            string::Head::Length(length) => Ok(length),
            string::Head::Form(_) => Err(self.broken("a length was expected where a string form stands")),
        }
    }

    #[inline]
    fn head(&mut self) -> Result<string::Head, FileError> {
        self.ensure(1)?;
        let bytes = string::head_bytes(self.buffer[self.start]);
        self.ensure(bytes)?;
        let head = string::head(&mut Reader::new(&self.buffer[self.start..self.start + bytes]));
        let head = head.map_err(|_| self.broken("a length has an unknown width"))?;
        self.pass(bytes);
        Ok(head)
    }

    /// Passes a string.
    #[inline]
    pub(crate) fn skip_string(&mut self) -> Result<(), FileError> {
        let bytes = match self.head()? {
            string::Head::Length(length) => length,
            string::Head::Form(form @ 0..=2) => 1 << form,
            string::Head::Form(string::FORM_LZF) => {
                let packed_bytes = self.length()?;
                self.length()?;
                packed_bytes
            }
            string::Head::Form(_) => return Err(self.broken(BROKEN_FORM)),
        };
        self.skip(bytes)
    }

    /// Keeps what `walk` passes, up to `bytes_max` bytes. Returns whether that was enough; [`Source::kept`] gives it.
    pub(crate) fn keeping(
        &mut self,
        bytes_max: usize,
        walk: impl FnOnce(&mut Self) -> Result<(), FileError>,
    ) -> Result<bool, FileError> {
        self.kept.clear();
        self.kept.shrink_to(SPARE_BYTES_MAX);
        self.keeping = Keeping::Upto(bytes_max);
        let walked = walk(self);
        let is_whole = self.keeping != Keeping::TooMuch;
        self.keeping = Keeping::No;
        walked.map(|()| is_whole)
    }

    /// What was kept last.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The next string, of at most `bytes_max` bytes.
    pub(crate) fn string(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), FileError> {
        const TOO_LONG: &str = "a name is longer than any can be";
        if !self.keeping(bytes_max, Source::skip_string)? {
            return Err(self.broken(TOO_LONG));
        }
        let string = string::string(&mut Reader::new(&self.kept), bytes_max);
        let string = string.map_err(|_| self.broken("a compressed string does not expand"))?;
        out.clear();
        out.extend_from_slice(&string);
        Ok(())
    }
}
