//! Numbers as C's `printf` writes them with `%.<precision>g`, and as its `strtod` reads them, for libraries whose
//! output programs compare.

/// `value` with at most `precision` significant digits, as `%.<precision>g`: trailing zeros dropped, an exponent only
/// where the number would be long.
pub fn format_general(value: f64, precision: usize) -> String {
    let precision = precision.max(1);
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent was asked for");
    let exponent: i32 = exponent.parse().expect("digits");
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = (precision as i32 - 1 - exponent) as usize;
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The longest number that `text` begins with, and its length; hexadecimal, infinities and NaN included.
pub fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let rest = &text[sign..];
    let signed = |value: f64| if negative { -value } else { value };
    let starts_with = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    for (word, value) in [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if starts_with(word) {
            return Some((signed(value), sign + word.len()));
        }
    }
    if starts_with(b"0x") {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 0 {
            let digit = |byte: &u8| f64::from((*byte as char).to_digit(16).unwrap_or(0));
            let value = rest[2..2 + digits].iter().fold(0.0, |value, byte| value * 16.0 + digit(byte));
            return Some((signed(value), sign + 2 + digits));
        }
    }
    let digits_from =
        |at: usize| rest.get(at..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
    let whole = digits_from(0);
    let mut end = whole;
    let mut fraction = 0;
    if rest.get(whole) == Some(&b'.') {
        fraction = digits_from(whole + 1);
        end = whole + 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(rest.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits_from(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let value = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((signed(value), sign + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (value, precision, expected) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (1.0, 14, "1"),
            (100.0, 14, "100"),
            (0.1, 14, "0.1"),
            (0.1, 17, "0.10000000000000001"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (1e14, 14, "1e+14"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (1e-5, 14, "1e-05"),
            (1e-4, 14, "0.0001"),
            (99999.5, 5, "1e+05"),
            (1e300, 3, "1e+300"),
            (f64::NEG_INFINITY, 14, "-inf"),
        ] {
            assert_eq!(format_general(value, precision), expected);
        }
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        assert_eq!(parse_prefix(b"12,"), Some((12.0, 2)));
        assert_eq!(parse_prefix(b"-1.5e3]"), Some((-1500.0, 6)));
        assert_eq!(parse_prefix(b"1e"), Some((1.0, 1)));
        assert_eq!(parse_prefix(b"1e+x"), Some((1.0, 1)));
        assert_eq!(parse_prefix(b".5"), Some((0.5, 2)));
        assert_eq!(parse_prefix(b"5."), Some((5.0, 2)));
        assert_eq!(parse_prefix(b"0x1F "), Some((31.0, 4)));
        assert_eq!(parse_prefix(b"-inf"), Some((f64::NEG_INFINITY, 4)));
        assert_eq!(parse_prefix(b"."), None);
        assert_eq!(parse_prefix(b"-"), None);
        assert_eq!(parse_prefix(b""), None);
        assert!(parse_prefix(b"NaN").is_some_and(|(value, bytes)| value.is_nan() && bytes == 3));
    }
}
