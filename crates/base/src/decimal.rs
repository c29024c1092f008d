//! Exact decimal sums for `INCRBYFLOAT` and `HINCRBYFLOAT`: 10.5 + 0.1 is 10.6, not 10.59999999999999964.
//!
//! Deliberately not a number type: it reads two texts, adds them and writes one; there is no other arithmetic.
//!
//! Redis adds in the platform's `long double` (64 bits of mantissa on x86-64, 113 on AArch64) and prints `%.17Lf`
//! without trailing zeros, hoping that the binary noise falls behind the seventeenth decimal. Here the sum is exact
//! and only then rounded to [`FRACTION_DIGITS_MAX`] decimals, ties to even, as `%.17Lf` rounds. So:
//! - where Redis prints the decimal a person expects, this prints the same;
//! - where Redis prints noise (1234.1 + 0 is 1234.09999999999999998 on x86-64) or drops digits (above 2^64), this
//!   prints the exact decimal, the same on every machine.
//!
//! Limits, as those of the 80-bit type: texts below [`DECIMAL_TEXT_BYTES_MAX`] bytes, magnitudes below
//! 10^[`POINT_MAX`]; a text that is not zero but below 10^[`POINT_MIN`] is refused, as Redis refuses the underflow.
//!
//! Source: behaviour of Redis 7.2 `string2ld` and `ld2string(LD_STR_HUMAN)`.

/// Longest text that can be a decimal, one below Redis's `MAX_LONG_DOUBLE_CHARS`.
pub const DECIMAL_TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Decimals kept behind the point of a result.
pub const FRACTION_DIGITS_MAX: i32 = 17;
/// Most digits before the point: numbers from 10^4932 on count as infinite.
pub const POINT_MAX: i32 = 4932;
/// The first digit above zero stands at most this far behind the point (as a negative number).
pub const POINT_MIN: i32 = -4950;
/// An exponent written with more than this is out of range whatever the mantissa is.
const EXPONENT_MAX: i32 = 1_000_000;

/// A decimal number as text gave it, or an infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Magnitude {
    /// `digits` (values 0 to 9, most significant first, none for zero) × 10^`exponent`; the first is not zero.
    Finite {
        digits: Vec<u8>,
        exponent: i32,
    },
    Infinite,
}

impl Decimal {
    /// Reads the whole of `text` as a number, as Redis reads a `long double`: an optional sign, digits with at most
    /// one point, an optional exponent; or `inf` or `infinity`. No spaces, no NaN, no hexadecimal.
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        if text.len() > DECIMAL_TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Decimal { negative, magnitude: Magnitude::Infinite });
        }
        Some(Decimal { negative, magnitude: parse_magnitude(unsigned)? })
    }

    /// Whether this is a number and not an infinity.
    pub fn is_finite(&self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    /// The exact sum, or `None` when it would be infinite or not a number.
    pub fn sum(&self, other: &Decimal) -> Option<Decimal> {
        let (Magnitude::Finite { digits: a, exponent: a_exp }, Magnitude::Finite { digits: b, exponent: b_exp }) =
            (&self.magnitude, &other.magnitude)
        else {
            return None;
        };
        let exponent = (*a_exp).min(*b_exp);
        let top = (a.len() as i32 + a_exp).max(b.len() as i32 + b_exp);
        let width = usize::try_from(top - exponent).expect("the top is above every exponent");
        let a = align(a, *a_exp - exponent, width);
        let b = align(b, *b_exp - exponent, width);
        let (negative, places) = add_signed((self.negative, a), (other.negative, b));
        let magnitude = finite(places.into_iter().rev().collect(), exponent);
        let Magnitude::Finite { digits, exponent } = &magnitude else { return None };
        (digits.len() as i32 + exponent <= POINT_MAX).then_some(Decimal { negative, magnitude })
    }

    /// The text Redis would store: no exponent, at most [`FRACTION_DIGITS_MAX`] decimals, no trailing zeros, no `-0`;
    /// `inf` or `-inf`.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.negative {
            text.push(b'-');
        }
        match &self.magnitude {
            Magnitude::Infinite => text.extend_from_slice(b"inf"),
            Magnitude::Finite { digits, exponent } => {
                let (digits, exponent) = round(digits, *exponent);
                if digits.is_empty() {
                    return b"0".to_vec();
                }
                push_plain(&mut text, &digits, exponent);
            }
        }
        text
    }
}

