//! Values that lie only in the journal: finding their bytes in a record, and what to do when the journal fails.

use crate::effect::Effect;
use crate::entry::Home;
use crate::value::{Kind, read_kind};
use base::codec::{put_bytes, put_varint};
use base::{PartitionId, Reader, SharedBytes, Version};
use env::ReadMode;
use journal::{Appended, Journal, Offline, Position, ReadNow, RecordHead, RecordKind, Reserve};

/// Largest record of several effects that may serve as a home: reading one value back must not mean reading a
/// MULTI of megabytes.
const SHARED_HOME_BYTES_MAX: usize = 64 << 10;

/// A value to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spilled {
    /// Partition of the key.
    pub partition: PartitionId,
    /// Physical database of the key.
    pub db: u8,
    /// The key.
    pub key: Vec<u8>,
    /// The version whose value is wanted: a key that has changed since no longer wants it.
    pub version: Version,
    /// The record that holds it.
    pub position: Position,
}

/// One value written out whole by a merge or to be spilled: `db:u8 key version:varint kind:u8 image`.
pub struct Image<'a> {
    /// Physical database.
    pub db: u8,
    /// The key.
    pub key: &'a [u8],
    /// Version of the key whose value this is.
    pub version: Version,
    /// Its type.
    pub kind: Kind,
    /// Its image.
    pub image: &'a [u8],
}

impl<'a> Image<'a> {
    /// Appends the image to the body of a record of kind `Image`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        out.extend_from_slice(self.image);
    }

    /// As [`Image::encode`] but for the bytes of the image itself, which must follow.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        out.push(self.db);
        put_bytes(out, self.key);
        put_varint(out, self.version.0);
        out.push(self.kind as u8);
        put_varint(out, self.image.len() as u64);
    }

    /// Reads the next image of a record's body.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, base::Truncated> {
        Ok(Image {
            db: reader.u8()?,
            key: reader.bytes()?,
            version: Version(reader.varint()?),
            kind: read_kind(reader)?,
            image: reader.bytes()?,
        })
    }
}

/// The home that a value in a record of this size gets: none when reading it back would cost too much.
pub fn home_in(home: Home, body_bytes: usize, effect_count: u32) -> Home {
    if effect_count > 1 && body_bytes > SHARED_HOME_BYTES_MAX { Home::NONE } else { home }
}

/// The effects of `partition` in a record of effects; `None` when the record holds none for it.
///
/// # Errors
/// The body of a `MultiBatch` does not parse.
pub fn section<'a>(
    head: &RecordHead,
    body: &'a [u8],
    partition: PartitionId,
) -> Result<Option<(Version, &'a [u8])>, base::Truncated> {
    let mut found = None;
    each_section(head, body, |id, version, effects| {
        if id == partition {
            found = Some((version, effects));
        }
    })?;
    Ok(found)
}

/// Calls `each` for the partitions that a record of effects changes, with the version each takes.
///
/// # Errors
/// The body of a `MultiBatch` does not parse.
pub fn each_section<'a>(
    head: &RecordHead,
    body: &'a [u8],
    mut each: impl FnMut(PartitionId, Version, &'a [u8]),
) -> Result<(), base::Truncated> {
    match head.kind {
        RecordKind::Batch => each(head.partition, head.version, body),
        RecordKind::MultiBatch => {
            let mut reader = Reader::new(body);
            for _ in 0..reader.varint()? {
                let id = u16::try_from(reader.varint()?).map_err(|_| base::Truncated)?;
                each(PartitionId(id), Version(reader.varint()?), reader.bytes()?);
            }
        }
        RecordKind::Image | RecordKind::Mark | RecordKind::Seal | RecordKind::Gap => {}
    }
    Ok(())
}

/// The wanted value's bytes in the record that is its home.
fn value_in<'a>(head: &RecordHead, body: &'a [u8], wanted: &Spilled) -> Result<Option<&'a [u8]>, base::Truncated> {
    if head.kind == RecordKind::Image {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let image = Image::decode(&mut reader)?;
            if image.db == wanted.db && image.key == wanted.key && head.partition == wanted.partition {
                return Ok(Some(image.image));
            }
        }
        return Ok(None);
    }
    let Some((_, effects)) = section(head, body, wanted.partition)? else { return Ok(None) };
    let mut reader = Reader::new(effects);
    let mut last = None;
    while !reader.is_empty() {
        let (db, effect) = Effect::decode(&mut reader)?;
        match effect {
            Effect::PutString { key, value, .. } if db == wanted.db && key == wanted.key => last = Some(value),
            Effect::PutImage { key, image, .. } if db == wanted.db && key == wanted.key => last = Some(image),
            _ => {}
        }
    }
    Ok(last)
}

