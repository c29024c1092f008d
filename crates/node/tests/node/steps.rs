//! Random sequences of commands and of what a node's threads do between them.
//!
//! Few keys, so that commands meet each other's traces; values from nothing to more than a checkpoint takes inline, so
//! that segments fill, die and are merged. Every write command has its own test of replay in the commands crate; here
//! each *effect* is met in each state a value can be in: integer, inline, boxed, spilled.

use crate::rig::{Answer, Rig, START_MS};
use base::DbId;
use journal::Position;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// How commands are called: lower-case words stand for what [`word`] makes of them.
const TEMPLATES: &[&str] = &[
    "SET key value",
    "SET key value PX ms",
    "SET key big",
    "MSET key value key big key value",
    "APPEND key value",
    "APPEND key big",
    "SETRANGE key offset value",
    "INCR key",
    "HUSTDB PUT key value 0 70 DUP",
    "HUSTDB PUT key big 0 9 DUP",
    "DEL key",
    "DEL key hash key",
    "PEXPIRE key ms",
    "PEXPIRE hash ms",
    "PERSIST key",
    "GET key",
    "RENAME key key",
    "RENAME hash hash",
    "COPY key key REPLACE",
    "COPY hash hash DB db REPLACE",
    "MOVE key db",
    "HSET hash field value field value",
    "HSET hash field big",
    "HGETALL hash",
    "HDEL hash field",
    "HDEL hash field field field",
    "HPEXPIRE hash ms FIELDS 1 field",
    "HPERSIST hash FIELDS 2 field field",
    "HINCRBY hash field int",
    "SWAPDB db db",
    "FLUSHDB",
    "FUNCTION LOAD REPLACE library",
    "FUNCTION LOAD REPLACE library",
    "FUNCTION DELETE libname",
    "FUNCTION FLUSH",
];

/// Commands on collections of all types, with dozens of elements and forms for large ones.
const COLLECTION_TEMPLATES: &[&str] = &[
    "HSET hash member value member value member value member value",
    "HSET hash member value",
    "HDEL hash member member",
    "HPEXPIRE hash ms FIELDS 2 member member",
    "HPERSIST hash FIELDS 1 member",
    "HINCRBY hash field int",
    "SADD set member member member member member",
    "SADD set member",
    "SREM set member member member",
    "SMOVE set set member",
    "SPOP set 2",
    "ZADD zset int member int member int member int member",
    "ZADD zset int member",
    "ZINCRBY zset int member",
    "ZREM zset member member member",
    "ZPOPMIN zset 2",
    "ZPOPMAX zset",
    "RPUSH list value value big value",
    "LPUSH list value value",
    "RPUSH list value",
    "LPOP list",
    "RPOP list 2",
    "LPOP list 9",
    "LSET list place value",
    "LINSERT list BEFORE value value",
    "LREM list 0 value",
    "LTRIM list 1 -2",
    "LMOVE list list LEFT RIGHT",
    "XADD stream 5-* field value field value",
    "XADD stream 5-* field value",
    "XADD stream MAXLEN ~ 30 5-* field value",
    "XTRIM stream MAXLEN = 12",
    "XDEL stream entry entry",
    "XSETID stream entry ENTRIESADDED 90 MAXDELETEDID 5-1",
    "XGROUP CREATE stream group 0 MKSTREAM",
    "XGROUP DESTROY stream group",
    "XGROUP DELCONSUMER stream group consumer",
    "XREADGROUP GROUP group consumer COUNT 3 STREAMS stream >",
    "XACK stream group entry entry",
    "XCLAIM stream group consumer 0 entry entry",
    "DEL any",
    "RENAME any any",
    "COPY any any REPLACE",
    "PEXPIRE any ms",
    "PERSIST any",
    "FLUSHDB",
];

fn one_of(texts: &[&str]) -> BoxedStrategy<Vec<u8>> {
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    select(texts).boxed()
}

fn number(range: std::ops::Range<i64>) -> BoxedStrategy<Vec<u8>> {
    range.prop_map(|number| number.to_string().into_bytes()).boxed()
}

fn filled(range: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    (range, b'a'..=b'z').prop_map(|(bytes, fill)| vec![fill; bytes]).boxed()
}

/// A library's code, with something to tell it from others by.
fn library((name, remark): (Vec<u8>, Vec<u8>)) -> Vec<u8> {
    let function = b"\nredis.register_function('f_".to_vec();
    [&b"#!lua name="[..], &name, &function, &name, b"', function() return 1 end) --", &remark].concat()
}

