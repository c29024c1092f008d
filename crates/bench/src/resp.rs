//! The little RESP2 a load generator needs: encode a command, find where a reply ends, read a reply.
//!
//! Deliberately not `wire`: the bench must stay able to measure `wire`, so it shares no code with it, and it does
//! far less (no RESP3, no limits but the ones below, no streaming of parts of a reply).
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use crate::error::Error;

/// Arrays nested deeper than this are refused; no reply the bench asks for nests at all.
const DEPTH_MAX: u32 = 4;
/// The longest header line (`$123\r\n`, `+OK\r\n`, `-ERR ...\r\n`) that is looked for.
const LINE_BYTES_MAX: usize = 4096;

/// Appends one command as an array of bulk strings.
pub fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A reply, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+text`.
    Simple(String),
    /// `-text`.
    Error(String),
    /// `:n`.
    Integer(i64),
    /// `$n bytes`, or `None` for the null bulk string.
    Bulk(Option<Vec<u8>>),
    /// `*n`, of which only the count is of interest here.
    Array(usize),
}

/// How many bytes the reply at the start of `bytes` takes; `None` while it is not whole yet.
///
/// # Cost
/// One search for a line end; a bulk string's body is stepped over, not read.
pub fn reply_bytes(bytes: &[u8]) -> Result<Option<usize>, Error> {
    reply_end(bytes, 0, DEPTH_MAX)
}

/// As [`reply_bytes`], of an array only its header.
pub fn item_bytes(bytes: &[u8]) -> Result<Option<usize>, Error> {
    if bytes.first() == Some(&b'*') { Ok(line_at(bytes, 0)?.map(|(_, end)| end)) } else { reply_bytes(bytes) }
}

fn reply_end(bytes: &[u8], start: usize, depth_left: u32) -> Result<Option<usize>, Error> {
    let Some((line, end)) = line_at(bytes, start)? else { return Ok(None) };
    match line[0] {
        b'+' | b'-' | b':' => Ok(Some(end)),
        b'$' => {
            let body_end = usize::try_from(number(line)?).map_or(end, |body_bytes| end + body_bytes + 2);
            Ok((body_end <= bytes.len()).then_some(body_end))
        }
        b'*' if 0 < depth_left => {
            let mut at = end;
            for _ in 0..number(line)?.max(0) {
                match reply_end(bytes, at, depth_left - 1)? {
                    Some(next) => at = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(at))
        }
        byte => Err(Error::NotResp { byte }),
    }
}

/// The line starting at `start` without its end, and where the next one starts. Never an empty line.
fn line_at(bytes: &[u8], start: usize) -> Result<Option<(&[u8], usize)>, Error> {
    let rest = &bytes[start..bytes.len().min(start + LINE_BYTES_MAX)];
    match memchr::memchr(b'\r', rest) {
        Some(0) => Err(Error::NotResp { byte: b'\r' }),
        Some(at) if at + 1 < rest.len() => Ok(Some((&rest[..at], start + at + 2))),
        Some(_) => Ok(None),
        None if rest.len() == LINE_BYTES_MAX => Err(Error::NotResp { byte: rest[0] }),
        None => Ok(None),
    }
}

fn number(line: &[u8]) -> Result<i64, Error> {
    let digits = std::str::from_utf8(&line[1..]).ok();
    digits.and_then(|digits| digits.parse().ok()).ok_or(Error::NotResp { byte: line[0] })
}

/// Reads the reply that fills `bytes` exactly, as cut out with [`reply_bytes`].
pub fn read(bytes: &[u8]) -> Result<Reply, Error> {
    let Some((line, end)) = line_at(bytes, 0)? else { return Err(Error::NotResp { byte: 0 }) };
    let text = || String::from_utf8_lossy(&line[1..]).into_owned();
    Ok(match line[0] {
        b'+' => Reply::Simple(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Integer(number(line)?),
        b'$' if number(line)? < 0 => Reply::Bulk(None),
        b'$' => Reply::Bulk(Some(bytes[end..bytes.len() - 2].to_vec())),
        b'*' => Reply::Array(usize::try_from(number(line)?).unwrap_or(0)),
        byte => return Err(Error::NotResp { byte }),
    })
}

/// Elements that follow behind this reply.
pub fn element_count(reply: &Reply) -> usize {
    match reply {
        Reply::Array(count) => *count,
        Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Bulk(_) => 0,
    }
}

/// As [`element_count`], of bytes cut out with [`item_bytes`]; without copying them.
pub fn elements_announced(bytes: &[u8]) -> Result<usize, Error> {
    if bytes.first() == Some(&b'*') { read(bytes).map(|reply| element_count(&reply)) } else { Ok(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_only_at_its_last_byte() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":12\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*2\r\n:1\r\n$1\r\nx\r\n",
        ] {
            for cut in 0..reply.len() {
                assert_eq!(reply_bytes(&reply.as_bytes()[..cut]).unwrap(), None, "{reply:?} cut at {cut}");
            }
            let followed = format!("{reply}+next\r\n");
            assert_eq!(reply_bytes(followed.as_bytes()).unwrap(), Some(reply.len()), "{reply:?}");
        }
    }

    #[test]
    fn of_an_array_only_the_header_is_an_item() {
        assert_eq!(item_bytes(b"*2\r\n:1\r\n").unwrap(), Some(4));
        assert_eq!(item_bytes(b"*2\r").unwrap(), None);
        assert_eq!(item_bytes(b"$1\r\nx\r\n+OK").unwrap(), Some(7));
        assert_eq!(item_bytes(b"$1\r\nx").unwrap(), None);
    }

    #[test]
    fn replies_read_as_what_they_say() {
        let cases = [
            ("+PONG\r\n", Reply::Simple("PONG".into())),
            ("-LOADING x\r\n", Reply::Error("LOADING x".into())),
            (":-7\r\n", Reply::Integer(-7)),
            ("$-1\r\n", Reply::Bulk(None)),
            ("$4\r\na\r\nb\r\n", Reply::Bulk(Some(b"a\r\nb".to_vec()))),
            ("*0\r\n", Reply::Array(0)),
        ];
        for (bytes, reply) in cases {
            assert_eq!(read(bytes.as_bytes()).unwrap(), reply);
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        for bytes in ["HTTP/1.1 200 OK\r\n", "\r\n", "$x\r\n"] {
            assert!(reply_bytes(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode(&[b"GET", b"k"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
