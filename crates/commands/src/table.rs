//! Every command, once: the rows of all groups, and how a name finds its row.

use crate::spec::Spec;
use base::name::short_word;
use std::sync::OnceLock;

/// The groups' tables, each sorted by name.
static GROUPS: &[&[Spec]] = &[
    crate::bits::COMMANDS,
    crate::dump::COMMANDS,
    crate::expire::COMMANDS,
    crate::functions::COMMANDS,
    crate::geo::COMMANDS,
    crate::geo_search::COMMANDS,
    crate::hash_ttl::COMMANDS,
    crate::hash_ttl_values::COMMANDS,
    crate::hashes::COMMANDS,
    crate::hashes_walk::COMMANDS,
    crate::hustdb::COMMANDS,
    crate::hyperloglog::COMMANDS,
    crate::keys::COMMANDS,
    crate::lists::COMMANDS,
    crate::lists_blocking::COMMANDS,
    crate::lists_move::COMMANDS,
    crate::lists_search::COMMANDS,
    crate::keys_databases::COMMANDS,
    crate::object::COMMANDS,
    crate::pubsub::COMMANDS,
    crate::scan::COMMANDS,
    crate::sorted_sets::COMMANDS,
    crate::sorted_sets_blocking::COMMANDS,
    crate::sorted_sets_combine::COMMANDS,
    crate::sorted_sets_pop::COMMANDS,
    crate::sorted_sets_range::COMMANDS,
    crate::sorted_sets_walk::COMMANDS,
    crate::connection::COMMANDS,
    crate::scripting::COMMANDS,
    crate::server::COMMANDS,
    crate::sets::COMMANDS,
    crate::sets_algebra::COMMANDS,
    crate::sets_random::COMMANDS,
    crate::sort::COMMANDS,
    crate::stream_claims::COMMANDS,
    crate::stream_group_read::COMMANDS,
    crate::stream_groups::COMMANDS,
    crate::stream_info::COMMANDS,
    crate::streams::COMMANDS,
    crate::streams_read::COMMANDS,
    crate::strings::COMMANDS,
    crate::transactions::COMMANDS,
];

/// Longest command name; longer ones are unknown without a look-up.
const NAME_BYTES_MAX: usize = 24;

/// All rows, in the order of their names.
pub fn all() -> &'static [&'static Spec] {
    static ALL: OnceLock<Vec<&'static Spec>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<&Spec> = GROUPS.iter().copied().flatten().collect();
        all.sort_by_key(|spec| spec.name);
        all
    })
}

/// A row and its number, for statistics.
#[derive(Clone, Copy)]
pub struct Row {
    /// The row.
    pub spec: &'static Spec,
    /// Its number: rows are numbered by name, each followed by its subcommands.
    pub index: u16,
}

/// The row of the command with this name, in any case.
///
/// # Cost
/// Two multiplications and one comparison of the name, for nearly every name.
#[inline]
pub fn find(name: &[u8]) -> Option<Row> {
    static BY_NAME: OnceLock<ByName> = OnceLock::new();
    BY_NAME.get_or_init(ByName::new).find(name)
}

/// An open-addressed table that no name is ever added to.
struct ByName {
    /// [`BY_NAME_ROWS`] of them.
    rows: Box<[Option<(Words, Row)>]>,
}

/// More than twice the commands there can be, so that chains stay short.
const BY_NAME_ROWS: usize = 1024;

/// The first and the last eight bytes of a name in lower case: with its length, all of one that is no longer than both.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words(u64, u64);

impl Words {
    #[inline]
    fn of(name: &[u8]) -> Words {
        match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => Words(lower(u64::from_le_bytes(*first)), lower(u64::from_le_bytes(*last))),
            _ => Words(lower(short_word(name)), 0),
        }
    }

    /// Where the search for a name begins.
    #[inline]
    fn start(self) -> usize {
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.1.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed >> 32) as usize % BY_NAME_ROWS
    }
}

/// A word with its capital letters made small, all eight bytes at once.
#[inline]
fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low_bits = word & !HIGH;
    let from_a = low_bits + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low_bits + (0x7f - b'Z' as u64) * EACH;
    word | (from_a & !beyond_z & !word & HIGH) >> 2
}

impl ByName {
    fn new() -> Self {
        let tops = numbered().iter().enumerate().filter(|(_, (top, spec))| std::ptr::eq(*top, *spec));
        let mut rows = vec![None; BY_NAME_ROWS].into_boxed_slice();
        for (index, (spec, _)) in tops {
            let words = Words::of(spec.name.as_bytes());
            let mut at = words.start();
            while rows[at].is_some() {
                at = (at + 1) % BY_NAME_ROWS;
            }
            rows[at] = Some((words, Row { spec, index: index as u16 }));
        }
        ByName { rows }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<Row> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let words = Words::of(name);
        let mut at = words.start();
        loop {
            let (its, row) = self.rows[at].as_ref()?;
            if *its == words && row.spec.name.len() == name.len() && is_between(row.spec.name, name) {
                return Some(*row);
            }
            at = (at + 1) % BY_NAME_ROWS;
        }
    }
}