/// Why a spilled value could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The journal refused.
    Journal(journal::Error),
    /// The record's checksums hold, but it does not hold the value its key points at.
    NotThere {
        /// The record.
        position: Position,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Journal(error) => error.fmt(f),
            ReadError::NotThere { position } => {
                write!(f, "the record at {position} does not hold the value its key points at")
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Journal(error) => Some(error),
            ReadError::NotThere { .. } => None,
        }
    }
}

/// Reads a spilled value. `Ok(None)` only with `ReadMode::NoWait`, when it is not in the page cache.
///
/// # Cost
/// One `pread` of its record, two when it is longer than 4 KiB, and a copy of the value where that is little of it.
///
/// # Errors
/// The record is damaged, or does not hold the key. A segment that merge has removed meanwhile is
/// `Journal(SegmentUnknown)`: the key then has another home, or none.
pub fn read(journal: &Journal, wanted: &Spilled, mode: ReadMode) -> Result<Option<SharedBytes>, ReadError> {
    read_with(wanted, |buffer| journal.read(wanted.position, mode, buffer))
}

/// Reads a spilled value while the journal is still being opened.
///
/// # Errors
/// As [`read`].
pub fn read_offline(journal: &Offline, wanted: &Spilled) -> Result<SharedBytes, ReadError> {
    let value = read_with(wanted, |buffer| journal.read(wanted.position, buffer))?;
    value.ok_or(ReadError::NotThere { position: wanted.position })
}

fn read_with(
    wanted: &Spilled,
    read: impl FnOnce(&mut Vec<u8>) -> Result<ReadNow, journal::Error>,
) -> Result<Option<SharedBytes>, ReadError> {
    let mut buffer = Vec::new();
    let (head, body) = match read(&mut buffer).map_err(ReadError::Journal)? {
        ReadNow::Record(head, body) => (head, body),
        ReadNow::WouldBlock => return Ok(None),
    };
    let Ok(Some(value)) = value_in(&head, &buffer[body], wanted) else {
        return Err(ReadError::NotThere { position: wanted.position });
    };
    let (start, bytes) = (value.as_ptr().addr() - buffer.as_ptr().addr(), value.len());
    Ok(Some(SharedBytes::part_of(buffer, start..start + bytes)))
}

/// Reads a spilled value now, whatever it takes.
///
/// # Panics
/// When it cannot be read, should the journal's fatal hook return, which is told why: whoever asked is in the middle of
/// an atomic batch, which cannot be left half done.
pub fn read_or_stop(journal: &Journal, wanted: &Spilled) -> SharedBytes {
    let error = match read(journal, wanted, ReadMode::Wait) {
        Ok(Some(image)) => return image,
        Ok(None) => unreachable!("a waiting read does not give up"),
        Err(ReadError::Journal(error)) => error,
        Err(error @ ReadError::NotThere { position }) => {
            journal::Error::Visitor { at: position, source: Box::new(error) }
        }
    };
    let stopped = journal.stop(error);
    panic!("a value needed by a batch in progress cannot be read: {stopped}");
}

/// Appends a record whose effects are already applied.
///
/// # Panics
/// When the journal refuses, which want of space is no reason for ([`Reserve::Applied`]). Live state is then ahead of
/// the journal: the process stops, and restarts from the journal.
#[inline]
pub fn append_or_stop(journal: &Journal, head: &RecordHead, body: &[u8]) -> Appended {
    appended_or_stop(journal.append(head, body, Reserve::Applied))
}

/// As [`append_or_stop`] for one put of a large string, whose value lies apart from its effect.
///
/// # Panics
/// As [`append_or_stop`].
#[cold]
pub fn append_apart_or_stop(journal: &Journal, head: &RecordHead, effect: &[u8], value: &[u8]) -> Appended {
    appended_or_stop(journal.append_parts(head, [effect, value], Reserve::Applied))
}

#[inline]
fn appended_or_stop(appended: Result<Appended, journal::Error>) -> Appended {
    match appended {
        Ok(appended) => appended,
        Err(error) => panic!("an applied batch cannot be journaled: {error}"),
    }
}
