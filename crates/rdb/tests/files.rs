//! RDB files: those of real servers, those made of every known payload, and those that are none.
//!
//! `golden/redis-7.0.rdb` and `golden/valkey-9.1.rdb` are what SAVE left after
//! ```text
//! CONFIG SET maxmemory-policy allkeys-lfu               (allkeys-lru in Valkey)
//! SET s hello PXAT 4000000000000   SET i 12345   RPUSH l a b 1   SADD t 1 2 3   ZADD z 1.5 m   HSET h f v
//! XADD x 1-1 k v   XGROUP CREATE x g 0   XREADGROUP GROUP g c STREAMS x >   SELECT 3   SET other db   SELECT 0
//! FUNCTION LOAD "#!lua name=shelf\nredis.register_function("one", function() return 1 end)"
//! HSET e a 1 b 2   HPEXPIREAT e 4000000000000 FIELDS 1 b   (in Valkey)
//! ```

use base::TimeMs;
use crc_fast::{CrcAlgorithm, checksum};
use rdb::{Encoded, FileError, FileReader, Item, Object, Value, decode_dump};
use std::io::Read;

const REDIS: &[u8] = include_bytes!("../golden/redis-7.0.rdb");
const VALKEY: &[u8] = include_bytes!("../golden/valkey-9.1.rdb");
const ENDS: TimeMs = TimeMs(4_000_000_000_000);

/// Gives one byte at a time: nothing may depend on what a read returns.
struct Drops<'b>(&'b [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&mut self.0).take(1).read(buffer)
    }
}

fn object(value: &Value<'_>) -> Object {
    match value {
        Value::Encoded(encoded) => Encoded::object(encoded).expect("a value of a real server decodes"),
        other => panic!("{other:?}"),
    }
}

/// What a file holds, a line for each thing.
fn told(source: impl Read) -> Result<Vec<String>, FileError> {
    let mut reader = FileReader::open(source)?;
    let mut lines = Vec::new();
    loop {
        lines.push(match reader.read_next()? {
            Item::Note { name, .. } => format!("note {}", String::from_utf8_lossy(name)),
            Item::Database(number) => format!("database {number}"),
            Item::Key(key) => {
                let uses = match (key.idle_seconds, key.frequency) {
                    (Some(_), None) => " idle",
                    (None, Some(_)) => " frequency",
                    _ => "",
                };
                let ends = key.expires.map_or(String::new(), |at| format!(" ends {}", at.0));
                let value = match &key.value {
                    Value::Encoded(encoded) => encoded.object().map_or("malformed".to_owned(), |object| kind(&object)),
                    other => format!("{other:?}"),
                };
                format!("key {}{ends}{uses}: {value}", String::from_utf8_lossy(key.name))
            }
            Item::Library(code) => format!("library of {} bytes", code.len()),
            Item::ModuleNote(module) => format!("note of {module}"),
            Item::End { is_summed } => {
                lines.push(format!("end, summed: {is_summed}"));
                return Ok(lines);
            }
        });
    }
}

fn kind(object: &Object) -> String {
    match object {
        Object::String(bytes) => format!("string {}", String::from_utf8_lossy(bytes)),
        Object::List(items) => format!("list of {}", items.len()),
        Object::Set(members) => format!("set of {}", members.len()),
        Object::Hash(fields) => {
            let ends = fields.iter().filter(|(_, _, at)| *at == Some(ENDS)).count();
            format!("hash of {}, {ends} end", fields.len())
        }
        Object::SortedSet(members) => format!("sorted set of {}, first {}", members.len(), members[0].1),
        Object::Stream(stream) => format!("stream of {}, {} groups", stream.entries.len(), stream.state.groups.len()),
    }
}

/// `body` as a file of this magic, with a checksum that holds.
fn sealed(magic: &str, body: &[&[u8]]) -> Vec<u8> {
    let mut file = [magic.as_bytes(), &body.concat(), b"\xff"].concat();
    file.extend(checksum(CrcAlgorithm::Crc64Redis, &file).to_le_bytes());
    file
}

