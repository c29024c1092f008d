//! Values of thousands of elements that change while they are written in pieces: what loading and replay make of the
//! pieces is what the value has become.
//!
//! Deliberately not here: commands, files, several keys (the node's tests have them).

use super::*;
use crate::checkpoint::{self, BlockWriter, Header};
use crate::effect::{put_delete, put_expire, put_hash_delete, put_hash_expire, put_hash_set, put_image};
use crate::effect::{put_set_add, put_set_remove, sorted_set as scored_effects};
use crate::random::Random;
use crate::stream::Progress;
use base::DB_COUNT;
use journal::Position;

const KEY: &[u8] = b"large";
const KINDS: [Kind; 5] = [Kind::Hash, Kind::Set, Kind::SortedSet, Kind::List, Kind::Stream];
/// Elements that there are to be named.
const NAMES_COUNT: u64 = 4_000;
const SMALL: PieceLimits = PieceLimits { value_bytes_min: 0, piece_bytes_max: 400, element_count_max: 12 };

/// A partition, and what was journaled of it.
struct Live {
    partition: Partition,
    batches: Vec<(Version, Vec<u8>)>,
    random: Random,
    entries_added: u64,
}

fn name(number: u64) -> Vec<u8> {
    format!("element {number}").into_bytes()
}

impl Live {
    fn new(seed: u64) -> Live {
        let (partition, random) = (Partition::new(PartitionId(0)), Random(seed));
        Live { partition, batches: Vec::new(), random, entries_added: 0 }
    }

    fn stamp(version: Version) -> Stamp {
        Stamp { version, time: TimeMs(5), home: Home::NONE, access: 0 }
    }

