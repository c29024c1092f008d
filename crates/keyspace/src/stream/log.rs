//! The entries of a stream: blocks in the order of their ids, the last of which is open.
//!
//! ```text
//! sealed   first id ► block … block        as small as they can be
//! tail     block                            grows; empty when all was removed from it
//! ```
//!
//! Deliberately not here: when a block is full. Who adds says whether an entry opens a new one, so that a replay cuts
//! the same blocks and `XTRIM ~`, which removes whole blocks, finds the same ones.
//!
//! Invariants: ids ascend through all blocks; no sealed block is empty; a sealed block's key is no later than its
//! first entry and later than the last of the block before; `count` and `block_bytes` sum over the sealed blocks and
//! the tail, and over the sealed blocks.

use super::block::{Block, Entry};
use super::id::StreamId;
use base::codec::put_varint;
use base::{Reader, Truncated};
use std::collections::BTreeMap;

/// What a block takes in the ordered index: key and block, in nodes half full when they are filled in order.
const INDEXED_BYTES: usize = 2 * (size_of::<StreamId>() + size_of::<Block>());
/// The tail's buffer is kept from one block to the next up to this size.
const TAIL_KEPT_BYTES_MAX: usize = 16 << 10;

/// See the module's text.
#[derive(Default)]
pub(super) struct Log {
    sealed: BTreeMap<StreamId, Block>,
    tail: Block,
    count: u64,
    block_bytes: usize,
}

/// How far a trim goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// So many entries stay.
    Length(u64),
    /// Entries before this one go.
    Before(StreamId),
}

impl Log {
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn block_count(&self) -> usize {
        self.sealed.len() + usize::from(!self.tail.is_empty())
    }

    /// Heap bytes; those of the index estimated per block.
    pub fn bytes(&self) -> usize {
        self.block_bytes + self.tail.heap_bytes() + self.sealed.len() * INDEXED_BYTES
    }

