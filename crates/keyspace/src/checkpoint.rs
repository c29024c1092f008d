//! The file from which a partition's index is rebuilt without reading the journal before it.
//!
//! ```text
//! header  magic:8 format:u32 partition:u16 zero:u16 start_version:u64 start_segment:u32 start_offset:u32
//!         db_map:16 crc:u32                                                   52 bytes
//! block   body_bytes:u32 (not 0) crc:u32 body                                 any number
//! end     0:u32 entry_count:u64 end_segment:u32 end_offset:u32 crc:u32         24 bytes
//!
//! entry   db:u8 kind:u8 form:u8 key version:varint revision:varint expires access:varint value
//! value   form 0: image     form 1: home:u64 value_bytes:varint
//! ```
//! Little-endian; `key`, `image` and `expires` as in effects. Each crc is CRC-32C of what precedes it in its part;
//! a block's also covers its number, so blocks cannot change places.
//!
//! Checkpoints are fuzzy: entries are written bucket by bucket while the partition keeps changing, each with its
//! version. Replaying the journal from `start`, and skipping effects whose version an entry already shows, gives
//! the exact state (ARIES without undo: Mohan et al. 1992). So nothing pauses, and memory is not doubled.
//!
//! Entries may show batches from after `start`, up to `end`. The journal is durable up to there before the file gets
//! its name: one that ends earlier has lost what the entries speak of, and replaying it would give a state that never
//! was.
//!
//! Deliberately not here: files. Blocks go to and come from byte buffers.

use crate::effect::{put_expires, read_expires};
use crate::elements::PHYSICAL_DB_COUNT;
use crate::entry::{EntryRef, Home, Meta, Payload, Stored};
use crate::partition::Partition;
use crate::pieces::{Assembly, Piece, PieceLimits, stays_resident};
use crate::value::{Kind, Value, as_integer, read_kind};
use base::checksum::crc32c;
use base::codec::{put_bytes, put_varint};
use base::number::format_i64;
use base::{DB_COUNT, PartitionId, Reader, Truncated, Version};
use journal::{Position, SegmentId};

const MAGIC: [u8; 8] = *b"LARDERCP";
const FORMAT: u32 = 2;
const FORMAT_OLDEST: u32 = 1;
const HEADER_BYTES: usize = 52;
const END_BYTES: usize = 24;
/// Values in memory up to this size are written into the checkpoint; larger ones get a home in the journal first, unless
/// they are written in pieces.
pub const INLINE_BYTES_MAX: usize = 4 << 10;
/// Rows of pieces of one value that are begun; who replaces it again and again gets it written whole.
const PIECES_TRIES_MAX: u32 = 3;

const FORM_IMAGE: u8 = 0;
const FORM_HOME: u8 = 1;
const FORM_PIECE: u8 = 2;
const FORM_WHOLE: u8 = 3;
const FORM_BROKEN: u8 = 4;

/// Where a checkpoint begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose it is.
    pub partition: PartitionId,
    /// Batches up to this version are in it for certain.
    pub start_version: Version,
    /// Replay from here.
    pub start: Position,
    /// Numbers of databases at the start.
    pub db_map: [u8; DB_COUNT],
}

/// What is wrong with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte at which the damaged part begins.
    pub offset: u64,
    /// What it is.
    pub what: &'static str,
}

/// Why a checkpoint cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Bytes are not as they were written.
    Damaged(Damage),
    /// A later release wrote it, in this format.
    Format(u32),
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Refusal::Damaged(damage)
    }
}

