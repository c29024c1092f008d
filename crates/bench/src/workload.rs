//! What the connections say: random operations for measuring, and ranges of keys written and verified in order.
//!
//! Keys are 16 bytes, a four-byte prefix per type and twelve digits (`key:000000000042`), as `redis-benchmark` writes
//! them with `-r`. A value written with [`FillScript`] is a function of its key's index, so every one can be
//! checked without remembering any. Values are random bytes in both cases: nobody gains by compressing them.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use crate::error::Error;
use crate::load::Script;
use crate::resp;

/// Digits in a key.
const KEY_DIGITS: usize = 12;
/// Bytes of a key, prefix and digits.
pub const KEY_BYTES: usize = 4 + KEY_DIGITS;
/// What a template holds where the digits of a key will go.
const KEY_HOLE: &[u8; KEY_DIGITS] = b"????????????";
/// Keys one `mset10` writes.
const MSET_KEYS: usize = 10;

/// A script of three calls.
const THREE_CALLS: &[u8] =
    b"redis.call('INCR', KEYS[1]) redis.call('SET', KEYS[2], ARGV[1]) return redis.call('STRLEN', KEYS[2])";

/// What a connection asks for, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Op {
    /// `SET key value`.
    Set,
    /// `GET key`.
    Get,
    /// SET or GET, with even odds.
    Mixed,
    /// `PING`.
    Ping,
    /// `INCR key`.
    Incr,
    /// `HSET key field value`.
    Hset,
    /// `MSET` of ten keys.
    Mset10,
    /// `LPUSH` to one of the lists.
    Lpush,
    /// `RPOP` from one of the lists.
    Rpop,
    /// `SADD` of a member to one set.
    Sadd,
    /// `ZADD` of a member with a random score to one sorted set.
    Zadd,
    /// `ZRANGE` of ten members from a score on.
    Zrange,
    /// `XADD` of a field to one stream.
    Xadd,
    /// `EVAL` of a script that calls three commands.
    Eval,
}

impl Op {
    /// Its name in tables and, in lower case, in `redis-benchmark -t`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Mixed => "SET+GET",
            Self::Ping => "PING",
            Self::Incr => "INCR",
            Self::Hset => "HSET",
            Self::Mset10 => "MSET(10)",
            Self::Lpush => "LPUSH",
            Self::Rpop => "RPOP",
            Self::Sadd => "SADD",
            Self::Zadd => "ZADD",
            Self::Zrange => "ZRANGE",
            Self::Xadd => "XADD",
            Self::Eval => "EVAL",
        }
    }

    /// What fills the collection that this operation is about, if it is about one.
    pub fn filler(self) -> Option<Op> {
        match self {
            Self::Lpush | Self::Rpop => Some(Self::Lpush),
            Self::Sadd => Some(Self::Sadd),
            Self::Zadd | Self::Zrange => Some(Self::Zadd),
            _ => None,
        }
    }

    /// Whether each request leaves less of the collection to the next.
    pub fn uses_up(self) -> bool {
        self == Self::Rpop
    }

    fn templates(self, value: &[u8]) -> Vec<Template> {
        match self {
            Self::Set => vec![Template::new(&[b"SET", &hole(*b"key:"), value])],
            Self::Get => vec![Template::new(&[b"GET", &hole(*b"key:")])],
            Self::Mixed => [Self::Set, Self::Get].iter().flat_map(|op| op.templates(value)).collect(),
            Self::Ping => vec![Template::new(&[b"PING"])],
            Self::Incr => vec![Template::new(&[b"INCR", &hole(*b"ctr:")])],
            Self::Hset => vec![Template::new(&[b"HSET", &hole(*b"hsh:"), b"field", value])],
            Self::Mset10 => vec![Template::mset(value)],
            Self::Lpush => vec![Template::new(&[b"LPUSH", b"lst:", value])],
            Self::Rpop => vec![Template::new(&[b"RPOP", b"lst:"])],
            Self::Sadd => vec![Template::new(&[b"SADD", b"set:", &hole(*b"elt:")])],
            Self::Zadd => vec![Template::new(&[b"ZADD", b"zst:", KEY_HOLE, &hole(*b"elt:")])],
            Self::Zrange => {
                vec![Template::new(&[b"ZRANGE", b"zst:", KEY_HOLE, b"+inf", b"BYSCORE", b"LIMIT", b"0", b"10"])]
            }
            Self::Xadd => vec![Template::new(&[b"XADD", b"str:", b"*", b"field", value])],
            Self::Eval => {
                vec![Template::new(&[b"EVAL", THREE_CALLS, b"2", &hole(*b"ctr:"), &hole(*b"key:"), value])]
            }
        }
    }
}