#[test]
fn files_of_real_servers_read_whole() {
    let common = |uses: &str| {
        let mut keys = [
            format!("key s ends {}{uses}: string hello", ENDS.0),
            format!("key i{uses}: string 12345"),
            format!("key l{uses}: list of 3"),
            format!("key t{uses}: set of 3"),
            format!("key z{uses}: sorted set of 1, first 1.5"),
            format!("key h{uses}: hash of 1, 0 end"),
            format!("key x{uses}: stream of 1, 1 groups"),
            format!("key other{uses}: string db"),
        ]
        .to_vec();
        keys.extend(["database 0", "database 3", "library of 72 bytes", "end, summed: true"].map(String::from));
        keys
    };
    for (file, mut expected) in [(REDIS, common(" frequency")), (VALKEY, common(" idle"))] {
        if file == VALKEY {
            expected.push("key e idle: hash of 2, 1 end".to_owned());
        }
        for lines in [told(file).unwrap(), told(Drops(file)).unwrap()] {
            let mut found: Vec<String> = lines.iter().filter(|line| !line.starts_with("note ")).cloned().collect();
            let other = found.iter().position(|line| line.starts_with("key other")).unwrap();
            assert_eq!(found[other - 1], "database 3");
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn every_payload_reads_alike_from_a_file() {
    let goldens = [
        include_str!("../golden/by-hand.hex"),
        include_str!("../golden/redis-6.2.hex"),
        include_str!("../golden/redis-7.0.hex"),
        include_str!("../golden/redis-8.0.hex"),
        include_str!("../golden/valkey-9.1.hex"),
    ];
    let mut count = 0;
    for record in goldens.iter().flat_map(|text| text.split("\n\n").skip(1)) {
        let hex: String = record.lines().skip(1).filter(|line| !line.starts_with('>')).collect();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let (value, footer) = payload.split_at(payload.len() - 10);
        let version = u16::from_le_bytes([footer[0], footer[1]]);
        let magic = if version == 80 { "VALKEY080".to_owned() } else { format!("REDIS{version:04}") };
        let file = sealed(&magic, &[&value[..1], b"\x01k", &value[1..], b"\x00\x01n\x01v"]);
        let mut reader = FileReader::open(&file[..]).unwrap();
        let Item::Key(key) = reader.read_next().unwrap() else { panic!("a key stands first") };
        assert_eq!(object(&key.value), decode_dump(&payload).unwrap(), "{record}");
        let Item::Key(next) = reader.read_next().unwrap() else { panic!("the value ends where the next key begins") };
        assert_eq!((next.name, object(&next.value)), (&b"n"[..], Object::String(b"v".to_vec())));
        let end = reader.read_next().unwrap();
        assert!(version < 5 || matches!(end, Item::End { is_summed: true }));
        count += 1;
    }
    assert!(60 < count, "{count}");
}

#[test]
fn what_stands_between_keys_is_passed_and_told() {
    let module_id: u64 = [17u64, 30, 9, 18, 14, 13, 62, 17, 11].iter().fold(0, |id, letter| id << 6 | letter) << 10 | 3;
    let id = [&[0x81][..], &module_id.to_be_bytes()].concat();
    let parts = [&[2u8, 5, 1, 7, 3][..], &[0; 4], &[4], &[0; 8], &[5, 2, b'h', b'i', 0]].concat();
    let file = sealed(
        "REDIS0011",
        &[
            b"\xfe\x02\xfb\x05\x01\xf4\x01\x02\x03",
            b"\xf7",
            &id,
            b"\x02\x01",
            &parts,
            b"\xfd\x40\xa8\x6a\xee\x07\x01m",
            &id,
            &parts,
            b"\xfd\x01\x00\x00\x00\xf8\x05\x00\x01s\xc0\x07",
            b"\xf3\x01j\x01\x00\x05",
            b"\x0d\x01b\x03xyz",
            b"\x00\x01t\x01v",
        ],
    ); // fmt: skip
    let lines = told(&file[..]).unwrap();
    // What was said of a key's end is for that key alone, and a value that is none does not hide the next.
    assert_eq!(
        lines,
        [
            "database 2",
            "note of ReJSON-RL",
            "key m ends -295000000000: Module(\"ReJSON-RL\")",
            "key s ends 1000 idle: string 7",
            "key b: malformed",
            "key t: string v",
            "end, summed: true",
        ]
    );
}

#[test]
fn cuts_and_flips_never_pass() {
    for file in [REDIS, VALKEY] {
        for cut in 0..file.len() {
            assert!(matches!(told(&file[..cut]), Err(FileError::Ended { offset_bytes }) if offset_bytes == cut as u64));
        }
        for bit in 0..file.len() * 8 {
            let mut bent = file.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            let ended = told(&bent[..]).is_ok_and(|lines| lines.last().is_some_and(|line| line.ends_with("true")));
            assert!(!ended, "bit {bit}");
        }
    }
}

#[test]
fn files_of_others_and_of_the_future_are_refused() {
    assert!(matches!(told(&b"*1\r\n$4\r\nPING\r\n"[..]), Err(FileError::NotRdb)));
    for magic in ["REDIS0000", "REDIS0014", "REDIS0080", "VALKEY011", "VALKEY081", "REDISxxxx"] {
        assert!(matches!(told(&sealed(magic, &[])[..]), Err(FileError::Version { .. })), "{magic}");
    }
    for byte in [6, 8, 22, 26, 242, 246] {
        let found = told(&sealed("REDIS0012", &[&[byte], b"\x01k\x01v"])[..]);
        assert!(matches!(found, Err(FileError::Unknown { offset_bytes: 10, byte: told }) if told == byte), "{byte}");
    }
}

#[test]
fn a_checksum_of_zero_or_none_is_told() {
    let mut file = sealed("REDIS0010", &[b"\x00\x01k\x01v"]);
    let end = file.len() - 8;
    file[end..].fill(0);
    assert_eq!(told(&file[..]).unwrap().last().unwrap(), "end, summed: false");
    file.truncate(end);
    file[8] = b'4';
    file[7] = b'0';
    assert_eq!(told(&file[..]).unwrap().last().unwrap(), "end, summed: false");
}

#[test]
fn what_follows_the_end_is_handed_on() {
    let file = [REDIS, b"*1\r\n$4\r\nPING\r\n"].concat();
    let mut reader = FileReader::open(&file[..]).unwrap();
    while !matches!(reader.read_next().unwrap(), Item::End { .. }) {}
    assert_eq!(reader.position_bytes(), REDIS.len() as u64);
    let (mut ahead, mut rest) = reader.into_rest();
    rest.read_to_end(&mut ahead).unwrap();
    assert_eq!(ahead, b"*1\r\n$4\r\nPING\r\n");
}