impl Header {
    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.partition.0.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.start_version.0.to_le_bytes());
        out.extend_from_slice(&self.start.segment.0.to_le_bytes());
        out.extend_from_slice(&self.start.offset.to_le_bytes());
        out.extend_from_slice(&self.db_map);
        let crc = crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(out.len() - start, HEADER_BYTES, "the layout above is the layout written");
    }

    fn decode(bytes: &[u8]) -> Result<Header, Refusal> {
        let damaged = |what| Damage { offset: 0, what };
        let header = bytes.get(..HEADER_BYTES).ok_or(damaged("the file ends inside its header"))?;
        let mut reader = Reader::new(header);
        let read = |reader: &mut Reader<'_>| -> Result<([u8; 8], u32, Header, u32), Truncated> {
            let (magic, format) = (reader.array()?, reader.u32()?);
            let partition = PartitionId(reader.u16()?);
            reader.u16()?;
            let start_version = Version(reader.u64()?);
            let start = Position { segment: SegmentId(reader.u32()?), offset: reader.u32()? };
            let db_map = reader.array()?;
            Ok((magic, format, Header { partition, start_version, start, db_map }, reader.u32()?))
        };
        let (magic, format, decoded, crc) = read(&mut reader).map_err(|_| damaged("the header is short"))?;
        if crc != crc32c(&header[..HEADER_BYTES - 4]) {
            return Err(damaged("the header's checksum does not hold").into());
        }
        if magic != MAGIC {
            return Err(damaged("it is no checkpoint").into());
        }
        if !(FORMAT_OLDEST..=FORMAT).contains(&format) {
            return Err(Refusal::Format(format));
        }
        let mut seen = [false; DB_COUNT];
        for db in decoded.db_map {
            match seen.get_mut(usize::from(db)) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(damaged("the map of databases is not one").into()),
            }
        }
        Ok(decoded)
    }
}

/// Encodes a partition's entries into blocks.
pub struct BlockWriter {
    limits: PieceLimits,
    body: Vec<u8>,
    block_count: u32,
    entry_count: u64,
    /// Keys that buckets met and whose values are to be written in pieces, the last of them first.
    large: Vec<Large>,
    piece: Vec<u8>,
}

/// A key whose value is written in pieces.
struct Large {
    db: u8,
    kind: Kind,
    key: Vec<u8>,
    rows_begun: u32,
    /// Pieces of the row that was begun.
    piece_count: u64,
}

impl BlockWriter {
    /// Writes what `limits` say in pieces.
    pub fn new(limits: PieceLimits) -> Self {
        BlockWriter { limits, body: Vec::new(), block_count: 0, entry_count: 0, large: Vec::new(), piece: Vec::new() }
    }

    /// Adds the entries of the bucket at `cursor` of physical database `db`; returns the next cursor, 0 when done. Large
    /// values are put off: [`BlockWriter::add_piece`] is to be called until none [is left](BlockWriter::has_large).
    ///
    /// # Cost
    /// One chain of the table: half a dozen entries, their values copied up to [`INLINE_BYTES_MAX`] each (without room in
    /// the journal, up to what is written in pieces).
    pub fn add_bucket(&mut self, partition: &Partition, db: u8, cursor: u64) -> u64 {
        partition.index(db).scan(cursor, |entry| {
            if self.limits.apply_to(&entry) {
                let key = entry.key().to_vec();
                self.large.push(Large { db, kind: entry.kind(), key, rows_begun: 0, piece_count: 0 });
            } else {
                put_entry(&mut self.body, db, &entry);
                self.entry_count += 1;
            }
        })
    }

    /// Whether values are left that are written in pieces.
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Adds a piece of one of those values, or what has become of it.
    ///
    /// # Cost
    /// As the limits have it; where a value does not hold still, see `PIECES_TRIES_MAX`, that of copying it whole.
    pub fn add_piece(&mut self, partition: &mut Partition) {
        let Some(mut large) = self.large.pop() else { return };
        if large.piece_count == 0 {
            let may_begin = large.rows_begun < PIECES_TRIES_MAX;
            let kind = may_begin.then(|| partition.begin_pieces(large.db, &large.key, &self.limits)).flatten();
            let Some(kind) = kind else { return self.add_key(partition, large.db, &large.key) };
            (large.kind, large.rows_begun) = (kind, large.rows_begun + 1);
        }
        self.piece.clear();
        match partition.next_piece(large.db, &self.limits, &mut self.piece) {
            Piece::Broken => {
                put_head(&mut self.body, large.db, large.kind, FORM_BROKEN, &large.key);
                self.large.push(Large { piece_count: 0, ..large });
            }
            Piece::More => {
                self.put_piece(&large);
                self.large.push(Large { piece_count: large.piece_count + 1, ..large });
            }
            Piece::Last { meta, until } => {
                self.put_piece(&large);
                put_head(&mut self.body, large.db, large.kind, FORM_WHOLE, &large.key);
                put_properties(&mut self.body, &meta);
                put_varint(&mut self.body, until.0);
                self.entry_count += 1;
            }
        }
    }