fn word(name: &'static str) -> BoxedStrategy<Vec<u8>> {
    match name {
        "key" => one_of(&["a", "b", "{a}c", "d", "e", "f"]),
        "hash" => one_of(&["h", "{h}i", "j"]),
        "one" => one_of(&["a", "d"]),
        "one_hash" => one_of(&["h", "{h}i"]),
        // Rarely written, so that what they hold keeps a segment that is dead otherwise.
        "kept" => number(0..12),
        "kept_hash" => number(20..24),
        "field" => one_of(&["f", "g", "h", "1"]),
        "set" => one_of(&["s", "{h}s"]),
        "zset" => one_of(&["z", "{h}z"]),
        "list" => one_of(&["l", "{h}l"]),
        "stream" => one_of(&["x", "{h}x"]),
        "any" => one_of(&["h", "{h}i", "s", "{h}s", "z", "{h}z", "l", "{h}l", "x", "{h}x"]),
        // Some too long for the compact form of a collection.
        "member" => (0usize..60).prop_map(|number| format!("{number:0>0$}", 2 + number % 3 * 35).into_bytes()).boxed(),
        "place" => number(-9..30),
        "entry" => (0..30).prop_map(|number| format!("5-{number}").into_bytes()).boxed(),
        "group" => one_of(&["g", "g2"]),
        "consumer" => one_of(&["c", "d"]),
        "value" => prop_oneof![number(-3..12), filled(0..40), filled(400..700)].boxed(),
        "big" => prop_oneof![3 => filled(3_000..9_000), 1 => filled(60_000..70_000)].boxed(),
        "offset" => prop_oneof![4 => number(0..60), 1 => number(4_000..6_000)].boxed(),
        "int" => number(-3..12),
        "db" => number(0..3),
        "libname" => one_of(&["one", "two"]),
        "library" => (word("libname"), prop_oneof![filled(0..40), filled(3_000..9_000)]).prop_map(library).boxed(),
        "ms" => prop_oneof![1 => number(1..300), 1 => number(1_000_000..2_000_000)].boxed(),
        literal => Just(literal.as_bytes().to_vec()).boxed(),
    }
}

/// One step of a run.
#[derive(Clone)]
pub enum Step {
    /// A command arrives.
    Command(Vec<Vec<u8>>),
    /// MULTI, these, EXEC.
    Transaction(Vec<Vec<Vec<u8>>>),
    /// The connection selects another database.
    Select(u8),
    /// Time passes.
    Wait(u64),
    /// The flusher's turn, with a sync.
    Sync,
    /// Nothing happens for so long that the flusher writes a mark.
    Idle,
    /// The timer removes what has ended.
    Expire,
    /// Memory is looked at and found over its limit: values leave it.
    Spill,
    /// The deadest segment is emptied, if one is worth it.
    Merge,
    /// Checkpoints of everything; segments that nobody needs go.
    Checkpoint,
    /// The node is closed and opened again.
    Reopen,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Command(args) => {
                let show = |arg: &Vec<u8>| match arg.first() {
                    Some(first) if arg.len() > 60 => format!("{}*{}", first.escape_ascii(), arg.len()),
                    _ => format!("{:?}", arg.escape_ascii().to_string()),
                };
                write!(f, "\n> {}", args.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Step::Transaction(commands) => {
                let commands: Vec<Step> = commands.iter().cloned().map(Step::Command).collect();
                write!(f, "\n> MULTI{commands:?}\n> EXEC")
            }
            Step::Select(db) => write!(f, "\n> SELECT {db}"),
            Step::Wait(ms) => write!(f, "\n# {ms} ms"),
            Step::Sync => f.write_str("\n# sync"),
            Step::Idle => f.write_str("\n# idle"),
            Step::Expire => f.write_str("\n# expire"),
            Step::Spill => f.write_str("\n# spill"),
            Step::Merge => f.write_str("\n# merge"),
            Step::Checkpoint => f.write_str("\n# checkpoint"),
            Step::Reopen => f.write_str("\n# reopen"),
        }
    }
}

