//! RDB files: what SAVE, BGSAVE and replication write, read one key at a time.
//!
//! ```text
//! "REDIS" version:4 digits | "VALKEY" version:3 digits
//! (opcode …)…            254 database, 252 or 253 expiry of the next key, 248 and 249 its use, 250 a note …
//! (type key value)…      mixed with these
//! 255 crc64:u64          little-endian, over everything before; 0 is "not computed"
//! ```
//! Of the file no more is in memory than a buffer and the value at hand. That is first measured and copied as it
//! lies (`extent.rs`), then decoded as a payload of DUMP is, by whoever wants it: [`Encoded::object`].
//!
//! Deliberately not here: where the bytes come from, what has expired, what becomes of a key.
//!
//! Invariants:
//! - Reading never panics, whatever the bytes; nothing is allocated by a number that was only read.
//! - The checksum is compared before [`Item::End`] is given.
//!
//! Not done, and why: values written by modules before Redis 4 (type 6) and function libraries of the release
//! candidates of Redis 7 (opcode 246) end the reading: neither says where it ends.
//!
//! Source: `rdb.h` and `rdb.c` of Redis 7.0 and 7.4 and of Valkey 9.1.2.

mod extent;
mod source;

use crate::decode::{self, VALUE_BYTES_MAX};
use crate::format::{Encoding, VERSION_VALKEY_9, VERSIONS_REDIS};
use crate::{DumpError, Object};
use base::TimeMs;
use source::Source;
use std::fmt;
use std::io::Read;

/// Bytes of a key, a note or a library; strings of Redis are no longer unless it is told so.
const NAME_BYTES_MAX: usize = 512 << 20;
/// The first version with a checksum at its end.
const VERSION_SUMMED: u16 = 5;

const OPCODE_SLOT_IMPORT: u8 = 243;
const OPCODE_SLOT_INFO: u8 = 244;
const OPCODE_LIBRARY: u8 = 245;
const OPCODE_MODULE_NOTE: u8 = 247;
const OPCODE_IDLE: u8 = 248;
const OPCODE_FREQUENCY: u8 = 249;
const OPCODE_NOTE: u8 = 250;
const OPCODE_SIZES: u8 = 251;
const OPCODE_EXPIRES_MS: u8 = 252;
const OPCODE_EXPIRES_SECONDS: u8 = 253;
const OPCODE_DATABASE: u8 = 254;
const OPCODE_END: u8 = 255;
const TYPE_MODULE: u8 = 7;