    fn put_piece(&mut self, large: &Large) {
        put_head(&mut self.body, large.db, large.kind, FORM_PIECE, &large.key);
        put_bytes(&mut self.body, &self.piece);
    }

    /// Adds a key as it is now, if it is there.
    fn add_key(&mut self, partition: &Partition, db: u8, key: &[u8]) {
        if let Some(place) = partition.find(db, key) {
            put_entry(&mut self.body, db, &partition.index(db).entry(place));
            self.entry_count += 1;
        }
    }

    /// Whether a checkpoint can only point at this value, so that it must have a home first.
    pub fn needs_home(&self, entry: &EntryRef<'_>) -> bool {
        let value_bytes = match entry.stored() {
            Stored::Boxed(_) if stays_resident(entry) => 0,
            Stored::Boxed(value) => value.bytes(),
            Stored::Inline(bytes) => bytes.len(),
            Stored::Int(_) | Stored::Spilled => 0,
        };
        !entry.home().is_known() && value_bytes > INLINE_BYTES_MAX && !self.limits.apply_to(entry)
    }

    /// Bytes waiting to be sealed.
    pub fn pending_bytes(&self) -> usize {
        self.body.len()
    }

    /// Appends what was added as a block, if anything was.
    pub fn seal(&mut self, out: &mut Vec<u8>) {
        if self.body.is_empty() {
            return;
        }
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&block_crc(self.block_count, &self.body).to_le_bytes());
        out.append(&mut self.body);
        self.block_count += 1;
    }

    /// Appends the end of the file. No entry shows anything that lies at or after `end`.
    pub fn finish(mut self, end: Position, out: &mut Vec<u8>) {
        self.seal(out);
        let start = out.len();
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.entry_count.to_le_bytes());
        out.extend_from_slice(&end.segment.0.to_le_bytes());
        out.extend_from_slice(&end.offset.to_le_bytes());
        let crc = end_crc(self.block_count, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(out.len() - start, END_BYTES, "the layout above is the layout written");
    }
}

fn block_crc(number: u32, body: &[u8]) -> u32 {
    crc32c(body) ^ crc32c(&[number.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat())
}

fn end_crc(block_count: u32, covered: &[u8]) -> u32 {
    crc32c(&[&block_count.to_le_bytes()[..], covered].concat())
}

fn put_head(out: &mut Vec<u8>, db: u8, kind: Kind, form: u8, key: &[u8]) {
    out.extend_from_slice(&[db, kind as u8, form]);
    put_bytes(out, key);
}

fn put_properties(out: &mut Vec<u8>, meta: &Meta) {
    put_varint(out, meta.version.0);
    put_varint(out, u64::from(meta.revision));
    put_expires(out, meta.expires);
    put_varint(out, u64::from(meta.access));
}

fn put_entry(out: &mut Vec<u8>, db: u8, entry: &EntryRef<'_>) {
    let meta = entry.meta();
    let by_home = meta.home.is_known() && !stays_resident(entry) && !matches!(entry.stored(), Stored::Int(_));
    put_head(out, db, entry.kind(), if by_home { FORM_HOME } else { FORM_IMAGE }, entry.key());
    put_properties(out, &meta);
    if by_home {
        out.extend_from_slice(&meta.home.0.to_le_bytes());
        put_varint(out, entry.value_bytes() as u64);
        return;
    }
    match entry.stored() {
        Stored::Inline(bytes) => put_bytes(out, bytes),
        Stored::Int(number) => put_bytes(out, format_i64(number).as_bytes()),
        Stored::Boxed(Value::Bytes(bytes)) => put_bytes(out, bytes),
        Stored::Boxed(value) => {
            let mut image = Vec::new();
            value.encode_image(&mut image);
            put_bytes(out, &image);
        }
        Stored::Spilled => unreachable!("a spilled entry has a home"),
    }
}

/// Reads only where a checkpoint begins.
///
/// # Errors
/// The header is damaged, or of another format.
pub fn read_header(bytes: &[u8]) -> Result<Header, Refusal> {
    Header::decode(bytes)
}

/// What a checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where it begins.
    pub header: Header,
    /// Entries in it, those included that it holds twice.
    pub entry_count: u64,
    /// The journal must reach at least this far for the entries to be its.
    pub end: Position,
}

