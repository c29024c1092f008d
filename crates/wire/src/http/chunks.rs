//! Chunked bodies, decoded as they come (RFC 9112 §7.1).

/// Longest line of a chunked body: a size with its extensions, or a trailer.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Most bytes of all trailers of a body.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Why a chunked body is refused. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A size, a line end or a trailer is not spelled as it must be.
    Syntax,
    /// The body is longer than was allowed.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// A line with a size is due.
    Size,
    /// This many bytes of a chunk are due.
    Data(u64),
    /// The line end behind a chunk is due.
    DataEnd,
    /// Trailers, and the empty line behind them.
    Trailer,
    Done,
}

/// Decodes a chunked body as it comes.
#[derive(Debug)]
pub struct Chunks {
    state: ChunkState,
    trailer_bytes: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { state: ChunkState::Size, trailer_bytes: 0 }
    }
}

impl Chunks {
    /// Whether the body has come whole.
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Decodes what there is, appending the body to `out`, which grows to no more than `out_bytes_max`. Returns how many
    /// bytes of `input` are done with: those behind them are to be shown again with more, or belong to the next request
    /// when the body is done.
    ///
    /// # Errors
    /// See [`ChunkError`].
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, out_bytes_max: usize) -> Result<usize, ChunkError> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                ChunkState::Done => return Ok(at),
                ChunkState::Size => {
                    let Some((line, bytes)) = chunk_line(rest)? else { return Ok(at) };
                    let size = chunk_size(line).ok_or(ChunkError::Syntax)?;
                    if (out_bytes_max.saturating_sub(out.len()) as u64) < size {
                        return Err(ChunkError::TooLarge);
                    }
                    at += bytes;
                    self.state = if size == 0 { ChunkState::Trailer } else { ChunkState::Data(size) };
                }
                ChunkState::Data(due) => {
                    let taken = rest.len().min(usize::try_from(due).unwrap_or(usize::MAX));
                    if taken == 0 {
                        return Ok(at);
                    }
                    out.extend_from_slice(&rest[..taken]);
                    at += taken;
                    let due = due - taken as u64;
                    self.state = if due == 0 { ChunkState::DataEnd } else { ChunkState::Data(due) };
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok(at),
                    _ => return Err(ChunkError::Syntax),
                },
                ChunkState::Trailer => {
                    let Some((line, bytes)) = chunk_line(rest)? else { return Ok(at) };
                    self.trailer_bytes += bytes;
                    if TRAILER_BYTES_MAX < self.trailer_bytes {
                        return Err(ChunkError::TooLarge);
                    }
                    at += bytes;
                    if line.is_empty() {
                        self.state = ChunkState::Done;
                    } else if !line.contains(&b':') {
                        return Err(ChunkError::Syntax);
                    }
                }
            }
        }
    }
}

/// The line that `input` begins with, without its end, and its bytes with it. `None` when it has not come whole.
fn chunk_line(input: &[u8]) -> Result<Option<(&[u8], usize)>, ChunkError> {
    let within = &input[..input.len().min(CHUNK_LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() < CHUNK_LINE_BYTES_MAX { Ok(None) } else { Err(ChunkError::Syntax) };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(ChunkError::Syntax)?;
    if line.contains(&b'\r') { Err(ChunkError::Syntax) } else { Ok(Some((line, end + 1))) }
}

/// Hexadecimal digits, and extensions that mean nothing here.
fn chunk_size(line: &[u8]) -> Option<u64> {
    /// More digits than any size that could be meant.
    const DIGITS_MAX: usize = 15;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || DIGITS_MAX < digits.len() {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| Some(size << 4 | u64::from((*digit as char).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unchunk(text: &[u8], step: usize, bytes_max: usize) -> Result<(Vec<u8>, usize), ChunkError> {
        let (mut chunks, mut out, mut done, mut shown) = (Chunks::default(), Vec::new(), 0, 0);
        while !chunks.is_done() && shown < text.len() {
            shown = text.len().min(shown + step);
            done += chunks.decode(&text[done..shown], &mut out, bytes_max)?;
        }
        assert!(chunks.is_done(), "{}", text.escape_ascii());
        Ok((out, done))
    }

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let text = b"5\r\nhello\r\n1;ext=1\r\n \r\n005 \r\nworld\r\n0\r\nTrailer: x\r\n\r\nGET ";
        for step in 1..text.len() {
            assert_eq!(unchunk(text, step, 11), Ok((b"hello world".to_vec(), text.len() - 4)), "{step}");
        }
        assert_eq!(unchunk(text, 7, 10), Err(ChunkError::TooLarge));
    }

    #[test]
    fn chunks_that_are_spelled_wrong_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5\nhello",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "1234567890abcdef\r\n",
            " 5\r\n",
            "0\r\nnonsense\r\n\r\n",
            "1\rx\r\n",
        ] {
            let refused = Chunks::default().decode(text.as_bytes(), &mut Vec::new(), 100);
            assert_eq!(refused, Err(ChunkError::Syntax), "{text:?}");
        }
        let endless = "0".repeat(CHUNK_LINE_BYTES_MAX);
        assert_eq!(Chunks::default().decode(endless.as_bytes(), &mut Vec::new(), 100), Err(ChunkError::Syntax));
        let huge = "fffffffffffffff\r\n";
        assert_eq!(Chunks::default().decode(huge.as_bytes(), &mut Vec::new(), 100), Err(ChunkError::TooLarge));
    }
}