/// Why a file cannot be read on.
#[derive(Debug)]
pub enum FileError {
    /// The system refused.
    Io(std::io::Error),
    /// It does not begin as an RDB file does.
    NotRdb,
    /// A version this release does not read.
    Version {
        /// The version, as the file spells it.
        text: String,
    },
    /// It ends in the middle.
    Ended {
        /// Its length.
        offset_bytes: u64,
    },
    /// Something else stands where this release knows what must.
    Broken {
        /// Where.
        offset_bytes: u64,
        /// The rule it broke.
        what: &'static str,
    },
    /// A type of value, or something between values, that this release does not know: it does not say where it ends.
    Unknown {
        /// Where.
        offset_bytes: u64,
        /// Its number.
        byte: u8,
    },
    /// Bytes are not as they were written.
    Checksum {
        /// What the file says.
        stated: u64,
        /// What its bytes give.
        found: u64,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io(error) => write!(f, "cannot be read: {error}"),
            FileError::NotRdb => f.write_str("is not an RDB file"),
            FileError::Version { text } => write!(f, "has RDB version {text:?}, which this release does not read"),
            FileError::Ended { offset_bytes } => write!(f, "ends in the middle, after {offset_bytes} bytes"),
            FileError::Broken { offset_bytes, what } => write!(f, "is damaged before byte {offset_bytes}: {what}"),
            FileError::Unknown { offset_bytes, byte } => {
                write!(
                    f,
                    "has something of unknown type {byte} before byte {offset_bytes}, which cannot be passed over"
                )
            }
            FileError::Checksum { stated, found } => {
                write!(f, "is damaged: its checksum says {stated:016x}, its bytes give {found:016x}")
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// What stands next in a file.
#[derive(Debug)]
pub enum Item<'f> {
    /// A note of whoever wrote the file: its version, the time, and the like.
    Note {
        /// What it is about.
        name: &'f [u8],
        /// What it says.
        text: &'f [u8],
    },
    /// The keys that follow are of this database.
    Database(u64),
    /// A key.
    Key(Key<'f>),
    /// A library of functions: its code.
    Library(&'f [u8]),
    /// Something a module keeps beside keys, by the module's name.
    ModuleNote(String),
    /// There is no more, and the checksum holds.
    End {
        /// Whether there was one.
        is_summed: bool,
    },
}

/// A key and what the file says of it.
#[derive(Debug)]
pub struct Key<'f> {
    /// Its name.
    pub name: &'f [u8],
    /// When it expires, if it does.
    pub expires: Option<TimeMs>,
    /// Seconds since it was last used, if the file says so.
    pub idle_seconds: Option<u64>,
    /// Its logarithmic counter of uses, if the file says so.
    pub frequency: Option<u8>,
    /// What it holds.
    pub value: Value<'f>,
}

/// A value as it lies in the file.
#[derive(Debug)]
pub enum Value<'f> {
    /// One that may be decoded.
    Encoded(Encoded<'f>),
    /// One of a module, by the module's name: only its code could read it.
    Module(String),
    /// One of more than [`VALUE_BYTES_MAX`] bytes.
    TooLarge,
}

/// The bytes of a value.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'f> {
    encoding: Encoding,
    body: &'f [u8],
}

impl Encoded<'_> {
    /// The value, which may take [`VALUE_BYTES_MAX`] of memory.
    ///
    /// # Errors
    /// `BadFormat`: it is none.
    ///
    /// # Cost
    /// As [`crate::decode_dump`].
    pub fn object(&self) -> Result<Object, DumpError> {
        decode::body(self.encoding, self.body, VALUE_BYTES_MAX)
    }
}

/// What was said of the key that is to come.
#[derive(Default)]
struct Said {
    expires: Option<TimeMs>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

/// Reads a file from front to back.
pub struct FileReader<R> {
    source: Source<R>,
    version: u16,
    said: Said,
    name: Vec<u8>,
    text: Vec<u8>,
}

impl<R: Read> FileReader<R> {
    /// Reads the first nine bytes.
    ///
    /// # Errors
    /// `NotRdb`, `Version`; `Ended`, `Io`.
    pub fn open(inner: R) -> Result<Self, FileError> {
        let mut source = Source::new(inner);
        let head: [u8; 9] = source.array()?;
        let (is_valkey, digits) = match (head.strip_prefix(b"VALKEY"), head.strip_prefix(b"REDIS")) {
            (Some(digits), _) => (true, digits),
            (None, Some(digits)) => (false, digits),
            (None, None) => return Err(FileError::NotRdb),
        };
        let text = String::from_utf8_lossy(digits).into_owned();
        let known =
            |version: &u16| if is_valkey { *version == VERSION_VALKEY_9 } else { VERSIONS_REDIS.contains(version) };
        match text.parse().ok().filter(known) {
            Some(version) => {
                Ok(FileReader { source, version, said: Said::default(), name: Vec::new(), text: Vec::new() })
            }
            None => Err(FileError::Version { text }),
        }
    }

    /// The version of the format.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes of the file that were read and understood.
    pub fn position_bytes(&self) -> u64 {
        self.source.position_bytes()
    }

    /// After [`Item::End`]: bytes that were read ahead, and where more comes from.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.source.into_rest()
    }

