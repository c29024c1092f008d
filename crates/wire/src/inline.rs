//! The quoting rules of inline commands: a line typed by hand becomes arguments.
//!
//! Deliberately not a shell: no variables, no comments, no escapes outside quotes.
//!
//! - Arguments are separated by white space.
//! - `"…"` understands `\n \r \t \b \a \xHH`, and `\` before any other byte is that byte.
//! - `'…'` understands only `\'`.
//! - Quotes may open in the middle of an argument, and close at its end: `a"b c"` is `ab c`.
//!
//! [`put_quoted`] goes the other way, for MONITOR. Manifests of append-only files are lines of this kind as well.
//!
//! Source: behaviour of Redis 7.2 `sdssplitargs` and `sdscatrepr` (sds.c).

use crate::args::Ranges;

/// Quotes were not closed, or text followed them at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits `line` (without its line end) into `ranges`, whose side buffer receives the unquoted bytes. A line of
/// white space gives no arguments. `ranges` must be new, or have begun a command.
///
/// # Errors
/// `Unbalanced`.
pub fn split(line: &[u8], ranges: &mut Ranges) -> Result<(), Unbalanced> {
    ranges.begin_inline();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let unquoted = ranges.unquoted();
        let offset = unquoted.len();
        rest = split_arg(rest, unquoted)?;
        ranges.push_inline(offset);
        rest = skip_blanks(rest);
    }
    Ok(())
}

/// What C's `isspace` takes: the ends of an argument are fewer (`ends_arg`).
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Vertical tab and form feed stand before arguments but not between them.
fn ends_arg(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0)
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    &line[blanks..]
}

/// Appends the argument at the start of `line` to `out` and returns what follows it.
fn split_arg<'a>(mut line: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    while let Some((byte, rest)) = line.split_first() {
        line = match byte {
            b'"' => return ended(split_double_quoted(rest, out)?),
            b'\'' => return ended(split_single_quoted(rest, out)?),
            byte if ends_arg(*byte) => return Ok(rest),
            byte => {
                out.push(*byte);
                rest
            }
        };
    }
    Ok(line)
}

/// What follows an argument that a quote has closed: nothing, or what parts it from the next one.
fn ended(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] => Ok(rest),
        [byte, rest @ ..] if is_blank(*byte) => Ok(rest),
        _ => Err(Unbalanced),
    }
}

fn split_double_quoted<'a>(mut line: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, rest) = match line {
            [] => return Err(Unbalanced),
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_value(*high) << 4 | hex_value(*low), rest)
            }
            [b'\\', escaped, rest @ ..] => (unescape(*escaped), rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        out.push(byte);
        line = rest;
    }
}

fn split_single_quoted<'a>(mut line: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, rest) = match line {
            [] => return Err(Unbalanced),
            [b'\'', rest @ ..] => return Ok(rest),
            [b'\\', b'\'', rest @ ..] => (b'\'', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        out.push(byte);
        line = rest;
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// The value of a byte known to be a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Appends `arg` in double quotes, so that it reads as one argument of printable ASCII whatever its bytes are.
pub fn put_quoted(arg: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in arg {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            other => out.extend_from_slice(&[b'\\', b'x', hex_digit(other >> 4), hex_digit(other & 0xf)]),
        }
    }
    out.push(b'"');
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let mut ranges = Ranges::new();
        split(line.as_bytes(), &mut ranges)?;
        Ok(ranges.args(b"").iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn lines_split_as_redis_splits_them() {
        #[rustfmt::skip]
        let table: &[(&str, &[&str])] = &[
            ("", &[]), ("   \t ", &[]), ("PING", &["PING"]), ("  SET  foo\tbar ", &["SET", "foo", "bar"]),
            (r#"set "a b" 'c d'"#, &["set", "a b", "c d"]), (r#""" ''"#, &["", ""]), (r#"a"b c" d"#, &["ab c", "d"]),
            (r#""\n\r\t\b\a\\\"\q""#, &["\n\r\t\u{8}\u{7}\\\"q"]), (r#""\x41\x6a\x4G""#, &["Ajx4G"]),
            (r"'it\'s \n'", &["it's \\n"]), (r"a\nb", &["a\\nb"]), ("\u{b}a\u{b}b \u{c}c", &["a\u{b}b", "c"]),
            ("a'b'", &["ab"]), ("\"x\"\ty", &["x", "y"]), ("a\"b\" c'd'", &["ab", "cd"]),
        ];
        for (line, expected) in table {
            let expected: Vec<Vec<u8>> = expected.iter().map(|arg| arg.as_bytes().to_vec()).collect();
            assert_eq!(args(line), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn quotes_left_open_or_closed_within_an_argument_are_refused() {
        for line in [
            r#"""#,
            "'",
            r#"a "b"#,
            r#"set """key""" "v"#,
            "'b'a'r",
            r#""a\"#,
            r#""a\""#,
            r"'a\'",
            r#""a"'b'""#,
            "''a",
            "\"a\"\"b\"",
            "'a'\"b\"",
        ] {
            assert_eq!(args(line), Err(Unbalanced), "{line:?}");
        }
    }

    #[test]
    fn every_byte_can_be_written_in_hexadecimal() {
        for byte in 0..=u8::MAX {
            assert_eq!(args(&format!(r#""\x{byte:02x}" "\x{byte:02X}""#)), Ok(vec![vec![byte], vec![byte]]));
        }
    }

    #[test]
    fn what_is_quoted_reads_back_as_one_argument() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let mut quoted = Vec::new();
        put_quoted(&all, &mut quoted);
        assert!(quoted.iter().all(|byte| matches!(byte, b' '..=b'~')));
        assert_eq!(args(std::str::from_utf8(&quoted).expect("ASCII")), Ok(vec![all]));
    }

    #[test]
    fn bytes_are_quoted_as_redis_quotes_them() {
        let mut quoted = Vec::new();
        put_quoted(b"a\\q\"\n\r\t\x07\x08 z\x7f\x00\xff", &mut quoted);
        assert_eq!(quoted, br#""a\\q\"\n\r\t\a\b z\x7f\x00\xff""#);
    }
}