/// Rebuilds `partition`, which must be new, from the bytes of its checkpoint.
///
/// # Errors
/// Any byte that is not as it was written, or another format: `partition` must then be thrown away.
pub fn load(bytes: &[u8], partition: &mut Partition) -> Result<Loaded, Refusal> {
    let header = Header::decode(bytes)?;
    if header.partition != partition.id() {
        return Err(Damage { offset: 0, what: "it belongs to another partition" }.into());
    }
    partition.set_db_map(header.db_map);
    let mut loader = Loader { partition, entry_count: 0, row: None };
    let (mut offset, mut block_count) = (HEADER_BYTES, 0u32);
    let end = loop {
        let damaged = |what| Damage { offset: offset as u64, what };
        let rest = &bytes[offset..];
        let mut reader = Reader::new(rest);
        let body_bytes = reader.u32().map_err(|_| damaged("the file ends inside a block"))? as usize;
        if body_bytes == 0 {
            if loader.row.is_some() {
                return Err(damaged("it ends in the middle of a value").into());
            }
            break load_end(rest, block_count, loader.entry_count).map_err(damaged)?;
        }
        let crc = reader.u32().map_err(|_| damaged("the file ends inside a block"))?;
        let body = reader.take(body_bytes).map_err(|_| damaged("the file ends inside a block"))?;
        if crc != block_crc(block_count, body) {
            return Err(damaged("a block's checksum does not hold").into());
        }
        loader.block(body).map_err(|_| damaged("a block holds something else than entries"))?;
        block_count += 1;
        offset += 8 + body_bytes;
    };
    let entry_count = loader.entry_count;
    partition.set_version(header.start_version);
    Ok(Loaded { header, entry_count, end })
}

fn load_end(rest: &[u8], block_count: u32, entry_count: u64) -> Result<Position, &'static str> {
    let Ok(rest) = <&[u8; END_BYTES]>::try_from(rest) else { return Err("the file does not end where it says") };
    let mut reader = Reader::new(&rest[4..]);
    let mut read = || -> Result<(u64, Position, u32), Truncated> {
        let count = reader.u64()?;
        Ok((count, Position { segment: SegmentId(reader.u32()?), offset: reader.u32()? }, reader.u32()?))
    };
    let (count, end, crc) = read().map_err(|_| "the end is short")?;
    if crc != end_crc(block_count, &rest[..END_BYTES - 4]) || count != entry_count {
        return Err("the end does not agree with the blocks before it");
    }
    Ok(end)
}

/// Reads entries one after the other.
struct Loader<'p> {
    partition: &'p mut Partition,
    entry_count: u64,
    /// The value whose pieces are being read.
    row: Option<Row>,
}

/// Pieces of a value.
struct Row {
    db: u8,
    kind: Kind,
    key: Vec<u8>,
    value: Assembly,
}

