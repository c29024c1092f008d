//! An element of a packed encoding: bytes, or an integer standing for its decimal digits.
//!
//! Redis packs a string as an integer only when formatting the integer gives the very same string back; that rule
//! is [`canonical_int`].

/// An element as a listpack or a ziplist holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// Stands for its decimal digits.
    Int(i64),
    /// Stands for itself.
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// The string the element stands for.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Element::Int(int) => int.to_string().into_bytes(),
            Element::Bytes(bytes) => bytes.to_vec(),
        }
    }

    /// Bytes that [`Element::into_bytes`] returns at most.
    pub(crate) fn bytes_max(self) -> usize {
        const INT_DIGITS_MAX: usize = 20;
        match self {
            Element::Int(_) => INT_DIGITS_MAX,
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// The integer the element stands for, however it was packed.
    pub(crate) fn int(self) -> Option<i64> {
        match self {
            Element::Int(int) => Some(int),
            Element::Bytes(bytes) => canonical_int(bytes),
        }
    }
}

/// The integer whose decimal form is exactly `bytes`: no sign but a minus, no leading zeros, no "-0".
pub(crate) fn canonical_int(bytes: &[u8]) -> Option<i64> {
    const DIGITS_MAX: usize = 19;
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    match digits {
        b"0" => (bytes.len() == 1).then_some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < DIGITS_MAX && rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(bytes).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical_only_in_their_own_decimal_form() {
        for int in [0, 1, -1, 9, 10, -10, 127, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(canonical_int(int.to_string().as_bytes()), Some(int));
        }
        for bytes in
            ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "9223372036854775808", "18446744073709551616"]
        {
            assert_eq!(canonical_int(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn every_string_of_up_to_two_bytes_agrees_with_formatting() {
        let digits: Vec<String> = (-99i64..100).map(|int| int.to_string()).collect();
        for bytes in (0..=u16::MAX).flat_map(|pair| [vec![pair as u8], pair.to_le_bytes().to_vec()]) {
            let expected = digits.iter().any(|digits| digits.as_bytes() == bytes);
            assert_eq!(canonical_int(&bytes).is_some(), expected, "{bytes:?}");
        }
    }
}
