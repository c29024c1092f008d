//! A walk over the whole source, for whoever wants what is in it: first to see that it is whole, then to import it.
//!
//! Deliberately not here: changing anything.

use super::Failure;
use super::commands_file::{CommandsReader, Next};
use super::parts::Part;
use super::progress::{Counted, Progress};
use rdb::{FileError, FileReader, Item, Key};
use std::fs::File;
use std::io::{Read, Seek};
use wire::args::Args;

/// Bytes of a file's beginning that are looked at, and shown where they are not what they must be.
const HEAD_BYTES: u64 = 16;

/// Who is shown what the source holds, in its order.
pub(super) trait Visitor {
    /// A file begins: its commands begin in database 0, outside of MULTI.
    fn file(&mut self) {}
    /// An RDB file of this version begins.
    fn rdb(&mut self, _version: u16) {}
    /// A note in an RDB file.
    fn note(&mut self, _name: &[u8], _text: &[u8]) {}
    /// Keys that follow are of this database.
    fn database(&mut self, _number: u64) {}
    /// A key.
    fn key(&mut self, key: &Key<'_>) -> Result<(), Failure>;
    /// A library of functions.
    fn library(&mut self, _code: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
    /// What a module keeps beside keys.
    fn module_note(&mut self, _module: &str) {}
    /// An RDB file has ended, with a checksum or without.
    fn rdb_end(&mut self, _is_summed: bool) {}
    /// A command.
    fn command(&mut self, args: Args<'_>) -> Result<(), Failure>;
    /// The source ends with bytes that are no whole command.
    fn unfinished(&mut self, _bytes: u64) {}
    /// Whether commands since MULTI wait for an EXEC.
    fn is_in_transaction(&self) -> bool;
}

/// Shows `visitor` everything.
pub(super) fn walk(parts: &[Part], progress: &Progress, visitor: &mut dyn Visitor) -> Result<(), Failure> {
    parts.iter().try_for_each(|part| file(part, progress, visitor))
}

fn file(part: &Part, progress: &Progress, visitor: &mut dyn Visitor) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| failure(part, format!("cannot be read: {error}"));
    let mut file = File::open(&part.path).map_err(unreadable)?;
    let mut head = Vec::new();
    (&mut file).take(HEAD_BYTES).read_to_end(&mut head).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let file = Counted::new(file, progress);
    visitor.file();
    if !head.starts_with(b"REDIS") && !head.starts_with(b"VALKEY") {
        if let Some(what) = neither(&head) {
            return Err(failure(part, what));
        }
        return commands(part, CommandsReader::new(Vec::new(), file, 0), visitor);
    }
    let mut reader = FileReader::open(file).map_err(|error| failure(part, error.to_string()))?;
    keys(&mut reader, visitor).map_err(|stop| match stop {
        Stop::File(error) => failure(part, error.to_string()),
        Stop::Visitor(failure) => failure,
    })?;
    let offset_bytes = reader.position_bytes();
    let (ahead, rest) = reader.into_rest();
    commands(part, CommandsReader::new(ahead, rest, offset_bytes), visitor)
}

/// What to say of a file that begins like this, if it is neither an RDB file nor made of commands.
fn neither(head: &[u8]) -> Option<String> {
    let found = match head {
        // A comment may precede commands, and before anything was written there are none.
        [] | [b'*' | b'#', ..] => return None,
        [0x1f, 0x8b, ..] => "it was compressed by gzip, decompress it first".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it was compressed by zstd, decompress it first".to_owned(),
        _ => format!("it begins with \"{}\"", head.escape_ascii()),
    };
    Some(format!(
        "is neither an RDB file (dump.rdb), which begins with REDIS or VALKEY, nor an append-only file, which begins \
         with *: {found}"
    ))
}

fn failure(part: &Part, what: String) -> Failure {
    Failure::Source { path: part.path.clone(), what }
}

enum Stop {
    File(FileError),
    Visitor(Failure),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Stop::File(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Visitor(failure)
    }
}

fn keys<R: Read>(reader: &mut FileReader<R>, visitor: &mut dyn Visitor) -> Result<(), Stop> {
    visitor.rdb(reader.version());
    loop {
        match reader.read_next()? {
            Item::Note { name, text } => visitor.note(name, text),
            Item::Database(number) => visitor.database(number),
            Item::Key(key) => visitor.key(&key)?,
            Item::Library(code) => visitor.library(code)?,
            Item::ModuleNote(module) => visitor.module_note(&module),
            Item::End { is_summed } => {
                visitor.rdb_end(is_summed);
                return Ok(());
            }
        }
    }
}

/// What a crash cut off is left out, at the very end and whole transactions only, as Redis does.
fn commands<R: Read>(part: &Part, mut reader: CommandsReader<R>, visitor: &mut dyn Visitor) -> Result<(), Failure> {
    let mut transaction_at = None;
    loop {
        match reader.read_next().map_err(|error| failure(part, error.to_string()))? {
            Next::Command(at, args) => {
                visitor.command(args)?;
                transaction_at = visitor.is_in_transaction().then_some(transaction_at.unwrap_or(at));
            }
            Next::End { unfinished_bytes } => {
                let whole_until = transaction_at.unwrap_or(part.bytes - unfinished_bytes.min(part.bytes));
                let left_bytes = part.bytes.saturating_sub(whole_until);
                if left_bytes == 0 {
                    return Ok(());
                }
                if !part.is_last {
                    let what =
                        format!("ends in the middle of a command, after byte {whole_until}, and is not the last");
                    return Err(failure(part, what));
                }
                visitor.unfinished(left_bytes);
                return Ok(());
            }
        }
    }
}

/// What a source is, as found by reading it once.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The version of its RDB file, if there is one.
    pub rdb_version: Option<u16>,
    /// Whether that has a checksum; it held.
    pub is_summed: bool,
    /// What wrote it: `Redis 7.0.15` and the like.
    pub written_by: Option<String>,
    /// Keys in its RDB file.
    pub key_count: u64,
    /// Commands in its append-only files.
    pub command_count: u64,
    /// Bytes of an unfinished command, or transaction, at its end.
    pub unfinished_bytes: u64,
}

/// Reads and remembers what kind of source it is.
#[derive(Default)]
pub(super) struct Check {
    found: Found,
    is_in_transaction: bool,
}

impl Check {
    /// What was found.
    pub(super) fn found(self) -> Found {
        self.found
    }
}

impl Visitor for Check {
    fn file(&mut self) {
        self.is_in_transaction = false;
    }

    fn rdb(&mut self, version: u16) {
        self.found.rdb_version = Some(version);
    }

    fn note(&mut self, name: &[u8], text: &[u8]) {
        let who = match name {
            b"redis-ver" => "Redis",
            b"valkey-ver" => "Valkey",
            _ => return,
        };
        self.found.written_by = Some(format!("{who} {}", String::from_utf8_lossy(text)));
    }

    fn key(&mut self, _key: &Key<'_>) -> Result<(), Failure> {
        self.found.key_count += 1;
        Ok(())
    }

    fn rdb_end(&mut self, is_summed: bool) {
        self.found.is_summed = is_summed;
    }

    fn command(&mut self, args: Args<'_>) -> Result<(), Failure> {
        self.found.command_count += 1;
        match args.at(0) {
            name if name.eq_ignore_ascii_case(b"multi") => self.is_in_transaction = true,
            name if name.eq_ignore_ascii_case(b"exec") => self.is_in_transaction = false,
            _ => {}
        }
        Ok(())
    }

    fn unfinished(&mut self, bytes: u64) {
        self.found.unfinished_bytes = bytes;
    }

    fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }
}
