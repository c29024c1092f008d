//! Numbers as text, the way Redis reads and writes them.
//!
//! Deliberately not here: fractions that must not pick up binary noise (`INCRBYFLOAT`); see [`crate::decimal`].
//!
//! Invariants:
//! - An integer text that parses is the only text of that number, so storing the number loses nothing.
//! - `parse_f64(format_f64(x)) == x` for every `x` but NaN.
//!
//! Source: behaviour of Redis 7.2 `string2ll`, `string2d` and `d2string` (util.c). `d2string` prints the digits of
//! Grisu2, which are now and then not the fewest that suffice; ours always are.

/// Longest text of an `i64`: `-9223372036854775808`.
pub const I64_TEXT_BYTES_MAX: usize = 20;
/// Longest text of a `u64`: `18446744073709551615`.
pub const U64_TEXT_BYTES_MAX: usize = 20;
/// Longest text [`format_f64`] makes: a sign, 17 digits and a few zeros or an exponent.
pub const F64_TEXT_BYTES_MAX: usize = 32;
/// Significant digits that always suffice to tell one `f64` from another.
const F64_DIGITS_MAX: usize = 17;
/// Digits that fit a `u64` whatever they are, so need no overflow check.
const U64_DIGITS_SAFE: usize = 19;

/// Reads an integer as strictly as Redis does: digits with at most one leading `-`, no `+`, no spaces, no leading
/// zeros, no `-0`, nothing out of range.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let Some((b'-', magnitude)) = text.split_first() else {
        return i64::try_from(parse_u64(text)?).ok();
    };
    match parse_u64(magnitude)? {
        0 => None,
        magnitude if magnitude <= i64::MIN.unsigned_abs() => Some(magnitude.wrapping_neg() as i64),
        _ => None,
    }
}

/// Reads a non-negative integer under the rules of [`parse_i64`].
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() <= U64_TEXT_BYTES_MAX => parse_digits(text),
        _ => None,
    }
}

/// `text` starts with a digit other than zero and holds at most [`U64_TEXT_BYTES_MAX`] bytes.
#[inline]
fn parse_digits(text: &[u8]) -> Option<u64> {
    let (safe, rest) = text.split_at(text.len().min(U64_DIGITS_SAFE));
    let mut value = 0u64;
    for byte in safe {
        value = value * 10 + digit_of(*byte)?;
    }
    match rest {
        [] => Some(value),
        [last, ..] => value.checked_mul(10)?.checked_add(digit_of(*last)?),
    }
}

#[inline]
fn digit_of(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(u64::from(digit))
}

/// Reads a double: the whole text, no spaces, `inf` and `infinity` in any case and with a sign, no NaN.
///
/// A finite text too large for a double, or not zero but too small for one, is refused as in Redis. Hexadecimal
/// (`0x1p3`), which Redis takes by accident of `strtod`, is refused.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let spelled_in_digits = text.iter().any(u8::is_ascii_digit);
    if value.is_nan() {
        return None;
    }
    if value.is_infinite() && spelled_in_digits {
        return None;
    }
    if value == 0.0 && mantissa_holds_a_digit_above_zero(text) {
        return None;
    }
    Some(value)
}

fn mantissa_holds_a_digit_above_zero(text: &[u8]) -> bool {
    text.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

/// The text of a number, held on the stack. Dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct NumberText {
    bytes: [u8; F64_TEXT_BYTES_MAX],
    used_bytes: u8,
}

impl NumberText {
    #[inline]
    fn new() -> Self {
        NumberText { bytes: [0; F64_TEXT_BYTES_MAX], used_bytes: 0 }
    }

    #[inline]
    fn of(text: &[u8]) -> Self {
        let mut made = NumberText::new();
        made.extend(text);
        made
    }

    #[inline]
    fn extend(&mut self, more: &[u8]) {
        let start = usize::from(self.used_bytes);
        self.bytes[start..start + more.len()].copy_from_slice(more);
        self.used_bytes += more.len() as u8;
    }

    fn extend_zeros(&mut self, count: usize) {
        self.extend(&[b'0'; F64_TEXT_BYTES_MAX][..count]);
    }

    /// The bytes of the text, all ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.used_bytes)]
    }
}

impl std::ops::Deref for NumberText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The decimal text of an integer; the one text that [`parse_i64`] takes for it.
#[inline]
pub fn format_i64(value: i64) -> NumberText {
    NumberText::of(itoa::Buffer::new().format(value).as_bytes())
}

/// The decimal text of an integer without a sign; the one text that [`parse_u64`] takes for it.
#[inline]
pub fn format_u64(value: u64) -> NumberText {
    NumberText::of(itoa::Buffer::new().format(value).as_bytes())
}