    /// What stands next.
    ///
    /// # Errors
    /// See [`FileError`]; nothing more can be read then.
    ///
    /// # Cost
    /// A pass over the bytes; a copy of the value.
    pub fn read_next(&mut self) -> Result<Item<'_>, FileError> {
        loop {
            let [opcode] = self.source.array()?;
            match opcode {
                OPCODE_EXPIRES_MS => self.said.expires = Some(TimeMs(i64::from_le_bytes(self.source.array()?))),
                OPCODE_EXPIRES_SECONDS => {
                    self.said.expires = Some(TimeMs(i64::from(i32::from_le_bytes(self.source.array()?)) * 1000));
                }
                OPCODE_IDLE => self.said.idle_seconds = Some(self.source.length()?),
                OPCODE_FREQUENCY => {
                    let [count] = self.source.array()?;
                    self.said.frequency = Some(count);
                }
                OPCODE_SIZES => self.lengths(2)?,
                OPCODE_SLOT_INFO => self.lengths(3)?,
                OPCODE_SLOT_IMPORT => self.slot_import()?,
                OPCODE_DATABASE => return Ok(Item::Database(self.source.length()?)),
                OPCODE_NOTE => return self.note(),
                OPCODE_LIBRARY => {
                    self.source.string(NAME_BYTES_MAX, &mut self.text)?;
                    return Ok(Item::Library(&self.text));
                }
                OPCODE_MODULE_NOTE => return self.module_note(),
                OPCODE_END => return self.end(),
                kind => return self.key(kind),
            }
        }
    }

    fn lengths(&mut self, count: usize) -> Result<(), FileError> {
        (0..count).try_for_each(|_| self.source.length().map(drop))
    }

    /// Slots that a node of a Valkey cluster was receiving: `job count (first last)…`.
    fn slot_import(&mut self) -> Result<(), FileError> {
        self.source.skip_string()?;
        for _ in 0..self.source.length()? {
            self.lengths(2)?;
        }
        Ok(())
    }

    fn note(&mut self) -> Result<Item<'_>, FileError> {
        self.source.string(NAME_BYTES_MAX, &mut self.name)?;
        self.source.string(NAME_BYTES_MAX, &mut self.text)?;
        Ok(Item::Note { name: &self.name, text: &self.text })
    }

    /// `module when_opcode when value`.
    fn module_note(&mut self) -> Result<Item<'_>, FileError> {
        let id = self.source.length()?;
        self.lengths(2)?;
        extent::module(&mut self.source)?;
        Ok(Item::ModuleNote(extent::module_name(id)))
    }

    fn end(&mut self) -> Result<Item<'_>, FileError> {
        if self.version < VERSION_SUMMED {
            return Ok(Item::End { is_summed: false });
        }
        let found = self.source.crc();
        let stated = u64::from_le_bytes(self.source.array()?);
        if stated != 0 && stated != found {
            return Err(FileError::Checksum { stated, found });
        }
        Ok(Item::End { is_summed: stated != 0 })
    }

    fn key(&mut self, kind: u8) -> Result<Item<'_>, FileError> {
        let encoding = Encoding::decode(kind, self.version);
        if encoding.is_none() && kind != TYPE_MODULE {
            return Err(FileError::Unknown { offset_bytes: self.position_bytes(), byte: kind });
        }
        self.source.string(NAME_BYTES_MAX, &mut self.name)?;
        let value = match encoding {
            None => {
                let id = self.source.length()?;
                extent::module(&mut self.source)?;
                Value::Module(extent::module_name(id))
            }
            Some(encoding) if self.source.keeping(VALUE_BYTES_MAX, |source| extent::value(source, encoding))? => {
                Value::Encoded(Encoded { encoding, body: self.source.kept() })
            }
            Some(_) => Value::TooLarge,
        };
        let Said { expires, idle_seconds, frequency } = std::mem::take(&mut self.said);
        Ok(Item::Key(Key { name: &self.name, expires, idle_seconds, frequency, value }))
    }
}