/// Whether two names of one length whose words are equal are so between their words, too.
#[inline]
fn is_between(name: &str, other: &[u8]) -> bool {
    name.len() <= 16 || name.as_bytes().eq_ignore_ascii_case(other)
}

/// Every row and subcommand by its number, as `(top-level row, the row itself)`.
fn numbered() -> &'static [(&'static Spec, &'static Spec)] {
    static NUMBERED: OnceLock<Vec<(&'static Spec, &'static Spec)>> = OnceLock::new();
    NUMBERED.get_or_init(|| {
        let with_subcommands = |top: &&'static Spec| {
            let top = *top;
            std::iter::once((top, top)).chain(top.subcommands.iter().map(move |spec| (top, spec)))
        };
        all().iter().flat_map(with_subcommands).collect()
    })
}

/// How many numbers there are.
pub fn number_count() -> usize {
    numbered().len()
}

/// The row with this number.
///
/// # Panics
/// When no row has it.
pub fn by_number(number: u16) -> &'static Spec {
    numbered()[usize::from(number)].1
}

/// The full name of the row with this number: `get`, `client|list`.
///
/// # Panics
/// When no row has it.
pub fn full_name(number: u16) -> String {
    let (top, spec) = numbered()[usize::from(number)];
    if std::ptr::eq(top, spec) { top.name.to_owned() } else { format!("{}|{}", top.name, spec.name) }
}

impl Row {
    /// The number of this row, or of the subcommand of it that `spec` is.
    ///
    /// # Cost
    /// No look-up: subcommands are numbered as they lie in memory.
    #[inline]
    pub fn number_of(&self, spec: &'static Spec) -> u16 {
        if std::ptr::eq(self.spec, spec) {
            return self.index;
        }
        let start = self.spec.subcommands.as_ptr() as usize;
        let offset = (std::ptr::from_ref(spec) as usize).wrapping_sub(start) / size_of::<Spec>();
        assert!(offset < self.spec.subcommands.len(), "a subcommand belongs to its row");
        self.index + 1 + offset as u16
    }
}

/// The number of the row with this full name, in any case: `get`, `client|list`.
pub fn number_of_name(full_name: &[u8]) -> Option<u16> {
    let mut parts = full_name.splitn(2, |byte| *byte == b'|');
    let row = find(parts.next()?)?;
    match parts.next() {
        None => Some(row.index),
        Some(name) => row.spec.subcommand(name).map(|spec| row.number_of(spec)),
    }
}

impl Spec {
    /// The subcommand with this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_short_lower_case_and_sorted_within_their_group() {
        assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
        for group in GROUPS {
            assert!(group.is_sorted_by(|a, b| a.name < b.name));
        }
        for spec in all() {
            assert!(spec.name.len() <= NAME_BYTES_MAX && *spec.name == spec.name.to_ascii_lowercase());
            assert!(spec.subcommands.is_sorted_by(|a, b| a.name < b.name), "{}", spec.name);
        }
    }

    #[test]
    fn every_row_is_found_by_its_name_in_any_case() {
        for spec in all() {
            let found = find(spec.name.to_ascii_uppercase().as_bytes()).expect("its own name");
            assert!(std::ptr::eq(found.spec, *spec));
        }
        assert!(find(b"nosuchcommand").is_none());
        assert!(find(&[b'x'; 1000]).is_none());
        assert!(find(b"").is_none());
        assert!(find(b"ge\x14").is_none(), "a control character is not the letter it differs from by one bit");
        assert!(find(b"\0get").is_none(), "a zero is not nothing");
        assert!(find(b"georadiusbXmember_ro").is_none(), "no byte in the middle goes unread");
    }

    #[test]
    fn capital_letters_and_nothing_else_are_made_small() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = [b'Q'; 8];
                bytes[at] = byte;
                assert_eq!(lower(u64::from_le_bytes(bytes)).to_le_bytes(), bytes.map(|byte| byte.to_ascii_lowercase()));
            }
        }
    }

    #[test]
    fn every_number_finds_its_row_and_back() {
        for number in 0..number_count() as u16 {
            assert_eq!(number_of_name(full_name(number).to_ascii_uppercase().as_bytes()), Some(number));
        }
        assert_eq!(number_of_name(b"get|key"), None);
        assert_eq!(number_of_name(b"config|get|key"), None);
    }

    #[test]
    fn every_row_says_what_the_reference_needs() {
        for spec in all() {
            for text in [spec.since, spec.complexity, spec.summary] {
                assert!(!text.is_empty(), "{}", spec.name);
            }
            assert!(spec.summary.ends_with('.'), "{}: a summary is a sentence", spec.name);
        }
    }
}
