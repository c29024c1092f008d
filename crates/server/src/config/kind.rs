//! How the value of a setting is read, checked and written.
//!
//! Deliberately not: which settings exist, or what they do. Error texts are those of Redis's CONFIG SET,
//! because clients and their tests compare them.
//!
//! Source: `config.c` of Valkey 9 for the rules and texts.

use crate::size::{format_bytes, parse_bytes};

/// The kinds of value.
#[derive(Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Flag,
    /// A whole number, bounds included.
    Integer {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// 1, 2, 4, 8 …, up to a bound.
    PowerOfTwo {
        /// Largest allowed.
        max: i64,
    },
    /// A byte count, `1gb` or plain digits, bounds included.
    Bytes {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A byte count, or a percentage of the memory limit, which is held as a negative number.
    BytesOrPercent,
    /// One of a few words.
    Choice(&'static [Choice]),
    /// Any text.
    Text,
    /// A path; held absolute, so that a later change of directory cannot move it.
    Path,
    /// The path of a file, likewise, or nothing. Naming it again by CONFIG SET means reading it again.
    File,
    /// Several words in one, checked and normalised by a function of (new, current).
    Words(fn(&str, &str) -> Result<String, String>),
    /// Several lines in one, likewise.
    Lines(fn(&str, &str) -> Result<String, String>),
}

/// One word of a `Choice`, as Larder and as Redis spell it.
#[derive(Debug)]
pub struct Choice {
    /// In flags, files and documentation.
    pub larder: &'static str,
    /// Through the Redis name of the setting; empty where Redis has no such word.
    pub redis: &'static str,
}

impl Choice {
    /// A word that both spell alike.
    pub const fn same(word: &'static str) -> Choice {
        Choice { larder: word, redis: word }
    }

    /// The word in the wanted spelling.
    pub fn spelled(&self, spelling: Spelling) -> &'static str {
        match spelling {
            Spelling::Redis if !self.redis.is_empty() => self.redis,
            Spelling::Larder | Spelling::Redis => self.larder,
        }
    }
}

/// Whose words are spoken, decided by the name a setting was reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The setting's own name.
    Larder,
    /// A name that only Redis uses for it.
    Redis,
}

/// A checked value: its normal text, and the same as a number for readers in a hurry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Normal text in Larder's spelling; byte counts as plain digits.
    pub text: String,
    /// The number, the byte count (negative: percent), 1 or 0 for yes or no, a choice's index; else 0.
    pub number: i64,
}

impl Kind {
    /// Checks `text` and gives its normal form. `current` matters to kinds that change in part.
    ///
    /// Words of a `Choice` are understood in both spellings; `spelling` decides which of them an error lists.
    ///
    /// # Errors
    /// The sentence that Redis's CONFIG SET would end with.
    pub fn parse(&self, text: &str, current: &str, spelling: Spelling) -> Result<Value, String> {
        match self {
            Kind::Flag => parse_flag(text),
            Kind::Integer { min, max } => {
                bounded(parse_integer(text), *min, *max, "couldn't be parsed into an integer")
            }
            Kind::PowerOfTwo { max } => parse_power_of_two(text, *max),
            Kind::Bytes { min, max } => bounded(parse_signed_bytes(text), *min, *max, "must be a memory value"),
            Kind::BytesOrPercent => parse_bytes_or_percent(text),
            Kind::Choice(choices) => parse_choice(text, choices, spelling),
            Kind::Text => Ok(Value { text: text.to_owned(), number: 0 }),
            Kind::File if text.is_empty() => Ok(Value { text: String::new(), number: 0 }),
            Kind::Path | Kind::File => parse_path(text),
            Kind::Words(check) | Kind::Lines(check) => check(text, current).map(|text| Value { text, number: 0 }),
        }
    }

    /// What stands between the items of a list in the TOML file.
    pub fn separator(&self) -> &'static str {
        if matches!(self, Kind::Lines(_)) { "\n" } else { " " }
    }

    /// The text that CONFIG GET answers.
    pub fn spelled(&self, value: &Value, spelling: Spelling) -> String {
        match self {
            Kind::Choice(choices) => choices[value.number as usize].spelled(spelling).to_owned(),
            _ => value.text.clone(),
        }
    }

    /// The text for people: byte counts with a unit.
    pub fn for_people(&self, value: &Value) -> String {
        match self {
            Kind::Bytes { .. } | Kind::BytesOrPercent if 0 <= value.number => format_bytes(value.number as u64),
            _ => value.text.clone(),
        }
    }
}

fn parse_flag(text: &str) -> Result<Value, String> {
    let number = match text.to_ascii_lowercase().as_str() {
        "yes" => 1,
        "no" => 0,
        _ => return Err("argument must be 'yes' or 'no'".to_owned()),
    };
    Ok(Value { text: text.to_ascii_lowercase(), number })
}

fn parse_integer(text: &str) -> Option<i64> {
    base::number::parse_i64(text.as_bytes())
}

