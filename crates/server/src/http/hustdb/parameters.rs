//! Parameters of a request as hustdb reads them: from the query only, exact names, the last one counts, an empty one is none.
//!
//! Deliberately forgiving where hustdb is: a number is what a value begins with, or 0; a flag is `true` or `1`, or not set.
//! Deliberately stricter in one place: a `%` without two hexadecimal digits is refused instead of lost.

use super::BAD_REQUEST;
use wire::http::{percent_decode, query_pairs};

/// Longest name of a table, a queue or a token.
const NAME_BYTES_MAX: usize = 64;

/// See the module's text.
#[derive(Clone, Copy)]
pub struct Parameters<'r>(pub &'r str);

impl<'r> Parameters<'r> {
    /// A parameter as it was sent.
    pub fn raw(self, name: &str) -> Option<&'r [u8]> {
        let named = query_pairs(self.0.as_bytes()).filter(|(other, _)| *other == name.as_bytes());
        named.last().map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// A parameter, decoded.
    ///
    /// # Errors
    /// 400: it is spelled wrong.
    pub fn decoded(self, name: &str) -> Result<Option<Vec<u8>>, u16> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let mut decoded = Vec::with_capacity(raw.len());
        percent_decode(raw, &mut decoded).ok_or(BAD_REQUEST)?;
        Ok(Some(decoded))
    }

    /// A number, `default` where there is none.
    pub fn number(self, name: &str, default: i64) -> i64 {
        self.raw(name).map_or(default, leading_number)
    }

    /// A number within bounds.
    ///
    /// # Errors
    /// 400: it is beyond them.
    pub fn bounded(self, name: &str, default: i64, max: i64) -> Result<i64, u16> {
        Some(self.number(name, default)).filter(|number| (0..=max).contains(number)).ok_or(BAD_REQUEST)
    }

    /// Whether a flag is set.
    pub fn flag(self, name: &str, default: bool) -> bool {
        self.raw(name).map_or(default, |value| value == b"true" || value == b"1")
    }

    /// A name of the restricted alphabet, if there is one.
    ///
    /// # Errors
    /// 400: it is none of that alphabet, or too long.
    pub fn name(self, name: &str) -> Result<Option<&'r [u8]>, u16> {
        match self.raw(name) {
            Some(value) if !is_table_name(value) => Err(BAD_REQUEST),
            value => Ok(value),
        }
    }
}

/// Whether this may be the name of a table.
pub fn is_table_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(is_letter)
}

/// The number that a text begins with; 0 where it begins with none. What is too large is as large as can be.
pub fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let step = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    let number = digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, step);
    if is_negative { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_a_text_begins_with() {
        for (text, number) in [("", 0), ("x", 0), ("12", 12), ("12x3", 12), ("-7", -7), (" 5", 5), ("-", 0), ("+4", 4)]
        {
            assert_eq!(leading_number(text.as_bytes()), number, "{text}");
        }
        assert_eq!(leading_number(b"99999999999999999999"), i64::MAX);
    }

    #[test]
    fn the_last_one_counts_and_an_empty_one_is_none() {
        let parameters = Parameters("key=a&key=b%20c&val=1+2&tb=&Key=x&ok=1&no=yes");
        assert_eq!(parameters.raw("key"), Some(&b"b%20c"[..]));
        assert_eq!(parameters.decoded("key"), Ok(Some(b"b c".to_vec())));
        assert_eq!((parameters.raw("val"), parameters.raw("tb")), (Some(&b"1+2"[..]), None));
        assert_eq!((parameters.flag("ok", false), parameters.flag("no", true)), (true, false));
        assert_eq!(Parameters("key=%2").decoded("key"), Err(BAD_REQUEST));
        assert_eq!(Parameters("tb=a-b").name("tb"), Err(BAD_REQUEST));
        assert_eq!(Parameters("tb=a_b:C.9").name("tb"), Ok(Some(&b"a_b:C.9"[..])));
    }
}
