//! LCS: the longest common subsequence of two strings.
//!
//! The textbook table: `cell(i, j)` is the length for the first `i` bytes of one string and the first `j` of the
//! other; walking back from the last cell gives the subsequence and the ranges it matches. Deliberately not one of
//! the algorithms with less memory: which of several longest subsequences is given must be the one Redis gives.
//!
//! Source: Wagner and Fischer 1974; the choice between ties is that of Redis 7 `lcsCommand`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::strings_read as read;
use crate::strings_write::limit_bytes;
use keyspace::Stop;
use wire::reply::Reply;

/// What the client asked to be told.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    length: bool,
    ranges: bool,
    range_lengths: bool,
    range_bytes_min: usize,
}

impl Wanted {
    fn parse(call: &Call<'_>) -> Result<Wanted, Error> {
        let mut wanted = Wanted::default();
        let mut index = 3;
        while index < call.arg_count() {
            if call.is_word(index, "IDX") {
                wanted.ranges = true;
            } else if call.is_word(index, "LEN") {
                wanted.length = true;
            } else if call.is_word(index, "WITHMATCHLEN") {
                wanted.range_lengths = true;
            } else if call.is_word(index, "MINMATCHLEN") && index + 1 < call.arg_count() {
                index += 1;
                wanted.range_bytes_min = call.integer(index)?.max(0) as usize;
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        if wanted.length && wanted.ranges {
            return Err(Error::text("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(wanted)
    }
}

/// A stretch that both strings have, by its first byte in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    a: usize,
    b: usize,
    bytes: usize,
}

struct Table<'s> {
    a: &'s [u8],
    b: &'s [u8],
    /// Row by row, `b.len() + 1` cells each.
    cells: Vec<u32>,
}

impl<'s> Table<'s> {
    /// The bytes the table of two strings takes; `None` beyond any number.
    fn bytes(a: &[u8], b: &[u8]) -> Option<usize> {
        (a.len() + 1).checked_mul(b.len() + 1)?.checked_mul(size_of::<u32>())
    }

    fn new(a: &'s [u8], b: &'s [u8]) -> Table<'s> {
        let width = b.len() + 1;
        let mut cells = vec![0; (a.len() + 1) * width];
        for (i, byte) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Table { a, b, cells }
    }

    fn cell(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.b.len() + 1) + j]
    }

    fn length(&self) -> usize {
        self.cell(self.a.len(), self.b.len()) as usize
    }

    /// The ranges from the last to the first.
    fn ranges(&self) -> Vec<Range> {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut ranges: Vec<Range> = Vec::new();
        let mut is_open = false;
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match ranges.last_mut() {
                    Some(range) if is_open => *range = Range { a: i, b: j, bytes: range.bytes + 1 },
                    _ => ranges.push(Range { a: i, b: j, bytes: 1 }),
                }
                is_open = true;
            } else {
                is_open = false;
                if self.cell(i - 1, j) > self.cell(i, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        ranges
    }

    fn subsequence(&self) -> Vec<u8> {
        let ranges = self.ranges();
        let bytes: Vec<u8> =
            ranges.iter().rev().flat_map(|range| &self.a[range.a..range.a + range.bytes]).copied().collect();
        assert_eq!(bytes.len(), self.length(), "the walk back meets as many bytes as the table counted");
        bytes
    }
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]`
pub(crate) fn lcs(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (a, b) = strings(call)?;
    let wanted = Wanted::parse(call)?;
    if Table::bytes(&a, &b).is_none_or(|bytes| limit_bytes(call.host) < bytes) {
        return Err(Error::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    let table = Table::new(&a, &b);
    if wanted.ranges {
        reply_ranges(&mut call.reply, &table, wanted);
    } else if wanted.length {
        call.reply.count(table.length());
    } else {
        call.reply.bulk(&table.subsequence());
    }
    Ok(Flow::Done)
}

/// Copies of both strings; an absent key counts as an empty one.
fn strings(call: &mut Call<'_>) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let keys = [call.arg(1), call.arg(2)];
    let mut copies = Vec::with_capacity(keys.len());
    read::each(&mut call.tx, keys.into_iter(), |string| {
        let string = string.map_err(|stop| match stop {
            Stop::WrongType => Error::text("ERR The specified keys must contain string values"),
            Stop::Spilled | Stop::Unreadable => stop.into(),
        })?;
        copies.push(string.map_or_else(Vec::new, |string| string.bytes().to_vec()));
        Ok(())
    })?;
    let [a, b] = <[Vec<u8>; 2]>::try_from(copies).unwrap_or_else(|_| unreachable!("each key was looked at"));
    Ok((a, b))
}

fn reply_ranges(reply: &mut Reply<'_>, table: &Table<'_>, wanted: Wanted) {
    let ranges = table.ranges();
    let long_enough = |range: &&Range| wanted.range_bytes_min <= range.bytes;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(ranges.iter().filter(long_enough).count());
    for range in ranges.iter().filter(long_enough) {
        reply.array(2 + usize::from(wanted.range_lengths));
        for start in [range.a, range.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + range.bytes - 1);
        }
        if wanted.range_lengths {
            reply.count(range.bytes);
        }
    }
    reply.bulk(b"len");
    reply.count(table.length());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut left = whole.iter();
        part.iter().all(|byte| left.any(|other| other == byte))
    }

    #[test]
    fn no_common_subsequence_of_short_strings_is_longer() {
        let words: Vec<Vec<u8>> =
            (0..3u32.pow(5)).map(|n| (0..5).map(|at| b'a' + (n / 3u32.pow(at) % 3) as u8).collect()).collect();
        for (a, b) in words.iter().step_by(7).flat_map(|a| words.iter().step_by(5).map(move |b| (a, b))) {
            let found = Table::new(a, b).subsequence();
            assert!(is_subsequence(&found, a) && is_subsequence(&found, b));
            let longest = (0..1u32 << a.len())
                .map(|mask| (0..a.len()).filter(|at| mask >> at & 1 == 1).map(|at| a[at]).collect::<Vec<u8>>())
                .filter(|part| is_subsequence(part, b))
                .map(|part| part.len())
                .max();
            assert_eq!(Some(found.len()), longest);
        }
    }
}