    /// The blocks, first to last.
    fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.sealed.values().chain(Some(&self.tail).filter(|tail| !tail.is_empty()))
    }

    /// Id of the first entry.
    pub fn first(&self) -> Option<StreamId> {
        self.blocks().next().map(Block::first)
    }

    /// Id of the last entry.
    pub fn last(&self) -> Option<StreamId> {
        self.blocks().next_back().map(Block::last)
    }

    /// Bytes and entries of the block that the next entry would go to; nothing of one that it would open anyway.
    pub fn tail_fill(&self) -> (usize, u32) {
        if self.tail.is_empty() { (0, 0) } else { (self.tail.len(), self.tail.count()) }
    }

    /// Adds an entry behind the last, in a block of its own if it `opens` one.
    pub fn push<'f>(
        &mut self,
        id: StreamId,
        opens: bool,
        fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone,
    ) {
        if opens && !self.tail.is_empty() {
            let key = self.tail.first();
            let sealed = self.tail.seal(TAIL_KEPT_BYTES_MAX);
            self.block_bytes += sealed.heap_bytes();
            let before = self.sealed.insert(key, sealed);
            assert!(before.is_none(), "blocks do not overlap");
        }
        self.tail.push(id, fields);
        self.count += 1;
    }

    /// Key of the sealed block in which `id` is, if it is in any, and else of one before.
    fn key_before(&self, id: StreamId) -> StreamId {
        self.sealed.range(..=id).next_back().map_or(StreamId::MIN, |(key, _)| *key)
    }

    /// Entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.range_opening(start, end).map(|(_, entry)| entry)
    }

    /// As [`Log::range`], each entry with whether it is the first of its block.
    pub fn range_opening(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = (bool, Entry<'_>)> {
        let sealed = self.sealed.range(self.key_before(start)..).map(|(_, block)| block);
        let tail = Some(&self.tail).filter(|tail| !tail.is_empty());
        let blocks = sealed.chain(tail).skip_while(move |block| block.last() < start);
        let entries = blocks
            .take_while(move |block| block.first() <= end)
            .flat_map(|block| block.entries().map(|entry| (entry.id == block.first(), entry)));
        entries.skip_while(move |(_, entry)| entry.id < start).take_while(move |(_, entry)| entry.id <= end)
    }

    /// As [`Log::range`], last to first.
    ///
    /// # Cost
    /// Each block is walked whole before its last entry is given.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let sealed = self.sealed.range(..=end).rev().map(|(_, block)| block);
        let tail = Some(&self.tail).filter(|tail| !tail.is_empty() && tail.first() <= end);
        let blocks = tail.into_iter().chain(sealed).take_while(move |block| start <= block.last());
        let entries = blocks.flat_map(|block| block.entries().collect::<Vec<_>>().into_iter().rev());
        entries.skip_while(move |entry| end < entry.id).take_while(move |entry| start <= entry.id)
    }

    /// The last id that a trim takes along; `None` when it takes none. An `approximate` one takes whole blocks only, and
    /// no block takes it beyond `limit` entries in all, unless that is 0.
    pub fn trim_end(&self, trim: Trim, approximate: bool, limit: u64) -> Option<StreamId> {
        let (mut left_count, mut taken_count) = (self.count, 0);
        let mut end = None;
        for block in self.blocks() {
            let count = u64::from(block.count());
            if matches!(trim, Trim::Length(most) if left_count <= most) || (limit != 0 && limit < taken_count + count) {
                break;
            }
            let is_whole = match trim {
                Trim::Length(most) => most <= left_count - count,
                Trim::Before(id) => block.last() < id,
            };
            if is_whole {
                end = Some(block.last());
                (left_count, taken_count) = (left_count - count, taken_count + count);
                continue;
            }
            if !approximate {
                let ids = block.entries().map(|entry| entry.id);
                let taken = match trim {
                    Trim::Length(most) => ids.take((left_count - most) as usize).last(),
                    Trim::Before(before) => ids.take_while(|id| *id < before).last(),
                };
                end = taken.or(end);
            }
            break;
        }
        end
    }

    /// Removes all entries up to `through`. Returns how many they were.
    ///
    /// # Cost
    /// A step per block, and a walk over the entries that go of the last.
    pub fn trim(&mut self, through: StreamId) -> u64 {
        let before = self.count;
        while let Some(mut first) = self.sealed.first_entry() {
            let block = first.get_mut();
            if through < block.first() {
                break;
            }
            self.block_bytes -= block.heap_bytes();
            if through < block.last() {
                self.count -= u64::from(block.drop_front(through));
                shrink_if_sparse(block);
                self.block_bytes += block.heap_bytes();
                break;
            }
            self.count -= u64::from(block.count());
            first.remove();
        }
        if !self.tail.is_empty() && self.tail.first() <= through {
            if through < self.tail.last() {
                self.count -= u64::from(self.tail.drop_front(through));
            } else {
                self.count -= u64::from(self.tail.count());
                self.tail = Block::default();
            }
        }
        before - self.count
    }

    /// Removes an entry. Returns whether it was there.
    ///
    /// # Cost
    /// As a look-up, and a move within its block.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let removed = if !self.tail.is_empty() && self.tail.first() <= id {
            remove_from(&mut self.tail, id)
        } else {
            self.remove_sealed(id)
        };
        self.count -= u64::from(removed);
        removed
    }

    fn remove_sealed(&mut self, id: StreamId) -> bool {
        let key = self.key_before(id);
        let Some(block) = self.sealed.get_mut(&key) else { return false };
        self.block_bytes -= block.heap_bytes();
        let removed = remove_from(block, id);
        if block.is_empty() {
            self.sealed.remove(&key);
        } else {
            shrink_if_sparse(block);
            self.block_bytes += block.heap_bytes();
        }
        removed
    }

    /// Appends the image: `block_count:varint block*`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.block_count() as u64);
        self.blocks().for_each(|block| block.encode(out));
    }

    /// Rebuilds it from its image, with the same blocks. Foreign bytes are welcome.
    ///
    /// # Errors
    /// The bytes are not blocks of ascending entries.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Log, Truncated> {
        let mut log = Log::default();
        for _ in 0..reader.varint()? {
            let block = Block::decode(reader)?;
            if log.last().is_some_and(|last| block.first() <= last) {
                return Err(Truncated);
            }
            log.count += u64::from(block.count());
            let sealed = std::mem::replace(&mut log.tail, block);
            if !sealed.is_empty() {
                log.block_bytes += sealed.heap_bytes();
                log.sealed.insert(sealed.first(), sealed);
            }
        }
        Ok(log)
    }
}

/// Removes an entry of a block that may be its only one.
fn remove_from(block: &mut Block, id: StreamId) -> bool {
    if block.count() > 1 {
        return block.remove(id);
    }
    let is_there = block.first() == id;
    if is_there {
        *block = Block::default();
    }
    is_there
}

/// Gives memory back once a quarter of it is not used.
fn shrink_if_sparse(block: &mut Block) {
    if block.len() < block.heap_bytes() / 4 * 3 {
        block.shrink();
    }
}
