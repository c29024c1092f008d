//! Targets of requests: paths and queries, their escapes, and the patterns that paths fit.

/// Decodes `%XX` of a path's segment; `+` stands for itself there. `None` when two hexadecimal digits do not follow a `%`.
///
/// # Cost
/// One pass; `out` is appended to.
pub fn percent_decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(text, out, false)
}

/// As [`percent_decode`] for names and values of a query, where `+` is a space.
pub fn query_decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(text, out, true)
}

fn decode(text: &[u8], out: &mut Vec<u8>, plus_is_space: bool) -> Option<()> {
    let plus = if plus_is_space { b'+' } else { b'%' };
    if memchr::memchr2(b'%', plus, text).is_none() {
        out.extend_from_slice(text);
        return Some(());
    }
    out.reserve(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let digit = |index: usize| text.get(index).and_then(|digit| (*digit as char).to_digit(16));
                let (high, low) = (digit(at)?, digit(at + 1)?);
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    Some(())
}

/// The names and values of a query, as they were sent: `a=1&b` is (a, 1) and (b, nothing).
pub fn query_pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    })
}

/// Path and query of a target, which may name the host as well (RFC 9112 §3.2.2) and say a fragment that it should not.
pub fn split_target(target: &str) -> (&str, &str) {
    if target.starts_with('/') && memchr::memchr2(b'?', b'#', target.as_bytes()).is_none() {
        return (target, "");
    }
    let behind = |scheme: &str| {
        target.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &target[scheme.len()..])
    };
    let target = match behind("http://").or_else(|| behind("https://")) {
        None => target,
        Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
    };
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    target.split_once('?').unwrap_or((target, ""))
}

/// Most `{name}` of a pattern.
pub const CAPTURES_MAX: usize = 3;

/// Where in a path the parts lie that stand for the `{name}` of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captures([(u16, u16); CAPTURES_MAX]);

impl Captures {
    /// What stands in `path`, which is the one that was fitted, for the `{name}` at `index`.
    #[inline]
    pub fn of<'p>(&self, path: &'p str, index: usize) -> &'p [u8] {
        let (start, end) = self.0[index];
        &path.as_bytes()[usize::from(start)..usize::from(end)]
    }
}

/// A pattern of paths such as `/v1/kv/{key}`, in which `{name}` stands for a segment that is not empty.
#[derive(Clone, Copy, Debug)]
pub struct PathPattern {
    /// What stands before, between and behind the `{name}`.
    literals: [&'static str; CAPTURES_MAX + 1],
    captures_count: usize,
}

impl PathPattern {
    /// Takes a pattern apart.
    ///
    /// # Panics
    /// When it has more than [`CAPTURES_MAX`] `{name}`, or one that is not closed: in a constant, when it is compiled.
    pub const fn of(pattern: &'static str) -> Self {
        let (mut literals, mut count, mut rest, mut at) = ([""; CAPTURES_MAX + 1], 0, pattern, 0);
        while at < rest.len() {
            if rest.as_bytes()[at] != b'{' {
                at += 1;
                continue;
            }
            let mut close = at;
            while close < rest.len() && rest.as_bytes()[close] != b'}' {
                close += 1;
            }
            assert!(close < rest.len(), "a name in a pattern ends in a brace");
            assert!(count < CAPTURES_MAX, "a pattern has no more names than captures");
            literals[count] = rest.split_at(at).0;
            (count, rest, at) = (count + 1, rest.split_at(close + 1).1, 0);
        }
        literals[count] = rest;
        PathPattern { literals, captures_count: count }
    }

    /// Fits a path to the pattern. `None` when it does not fit.
    ///
    /// # Cost
    /// A comparison of what stands before the first name; one pass when that is right.
    pub fn fit(&self, path: &str) -> Option<Captures> {
        let (mut captures, mut at, path) = ([(0, 0); CAPTURES_MAX], 0, path.as_bytes());
        let before = &self.literals[..self.captures_count];
        for (literal, capture) in before.iter().zip(&mut captures) {
            let rest = path[at..].strip_prefix(literal.as_bytes())?;
            at += literal.len();
            let bytes = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            if bytes == 0 {
                return None;
            }
            *capture = (u16::try_from(at).ok()?, u16::try_from(at + bytes).ok()?);
            at += bytes;
        }
        (path[at..] == *self.literals[self.captures_count].as_bytes()).then_some(Captures(captures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_patterns_segment_by_segment() {
        let fit = |pattern: &'static str, path: &str| {
            let count = pattern.matches('{').count();
            PathPattern::of(pattern).fit(path).map(|captures| {
                (0..count)
                    .map(|index| String::from_utf8_lossy(captures.of(path, index)).into_owned())
                    .collect::<Vec<_>>()
            })
        };
        let of = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(fit("/a", "/a"), of(&[]));
        assert_eq!(fit("/a/{b}", "/a/x"), of(&["x"]));
        assert_eq!(fit("/a/{b}/{c}", "/a/x/y%2Fz"), of(&["x", "y%2Fz"]));
        assert_eq!(fit("/a/{b}/c", "/a/x/c"), of(&["x"]));
        for (pattern, path) in [
            ("/a", "/a/"),
            ("/a", "/"),
            ("/a/{b}", "/a/"),
            ("/a/{b}", "/a/x/"),
            ("/a/{b}", "/a"),
            ("/a/{b}/c", "/a/x/d"),
            ("/a/{b}", ""),
            ("/a/{b}/{c}", "/a/x/"),
        ] {
            assert_eq!(fit(pattern, path), None, "{pattern} {path}");
        }
        assert_eq!(PathPattern::of("/{a}").fit(&format!("/{}", "x".repeat(1 << 16))), None);
    }

    #[test]
    fn every_byte_can_be_said_with_a_percent_sign() {
        let decoded = |text: &str| {
            let mut out = Vec::new();
            percent_decode(text.as_bytes(), &mut out).map(|()| out)
        };
        for byte in 0..=255_u8 {
            assert_eq!(decoded(&format!("%{byte:02x}")), Some(vec![byte]));
            assert_eq!(decoded(&format!("a%{byte:02X}b")), Some(vec![b'a', byte, b'b']));
        }
        assert_eq!(decoded("a+b%2Bc"), Some(b"a+b+c".to_vec()));
        for wrong in ["%", "%1", "%g0", "%1g", "a%"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        let mut out = Vec::new();
        assert_eq!(query_decode(b"a+b", &mut out).map(|()| out), Some(b"a b".to_vec()));
        let pairs: Vec<_> = query_pairs(b"a=1&&b&c=x=y").collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"x=y")]);
    }
}