fn parse_signed_bytes(text: &str) -> Option<i64> {
    parse_bytes(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn bounded(number: Option<i64>, min: i64, max: i64, refusal: &str) -> Result<Value, String> {
    let number = number.ok_or_else(|| format!("argument {refusal}"))?;
    if number < min || max < number {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(Value { text: number.to_string(), number })
}

fn parse_power_of_two(text: &str, max: i64) -> Result<Value, String> {
    let value = bounded(parse_integer(text), 1, max, "couldn't be parsed into an integer")?;
    if value.number & (value.number - 1) != 0 {
        return Err("argument must be a power of two".to_owned());
    }
    Ok(value)
}

fn parse_bytes_or_percent(text: &str) -> Result<Value, String> {
    const PERCENT_MAX: i64 = 100;
    let percent = text.strip_suffix('%').and_then(parse_integer).filter(|percent| 0 <= *percent);
    match percent {
        Some(percent) if PERCENT_MAX < percent => {
            Err(format!("percentage argument must be less or equal to {PERCENT_MAX}"))
        }
        Some(percent) => Ok(Value { text: text.to_owned(), number: -percent }),
        None => bounded(parse_signed_bytes(text), 0, i64::MAX, "must be a memory or percent value"),
    }
}

fn parse_choice(text: &str, choices: &[Choice], spelling: Spelling) -> Result<Value, String> {
    let is_meant = |choice: &Choice| [choice.larder, choice.redis].iter().any(|word| word.eq_ignore_ascii_case(text));
    match choices.iter().position(is_meant).filter(|_| !text.is_empty()) {
        Some(index) => Ok(Value { text: choices[index].larder.to_owned(), number: index as i64 }),
        None => Err(format!("argument(s) must be one of the following: {}", words_of(choices, spelling).join(", "))),
    }
}

/// The words of a choice in one spelling.
pub fn words_of(choices: &[Choice], spelling: Spelling) -> Vec<&'static str> {
    choices.iter().map(|choice| choice.spelled(spelling)).collect()
}

fn parse_path(text: &str) -> Result<Value, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    let text = path.into_os_string().into_string().map_err(|_| "path must be UTF-8".to_owned())?;
    Ok(Value { text, number: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(kind: &Kind, text: &str) -> Result<i64, String> {
        kind.parse(text, "", Spelling::Redis).map(|value| value.number)
    }

    #[test]
    fn integers_are_strict_and_bounded() {
        let kind = Kind::Integer { min: -1, max: 10 };
        assert_eq!(number(&kind, "-1"), Ok(-1));
        for text in ["", "+1", "01", "-0", "1.0", " 1", "x"] {
            assert_eq!(number(&kind, text), Err("argument couldn't be parsed into an integer".to_owned()), "{text:?}");
        }
        assert_eq!(number(&kind, "11"), Err("argument must be between -1 and 10 inclusive".to_owned()));
    }

    #[test]
    fn a_power_of_two_is_no_other_number() {
        let kind = Kind::PowerOfTwo { max: 1024 };
        for power in 0..=10 {
            assert_eq!(number(&kind, &(1 << power).to_string()), Ok(1 << power));
        }
        for text in ["3", "100", "1023"] {
            assert_eq!(number(&kind, text), Err("argument must be a power of two".to_owned()), "{text}");
        }
        for text in ["0", "-2", "2048"] {
            assert_eq!(number(&kind, text), Err("argument must be between 1 and 1024 inclusive".to_owned()), "{text}");
        }
    }

    #[test]
    fn bytes_and_percentages_refuse_in_redis_words() {
        let bytes = Kind::Bytes { min: 1024, max: i64::MAX };
        assert_eq!(number(&bytes, "2kb"), Ok(2048));
        assert_eq!(number(&bytes, "invalid"), Err("argument must be a memory value".to_owned()));
        assert_eq!(number(&bytes, "1"), Err(format!("argument must be between 1024 and {} inclusive", i64::MAX)));
        assert_eq!(number(&Kind::BytesOrPercent, "20%"), Ok(-20));
        let too_much = "percentage argument must be less or equal to 100".to_owned();
        assert_eq!(number(&Kind::BytesOrPercent, "200%"), Err(too_much));
    }

    #[test]
    fn a_choice_understands_both_spellings_and_speaks_the_asked_one() {
        const WORDS: &[Choice] = &[Choice::same("always"), Choice { larder: "os", redis: "no" }];
        let kind = Kind::Choice(WORDS);
        for word in ["os", "NO"] {
            let value = kind.parse(word, "", Spelling::Larder).unwrap();
            assert_eq!((value.text.as_str(), value.number), ("os", 1));
            assert_eq!(kind.spelled(&value, Spelling::Redis), "no");
            assert_eq!(kind.spelled(&value, Spelling::Larder), "os");
        }
        let refusal = "argument(s) must be one of the following: always, no".to_owned();
        assert_eq!(number(&kind, ""), Err(refusal));
    }

    #[test]
    fn flags_are_yes_or_no() {
        assert_eq!(number(&Kind::Flag, "YES"), Ok(1));
        assert_eq!(number(&Kind::Flag, "true"), Err("argument must be 'yes' or 'no'".to_owned()));
    }
}