fn command(templates: &[&'static str]) -> BoxedStrategy<Step> {
    args(templates).prop_map(Step::Command).boxed()
}

fn transaction(templates: &[&'static str]) -> BoxedStrategy<Step> {
    proptest::collection::vec(args(templates), 1..6).prop_map(Step::Transaction).boxed()
}

fn args(templates: &[&'static str]) -> BoxedStrategy<Vec<Vec<u8>>> {
    let each = |template: &&'static str| {
        let words: Vec<BoxedStrategy<Vec<u8>>> = template.split_whitespace().map(word).collect();
        words.boxed()
    };
    Union::new(templates.iter().map(each).collect::<Vec<_>>()).boxed()
}

/// Up to `count_max` steps.
pub fn steps(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        40 => command(TEMPLATES),
        6 => transaction(TEMPLATES),
        2 => (0u8..3).prop_map(Step::Select),
        2 => (1u64..200).prop_map(Step::Wait),
        4 => Just(Step::Sync),
        1 => Just(Step::Idle),
        2 => Just(Step::Expire),
        3 => Just(Step::Spill),
        4 => Just(Step::Merge),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..count_max)
}

/// `counts` of steps on collections of all types.
pub fn on_collections(counts: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        40 => command(COLLECTION_TEMPLATES),
        4 => transaction(COLLECTION_TEMPLATES),
        1 => (1u64..200).prop_map(Step::Wait),
        2 => Just(Step::Expire),
        1 => Just(Step::Spill),
    ];
    proptest::collection::vec(step, counts)
}

/// Up to `count_max` steps by which segments fill, die, are emptied and removed as fast as can be, and values are
/// changed in place whose bytes lay in them.
pub fn churn(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let filling = command(&["SET one big", "HSET one_hash field big", "RENAME one_hash one_hash"]);
    let changing =
        command(&["APPEND one value", "SETRANGE one offset value", "HSET one_hash field value", "HDEL one_hash field"]);
    let step = prop_oneof![
        12 => filling,
        12 => changing,
        5 => command(&["SET kept value", "HSET kept_hash field value"]),
        2 => command(&["DEL one", "DEL one_hash", "APPEND kept value"]),
        4 => Just(Step::Spill),
        6 => Just(Step::Merge),
        3 => Just(Step::Checkpoint),
        2 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..count_max)
}

/// Checks `cases` random sequences.
pub fn check_all(
    cases: u32,
    sequences: impl Strategy<Value = Vec<Step>>,
    check: impl Fn(&[Step]) -> Result<(), TestCaseError>,
) {
    let mut runner = TestRunner::new(Config { cases, ..Config::with_source_file(file!()) });
    if let Err(failure) = runner.run(&sequences, |steps| check(&steps)) {
        panic!("{failure}");
    }
}

/// What a step left to wait for.
pub fn take(rig: &mut Rig, step: &Step) -> Option<Position> {
    match step {
        Step::Command(args) => {
            let Answer { revealed, .. } = rig.connection.call(args);
            return Some(revealed);
        }
        Step::Transaction(commands) => {
            rig.connection.call(&["MULTI"]);
            for args in commands {
                assert_eq!(rig.connection.call(args).reply, b"+QUEUED\r\n");
            }
            let Answer { reply, revealed } = rig.connection.call(&["EXEC"]);
            assert!(reply.starts_with(b"*"), "nothing is refused: {step:?}");
            return Some(revealed);
        }
        Step::Select(db) => rig.connection.session.db = DbId(*db),
        Step::Wait(ms) => rig.clock.advance_ms(*ms),
        Step::Sync => {
            rig.node.journal.request_sync();
            rig.node.journal.flusher_turn().expect("the disk syncs");
        }
        Step::Idle => rig.idle(),
        Step::Expire => drop(rig.node.expire_turn()),
        Step::Spill => rig.spill(),
        Step::Merge => {
            rig.node.merge_turn(true);
        }
        Step::Checkpoint => rig.node.checkpoint_all(false).expect("the disk takes checkpoints"),
        Step::Reopen => reopen(rig),
    }
    None
}

fn reopen(rig: &mut Rig) {
    rig.node.journal.close().expect("the disk syncs");
    let (disk, clock, sync) = (rig.disk.clone(), rig.clock.clone(), rig.node.journal.sync_mode());
    let elsewhere = Rig::new(sync);
    let session = std::mem::replace(rig, elsewhere).connection.session; // The lock goes with the old node.
    *rig = Rig::open_at(&disk, sync, clock).expect("what was closed opens");
    rig.connection.session = session;
    assert!(START_MS <= rig.node.moment().now.0 as u64, "time does not run backwards");
}
