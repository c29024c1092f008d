//! The options of SET, GETEX and MSETEX, and the times they name.
//!
//! Deliberately as strict and as lenient as Valkey's `parseExtendedCommandArgumentsOrReply`: a word may be repeated,
//! two words that exclude each other are a syntax error.

use crate::error::Error;
use crate::refuse;
use crate::touches::KeyUse;
use base::TimeMs;
use base::media_type::{MEDIA_TYPE_BYTES_MAX, essence, is_media_type};
use base::number::{parse_i64, parse_u64};
use wire::args::Args;

/// What SET does with its key: with GET among the options it tells the old value.
pub(crate) fn set_use(args: &Args<'_>) -> KeyUse {
    let gets = args.skip(3.min(args.count())).iter().any(|arg| arg.eq_ignore_ascii_case(b"GET"));
    if gets { KeyUse::RW_ACCESS_UPDATE } else { KeyUse::OW_UPDATE }
}

/// Longest option word.
const WORD_BYTES_MAX: usize = 9;

/// What must hold for a key to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    /// Nothing.
    Always,
    /// NX: the key is absent.
    Absent,
    /// XX: the key is there.
    Present,
    /// IFEQ: the key holds this string.
    Equals(&'a [u8]),
    /// IFVER: the key was last changed by the batch of this version; 0 when the key is absent.
    Version(u64),
}

/// A word that gives a time, and how its number is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: seconds since 1970.
    SecondsAt,
    /// PXAT: milliseconds since 1970.
    MillisecondsAt,
}

/// What becomes of the key's end of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life<'a> {
    /// The command's own way: SET forgets it, GETEX leaves it.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT with its number.
    Until(Unit, &'a [u8]),
}

/// Whose options are read: they differ in which words they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// SET.
    Set,
    /// GETEX.
    GetEx,
    /// MSETEX.
    MsetEx,
}

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// NX, XX, IFEQ, IFVER.
    pub condition: Condition<'a>,
    /// GET.
    pub get: bool,
    /// The end of life.
    pub life: Life<'a>,
    /// MEDIATYPE.
    pub media_type: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads all of `args`.
    pub fn parse(args: Args<'a>, taker: Taker) -> Result<Options<'a>, Error> {
        let mut options = Options { condition: Condition::Always, get: false, life: Life::Unsaid, media_type: None };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            options.take(word, &mut words, taker)?;
        }
        Ok(options)
    }

    fn take(&mut self, word: &[u8], rest: &mut impl Iterator<Item = &'a [u8]>, taker: Taker) -> Result<(), Error> {
        let sets = taker != Taker::GetEx;
        let mut folded = [0; WORD_BYTES_MAX];
        let folded = folded.get_mut(..word.len()).ok_or(Error::Syntax)?;
        folded.copy_from_slice(word);
        folded.make_ascii_uppercase();
        let mut next = || rest.next().ok_or(Error::Syntax);
        match &*folded {
            b"NX" if sets => self.require(Condition::Absent),
            b"XX" if sets => self.require(Condition::Present),
            b"IFEQ" if taker == Taker::Set => self.require(Condition::Equals(next()?)),
            b"IFVER" if taker == Taker::Set => self.require(Condition::Version(version(next()?)?)),
            b"GET" if taker == Taker::Set => {
                self.get = true;
                Ok(())
            }
            b"MEDIATYPE" if taker == Taker::Set => {
                self.media_type = media_type(next()?)?;
                Ok(())
            }
            b"KEEPTTL" if sets => self.live(Life::Keep),
            b"PERSIST" if !sets => self.live(Life::Persist),
            b"EX" => self.live(Life::Until(Unit::Seconds, next()?)),
            b"PX" => self.live(Life::Until(Unit::Milliseconds, next()?)),
            b"EXAT" => self.live(Life::Until(Unit::SecondsAt, next()?)),
            b"PXAT" => self.live(Life::Until(Unit::MillisecondsAt, next()?)),
            _ => Err(Error::Syntax),
        }
    }

    fn require(&mut self, condition: Condition<'a>) -> Result<(), Error> {
        let repeats = self.condition == condition && matches!(condition, Condition::Absent | Condition::Present);
        if self.condition != Condition::Always && !repeats {
            return Err(Error::Syntax);
        }
        self.condition = condition;
        Ok(())
    }

    fn live(&mut self, life: Life<'a>) -> Result<(), Error> {
        let repeats = match (self.life, life) {
            (Life::Until(said, _), Life::Until(unit, _)) => said == unit,
            (said, life) => said == life,
        };
        if self.life != Life::Unsaid && !repeats {
            return Err(Error::Syntax);
        }
        self.life = life;
        Ok(())
    }

    /// When the key ends according to EX, PX, EXAT or PXAT; `None` when none of them was given.
    pub fn deadline(&self, now: TimeMs, command: &str) -> Result<Option<TimeMs>, Error> {
        match self.life {
            Life::Until(unit, text) => deadline(text, unit, now, command).map(Some),
            Life::Unsaid | Life::Keep | Life::Persist => Ok(None),
        }
    }
}

/// The media type to be kept: none for what every string is unless it says.
fn media_type(text: &[u8]) -> Result<Option<&[u8]>, Error> {
    if !is_media_type(text) {
        let max = MEDIA_TYPE_BYTES_MAX;
        return Err(refuse!("ERR a media type is spelled as in text/plain; charset=utf-8, in at most {max} bytes"));
    }
    // Some browsers show its parts as pages without regard to what the answer around them forbids.
    if essence(text).eq_ignore_ascii_case(b"multipart/x-mixed-replace") {
        return Err(Error::text("ERR multipart/x-mixed-replace is a stream, which no value is"));
    }
    Ok((!text.eq_ignore_ascii_case(b"application/octet-stream")).then_some(text))
}

fn version(text: &[u8]) -> Result<u64, Error> {
    parse_u64(text).ok_or(Error::NotInteger)
}

/// The moment that a number of `unit` names, which may have passed already.
pub(crate) fn deadline(text: &[u8], unit: Unit, now: TimeMs, command: &str) -> Result<TimeMs, Error> {
    let number = parse_i64(text).ok_or(Error::NotInteger)?;
    let ms = match unit {
        Unit::Seconds | Unit::SecondsAt => number.checked_mul(1_000),
        Unit::Milliseconds | Unit::MillisecondsAt => Some(number),
    };
    let from = match unit {
        Unit::Seconds | Unit::Milliseconds => now.0,
        Unit::SecondsAt | Unit::MillisecondsAt => 0,
    };
    let at = ms.filter(|ms| 0 < *ms).and_then(|ms| ms.checked_add(from));
    at.map(TimeMs).ok_or_else(|| refuse!("ERR invalid expire time in '{command}' command"))
}