    fn commit(&mut self, body: Vec<u8>) {
        let version = self.partition.version().next();
        let mut reader = Reader::new(&body);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("written here");
            self.partition.apply(db, &effect, &Live::stamp(version)).expect("written here");
        }
        self.partition.set_version(version);
        self.batches.push((version, body));
    }

    fn value(&self) -> Option<&Value> {
        match self.partition.index(0).entry(self.partition.find(0, KEY)?).stored() {
            Stored::Boxed(value) => Some(value),
            _ => None,
        }
    }

    fn names(&mut self) -> Vec<Vec<u8>> {
        (0..=self.random.below(3)).map(|_| name(self.random.below(NAMES_COUNT))).collect()
    }

    fn add_entries(&mut self, count: u64, out: &mut Vec<u8>) {
        for _ in 0..count {
            self.entries_added += 1 + self.random.below(2);
            let id = StreamId { ms: self.entries_added / 7, seq: self.entries_added };
            let opens = self.random.below(9) == 0;
            let value = name(self.entries_added);
            stream_effects::put_stream_add(out, 0, KEY, id, opens, [(&b"name"[..], &value[..])].into_iter());
        }
    }

    /// Thousands of elements.
    fn fill(&mut self, kind: Kind) {
        for start in (0..NAMES_COUNT).step_by(100) {
            let mut out = Vec::new();
            let mut gathered = Gathered::default();
            for element in (start..start + 100).map(name) {
                match kind {
                    Kind::Hash => gathered.add_field(&element, b"value", None),
                    Kind::SortedSet => gathered.add_scored(&element, start as f64),
                    _ => gathered.add(&element),
                }
            }
            match kind {
                Kind::Stream => self.add_entries(100, &mut out),
                kind => gathered.put(&mut out, kind, 0, KEY),
            }
            self.commit(out);
        }
    }

    /// One of all changes there are of a type, or of its key.
    fn change(&mut self, kind: Kind) {
        let mut out = Vec::new();
        match self.random.below(600) {
            0 => put_delete(&mut out, 0, KEY),
            1 => {
                let mut image = Vec::new();
                Value::empty(kind).encode_image(&mut image);
                if kind == Kind::Stream {
                    put_image(&mut out, 0, KEY, kind, None, &image);
                }
            }
            2..12 => {
                let expires = (self.random.below(2) == 0).then_some(TimeMs(1_000));
                put_expire(&mut out, 0, KEY, expires);
            }
            _ => match kind {
                Kind::Hash => self.change_hash(&mut out),
                Kind::Set | Kind::SortedSet => self.change_set(kind, &mut out),
                Kind::List => self.change_list(&mut out),
                Kind::Stream => self.change_stream(&mut out),
                Kind::String => unreachable!("not in pieces"),
            },
        }
        if !out.is_empty() {
            self.commit(out);
        }
    }

    fn change_hash(&mut self, out: &mut Vec<u8>) {
        let (names, choice) = (self.names(), self.random.below(8));
        let expires = (self.random.below(3) == 0).then_some(TimeMs(100 + self.random.below(9) as i64));
        let names = names.iter().map(Vec::as_slice);
        match choice {
            0..4 => put_hash_set(out, 0, KEY, names.map(|name| (name, &b"another value"[..], expires))),
            4..6 => put_hash_delete(out, 0, KEY, names),
            _ => put_hash_expire(out, 0, KEY, names.map(|name| (name, expires))),
        }
    }

    fn change_set(&mut self, kind: Kind, out: &mut Vec<u8>) {
        let (names, choice, score) = (self.names(), self.random.below(2), self.random.below(NAMES_COUNT) as f64);
        let names = names.iter().map(Vec::as_slice);
        match (kind, choice) {
            (Kind::Set, 0) => put_set_add(out, 0, KEY, names),
            (Kind::Set, _) => put_set_remove(out, 0, KEY, names),
            (_, 0) => scored_effects::put_sorted_set_put(out, 0, KEY, names.map(|name| (name, score))),
            _ => scored_effects::put_sorted_set_remove(out, 0, KEY, names),
        }
    }

    fn change_list(&mut self, out: &mut Vec<u8>) {
        let count = match self.value() {
            Some(Value::List(list)) => list.len() as u64,
            _ => 0,
        };
        let (names, choice) = (self.names(), self.random.below(12));
        let end = if self.random.below(2) == 0 { End::Front } else { End::Back };
        let place = self.random.below(count + 1) as usize;
        match choice {
            0 => effect::put_list_trim(out, 0, KEY, self.random.below(40) as usize, self.random.below(40) as usize),
            1..3 => effect::put_list_trim(out, 0, KEY, usize::from(end == End::Front), usize::from(end == End::Back)),
            3 => effect::put_list_set(out, 0, KEY, place, &names[0]),
            4 => effect::put_list_insert(out, 0, KEY, place, &names[0]),
            5 => effect::put_list_remove(out, 0, KEY, &[place, place + 1, place + 2 + place / 2]),
            _ => effect::put_list_push(out, 0, KEY, end, names.iter().map(Vec::as_slice)),
        }
    }

    /// Deletes only what is there, as XDEL does.
    fn change_stream(&mut self, out: &mut Vec<u8>) {
        let near = StreamId { ms: self.random.below(self.entries_added / 7 + 1), seq: 0 };
        let found: Vec<StreamId> = match self.value() {
            Some(Value::Stream(stream)) => stream.range(near, StreamId::MAX).take(3).map(|entry| entry.id).collect(),
            _ => Vec::new(),
        };
        let group = if self.random.below(2) == 0 { &b"g"[..] } else { b"h" };
        let who = Reading { group, consumer: if self.random.below(2) == 0 { b"c" } else { b"d" } };
        let at = TimeMs(self.random.below(50) as i64);
        let progress = Progress { last_id: near, entries_read: None };
        match self.random.below(16) {
            0..6 => {
                let count = 1 + self.random.below(3);
                self.add_entries(count, out);
            }
            6..8 if !found.is_empty() => stream_effects::put_stream_delete(out, 0, KEY, &found),
            8 if self.random.below(4) == 0 => stream_effects::put_stream_trim(out, 0, KEY, near),
            9 => stream_effects::put_stream_group(out, 0, KEY, group, progress),
            10 => stream_effects::put_stream_see(out, 0, KEY, who, at, Some(at)),
            11 => stream_effects::put_stream_deliver(out, 0, KEY, who, at, progress, &found),
            12 => stream_effects::put_stream_release(out, 0, KEY, group, &found),
            13 => stream_effects::put_stream_consumer_remove(out, 0, KEY, who),
            14 if self.random.below(9) == 0 => stream_effects::put_stream_group_remove(out, 0, KEY, group),
            _ => {
                let held: Vec<_> = found.iter().map(|id| (*id, at, 3)).collect();
                stream_effects::put_stream_claim(out, 0, KEY, who, &held);
            }
        }
    }

    fn dump(partition: &Partition) -> String {
        partition.dump(&mut |_| unreachable!("nothing is spilled")).expect("all is in memory")
    }
}

