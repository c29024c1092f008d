//! How a debugger's client and its script spell what they say to each other: commands in, lines of text out.
//!
//! Deliberately not here: what commands mean, and values of Lua, which `frames.rs` writes.
//!
//! Invariant: bytes of the client are parsed or refused, and cost no more memory than they take.

/// Arguments of one command of a client, and bytes of one of them.
const ARGS_COUNT_MAX: i64 = 1024;
const ARG_BYTES_MAX: i64 = 1024;

/// What begins a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A command.
    Command {
        /// Its words.
        args: Vec<Vec<u8>>,
        /// Where what follows it begins.
        bytes: usize,
    },
    /// The beginning of one.
    Incomplete,
    /// Something else.
    Broken,
}

/// The number at the beginning of a text, as C's `atoi` takes it: 0 where there is none.
pub(super) fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    sign * digits.fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
}

/// The line at `at`, and where the next one begins.
fn line(buffer: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = buffer.get(at..)?;
    let bytes = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..bytes], at + bytes + 2))
}

/// Takes the first command of a buffer apart. What precedes its asterisk is passed over.
pub(super) fn parse(buffer: &[u8]) -> Parsed {
    if buffer.is_empty() {
        return Parsed::Incomplete;
    }
    let Some(start) = buffer.iter().position(|byte| *byte == b'*') else { return Parsed::Broken };
    let Some((count, mut at)) = line(buffer, start + 1) else { return Parsed::Incomplete };
    let count = leading_number(count);
    if !(1..=ARGS_COUNT_MAX).contains(&count) {
        return Parsed::Broken;
    }
    let mut args = Vec::new();
    for _ in 0..count {
        match buffer.get(at) {
            None => return Parsed::Incomplete,
            Some(b'$') => {}
            Some(_) => return Parsed::Broken,
        }
        let Some((bytes, start)) = line(buffer, at + 1) else { return Parsed::Incomplete };
        let bytes = leading_number(bytes);
        if !(1..=ARG_BYTES_MAX).contains(&bytes) {
            return Parsed::Broken;
        }
        let end = start + bytes as usize;
        match buffer.get(end..end + 2) {
            None => return Parsed::Incomplete,
            Some(b"\r\n") => {}
            Some(_) => return Parsed::Broken,
        }
        args.push(buffer[start..end].to_vec());
        at = end + 2;
    }
    Parsed::Command { args, bytes: at }
}

/// Appends a text in quotes, with escapes for what cannot be seen.
pub(super) fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            other => out.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

/// Appends the first reply of `replies` as a person reads it, until `out` has some `bytes_max`. Returns what follows it,
/// or nothing when it was too long.
pub(super) fn put_reply<'r>(out: &mut Vec<u8>, replies: &'r [u8], bytes_max: usize) -> &'r [u8] {
    let Some(left) = bytes_max.checked_sub(out.len()) else { return &[] };
    let Some((head, end)) = line(replies, 0) else { return &[] };
    let Some((marker, text)) = head.split_first() else { return &replies[end..] };
    let (rest, number) = (&replies[end..], leading_number(text));
    match marker {
        b'$' | b'*' if number < 0 => out.extend(b"NULL"),
        b'$' | b'=' => {
            let bytes = (number.max(0) as usize).min(rest.len());
            put_quoted(out, &rest[..bytes.min(left)]);
            return rest.get(bytes + 2..).unwrap_or_default();
        }
        b'+' | b'-' => put_quoted(out, &head[..head.len().min(left)]),
        b'*' | b'>' => return put_replies(out, rest, number, [b"[", b"]"], bytes_max),
        b'~' => return put_replies(out, rest, number, [b"~(", b")"], bytes_max),
        b'%' => {
            let mut rest = rest;
            out.push(b'{');
            for index in 0..number {
                if rest.is_empty() {
                    break;
                }
                out.extend(if index == 0 { &b""[..] } else { b"," });
                rest = put_reply(out, rest, bytes_max);
                out.extend(b" => ");
                rest = put_reply(out, rest, bytes_max);
            }
            out.push(b'}');
            return rest;
        }
        b'_' => out.extend(b"(null)"),
        b'#' => out.extend(if text == b"t" { &b"#true"[..] } else { b"#false" }),
        b',' => {
            out.extend(b"(double) ");
            out.extend(text);
        }
        // An integer, of any size.
        _ => out.extend(text),
    }
    rest
}

fn put_replies<'r>(
    out: &mut Vec<u8>,
    mut rest: &'r [u8],
    count: i64,
    [open, close]: [&[u8]; 2],
    bytes_max: usize,
) -> &'r [u8] {
    out.extend(open);
    for index in 0..count {
        if rest.is_empty() {
            break;
        }
        out.extend(if index == 0 { &b""[..] } else { b"," });
        rest = put_reply(out, rest, bytes_max);
    }
    out.extend(close);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_a_command_is_incomplete_and_what_follows_it_stays() {
        let whole = b"*2\r\n$1\r\np\r\n$3\r\nfoo\r\n";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::Incomplete, "{cut}");
        }
        let args = vec![b"p".to_vec(), b"foo".to_vec()];
        assert_eq!(parse(whole), Parsed::Command { args: args.clone(), bytes: whole.len() });
        let more = [b"\r\n ", &whole[..], b"*1\r\n"].concat();
        assert_eq!(parse(&more), Parsed::Command { args, bytes: whole.len() + 3 });
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for broken in [
            "s\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*1025\r\n",
            "*1\r\ns",
            "*1\r\n$0\r\n\r\n",
            "*1\r\n$1025\r\n",
            "*1\r\n$1\r\nsx\r",
        ] {
            assert_eq!(parse(broken.as_bytes()), Parsed::Broken, "{broken:?}");
        }
    }

    #[test]
    fn numbers_begin_a_text_or_are_nothing() {
        for (text, number) in
            [("12", 12), (" -7x", -7), ("+3", 3), ("", 0), ("x1", 0), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(leading_number(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn replies_are_spelled_as_redis_spells_them() {
        for (reply, spelled) in [
            (":-12\r\n", "-12"),
            ("$3\r\na\"\n\r\n", r#""a\"\n""#),
            ("$2\r\n\u{7}\u{1}\r\n", r#""\a\x01""#),
            ("$-1\r\n", "NULL"),
            ("*-1\r\n", "NULL"),
            ("+OK\r\n", r#""+OK""#),
            ("-ERR no\r\n", r#""-ERR no""#),
            ("*2\r\n:1\r\n*1\r\n$1\r\na\r\n", r#"[1,["a"]]"#),
            ("~2\r\n:1\r\n:2\r\n", "~(1,2)"),
            ("%2\r\n+a\r\n:1\r\n+b\r\n_\r\n", r#"{"+a" => 1,"+b" => (null)}"#),
            ("#t\r\n", "#true"),
            (",1.5\r\n", "(double) 1.5"),
        ] {
            let mut out = Vec::new();
            assert_eq!(put_reply(&mut out, reply.as_bytes(), 100), b"", "{reply:?}");
            assert_eq!(String::from_utf8_lossy(&out), spelled);
        }
    }

    #[test]
    fn a_reply_is_spelled_no_further_than_was_said() {
        let text = "x".repeat(1000);
        let one = format!("${}\r\n{text}\r\n", text.len());
        for reply in [one.clone(), format!("*300\r\n{}", one.repeat(300)), format!("%150\r\n{}", one.repeat(300))] {
            let mut out = Vec::new();
            put_reply(&mut out, reply.as_bytes(), 100);
            assert!((100..120).contains(&out.len()), "{} bytes", out.len());
        }
    }
}
