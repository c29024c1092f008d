//! Byte counts as people and Redis write them: `512`, `64kb`, `1gb`.
//!
//! Deliberately not a general unit parser: no fractions, no spaces, no sign. The units are those of Redis's
//! configuration, where `k` is a thousand and `kb` is 1024.
//!
//! Source: the units section of `redis.conf` and `valkey.conf`.

/// Units and their factors, largest binary unit first so that `format_bytes` finds the shortest spelling.
const UNITS: &[(&str, u64)] = &[
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("g", 1_000_000_000),
    ("m", 1_000_000),
    ("k", 1_000),
    ("b", 1),
];

/// Reads a byte count of digits and an optional unit in any letter case.
///
/// `None` for anything else, and for a count past `u64::MAX`, which Redis would silently wrap around.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let factor = if unit.is_empty() {
        1
    } else {
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)?
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a byte count in the largest of `gb`, `mb` and `kb` that divides it, else as plain digits, so that
/// `parse_bytes` gives the same number back.
pub fn format_bytes(bytes: u64) -> String {
    UNITS
        .iter()
        .take(3)
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
        .map_or_else(|| bytes.to_string(), |(name, factor)| format!("{}{name}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_redis() {
        let cases = [("0", 0), ("17", 17), ("1b", 1), ("1k", 1000), ("1kb", 1024), ("2M", 2_000_000), ("2Mb", 2 << 20)];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_bytes("3g"), Some(3_000_000_000));
        assert_eq!(parse_bytes("3GB"), Some(3 << 30));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "kb", "-1", "+1", "1.5gb", "1 gb", "1tb", "gb1", "18446744073709551616", "99999999999gb"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn every_size_survives_being_written_and_read() {
        for bytes in [0, 1, 1000, 1023, 1024, 1536, 1 << 20, 268_435_456, 1 << 30, 3 << 30, u64::MAX] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        }
        assert_eq!(format_bytes(256 << 20), "256mb");
    }
}
