//! Bodies and parameters of the native API: JSON to arguments of commands, times to milliseconds.
//!
//! Bytes that are no text are `{"base64": …}` in JSON, in both directions.

use crate::http::auth::base64_decode;
use serde_json::Value as Json;
use std::borrow::Cow;

/// What a word of a command may be in JSON.
pub const NO_WORD: &str = "a word is a string, a number, true, false, or {\"base64\": …}";

/// The bytes of a word.
pub fn word(json: &Json) -> Option<Cow<'_, [u8]>> {
    match json {
        Json::String(text) => Some(Cow::Borrowed(text.as_bytes())),
        Json::Number(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        Json::Bool(true) => Some(Cow::Borrowed(b"true")),
        Json::Bool(false) => Some(Cow::Borrowed(b"false")),
        Json::Object(fields) if fields.len() == 1 => {
            let text = fields.get("base64").and_then(Json::as_str)?;
            base64_decode(text.as_bytes()).map(Cow::Owned)
        }
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Milliseconds of a time with its unit: `30s`, `500ms`, `5m`, `1h`, `1d`; seconds without one.
pub fn milliseconds(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = base::number::parse_u64(&text[..digits])?;
    let unit = match &text[digits..] {
        b"ms" => 1,
        b"" | b"s" => 1_000,
        b"m" => 60_000,
        b"h" => 3_600_000,
        b"d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|ms| i64::try_from(*ms).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_json_has_for_bytes() {
        let read = |text: &str| word(&serde_json::from_str(text).expect("JSON")).map(Cow::into_owned);
        for (text, bytes) in [
            ("\"a\"", &b"a"[..]),
            ("1", b"1"),
            ("-1.5", b"-1.5"),
            ("true", b"true"),
            ("{\"base64\":\"/w==\"}", b"\xff"),
        ] {
            assert_eq!(read(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["null", "[]", "{}", "{\"base64\":1}", "{\"base64\":\"!\"}", "{\"base64\":\"\",\"x\":1}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("1", 1_000),
            ("0", 0),
            ("30s", 30_000),
            ("5ms", 5),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(milliseconds(text.as_bytes()), Some(ms), "{text}");
        }
        for text in ["", "s", "-1", "1.5", "1w", "18446744073709551615", "9223372036854775s1"] {
            assert_eq!(milliseconds(text.as_bytes()), None, "{text}");
        }
    }
}