/// Takes zeros off both ends of `digits`.
fn finite(digits: Vec<u8>, exponent: i32) -> Magnitude {
    let Some(last) = digits.iter().rposition(|digit| *digit != 0) else {
        return Magnitude::Finite { digits: Vec::new(), exponent: 0 };
    };
    let first = digits.iter().position(|digit| *digit != 0).unwrap_or(last);
    let exponent = exponent + (digits.len() - 1 - last) as i32;
    Magnitude::Finite { digits: digits[first..=last].to_vec(), exponent }
}

fn parse_magnitude(unsigned: &[u8]) -> Option<Magnitude> {
    let mark = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let (mantissa, power) = unsigned.split_at(mark);
    let power = if power.is_empty() { 0 } else { parse_power(&power[1..])? };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = digits.iter().map(|byte| byte - b'0').collect();
    let magnitude = finite(digits, power - fraction.len() as i32);
    in_range(&magnitude).then_some(magnitude)
}

fn in_range(magnitude: &Magnitude) -> bool {
    match magnitude {
        Magnitude::Finite { digits, exponent } => {
            digits.is_empty() || (POINT_MIN..=POINT_MAX).contains(&(digits.len() as i32 + exponent))
        }
        Magnitude::Infinite => true,
    }
}

/// The exponent after an `e`, held within ±[`EXPONENT_MAX`], far outside what a number may have.
fn parse_power(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0, |power: i32, byte| (power * 10 + i32::from(byte - b'0')).min(EXPONENT_MAX));
    Some(sign * power)
}

/// `digits` as `width` places, least significant first, moved up by `shift` places.
fn align(digits: &[u8], shift: i32, width: usize) -> Vec<u8> {
    let mut places = vec![0; width];
    // Zero has no digits, so where it would stand does not matter.
    for (place, digit) in places.iter_mut().skip(shift as usize).zip(digits.iter().rev()) {
        *place = *digit;
    }
    places
}

/// Adds two numbers of sign (is it negative?) and places, least significant first, of one width.
fn add_signed(a: (bool, Vec<u8>), b: (bool, Vec<u8>)) -> (bool, Vec<u8>) {
    assert_eq!(a.1.len(), b.1.len(), "aligned numbers have the same width");
    if a.0 == b.0 {
        return (a.0, add_places(a.1, &b.1));
    }
    if a.1.iter().rev().lt(b.1.iter().rev()) {
        return (b.0, subtract_places(b.1, &a.1));
    }
    (a.0, subtract_places(a.1, &b.1))
}

fn add_places(mut a: Vec<u8>, b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    for (a, b) in a.iter_mut().zip(b) {
        let total = *a + b + carry;
        (*a, carry) = (total % 10, total / 10);
    }
    a.push(carry);
    a
}

fn subtract_places(mut a: Vec<u8>, b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    for (a, b) in a.iter_mut().zip(b) {
        let total = *a + 10 - b - borrow;
        (*a, borrow) = (total % 10, u8::from(total < 10));
    }
    assert_eq!(borrow, 0, "the smaller magnitude is taken from the larger");
    a
}

/// Rounds to [`FRACTION_DIGITS_MAX`] decimals, ties to even. May leave trailing zeros before the point.
fn round(digits: &[u8], exponent: i32) -> (Vec<u8>, i32) {
    let dropped = -FRACTION_DIGITS_MAX - exponent;
    if dropped <= 0 {
        return (digits.to_vec(), exponent);
    }
    let Some(kept_count) = digits.len().checked_sub(dropped as usize) else {
        return (Vec::new(), 0);
    };
    let (kept, tail) = digits.split_at(kept_count);
    let kept_is_odd = kept.last().is_some_and(|digit| digit % 2 == 1);
    let up = match tail[0] {
        5 => tail[1..].iter().any(|digit| *digit != 0) || kept_is_odd,
        first => first > 5,
    };
    let mut places: Vec<u8> = kept.iter().rev().copied().chain([0]).collect();
    if up {
        let one = align(&[1], 0, places.len());
        places = add_places(places, &one);
    }
    match finite(places.into_iter().rev().collect(), -FRACTION_DIGITS_MAX) {
        Magnitude::Finite { digits, exponent } => (digits, exponent),
        Magnitude::Infinite => unreachable!("rounding a finite number leaves it finite"),
    }
}