/// What a run came to.
#[derive(Default)]
struct Seen {
    piece_count: u64,
    row_count: u64,
}

fn header(live: &Live) -> Header {
    let (start_version, db_map) = (live.partition.version(), live.partition.db_map());
    Header { partition: PartitionId(0), start_version, start: Position::ZERO, db_map }
}

/// Writes a checkpoint with changes between the pieces. Returns it, and what was seen.
fn write(live: &mut Live, kind: Kind, limits: PieceLimits) -> (Vec<u8>, Seen) {
    let (mut out, mut blocks, mut seen) = (Vec::new(), BlockWriter::new(limits), Seen::default());
    header(live).encode(&mut out);
    for db in 0..DB_COUNT as u8 {
        let mut cursor = 0;
        loop {
            cursor = blocks.add_bucket(&live.partition, db, cursor);
            while blocks.has_large() {
                let was_begun = live.partition.dbs[0].in_pieces.is_some();
                blocks.add_piece(&mut live.partition);
                seen.piece_count += 1;
                seen.row_count += u64::from(!was_begun);
                blocks.seal(&mut out);
                for _ in 0..live.random.below(4) {
                    live.change(kind);
                }
            }
            if cursor == 0 {
                break;
            }
        }
    }
    blocks.finish(Position::ZERO, &mut out);
    (out, seen)
}

fn load(file: &[u8]) -> Result<Partition, checkpoint::Refusal> {
    let mut partition = Partition::new(PartitionId(0));
    checkpoint::load(file, &mut partition)?;
    Ok(partition)
}

fn reopened(file: &[u8], batches: &[(Version, Vec<u8>)]) -> Partition {
    let mut partition = replayed(load(file).expect("what was written loads"), batches);
    partition.settle();
    partition
}

fn replayed(mut partition: Partition, batches: &[(Version, Vec<u8>)]) -> Partition {
    let start_version = partition.version();
    for (version, body) in batches.iter().filter(|(version, _)| start_version < *version) {
        let replayed = partition.replay(body, &Live::stamp(*version), &mut |_| unreachable!("nothing is spilled"));
        replayed.expect("what was journaled is replayed");
    }
    partition
}

#[test]
fn pieces_and_the_journal_behind_them_are_the_value() {
    for kind in KINDS {
        let (mut pieces, mut rows) = (0, 0);
        for seed in 0..12 {
            let mut live = Live::new(seed);
            live.fill(kind);
            let (file, seen) = write(&mut live, kind, SMALL);
            (pieces, rows) = (pieces + seen.piece_count, rows + seen.row_count);
            for _ in 0..live.random.below(50) {
                live.change(kind);
            }
            let reopened = reopened(&file, &live.batches);
            assert!(Live::dump(&reopened) == Live::dump(&live.partition), "{kind:?}, seed {seed}");
        }
        assert!(12 * 50 < pieces, "{kind:?} went in pieces");
        assert!(12 < rows, "{kind:?} was deleted between two pieces at times");
    }
}

