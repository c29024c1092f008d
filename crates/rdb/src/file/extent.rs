//! How far a value goes: walks its lengths and strings without looking into them.
//!
//! A file does not say how long a value is. What is passed here is decoded afterwards, from memory, by the same code
//! that decodes payloads; a value that does not decode is thus left behind whole, and the file goes on.
//!
//! Deliberately not here: whether a value is one. Invariant: each step passes at least one byte, so no count that was
//! only read can keep the walk busy.

use super::FileError;
use super::source::Source;
use crate::format::Encoding;
use std::io::Read;

/// Ends, integers, floats, doubles and strings: of what values of modules are made.
const MODULE_END: u64 = 0;
const MODULE_SIGNED: u64 = 1;
const MODULE_UNSIGNED: u64 = 2;
const MODULE_FLOAT: u64 = 3;
const MODULE_DOUBLE: u64 = 4;
const MODULE_STRING: u64 = 5;

/// Bytes of a stream entry's id, and of a time.
const ID_BYTES: u64 = 16;
const TIME_BYTES: u64 = 8;

type Walked = Result<(), FileError>;

/// Passes a value in this encoding.
pub(crate) fn value<R: Read>(source: &mut Source<R>, encoding: Encoding) -> Walked {
    match encoding {
        Encoding::String
        | Encoding::ListZiplist
        | Encoding::SetIntset
        | Encoding::SetListpack
        | Encoding::HashZipmap
        | Encoding::HashZiplist
        | Encoding::HashListpack
        | Encoding::SortedSetZiplist
        | Encoding::SortedSetListpack => source.skip_string(),
        Encoding::List | Encoding::Set | Encoding::ListQuicklist => counted(source, Source::skip_string),
        Encoding::ListQuicklist2 => counted(source, |source| {
            source.length()?;
            source.skip_string()
        }),
        Encoding::Hash => counted(source, two_strings),
        Encoding::HashExpiring => counted(source, |source| {
            two_strings(source)?;
            source.skip(TIME_BYTES)
        }),
        Encoding::HashMetadata => {
            source.skip(TIME_BYTES)?;
            counted(source, |source| {
                source.length()?;
                two_strings(source)
            })
        }
        Encoding::HashListpackEx => {
            source.skip(TIME_BYTES)?;
            source.skip_string()
        }
        Encoding::SortedSetText => counted(source, |source| {
            source.skip_string()?;
            score_text(source)
        }),
        Encoding::SortedSet => counted(source, |source| {
            source.skip_string()?;
            source.skip(size_of::<f64>() as u64)
        }),
        Encoding::StreamV1 => stream(source, 1),
        Encoding::StreamV2 => stream(source, 2),
        Encoding::StreamV3 => stream(source, 3),
    }
}

/// Passes a length and that many of what `one` passes.
fn counted<R: Read>(source: &mut Source<R>, mut one: impl FnMut(&mut Source<R>) -> Walked) -> Walked {
    for _ in 0..source.length()? {
        one(source)?;
    }
    Ok(())
}

fn lengths<R: Read>(source: &mut Source<R>, count: usize) -> Walked {
    (0..count).try_for_each(|_| source.length().map(drop))
}

fn two_strings<R: Read>(source: &mut Source<R>) -> Walked {
    source.skip_string()?;
    source.skip_string()
}

fn score_text<R: Read>(source: &mut Source<R>) -> Walked {
    const WITHOUT_DIGITS_MIN: u8 = 253;
    match source.array()? {
        [digits] if WITHOUT_DIGITS_MIN <= digits => Ok(()),
        [digits] => source.skip(u64::from(digits)),
    }
}

/// See `stream_decode.rs` for what these are.
fn stream<R: Read>(source: &mut Source<R>, form: u32) -> Walked {
    counted(source, two_strings)?;
    lengths(source, 3)?;
    if 2 <= form {
        lengths(source, 5)?;
    }
    counted(source, |source| {
        source.skip_string()?;
        lengths(source, if 2 <= form { 3 } else { 2 })?;
        counted(source, |source| {
            source.skip(ID_BYTES + TIME_BYTES)?;
            source.length().map(drop)
        })?;
        counted(source, |source| {
            source.skip_string()?;
            source.skip(if 3 <= form { 2 * TIME_BYTES } else { TIME_BYTES })?;
            counted(source, |source| source.skip(ID_BYTES))
        })
    })
}

/// Passes what a module wrote behind its id, in the form that says of each part what it is.
pub(crate) fn module<R: Read>(source: &mut Source<R>) -> Walked {
    loop {
        match source.length()? {
            MODULE_END => return Ok(()),
            MODULE_SIGNED | MODULE_UNSIGNED => source.length().map(drop)?,
            MODULE_FLOAT => source.skip(size_of::<f32>() as u64)?,
            MODULE_DOUBLE => source.skip(size_of::<f64>() as u64)?,
            MODULE_STRING => source.skip_string()?,
            _ => return Err(source.broken("a module's value has a part of an unknown form")),
        }
    }
}

/// The name in a module's id: nine letters of six bits each, and ten bits of version.
pub(crate) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|at| char::from(LETTERS[(id >> (58 - 6 * at)) as usize & 0x3f])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_name_is_in_its_id() {
        // "ReJSON-RL" with version 3, letter by letter.
        let letters = [17u64, 30, 9, 18, 14, 13, 62, 17, 11];
        let id = letters.iter().fold(0, |id, letter| id << 6 | letter) << 10 | 3;
        assert_eq!(module_name(id), "ReJSON-RL");
    }
}
