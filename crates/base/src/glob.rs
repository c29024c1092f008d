//! Redis glob patterns, as `KEYS`, `SCAN MATCH`, `PSUBSCRIBE` and ACL rules use them.
//!
//! Deliberately not a path glob: `/` and `.` are ordinary bytes, there is no `**` and no `{a,b}`.
//!
//! | pattern      | matches                                                            |
//! |--------------|--------------------------------------------------------------------|
//! | `*`          | any bytes, also none                                               |
//! | `?`          | any one byte                                                       |
//! | `[abc]`      | one byte of the set; `[^abc]` one byte outside it                  |
//! | `[a-z]`      | one byte of the range, in either order; `\` quotes inside a set    |
//! | `\x`         | the byte `x` itself; a lone `\` at the end matches a backslash     |
//!
//! Kept from Redis because clients can see it:
//! - an empty text matches only an empty pattern, not even `*` (callers that mean "everything" test for a lone
//!   `*` first, as Redis's own commands do);
//! - a set that is never closed ends with the pattern; `[]` matches nothing and `[^]` any byte;
//! - in `[a-]` the bracket is the end of the range, so the set stays open;
//! - a quoted byte inside a set is compared with its case even when the rest is not, and the ends of a range are
//!   put in order before they are lowered.
//!
//! - after [`STARS_COUNT_MAX`] stars that each had to give way to something, a pattern fits nothing.
//!
//! Different on purpose: bytes compare unsigned (Redis follows the platform's `char`). When a byte does not fit, only
//! the *last* star gives way by one byte, so the cost is pattern times text at worst, never exponential.
//!
//! Source: Redis `stringmatchlen` (util.c) as documented behaviour.

/// Most stars of a pattern that something follows; neighbouring ones count once. Nobody means more, and without a
/// bound a pattern of 100 KB could hold a partition up for seconds.
pub const STARS_COUNT_MAX: usize = 1000;

/// Whether letters of different case are the same. ASCII only, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// `a` is `A`.
    Insensitive,
}

impl Case {
    #[inline]
    fn fold(self, byte: u8) -> u8 {
        match self {
            Case::Sensitive => byte,
            Case::Insensitive => byte.to_ascii_lowercase(),
        }
    }
}

/// Whether the whole of `text` fits `pattern`. Both may hold any bytes.
///
/// # Cost
/// No allocation; O(`pattern` × `text`) at worst, O(`text`) for the usual pattern with one star.
pub fn glob_matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where to resume when a byte does not fit: after the last star, one byte further into the text than before.
    let mut resume: Option<(usize, usize)> = None;
    let mut stars_count = 0;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                at_pattern += pattern[at_pattern..].iter().take_while(|byte| **byte == b'*').count();
                if at_pattern == pattern.len() {
                    return true;
                }
                stars_count += 1;
                if STARS_COUNT_MAX < stars_count {
                    return false;
                }
                resume = Some((at_pattern, at_text));
                continue;
            }
            Some(_) => {
                if let Some(token_bytes) = token_match(&pattern[at_pattern..], text[at_text], case) {
                    at_pattern += token_bytes;
                    at_text += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((star_pattern, star_text)) = resume else { return false };
        resume = Some((star_pattern, star_text + 1));
        (at_pattern, at_text) = (star_pattern, star_text + 1);
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

/// Bytes of the first token of `pattern` when it fits `byte`; `pattern` is not empty and does not start with a star.
#[inline]
fn token_match(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    assert!(!pattern.is_empty(), "a token has at least one byte");
    let (token_bytes, fits) = match pattern[0] {
        b'?' => (1, true),
        b'[' => token_match_set(pattern, byte, case),
        b'\\' if pattern.len() >= 2 => (2, case.fold(pattern[1]) == case.fold(byte)),
        literal => (1, case.fold(literal) == case.fold(byte)),
    };
    fits.then_some(token_bytes)
}

/// Bytes of the set that `pattern` opens with, its brackets included, and whether `byte` is in it.
fn token_match_set(pattern: &[u8], byte: u8, case: Case) -> (usize, bool) {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b'\\', quoted, ..] => {
                found |= *quoted == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= range_holds(*first, *last, byte, case);
                at += 3;
            }
            [member, ..] => {
                found |= case.fold(*member) == case.fold(byte);
                at += 1;
            }
        }
    }
    assert!(at <= pattern.len(), "a set ends inside its pattern");
    (at, found != negated)
}