/// Replay starts with `w` alone, which goes before `y` comes, behind the walk; where `x` was, it comes too late. Deleted at
/// that moment, the key would lose its end of life, and begin its revisions anew.
#[test]
fn a_value_that_replay_finds_empty_on_the_way_keeps_its_properties() {
    let mut live = Live::new(0);
    let put = |member: &[u8], score| {
        let mut out = Vec::new();
        scored_effects::put_sorted_set_put(&mut out, 0, KEY, [(member, score)].into_iter());
        out
    };
    let remove = |member: &[u8]| {
        let mut out = Vec::new();
        scored_effects::put_sorted_set_remove(&mut out, 0, KEY, [member].into_iter());
        out
    };
    let mut expire = Vec::new();
    put_expire(&mut expire, 0, KEY, Some(TimeMs(1_000)));
    for body in [put(b"w", 1.0), put(b"x", 2.0), expire] {
        live.commit(body);
    }
    let (mut file, header) = (Vec::new(), header(&live));
    header.encode(&mut file);
    let mut blocks = BlockWriter::new(PieceLimits { element_count_max: 1, ..SMALL });
    blocks.add_bucket(&live.partition, 0, 0);
    blocks.add_piece(&mut live.partition);
    for body in [remove(b"w"), put(b"y", 0.0), remove(b"x")] {
        live.commit(body);
    }
    blocks.add_piece(&mut live.partition);
    assert!(!blocks.has_large(), "it was written in two pieces");
    blocks.finish(Position::ZERO, &mut file);
    assert_eq!(Live::dump(&reopened(&file, &live.batches)), Live::dump(&live.partition));
    // The control: where an emptied key does not stay, the oracle sees it.
    let mut partition = load(&file).expect("it loads");
    partition.settle();
    assert_ne!(Live::dump(&replayed(partition, &live.batches)), Live::dump(&live.partition));
}

#[test]
fn a_value_that_does_not_change_is_whole_without_the_journal() {
    for kind in KINDS {
        let mut live = Live::new(1);
        live.fill(kind);
        let mut blocks = BlockWriter::new(SMALL);
        let mut file = Vec::new();
        header(&live).encode(&mut file);
        blocks.add_bucket(&live.partition, 0, 0);
        while blocks.has_large() {
            blocks.add_piece(&mut live.partition);
        }
        blocks.finish(Position::ZERO, &mut file);
        assert!(Live::dump(&load(&file).expect("it loads")) == Live::dump(&live.partition), "{kind:?}");
    }
}

#[test]
fn a_compressed_list_goes_in_pieces_for_what_it_expands_to() {
    const COUNT: usize = 30_000;
    let mut live = Live::new(7);
    let mut body = Vec::new();
    let names: Vec<Vec<u8>> = (0..COUNT as u64).map(name).collect();
    effect::put_list_push(&mut body, 0, KEY, End::Back, names.iter().map(Vec::as_slice));
    live.commit(body);
    let limits = PieceLimits::STANDARD;
    let Some(Value::List(list)) = live.value() else { unreachable!("it was just pushed") };
    assert!(list.bytes() < limits.value_bytes_min && limits.value_bytes_min <= list.expanded_bytes());
    let (mut blocks, mut file, mut pieces) = (BlockWriter::new(limits), Vec::new(), 0);
    header(&live).encode(&mut file);
    blocks.add_bucket(&live.partition, 0, 0);
    while blocks.has_large() {
        blocks.add_piece(&mut live.partition);
        pieces += 1;
        let mut change = Vec::new();
        effect::put_list_set(&mut change, 0, KEY, COUNT / 2 + pieces, b"another");
        live.commit(change);
    }
    blocks.finish(Position::ZERO, &mut file);
    assert!(5 < pieces, "{pieces}");
    assert!(Live::dump(&reopened(&file, &live.batches)) == Live::dump(&live.partition));
}