fn hole(prefix: [u8; 4]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&prefix);
    key[4..].copy_from_slice(KEY_HOLE);
    key
}

/// The key of `index`.
pub fn key(index: u64) -> [u8; KEY_BYTES] {
    let mut key = hole(*b"key:");
    write_digits(index, &mut key[4..]);
    key
}

/// Fills `out` with the decimal digits of `number`, leading zeros included.
fn write_digits(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    assert!(number == 0, "key indexes have at most {KEY_DIGITS} digits");
}

/// One encoded command with holes for keys, so that the client's own work per request is a copy and some digits.
struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    fn new(args: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        resp::encode(args, &mut bytes);
        let holes = memchr::memmem::find_iter(&bytes, KEY_HOLE).collect();
        Self { bytes, holes }
    }

    fn mset(value: &[u8]) -> Self {
        let key = hole(*b"key:");
        let mut args: Vec<&[u8]> = vec![b"MSET"];
        for _ in 0..MSET_KEYS {
            args.extend([&key[..], value]);
        }
        Self::new(&args)
    }

    fn append(&self, out: &mut Vec<u8>, mut next_key: impl FnMut() -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for hole in &self.holes {
            write_digits(next_key(), &mut out[start + hole..][..KEY_DIGITS]);
        }
    }
}

/// SplitMix64: small, fast, and the same keys for every contestant. Steele, Lea and Flood, OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Draws the same numbers for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, uniform but for a bias below one part in `2^64 / bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

/// Appends `bytes` random bytes that depend on `seed` only.
fn append_random(seed: u64, bytes: usize, out: &mut Vec<u8>) {
    let mut random = Random::new(seed);
    let end = out.len() + bytes;
    while out.len() < end {
        let word = random.draw().to_le_bytes();
        let count = word.len().min(end - out.len());
        out.extend_from_slice(&word[..count]);
    }
}

/// Where the keys of an operation come from.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// Uniform among the first `count`.
    Random { count: u64 },
    /// Uniform among the first `count` for reads; each write takes the next unused index from `fresh` on.
    FreshWrites { count: u64, fresh: u64 },
}

/// The measuring workload: `requests` of one operation, `pipeline` at a time.
pub struct OpScript {
    templates: Vec<Template>,
    keys: Keys,
    random: Random,
    pipeline: u64,
    requests_left: u64,
}

impl OpScript {
    /// Values are `value_bytes` random bytes, the same for all keys.
    pub fn new(op: Op, value_bytes: usize, keys: Keys, pipeline: u64, requests: u64) -> Self {
        let mut value = Vec::new();
        append_random(1, value_bytes, &mut value);
        Self { templates: op.templates(&value), keys, random: Random::new(2), pipeline, requests_left: requests }
    }

    /// Half MSET of ten keys, half GET, one at a time: writes much without asking for many requests.
    pub fn write_heavy(value_bytes: usize, keys: Keys, requests: u64) -> Self {
        let mut script = Self::new(Op::Mset10, value_bytes, keys, 1, requests);
        script.templates.extend(Op::Get.templates(&[]));
        script
    }
}