impl Loader<'_> {
    fn block(&mut self, body: &[u8]) -> Result<(), Truncated> {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            self.entry(&mut reader)?;
        }
        Ok(())
    }

    fn entry(&mut self, reader: &mut Reader<'_>) -> Result<(), Truncated> {
        let db = reader.u8()?;
        if db >= PHYSICAL_DB_COUNT {
            return Err(Truncated);
        }
        let (kind, form, key) = (read_kind(reader)?, reader.u8()?, reader.bytes()?);
        match form {
            FORM_PIECE => return self.piece(db, kind, key, reader.bytes()?),
            FORM_WHOLE => return self.whole(db, kind, key, reader),
            FORM_BROKEN => {
                return self.row.take().filter(|row| row.db == db && row.key == key).map(drop).ok_or(Truncated);
            }
            FORM_IMAGE | FORM_HOME if self.row.is_none() => {}
            _ => return Err(Truncated),
        }
        let mut meta = read_properties(reader)?;
        let payload = if form == FORM_HOME {
            meta.home = Home(reader.u64()?);
            if !meta.home.is_known() || meta.home.0 >> journal::POSITION_BITS != 0 {
                return Err(Truncated);
            }
            let value_bytes = u32::try_from(reader.varint()?).map_err(|_| Truncated)?;
            Payload::Spilled { kind, value_bytes }
        } else {
            let image = reader.bytes()?;
            match kind {
                Kind::String => as_integer(image).map_or(Payload::Inline(image), Payload::Int),
                kind => Payload::Boxed { value: Box::new(Value::decode_image(kind, image)?), image_bytes: 0 },
            }
        };
        self.partition.restore(db, key, payload, &meta);
        self.entry_count += 1;
        Ok(())
    }

    fn piece(&mut self, db: u8, kind: Kind, key: &[u8], changes: &[u8]) -> Result<(), Truncated> {
        let row = match &mut self.row {
            Some(row) if row.db == db && row.kind == kind && row.key == key => row,
            Some(_) => return Err(Truncated),
            none => none.insert(Row { db, kind, key: key.to_vec(), value: Assembly::new(kind)? }),
        };
        row.value.add(changes)
    }

    fn whole(&mut self, db: u8, kind: Kind, key: &[u8], reader: &mut Reader<'_>) -> Result<(), Truncated> {
        let row = self.row.take().filter(|row| row.db == db && row.kind == kind && row.key == key).ok_or(Truncated)?;
        let meta = read_properties(reader)?;
        let until = Version(reader.varint()?);
        if Version::MAX < until {
            return Err(Truncated);
        }
        self.partition.restore_pieces(db, key, row.value.finish(), &meta, until);
        self.entry_count += 1;
        Ok(())
    }
}

/// Reads the properties of a key; no home is among them.
fn read_properties(reader: &mut Reader<'_>) -> Result<Meta, Truncated> {
    let version = Version(reader.varint()?);
    let revision = u32::try_from(reader.varint()?).map_err(|_| Truncated)?;
    let expires = read_expires(reader)?;
    let access = u32::try_from(reader.varint()?).map_err(|_| Truncated)?;
    if version > Version::MAX {
        return Err(Truncated);
    }
    Ok(Meta { version, home: Home::NONE, expires, revision, access })
}

/// Appends the rest of a file of one block that holds these entries.
#[cfg(test)]
pub(crate) fn put_file(entries: &[u8], entry_count: usize, out: &mut Vec<u8>) {
    let mut blocks = BlockWriter::new(PieceLimits::STANDARD);
    (blocks.body, blocks.entry_count) = (entries.to_vec(), entry_count as u64);
    blocks.finish(Position::ZERO, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_named_not_called_damage() {
        let (id, start) = (PartitionId(3), Position { segment: SegmentId(2), offset: 96 });
        let db_map = Partition::new(id).db_map();
        let header = Header { partition: id, start_version: Version(5), start, db_map };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        BlockWriter::new(PieceLimits::STANDARD).finish(start, &mut bytes);
        assert_eq!(load(&bytes, &mut Partition::new(id)).map(|loaded| loaded.header), Ok(header));
        bytes[8] = FORMAT as u8 + 1;
        assert!(matches!(load(&bytes, &mut Partition::new(id)), Err(Refusal::Damaged(_))), "a flipped bit is damage");
        let crc = crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(load(&bytes, &mut Partition::new(id)), Err(Refusal::Format(FORMAT + 1)));
        assert_eq!(read_header(&bytes), Err(Refusal::Format(FORMAT + 1)));
    }
}