/// Pushes at the back faster than pieces are written: each piece is then larger than what came in before it.
#[test]
fn a_list_that_grows_faster_than_its_pieces_is_written_all_the_same() {
    let mut live = Live::new(3);
    live.fill(Kind::List);
    let mut blocks = BlockWriter::new(SMALL);
    blocks.add_bucket(&live.partition, 0, 0);
    for piece in 0.. {
        blocks.add_piece(&mut live.partition);
        if !blocks.has_large() {
            break;
        }
        assert!(piece < 100, "it comes to an end");
        let mut body = Vec::new();
        let elements = [&b"one"[..]; 500];
        effect::put_list_push(&mut body, 0, KEY, End::Back, elements.into_iter());
        live.commit(body);
    }
}

#[test]
fn pieces_out_of_place_are_refused() {
    let bytes = |form: u8, key: &[u8], rest: &[u8]| {
        let mut out = vec![0, Kind::Set as u8, form];
        base::codec::put_bytes(&mut out, key);
        out.extend_from_slice(rest);
        out
    };
    let mut change = Vec::new();
    put_set_add(&mut change, 0, NAMELESS, [&b"m"[..]].into_iter());
    let mut named = Vec::new();
    put_set_add(&mut named, 0, KEY, [&b"m"[..]].into_iter());
    let piece_of = |key: &[u8], change: &[u8]| {
        let mut rest = Vec::new();
        base::codec::put_bytes(&mut rest, change);
        bytes(2, key, &rest)
    };
    let (piece, whole, broken) = (piece_of(KEY, &change), bytes(3, KEY, &[1, 1, 0, 0, 1]), bytes(4, KEY, &[]));
    let loads = |parts: &[&[u8]]| {
        let (mut file, body) = (Vec::new(), parts.concat());
        header(&Live::new(0)).encode(&mut file);
        checkpoint::put_file(&body, parts.iter().filter(|part| part[2] != 2 && part[2] != 4).count(), &mut file);
        load(&file).is_ok()
    };
    assert!(loads(&[&piece, &piece, &whole]));
    assert!(loads(&[&piece, &broken, &piece, &whole]));
    assert!(loads(&[&piece, &broken]));
    assert!(!loads(&[&piece]), "it ends in the middle of a value");
    assert!(!loads(&[&whole]) && !loads(&[&broken]), "there is no row");
    assert!(!loads(&[&piece, &piece_of(b"other", &change)]), "another row");
    assert!(!loads(&[&piece, &bytes(3, b"other", &[1, 1, 0, 0, 1])]), "the end of another row");
    assert!(!loads(&[&piece_of(KEY, &named), &whole]), "a change of a key with a name");
    assert!(!loads(&[&piece, &bytes(0, KEY, &[1, 1, 0, 0, 1, 0]), &whole]), "an entry within a row");
}

#[test]
fn the_format_before_pieces_is_read_and_one_to_come_is_not() {
    let mut live = Live::new(5);
    live.fill(Kind::Set);
    let (mut file, mut blocks) = (Vec::new(), BlockWriter::new(PieceLimits { value_bytes_min: usize::MAX, ..SMALL }));
    header(&live).encode(&mut file);
    blocks.add_bucket(&live.partition, 0, 0);
    blocks.finish(Position::ZERO, &mut file);
    let mut loads_as = |format: u32| {
        file[8..12].copy_from_slice(&format.to_le_bytes());
        let crc = base::checksum::crc32c(&file[..48]);
        file[48..52].copy_from_slice(&crc.to_le_bytes());
        load(&file)
    };
    assert_eq!(Live::dump(&loads_as(1).expect("it is read")), Live::dump(&live.partition));
    assert!(loads_as(2).is_ok());
    for format in [0, 3] {
        assert_eq!(loads_as(format).err(), Some(checkpoint::Refusal::Format(format)));
    }
}