/// Writes digits as a plain decimal.
fn push_plain(text: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let ascii = |digit: &u8| digit + b'0';
    let point = digits.len() as i32 + exponent;
    if exponent >= 0 {
        text.extend(digits.iter().map(ascii));
        text.resize(text.len() + exponent as usize, b'0');
    } else if point > 0 {
        text.extend(digits[..point as usize].iter().map(ascii));
        text.push(b'.');
        text.extend(digits[point as usize..].iter().map(ascii));
    } else {
        text.extend_from_slice(b"0.");
        text.resize(text.len() + point.unsigned_abs() as usize, b'0');
        text.extend(digits.iter().map(ascii));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let total = Decimal::parse(a.as_bytes())?.sum(&Decimal::parse(b.as_bytes())?)?;
        Some(String::from_utf8(total.to_text()).unwrap())
    }

    #[test]
    fn sums_are_the_decimals_a_person_expects() {
        for (a, b, total) in [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0", "1", "4"),
            ("1", "-1.1", "-0.1"),
            ("0", "0", "0"),
            ("10.6", "-5", "5.6"),
            ("0.1", "0.2", "0.3"),
            ("17179869184", "1.5", "17179869185.5"),
            ("1.23", "-1.23", "0"),
            ("-1", "1", "0"),
            ("-0", "-0.0", "0"),
            ("1e2", "0", "100"),
            ("1E-2", "0", "0.01"),
            (".5", "5.", "5.5"),
            ("+1", "-3", "-2"),
            ("1234.1", "0", "1234.1"),
            ("999.999", "0.001", "1000"),
            ("007", "0", "7"),
            ("18446744073709551616", "1", "18446744073709551617"),
            ("1e30", "-1", "999999999999999999999999999999"),
            ("0.024390243902439025", "-0.024390243902439025", "0"),
            ("0e999999999999", "2", "2"),
            ("1", "1e-4000", "1"),
            ("0.00000000000000001", "0", "0.00000000000000001"),
            ("9.99999999999999999", "0.00000000000000001", "10"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(total), "{a} + {b}");
            assert_eq!(sum(b, a).as_deref(), Some(total), "{b} + {a}");
        }
    }

    #[test]
    fn the_eighteenth_decimal_is_rounded_half_to_even() {
        for (text, rounded) in [
            ("1.000000000000000005", "1"),
            ("1.000000000000000015", "1.00000000000000002"),
            ("1.0000000000000000051", "1.00000000000000001"),
            ("-1.000000000000000004", "-1"),
            ("0.999999999999999999", "1"),
            ("0.000000000000000005", "0"),
            ("-0.000000000000000006", "-0.00000000000000001"),
            ("1e-18", "0"),
            ("6e-19", "0"),
            ("-1e-300", "0"),
        ] {
            assert_eq!(sum(text, "0").as_deref(), Some(rounded), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_number_are_refused() {
        for text in [
            "",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            " 1",
            "1 ",
            "nan",
            "0x10",
            "1_0",
            "--1",
            "infin",
            "1e5000",
            "1e-5000",
            "1e99999999999",
            "12a",
            "1\0",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
        assert!(Decimal::parse(&b"1".repeat(POINT_MAX as usize)).is_some());
        assert!(Decimal::parse(&b"1".repeat(POINT_MAX as usize + 1)).is_none());
        assert!(Decimal::parse(&b"0".repeat(DECIMAL_TEXT_BYTES_MAX)).is_some());
        assert!(Decimal::parse(&b"0".repeat(DECIMAL_TEXT_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn infinities_parse_but_have_no_sum() {
        for text in ["inf", "+INF", "-Infinity"] {
            let infinite = Decimal::parse(text.as_bytes()).unwrap();
            assert!(!infinite.is_finite());
            assert_eq!(sum(text, "1"), None);
            assert_eq!(sum("1", text), None);
        }
        let nines = "9".repeat(POINT_MAX as usize);
        assert_eq!(sum(&nines, "1"), None, "a sum past the range is infinite");
        assert_eq!(sum(&nines, "-1").map(|total| total.len()), Some(POINT_MAX as usize));
    }

    #[test]
    fn sums_of_whole_numbers_agree_with_integer_arithmetic() {
        let mut state = 7u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (a, b) = ((state as i64) >> (state % 50), (state.rotate_left(23) as i64) >> (state % 41));
            let expected = (i128::from(a) + i128::from(b)).to_string();
            assert_eq!(sum(&a.to_string(), &b.to_string()), Some(expected));
        }
    }
}