impl Script for OpScript {
    fn next_batch(&mut self, _connection: usize, out: &mut Vec<u8>) -> u64 {
        let count = self.pipeline.min(self.requests_left);
        self.requests_left -= count;
        for _ in 0..count {
            let chosen = if self.templates.len() == 1 { 0 } else { self.random.below(self.templates.len() as u64) };
            let template = &self.templates[chosen as usize];
            let (keys, random) = (&mut self.keys, &mut self.random);
            template.append(out, || match keys {
                Keys::FreshWrites { fresh, .. } if chosen == 0 => {
                    *fresh += 1;
                    *fresh - 1
                }
                Keys::Random { count } | Keys::FreshWrites { count, .. } => random.below(*count),
            });
        }
        count
    }

    fn on_reply(&mut self, _connection: usize, reply: &[u8]) -> Result<(), Error> {
        if reply.starts_with(b"$-1") {
            return Err(Error::WrongAnswer { detail: "a key that was stored is gone".into() });
        }
        Ok(())
    }
}

/// What a range of keys is given as values.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// Length of each value.
    pub bytes: usize,
    /// Values of another generation differ for every key.
    pub generation: u64,
}

impl Values {
    /// Appends the value of the key with this index.
    pub fn append(self, index: u64, out: &mut Vec<u8>) {
        append_random(index ^ (self.generation << 48), self.bytes, out);
    }
}

/// When the keys of a range expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    Never,
    /// All at this one millisecond of Unix time.
    AtMs(u64),
}

/// Writes each key of `start..end` once, with a value derived from its index.
pub struct FillScript {
    next: u64,
    end: u64,
    values: Values,
    expiry: Expiry,
    value: Vec<u8>,
}

/// Commands in flight per connection while filling and verifying.
const FILL_PIPELINE: u64 = 32;

impl FillScript {
    /// Nothing is written before the load starts.
    pub fn new(start: u64, end: u64, values: Values, expiry: Expiry) -> Self {
        assert!(start <= end, "a range of keys does not run backwards");
        Self { next: start, end, values, expiry, value: Vec::new() }
    }
}

impl Script for FillScript {
    fn next_batch(&mut self, _connection: usize, out: &mut Vec<u8>) -> u64 {
        let count = FILL_PIPELINE.min(self.end - self.next);
        for index in self.next..self.next + count {
            self.value.clear();
            self.values.append(index, &mut self.value);
            match self.expiry {
                Expiry::Never => resp::encode(&[b"SET", &key(index), &self.value], out),
                Expiry::AtMs(ms) => {
                    resp::encode(&[b"SET", &key(index), &self.value, b"PXAT", ms.to_string().as_bytes()], out);
                }
            }
        }
        self.next += count;
        count
    }

    fn on_reply(&mut self, _connection: usize, reply: &[u8]) -> Result<(), Error> {
        if reply == b"+OK\r\n" {
            return Ok(());
        }
        Err(Error::WrongAnswer { detail: format!("SET answered {}", String::from_utf8_lossy(reply)) })
    }
}

/// Reads keys that [`FillScript`] wrote and compares every byte of every value.
pub struct VerifyScript {
    order: Order,
    values: Values,
    reads_left: u64,
    /// Indexes asked for on each connection and not yet answered.
    asked: Vec<VecDeque<u64>>,
    expected: Vec<u8>,
}

/// In which order keys are verified.
pub enum Order {
    /// Ascending from this index.
    From(u64),
    /// Uniform among the first `count`.
    Random { count: u64, random: Random },
}

impl VerifyScript {
    /// Reads and checks `reads` keys over `connections` connections.
    pub fn new(order: Order, reads: u64, values: Values, connections: usize) -> Self {
        Self { order, values, reads_left: reads, asked: vec![VecDeque::new(); connections], expected: Vec::new() }
    }
}