#[inline]
fn range_holds(first: u8, last: u8, byte: u8, case: Case) -> bool {
    let (low, high) = (first.min(last), first.max(last));
    (case.fold(low)..=case.fold(high)).contains(&case.fold(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        glob_matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn the_table_of_redis_behaviour_holds() {
        #[rustfmt::skip]
        let table: &[(&str, &str, bool)] = &[
            ("hello", "hello", true), ("hello", "hellO", false), ("hello", "hell", false), ("hell", "hello", false),
            ("h?llo", "hallo", true), ("h?llo", "hllo", false), ("h*llo", "hllo", true), ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true), ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true), ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true), ("h[b-a]llo", "hallo", true), ("h[a-b]llo", "hcllo", false),
            ("*", "any", true), ("**", "any", true), ("a**", "a", true), ("*a*", "xay", true), ("*a", "ba", true),
            ("*a", "ab", false), ("*a*b*c", "1a2b3c", true), ("*a*b*c", "1a2c3b", false), ("?*", "x", true),
            ("", "", true), ("", "a", false), ("*", "", false), ("**", "", false), ("?", "", false), ("a", "", false),
            ("\\*", "*", true), ("\\*", "a", false), ("\\?x", "?x", true), ("a\\", "a\\", true), ("\\\\", "\\", true),
            ("\\a", "a", true), ("[\\]]", "]", true), ("[\\-a]", "-", true), ("[\\^]", "^", true),
            ("[]", "a", false), ("[]a]", "a", false), ("[^]", "a", true), ("[^]b", "ab", true),
            ("[abc", "b", true), ("[abc", "d", false), ("[^abc", "d", true), ("[", "a", false), ("[^", "a", true),
            ("[a-]", "^", true), ("[a-]", "-", false), ("[a-", "-", true), ("[--0]", ".", true), ("[a\\", "\\", true),
            ("user:*:name", "user:17:name", true), ("user:*:name", "user:17:names", false),
            ("*:*:*", "a:b", false), ("*aab", "aaaab", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(fits(pattern, text), *expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn case_is_ignored_except_for_quoted_bytes_in_sets() {
        let fits = |pattern: &str, text: &str| glob_matches(pattern.as_bytes(), text.as_bytes(), Case::Insensitive);
        assert!(fits("HeL*", "hElLo"));
        assert!(fits("[A-C]x", "bX"));
        assert!(fits("[xyz]", "Y"));
        assert!(fits("\\A", "a"));
        assert!(!fits("[\\A]", "a"));
        assert!(fits("[\\A]", "A"));
        assert!(!fits("[Z-a]", "m"), "the ends are ordered before they are lowered, which empties this range");
    }

    #[test]
    fn bytes_outside_ascii_compare_unsigned() {
        assert!(glob_matches(b"[\x80-\xff]", b"\xc3", Case::Sensitive));
        assert!(glob_matches(b"[a-\xff]", b"\x80", Case::Sensitive));
        assert!(glob_matches(b"\xff*\x00", b"\xff\x00", Case::Sensitive));
    }

    #[test]
    fn many_stars_over_a_long_text_stay_quadratic() {
        let pattern = [b"a*".repeat(STARS_COUNT_MAX), b"b".to_vec()].concat();
        let text = b"a".repeat(20_000);
        assert!(!glob_matches(&pattern, &text, Case::Sensitive));
        assert!(glob_matches(&[&pattern[..], b"*"].concat(), &[&text[..], b"b"].concat(), Case::Sensitive));
    }

    #[test]
    fn one_star_too_many_fits_nothing() {
        let text = "a".repeat(3 * STARS_COUNT_MAX);
        assert!(fits(&"*?".repeat(STARS_COUNT_MAX), &text));
        assert!(
            fits(&format!("{}**", "**?".repeat(STARS_COUNT_MAX)), &text),
            "the last stars have nothing behind them"
        );
        assert!(!fits(&"*?".repeat(STARS_COUNT_MAX + 1), &text));
    }

    /// The definition, by recursion: exponential, so only for short inputs.
    fn fits_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, _) => text.is_empty(),
            (Some(b'*'), _) => (0..=text.len()).any(|skipped| fits_by_definition(&pattern[1..], &text[skipped..])),
            (Some(_), None) => false,
            (Some(_), Some(byte)) => token_match(pattern, *byte, Case::Sensitive)
                .is_some_and(|token_bytes| fits_by_definition(&pattern[token_bytes..], &text[1..])),
        }
    }

    #[test]
    fn every_short_pattern_agrees_with_the_definition() {
        let alphabet = b"ab*?[]^-\\";
        for code in 0..9usize.pow(5) {
            let pattern: Vec<u8> = (0..5).map(|place| alphabet[code / 9usize.pow(place) % 9]).collect();
            for text in [&b"a"[..], b"b", b"ab", b"-a", b"aab", b"ba]"] {
                let expected = fits_by_definition(&pattern, text);
                assert_eq!(glob_matches(&pattern, text, Case::Sensitive), expected, "{pattern:?} on {text:?}");
            }
        }
    }
}
