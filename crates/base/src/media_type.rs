//! Media types, as `Content-Type` names them: `text/html; charset=utf-8` (RFC 9110 §8.3.1).
//!
//! Deliberately not here: which types there are (anybody may make one up), and what is done with which.
//!
//! Invariant: what is sound has no line end and nothing else that a header could not carry.

/// Longest media type, parameters included.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// Whether `text` is a media type: `type/subtype`, and parameters behind `;`.
///
/// # Cost
/// One pass.
pub fn is_media_type(text: &[u8]) -> bool {
    if MEDIA_TYPE_BYTES_MAX < text.len() {
        return false;
    }
    let Some((first, rest)) = token(text) else { return false };
    debug_assert!(!first.is_empty());
    let Some((_, mut rest)) = rest.strip_prefix(b"/").and_then(token) else { return false };
    loop {
        rest = blanks(rest);
        if rest.is_empty() {
            return true;
        }
        let Some(behind) = rest.strip_prefix(b";") else { return false };
        // Nothing between two semicolons, or behind the last, is nothing (RFC 9110 §5.6.6).
        rest = blanks(behind);
        if rest.is_empty() || rest.starts_with(b";") {
            continue;
        }
        let value = token(rest).and_then(|(_, rest)| rest.strip_prefix(b"="));
        let Some(behind) = value.and_then(|value| token(value).map(|(_, rest)| rest).or_else(|| quoted(value))) else {
            return false;
        };
        rest = behind;
    }
}

/// The type without its parameters, in the letters it was written in: `text/html`.
pub fn essence(media_type: &[u8]) -> &[u8] {
    let end = media_type.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(media_type.len());
    &media_type[..end]
}

/// A token, of which there is at least one byte, and what follows it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_of_token(byte)).unwrap_or(text.len());
    (0 < end).then(|| text.split_at(end))
}

fn blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    &text[end..]
}

/// What follows a quoted string.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'\t' | b' '..=b'~' | 0x80.., behind @ ..] => behind,
            [b'\t' | b' '..=b'[' | b']'..=b'~' | 0x80.., behind @ ..] => behind,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_their_parameters_are_told_from_other_texts() {
        for sound in [
            "text/plain",
            "image/svg+xml",
            "TEXT/Html;charset=utf-8",
            "text/html ; charset=\"utf-8\" ; a=b;",
            "application/vnd.x+json; profile=\"a \\\" b; c\"",
        ] {
            assert!(is_media_type(sound.as_bytes()), "{sound}");
        }
        for other in [
            "",
            "text",
            "text/",
            "/plain",
            " text/plain",
            "text /plain",
            "text/plain, text/html",
            "text/plain; charset",
            "text/plain; charset=",
            "text/plain; charset=\"a",
            "text/plain; a=b c",
            "text/plain\r\nx: y",
            "text/plain; a=\"\n\"",
            "téxt/plain",
        ] {
            assert!(!is_media_type(other.as_bytes()), "{other}");
        }
        let long = |bytes: usize| format!("text/{}", "x".repeat(bytes - 5));
        assert!(is_media_type(long(MEDIA_TYPE_BYTES_MAX).as_bytes()));
        assert!(!is_media_type(long(MEDIA_TYPE_BYTES_MAX + 1).as_bytes()));
    }

    #[test]
    fn the_essence_has_no_parameters() {
        for (text, expected) in [("text/html; charset=x", "text/html"), ("a/b ;c=d", "a/b"), ("a/b", "a/b")] {
            assert_eq!(essence(text.as_bytes()), expected.as_bytes());
        }
    }
}