impl Script for VerifyScript {
    fn next_batch(&mut self, connection: usize, out: &mut Vec<u8>) -> u64 {
        let count = FILL_PIPELINE.min(self.reads_left);
        self.reads_left -= count;
        for _ in 0..count {
            let index = match &mut self.order {
                Order::From(next) => {
                    *next += 1;
                    *next - 1
                }
                Order::Random { count, random } => random.below(*count),
            };
            resp::encode(&[b"GET", &key(index)], out);
            self.asked[connection].push_back(index);
        }
        count
    }

    fn on_reply(&mut self, connection: usize, reply: &[u8]) -> Result<(), Error> {
        let index = self.asked[connection].pop_front().expect("no reply comes before its question");
        self.expected.clear();
        self.expected.extend_from_slice(format!("${}\r\n", self.values.bytes).as_bytes());
        self.values.append(index, &mut self.expected);
        self.expected.extend_from_slice(b"\r\n");
        if reply == self.expected {
            return Ok(());
        }
        Err(Error::WrongAnswer { detail: format!("the value of key {index} is not what was written") })
    }
}

/// Unix time in milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_and_distinct() {
        assert_eq!(&key(42), b"key:000000000042");
        assert_eq!(&key(999_999_999_999), b"key:999999999999");
    }

    #[test]
    fn every_op_fills_its_holes_and_counts_its_requests() {
        for op in Op::value_variants() {
            let mut script = OpScript::new(*op, 64, Keys::Random { count: 1000 }, 16, 40);
            let mut out = Vec::new();
            let batches: Vec<u64> = std::iter::repeat_with(|| script.next_batch(0, &mut out)).take(4).collect();
            assert_eq!(batches, [16, 16, 8, 0], "{op:?}");
            assert!(memchr::memmem::find(&out, KEY_HOLE).is_none(), "{op:?} left a hole");
            assert_eq!(commands(&out), 40, "{op:?}");
        }
    }

    /// A command has the shape of an array reply.
    fn commands(mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while let Some(command_bytes) = resp::reply_bytes(bytes).unwrap() {
            bytes = &bytes[command_bytes..];
            count += 1;
            if bytes.is_empty() {
                break;
            }
        }
        assert!(bytes.is_empty(), "nothing is left over");
        count
    }

    #[test]
    fn growing_writes_never_use_an_index_twice() {
        let mut script = OpScript::write_heavy(8, Keys::FreshWrites { count: 10, fresh: 100 }, 50);
        let mut out = Vec::new();
        while script.next_batch(0, &mut out) != 0 {}
        let msets = memchr::memmem::find_iter(&out, b"MSET").count() as u64;
        assert!(0 < msets);
        let last = format!("key:{:012}", 99 + 10 * msets);
        assert!(memchr::memmem::find(&out, last.as_bytes()).is_some(), "the last of the fresh keys is used");
        let beyond = format!("key:{:012}", 100 + 10 * msets);
        assert!(memchr::memmem::find(&out, beyond.as_bytes()).is_none());
    }

    #[test]
    fn a_verifier_accepts_what_was_filled_and_nothing_else() {
        let values = Values { bytes: 20, generation: 3 };
        let mut value = Vec::new();
        values.append(7, &mut value);
        let mut reply = b"$20\r\n".to_vec();
        reply.extend_from_slice(&value);
        reply.extend_from_slice(b"\r\n");
        for flip in 0..reply.len() {
            let mut bent = reply.clone();
            bent[flip] ^= 1;
            assert!(ask_seven(values).on_reply(0, &bent).is_err());
        }
        assert!(ask_seven(values).on_reply(0, b"$-1\r\n").is_err());
        assert!(ask_seven(Values { generation: 4, ..values }).on_reply(0, &reply).is_err());
        assert!(ask_seven(values).on_reply(0, &reply).is_ok());
    }

    fn ask_seven(values: Values) -> VerifyScript {
        let mut script = VerifyScript::new(Order::From(7), 1, values, 1);
        assert_eq!(script.next_batch(0, &mut Vec::new()), 1);
        script
    }

    #[test]
    fn random_draws_stay_below_and_reach_the_ends() {
        let mut random = Random::new(9);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&9));
    }
}