/// The text of a double as Redis 7.2 replies and stores it: `inf`, `-inf`, `nan`, `-0`, whole numbers up to 2^62
/// without an exponent, else the shortest digits that read back the same, as a plain decimal when that is short and
/// with an exponent (`1.5e+300`, `1e-7`) when it is not.
pub fn format_f64(value: f64) -> NumberText {
    if value.is_nan() {
        return NumberText::of(b"nan");
    }
    if value.is_infinite() {
        return NumberText::of(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    if value == 0.0 {
        return NumberText::of(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    if value.abs() <= INTEGER_MAGNITUDE_MAX && value.trunc() == value {
        return format_i64(value as i64);
    }
    format_shortest(value)
}

/// Up to here Redis prints a whole double as an integer: half of `i64::MAX`, rounded to a double.
const INTEGER_MAGNITUDE_MAX: f64 = (1u64 << 62) as f64;

fn format_shortest(value: f64) -> NumberText {
    let (digits, exponent) = Digits::shortest(value.abs());
    let mut text = NumberText::new();
    if value < 0.0 {
        text.extend(b"-");
    }
    format_digits(&mut text, digits.as_slice(), exponent);
    text
}

/// Writes `digits` × 10^`exponent`, choosing between the three shapes as Redis's fpconv does.
fn format_digits(text: &mut NumberText, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let scientific = exponent + count - 1; // The exponent when one digit stands before the point.
    if exponent >= 0 && scientific < count + 7 {
        text.extend(digits);
        text.extend_zeros(exponent as usize);
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        format_digits_with_point(text, digits, count + exponent);
    } else {
        format_digits_scientific(text, digits, scientific);
    }
}

/// `point` is how many digits stand before the decimal point; negative for zeros after it.
fn format_digits_with_point(text: &mut NumberText, digits: &[u8], point: i32) {
    if point <= 0 {
        text.extend(b"0.");
        text.extend_zeros(point.unsigned_abs() as usize);
        text.extend(digits);
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        text.extend(whole);
        text.extend(b".");
        text.extend(fraction);
    }
}

fn format_digits_scientific(text: &mut NumberText, digits: &[u8], scientific: i32) {
    text.extend(&digits[..1]);
    if digits.len() > 1 {
        text.extend(b".");
        text.extend(&digits[1..]);
    }
    text.extend(if scientific < 0 { b"e-" } else { b"e+" });
    text.extend(itoa::Buffer::new().format(scientific.unsigned_abs()).as_bytes());
}

/// Significant digits in ASCII, the first and the last not zero.
struct Digits {
    bytes: [u8; F64_DIGITS_MAX],
    count: usize,
}

impl Digits {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.count]
    }

    /// The fewest digits, and the exponent of the last, that read back as `value`: positive, finite, not zero.
    fn shortest(value: f64) -> (Digits, i32) {
        assert!(value.is_finite());
        assert!(value > 0.0);
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value);
        let (mantissa, exponent) = match text.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().expect("ryu writes a decimal exponent")),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        Digits::collect(whole.bytes().chain(fraction.bytes()), exponent - fraction.len() as i32)
    }

    /// Drops the zeros at both ends of `all`, whose last digit counts 10^`exponent`.
    fn collect(all: impl Iterator<Item = u8>, mut exponent: i32) -> (Digits, i32) {
        let mut digits = Digits { bytes: [0; F64_DIGITS_MAX], count: 0 };
        let mut zeros_held = 0;
        for digit in all.skip_while(|digit| *digit == b'0') {
            if digit == b'0' {
                zeros_held += 1;
                continue;
            }
            digits.bytes[digits.count..digits.count + zeros_held].fill(b'0');
            digits.count += zeros_held;
            zeros_held = 0;
            digits.bytes[digits.count] = digit;
            digits.count += 1;
        }
        exponent += zeros_held as i32;
        assert!(digits.count > 0, "a number above zero has a digit above zero");
        (digits, exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double_text(value: f64) -> String {
        String::from_utf8(format_f64(value).to_vec()).unwrap()
    }

    #[test]
    fn integers_round_trip_at_every_length_and_both_ends() {
        for value in (0..63)
            .flat_map(|bit| [1i64 << bit, (1i64 << bit) - 1, -(1i64 << bit)])
            .chain((0..19).flat_map(|power| [10i64.pow(power), 10i64.pow(power) - 1, -(10i64.pow(power))]))
            .chain([i64::MAX, i64::MIN, i64::MIN + 1])
        {
            assert_eq!(parse_i64(&format_i64(value)), Some(value));
            assert!(format_i64(value).len() <= I64_TEXT_BYTES_MAX);
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn texts_that_are_not_the_one_text_of_an_integer_are_refused() {
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "a",
            "1a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "100000000000000000000",
            "18446744073709551616",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles_parse_as_redis_parses_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+2", 2.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("0e9", 0.0),
            ("inf", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("+Infinity", f64::INFINITY),
            ("5e-324", 5e-324),
            ("007", 7.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in
            ["", " 1", "1 ", "nan", "-NaN", "1e400", "-1e400", "1e-400", "0x10", "1e", "e1", ".", "1_0", "infin", "1\0"]
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_f64(b"\xff"), None);
    }

    #[test]
    fn doubles_print_as_redis_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (1.0, "1"),
            (-3.0, "-3"),
            (3.5, "3.5"),
            (0.1, "0.1"),
            (0.30000000000000004, "0.30000000000000004"),
            (1e17, "100000000000000000"),
            (4e18, "4000000000000000000"),
            (1e19, "1e+19"),
            (1.5e300, "1.5e+300"),
            (-1e22, "-1e+22"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.00015, "0.00015"),
            (0.0001234567891, "1.234567891e-4"),
            (0.001234567891, "0.001234567891"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1234567.891, "1234567.891"),
            (12345.678901234, "1.2345678901234e+4"),
        ] {
            assert_eq!(double_text(value), text);
        }
    }

    #[test]
    fn every_double_reads_back_the_same_and_fits() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits(bits ^ (bits >> 29));
            if !value.is_nan() {
                assert_eq!(parse_f64(&format_f64(value)).map(f64::to_bits), Some(value.to_bits()), "{value:e}");
            }
        }
    }
}
