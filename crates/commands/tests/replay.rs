//! The most valuable test in the house: whatever commands did, replaying the journal into empty partitions gives the
//! same state, byte for byte: content, versions, revisions and ends of life.
//!
//! Random sequences of all write commands of the table, over a few keys so that they meet each other, with time
//! passing, ended keys being removed and values being spilled in between; some of them several at once between MULTI
//! and EXEC. A write command without a template here fails the test, and so does one that never wrote anything.
//!
//! Deliberately not here: checkpoints and reopening from files, which the node's tests add.

mod harness;

use base::TimeMs;
use commands::{Await, Flags, Flow, Host, Session, Spec, libraries, table};
use env::Clock;
use harness::Node;
use journal::{Position, Record, RecordKind};
use keyspace::elements::records_db;
use keyspace::entry::{EntryRef, Stored};
use keyspace::partition::{Stamp, has_ended};
use keyspace::{Kind, Value};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// How each write command is called: words in capitals stand for themselves, the others for what [`token`] makes of
/// them. `|` separates alternatives.
const TEMPLATES: &[(&str, &str)] = &[
    ("append", "key value"),
    ("bitfield", "key SET u8 offset int INCRBY i5 offset int|key OVERFLOW FAIL INCRBY u3 #1 int GET u4 offset"),
    ("bitop", "AND key key key|OR key key key|NOT key key|ONE key key key key|DIFF key key key"),
    ("blmove", "list list LEFT RIGHT 0|list list RIGHT RIGHT 0"),
    ("blmpop", "0 2 list list LEFT COUNT 2"),
    ("blpop", "list list 0|list 0"),
    ("brpop", "list list 0"),
    ("brpoplpush", "list list 0"),
    ("bzmpop", "0 2 zset zset MIN COUNT 2|0 1 zset MAX"),
    ("bzpopmax", "zset zset 0"),
    ("bzpopmin", "zset zset 0|zset 0"),
    ("copy", "key key|key key REPLACE|key key DB db REPLACE"),
    ("decr", "key"),
    ("decrby", "key int"),
    ("del", "key|key key key"),
    ("delifeq", "key value"),
    ("delifver", "key int"),
    (
        "eval",
        "_G.redis.call('set',KEYS[1],ARGV[1]);redis.call('hset',KEYS[2],ARGV[1],ARGV[1]) 2 key key value|_G.redis.call('append',ARGV[1],ARGV[2]);redis.pcall('incr',ARGV[1]);redis.call('del',ARGV[3]) 0 key value key",
    ),
    ("expire", "key secs|key secs NX|key secs GT|key -1"),
    ("expireat", "key secs_at|key secs_at LT"),
    ("fcall", "Set 1 key value|Both 2 key key value|Both 0 key key value"),
    ("flushall", "|ASYNC"),
    ("flushdb", "|SYNC"),
    (
        "function",
        "LOAD library|LOAD REPLACE library|DELETE libname|FLUSH|RESTORE libraries|RESTORE libraries REPLACE|RESTORE libraries FLUSH",
    ),
    ("geoadd", "zset float float field|zset NX float float field|zset CH float float field float int field"),
    ("georadius", "zset 0 0 9000 KM STORE zset|zset 0 0 9000 KM STOREDIST zset COUNT 2"),
    ("georadiusbymember", "zset field 9000 KM STORE zset"),
    (
        "geosearchstore",
        "zset zset FROMLONLAT 0 0 BYBOX 9000 9000 KM|zset zset FROMLONLAT 1 1 BYRADIUS 300 KM STOREDIST",
    ),
    ("getdel", "key"),
    ("getex", "key EX secs|key PXAT ms_at|key PERSIST|key"),
    ("getset", "key value"),
    ("hdel", "hash field|hash field field field"),
    ("hexpire", "hash secs FIELDS 1 field|hash secs NX FIELDS 2 field field|hash 0 FIELDS 1 field"),
    ("hexpireat", "hash secs_at FIELDS 2 field field"),
    ("hgetdel", "hash FIELDS 1 field|hash FIELDS 2 field field"),
    ("hgetex", "hash EX secs FIELDS 1 field|hash PERSIST FIELDS 2 field field|hash PXAT ms_at FIELDS 1 field"),
    ("hincrby", "hash field int"),
    ("hincrbyfloat", "hash field float"),
    ("hmset", "hash field value field value"),
    ("hpersist", "hash FIELDS 2 field field"),
    ("hpexpire", "hash ms FIELDS 1 field|hash ms GT FIELDS 2 field field"),
    ("hpexpireat", "hash ms_at FIELDS 1 field"),
    ("hset", "hash field value|hash field value field value field value"),
    (
        "hsetex",
        "hash EX secs FIELDS 1 field value|hash FNX KEEPTTL FIELDS 2 field value field value|hash FIELDS 1 field value",
    ),
    ("hsetnx", "hash field value"),
    (
        "hustdb",
        "put key value ttl ver|put key value 0 0|del key ver|hset hash field value ttl ver|hset hash field value 0 0|\
         hincrby hash field int 0 ver|hdel hash field ver|sadd set member ttl ver|sadd set member 0 0|srem set member ver|\
         zadd zset int field 0 ttl ver|zadd zset int field 1 0 0|zrem zset field ver|\
         put key value ttl ver DUP|hset hash field value ttl ver DUP|sadd set member ttl ver DUP|zadd zset int field 0 0 ver DUP",
    ),
    ("incr", "key"),
    ("incrby", "key int"),
    ("incrbyfloat", "key float"),
    ("linsert", "list BEFORE element element|list AFTER element element"),
    ("lmove", "list list LEFT RIGHT|list list RIGHT LEFT|list list LEFT LEFT|list list RIGHT RIGHT"),
    ("lmpop", "1 list LEFT|2 list list RIGHT COUNT 2"),
    ("lpop", "list|list 2"),
    ("lpush", "list element|list element value element"),
    ("lpushx", "list element"),
    ("lrem", "list 0 element|list 1 element|list -2 element"),
    ("lset", "list 0 element|list 2 value|list -1 element"),
    ("ltrim", "list 1 -1|list 0 2|list 2 1|list -4 -2"),
    ("move", "key db"),
    ("mset", "key value|key value key value key value"),
    ("msetex", "2 key value key value EX secs|1 key value NX|2 key value key value KEEPTTL"),
    ("msetnx", "key value key value|key value"),
    ("persist", "key"),
    ("pexpire", "key ms|key ms XX"),
    ("pexpireat", "key ms_at"),
    ("pfadd", "pf member|pf member member member|pf"),
    ("pfcount", "pf|pf pf"),
    ("pfdebug", "TODENSE pf"),
    ("pfmerge", "pf pf pf|pf"),
    ("psetex", "key ms value"),
    ("rename", "key key"),
    ("renamenx", "key key"),
    ("restore", "key 0 payload REPLACE|key ms payload|key ms_at payload REPLACE ABSTTL"),
    ("rpop", "list|list 3"),
    ("rpoplpush", "list list"),
    ("rpush", "list element|list element element value element"),
    ("rpushx", "list element element"),
    (
        "set",
        "key value|key value NX GET|key value EX secs|key value XX KEEPTTL|key value PXAT ms_at|key value IFVER int|key value MEDIATYPE TEXT/PLAIN|key value EX secs MEDIATYPE IMAGE/PNG|key value KEEPTTL MEDIATYPE TEXT/CSS",
    ),
    ("sadd", "set member|set member member member|set int int int int"),
    ("sdiffstore", "set set set|set set set set"),
    ("setbit", "key offset bit"),
    ("setex", "key secs value"),
    ("setnx", "key value"),
    ("setrange", "key offset value"),
    ("sinterstore", "set set set|set set"),
    ("smove", "set set member"),
    ("sort", "set STORE key|set BY NOSORT STORE set|zset ALPHA DESC STORE key"),
    ("spop", "set|set 2|set 100"),
    ("srem", "set member|set member member member"),
    ("sunionstore", "set set set"),
    ("swapdb", "db db"),
    ("unlink", "key key"),
    (
        "zadd",
        "zset float field|zset CH float field int field float field|zset NX int field|zset XX GT int field|zset LT float field|zset INCR float field",
    ),
    ("zdiffstore", "zset 2 zset zset|zset 1 zset"),
    ("zincrby", "zset float field|zset int field"),
    ("zinterstore", "zset 2 zset zset|zset 2 zset zset WEIGHTS int float AGGREGATE MAX"),
    ("zmpop", "2 zset zset MIN COUNT 2|1 zset MAX"),
    ("zpopmax", "zset|zset 2"),
    ("zpopmin", "zset|zset 3"),
    ("zrangestore", "zset zset 0 2|zset zset -inf (int BYSCORE|zset zset + - BYLEX REV LIMIT 1 2"),
    ("zrem", "zset field|zset field field field"),
    ("zremrangebylex", "zset [f (h|zset - [g"),
    ("zremrangebyrank", "zset 0 1|zset -1 -1"),
    ("zremrangebyscore", "zset -inf int|zset (int +inf"),
    ("zunionstore", "zset 2 zset zset|zset 2 zset zset WEIGHTS 2 float AGGREGATE MIN"),
    (
        "xadd",
        "stream * field value|stream entry_at field value|stream MAXLEN 3 entry_at field value field value|stream MINID ~ id * field value|stream NOMKSTREAM * field value",
    ),
    ("xack", "stream group 3 4 5|stream group 1700000000000 1700000000001 id id"),
    ("xautoclaim", "stream group consumer 0 0|stream group consumer ms 0 COUNT 1 JUSTID"),
    (
        "xclaim",
        "stream group consumer 0 id id|stream group consumer ms id TIME ms_at JUSTID|\
         stream group consumer 0 id FORCE RETRYCOUNT int LASTID id",
    ),
    ("xdel", "stream id id|stream id"),
    (
        "xgroup",
        "CREATE stream group 0 MKSTREAM|SETID stream group id|SETID stream group 0 ENTRIESREAD 2|\
         DESTROY stream group|CREATECONSUMER stream group consumer|DELCONSUMER stream group consumer",
    ),
    (
        "xreadgroup",
        "GROUP group consumer STREAMS stream >|GROUP group consumer COUNT 1 NOACK STREAMS stream >|\
         GROUP group consumer STREAMS stream 0|GROUP group consumer COUNT 2 STREAMS stream stream > 0|\
         GROUP group consumer BLOCK 0 STREAMS stream >|GROUP group consumer BLOCK 0 NOACK STREAMS stream stream > >",
    ),
    ("xsetid", "stream 90 ENTRIESADDED 50|stream entry_at MAXDELETEDID id"),
    ("xtrim", "stream MAXLEN 2|stream MINID id|stream MAXLEN ~ 1"),
];

/// What is there before the random commands: what takes too many of them to come about by chance.
const BEGINNING: &[&str] =
    &["xadd x 3-0 f 1", "xadd x 4-0 f 2 g 3", "xgroup create x g 0", "xreadgroup group g c count 1 streams x >"];

/// Libraries that get into each other's way; the first is there from the beginning.
const LIBRARIES: [&str; 3] = [
    "#!lua name=one\nredis.register_function('Set', function(keys, args) return redis.call('set', keys[1], args[1]) end)",
    "#!lua name=two\nredis.register_function('Both', function(keys, args) redis.call('append', keys[1] or args[1], 'x')\
     return redis.call('del', keys[2] or args[2]) end)",
    "#!lua name=one\nredis.register_function('Both', function(keys, args) return redis.call('incr', keys[1]) end)\n\
     redis.register_function('Set', function(keys, args) return redis.call('set', keys[1], 'other') end)",
];

const START_MS: i64 = harness::START_MS as i64;

/// What a word of a template may become.
fn token(word: &'static str) -> BoxedStrategy<Vec<u8>> {
    let number = |range: std::ops::Range<i64>| range.prop_map(|number| number.to_string().into_bytes()).boxed();
    match word {
        "key" => one_of(&["a", "b", "{a}c", "d", "h", "l", "z"]),
        "hash" => prop_oneof![6 => Just(b"h".to_vec()), 2 => Just(b"{h}i".to_vec()), 1 => token("key")].boxed(),
        "list" => prop_oneof![6 => Just(b"l".to_vec()), 3 => Just(b"{h}m".to_vec()), 1 => token("key")].boxed(),
        "element" => one_of(&["x", "y", "1", "2", ""]),
        "pf" => prop_oneof![5 => Just(b"p".to_vec()), 2 => Just(b"{p}q".to_vec()), 1 => token("key")].boxed(),
        "set" => prop_oneof![6 => Just(b"s".to_vec()), 3 => Just(b"{s}t".to_vec()), 2 => Just(b"u".to_vec()), 1 => token("key")].boxed(),
        "member" => prop_oneof![4 => token("field"), 4 => token("int"), 1 => value()].boxed(),
        "zset" => prop_oneof![6 => Just(b"z".to_vec()), 3 => Just(b"{z}y".to_vec()), 1 => token("key")].boxed(),
        "stream" => prop_oneof![6 => Just(b"x".to_vec()), 2 => Just(b"{x}y".to_vec()), 1 => token("key")].boxed(),
        // Few, so that they meet; an entry's only grow, so that most of its calls fail, and `*` goes on behind them.
        "id" => prop_oneof![2 => number(1..9), 1 => number(START_MS..START_MS + 3)].boxed(),
        "entry_at" => prop_oneof![3 => number(1..9), 1 => number(START_MS..START_MS + 12_000)].boxed(),
        "group" => prop_oneof![4 => Just(b"g".to_vec()), 1 => Just(b"h".to_vec())].boxed(),
        "consumer" => one_of(&["c", "d", "e"]),
        "field" => one_of(&["f", "g", "h", "i", "1"]),
        "value" => value(),
        "int" => number(-3..12),
        "float" => one_of(&["1.5", "-0.25", "3e2", "2"]),
        "bit" => number(0..2),
        "db" => number(0..3),
        "offset" => prop_oneof![3 => number(0..40), 1 => number(4_000..6_000)].boxed(),
        "ttl" => prop_oneof![2 => number(0..1), 3 => number(1..4)].boxed(),
        "ver" => prop_oneof![2 => number(0..1), 1 => number(1..4)].boxed(),
        "put" | "del" | "hset" | "hincrby" | "hdel" | "sadd" | "srem" | "zadd" | "zrem" => one_of(&[word]),
        "secs" => number(1..4),
        "ms" => number(1..3_000),
        "secs_at" => number(START_MS / 1_000 - 1..START_MS / 1_000 + 12),
        "ms_at" => number(START_MS - 500..START_MS + 12_000),
        "library" => one_of(&LIBRARIES),
        "libname" => one_of(&["one", "two"]),
        "libraries" => select(LIBRARIES.map(|code| library_payload(&[code])).to_vec()).boxed(),
        "payload" => select(payloads()).boxed(),
        "(int" => (-3..12).prop_map(|number| format!("({number}").into_bytes()).boxed(),
        "u8" | "u4" | "u3" | "i5" | "-inf" | "+inf" | "[f" | "(h" | "[g" => one_of(&[word]),
        literal => {
            assert!(!literal.starts_with(|first: char| first.is_ascii_lowercase()), "no such word: {literal}");
            Just(literal.as_bytes().to_vec()).boxed()
        }
    }
}

fn one_of(texts: &[&'static str]) -> BoxedStrategy<Vec<u8>> {
    select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()).boxed()
}

fn value() -> BoxedStrategy<Vec<u8>> {
    let short = proptest::collection::vec(any::<u8>(), 0..12);
    let long = (0usize..3_000, any::<u8>()).prop_map(|(bytes, fill)| vec![fill; bytes]);
    prop_oneof![3 => token("int"), 3 => short, 1 => long].boxed()
}

/// What DUMP says of a value of each kind.
fn payloads() -> Vec<Vec<u8>> {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    for line in [
        "set a text",
        "set b 17",
        "hset h f 1 g 2",
        "rpush l x 2",
        "sadd s m 1 2",
        "zadd z 1 f 2.5 g",
        "xadd x 3-1 f 1",
        "xgroup create x g 0",
        "xreadgroup group g c streams x >",
    ] {
        node.line(&mut session, line);
    }
    ["a", "b", "h", "l", "s", "x", "z"]
        .iter()
        .map(|key| bulk(&node.line(&mut session, &format!("dump {key}")).reply))
        .collect()
}

/// What FUNCTION DUMP says of these libraries.
fn library_payload(codes: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    rdb::dump_functions(&mut payload, codes.iter().map(|code| code.as_bytes()));
    payload
}

fn bulk(reply: &[u8]) -> Vec<u8> {
    match wire::value::Value::decode(reply) {
        Ok(wire::value::Decoded::Value { value, .. }) => value.as_bytes().expect("a bulk string").to_vec(),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone)]
enum Step {
    Command(Vec<Vec<u8>>),
    /// MULTI, these, EXEC.
    Transaction(Vec<Step>),
    Select(u8),
    Wait(u64),
    RemoveEnded,
    Spill,
    /// `import-mode`, and whether the connection is the source.
    Import(&'static str, bool),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Command(args) => {
                let args: Vec<String> = args.iter().map(|arg| format!("\"{}\"", arg.escape_ascii())).collect();
                write!(f, "\n> {}", args.join(" "))
            }
            Step::Transaction(steps) => write!(f, "\n> multi{steps:?}\n> exec"),
            Step::Select(db) => write!(f, "\n> select {db}"),
            Step::Wait(ms) => write!(f, "\n# clock {ms}"),
            Step::RemoveEnded => write!(f, "\n# remove ended"),
            Step::Spill => write!(f, "\n# spill"),
            Step::Import(mode, imports) => write!(f, "\n# import-mode {mode}, source {imports}"),
        }
    }
}

fn command(name: &'static str, template: &'static str) -> BoxedStrategy<Step> {
    let words: Vec<BoxedStrategy<Vec<u8>>> = template.split_whitespace().map(token).collect();
    let args = words.prop_map(move |args| [vec![name.as_bytes().to_vec()], args].concat());
    args.prop_map(Step::Command).boxed()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let each = |(name, templates): &(&'static str, &'static str)| {
        let name = *name;
        templates.split('|').map(move |template| command(name, template)).collect::<Vec<_>>()
    };
    let by_command = TEMPLATES.iter().map(|row| proptest::strategy::Union::new(each(row)).boxed());
    let commands = proptest::strategy::Union::new(by_command.collect::<Vec<_>>()).boxed();
    let queued = prop_oneof![12 => commands.clone(), 1 => (0u8..3).prop_map(Step::Select)];
    let step = prop_oneof![
        30 => commands,
        4 => proptest::collection::vec(queued, 1..6).prop_map(Step::Transaction),
        1 => (0u8..3).prop_map(Step::Select),
        2 => (1u64..2_500).prop_map(Step::Wait),
        1 => Just(Step::RemoveEnded),
        2 => Just(Step::Spill),
        1 => (select(vec!["yes", "no"]), any::<bool>()).prop_map(|(mode, imports)| Step::Import(mode, imports)),
    ];
    proptest::collection::vec(step, 1..100)
}

/// Runs the steps and notes which commands wrote.
fn run(steps: &[Step], wrote: &mut BTreeSet<String>) -> Node {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    for line in BEGINNING {
        node.line(&mut session, line);
    }
    node.call(&mut session, &["function", "load", LIBRARIES[0]]);
    let mut waiters = Vec::new();
    for step in steps {
        let before = node.journal.tail();
        match step {
            Step::Command(args) => {
                if let Flow::Await(Await::Keys(waiter)) = node.call(&mut session, args).flow {
                    waiters.push(waiter);
                }
                if node.journal.tail() != before {
                    wrote.insert(String::from_utf8_lossy(&args[0]).into_owned());
                }
            }
            Step::Transaction(steps) => {
                // Whoever is served by what a transaction changed writes a record of their own.
                waiters.drain(..).for_each(|waiter| waiter.withdraw(&node.keyspace));
                node.line(&mut session, "multi");
                for step in steps {
                    queue(&mut node, &mut session, step);
                }
                assert!(node.line(&mut session, "exec").reply.starts_with(b"*"), "nothing is refused: {steps:?}");
                let records = record_count(&node, before);
                assert!(records <= 1, "a transaction is one record, not {records}");
                if records == 1 {
                    wrote.insert("exec".to_owned());
                }
            }
            Step::Select(db) => session.db = base::DbId(*db),
            Step::Wait(ms) => node.clock.advance_ms(*ms),
            Step::RemoveEnded => node.remove_ended(),
            Step::Spill => node.spill_all(),
            Step::Import(mode, imports) => {
                session.imports = *imports;
                node.host.set_settings(&[(b"import-mode", mode.as_bytes())]).expect("the test's host takes anything");
            }
        }
    }
    node
}

fn queue(node: &mut Node, session: &mut Session, step: &Step) {
    let answer = match step {
        Step::Command(args) => node.call(session, args),
        Step::Select(db) => node.line(session, &format!("select {db}")),
        other => unreachable!("only commands are queued: {other:?}"),
    };
    assert_eq!(answer.reply, b"+QUEUED\r\n");
}

/// Batches in the journal from `start` on.
fn record_count(node: &Node, start: Position) -> usize {
    node.journal.write_through(node.journal.tail()).expect("the simulated disk takes it");
    let mut count = 0;
    let mut visit = |at: Position, record: &Record<'_>| {
        let is_batch = matches!(record.head.kind, RecordKind::Batch | RecordKind::MultiBatch);
        count += usize::from(start <= at && is_batch);
        Ok(())
    };
    for segment in node.journal.segments().into_iter().filter(|segment| start.segment <= segment.id) {
        node.journal.scan_segment(segment.id, &mut visit).expect("the journal is sound");
    }
    count
}

/// Rounds of random steps until each command has written something.
const ROUNDS_MAX: usize = 5;

fn first_difference(live: &str, other: &str) -> String {
    let pairs = live.lines().zip(other.lines()).find(|(live, other)| live != other);
    let (live_line, other_line) = pairs.unwrap_or(("(more lines)", "(fewer lines)"));
    format!("live     {live_line}\nreplayed {other_line}")
}

/// Names and codes of the libraries that FCALL looks into.
fn catalog(node: &Node) -> Vec<(Vec<u8>, Vec<u8>)> {
    let look = |catalog: &libraries::Catalog| {
        catalog.libraries().map(|library| (library.name.clone(), library.code.to_vec())).collect()
    };
    node.host.scripts().libraries().read(look)
}

/// The first record of something that is not there, or with another end than it has.
fn stray_record(node: &Node) -> Option<String> {
    let now = node.clock.wall_ms();
    node.keyspace.ids().find_map(|id| {
        let partition = node.keyspace.lock(id);
        (0..base::DB_COUNT as u8).find_map(|db| {
            let mut stray = None;
            partition.index(records_db(db)).each(|record| {
                let found = partition.find(db, record.key()).map(|place| partition.index(db).entry(place));
                if !has_ended(record.expires(), now) && !is_of(&record, found.as_ref(), now) {
                    let key = record.key().escape_ascii().to_string();
                    stray = Some(format!("db {db} {key:?} has a record of what is not there"));
                }
            });
            stray
        })
    })
}

/// Whether a record fits what there is under its name.
fn is_of(record: &EntryRef<'_>, found: Option<&EntryRef<'_>>, now: TimeMs) -> bool {
    let Some(found) = found.filter(|found| found.expires() == record.expires()) else { return false };
    if record.kind() == Kind::String || found.kind() == Kind::String {
        return record.kind() == found.kind();
    }
    let has = |name: &[u8]| match found.stored() {
        Stored::Boxed(Value::Hash(hash)) => hash.get(name).is_some(),
        Stored::Boxed(Value::Set(set)) => set.contains(name),
        Stored::Boxed(Value::SortedSet(set)) => set.score(name).is_some(),
        Stored::Spilled => true,
        _ => false,
    };
    match record.stored() {
        Stored::Boxed(Value::Hash(elements)) => {
            elements.iter().filter(|element| !has_ended(element.expires, now)).all(|element| has(element.name))
        }
        _ => true,
    }
}

fn check(steps: &[Step], wrote: &mut BTreeSet<String>) -> Result<(), TestCaseError> {
    let node = run(steps, wrote);
    let live = node.dump();
    prop_assert_eq!(stray_record(&node), None, "{}", live);
    node.spill_all();
    prop_assert!(node.dump() == live, "spilling changed what is there\n{}", first_difference(&live, &node.dump()));
    let replayed = node.replayed();
    let again = replayed.dump();
    prop_assert!(again == live, "{}", first_difference(&live, &again));
    replayed.spill_all();
    prop_assert!(replayed.dump() == live, "a replayed home\n{}", first_difference(&live, &replayed.dump()));
    let refused = |name: &[u8], error: &commands::Error| panic!("{}: {}", name.escape_ascii(), error.reply());
    libraries::open(&replayed.keyspace, &replayed.journal, &replayed.host, refused).expect("the journal has it");
    prop_assert_eq!(catalog(&replayed), catalog(&node));
    Ok(())
}

#[test]
fn a_replayed_journal_gives_the_state_that_commands_gave() {
    let wrote = RefCell::new(BTreeSet::new());
    let mut idle: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).chain(["exec"]).collect();
    // Chance may leave a command that seldom finds what it writes to without a turn: then there is more of the same.
    for _ in 0..ROUNDS_MAX {
        let mut runner = TestRunner::new(Config { cases: 3_000, ..Config::with_source_file(file!()) });
        let outcome = runner.run(&steps(), |steps| check(&steps, &mut wrote.borrow_mut()));
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
        idle.retain(|name| !wrote.borrow().contains(*name));
        if idle.is_empty() {
            break;
        }
    }
    assert!(idle.is_empty(), "never wrote anything: {idle:?}");
}

/// Jobs in a list so long that chunks of it are compressed.
const JOBS_COUNT: usize = 5_000;

fn job(number: usize) -> Vec<u8> {
    format!("{{\"id\":{number},\"kind\":\"mail\",\"to\":{}}}", number * 7).into_bytes()
}

/// A list of jobs, each tenth of which is an `x`.
fn jobs() -> Step {
    let elements = (0..JOBS_COUNT).map(|number| if number % 10 == 0 { b"x".to_vec() } else { job(number) });
    Step::Command([b"rpush".to_vec(), b"l".to_vec()].into_iter().chain(elements).collect())
}

/// What may happen to it, anywhere.
fn step_on_jobs() -> impl Strategy<Value = Step> {
    let place = || (0..JOBS_COUNT as i64).prop_map(|place| place.to_string().into_bytes()).boxed();
    let count = || (0i64..200).prop_map(|count| count.to_string().into_bytes()).boxed();
    let element = || prop_oneof![3 => (0..JOBS_COUNT).prop_map(job), 1 => value()].boxed();
    let word = |text: &str| Just(text.as_bytes().to_vec()).boxed();
    let commands: Vec<Vec<BoxedStrategy<Vec<u8>>>> = vec![
        vec![word("linsert"), token("list"), one_of(&["before", "after"]), element(), element()],
        vec![word("lset"), token("list"), place(), element()],
        vec![word("lset"), token("list"), place(), word("x")],
        vec![word("lrem"), token("list"), one_of(&["0", "1", "-1"]), element()],
        vec![word("lrem"), token("list"), one_of(&["0", "10", "-10"]), word("x")],
        vec![word("ltrim"), token("list"), count(), word("-1")],
        vec![word("ltrim"), token("list"), count(), place()],
        vec![one_of(&["lpop", "rpop"]), token("list"), count()],
        vec![one_of(&["lpush", "rpush"]), token("list"), element(), element(), element()],
        vec![word("lmove"), token("list"), token("list"), one_of(&["left", "right"]), one_of(&["left", "right"])],
        vec![word("copy"), token("list"), token("list"), word("replace")],
        vec![word("sort"), token("list"), word("alpha"), word("store"), token("list")],
    ];
    let commands = commands.into_iter().map(|words| words.prop_map(Step::Command).boxed());
    prop_oneof![9 => proptest::strategy::Union::new(commands), 1 => Just(Step::Spill), 1 => Just(jobs())]
}

#[test]
fn changes_anywhere_in_a_long_list_are_replayed_alike() {
    let mut node = run(&[jobs()], &mut BTreeSet::new());
    let reply = node.line(&mut Node::connect(1), "memory usage l").reply;
    let bytes = (0..JOBS_COUNT).map(|number| if number % 10 == 0 { 1 } else { job(number).len() }).sum::<usize>();
    let used = base::number::parse_i64(reply[1..].trim_ascii_end()).expect("a number of bytes");
    assert!((used as usize) < bytes * 3 / 4, "{used} of {bytes}: no part of the list is compressed");

    let mut runner = TestRunner::new(Config { cases: 60, ..Config::with_source_file(file!()) });
    let steps = proptest::collection::vec(step_on_jobs(), 1..40);
    let outcome = runner.run(&steps, |mut steps| {
        steps.insert(0, jobs());
        check(&steps, &mut BTreeSet::new())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn every_write_command_has_a_template() {
    // PFCOUNT only reads, as its row says, but may keep its answer in the value. What EVAL and FCALL write, their commands do.
    let writes = |spec: &Spec| spec.flags.has(Flags::WRITE) || matches!(spec.name, "pfcount" | "eval" | "fcall");
    let is_write = |spec: &&'static Spec| writes(spec) || spec.subcommands.iter().any(writes);
    let written: BTreeSet<&str> = table::all().iter().copied().filter(is_write).map(|spec| spec.name).collect();
    let templates: BTreeMap<&str, &str> = TEMPLATES.iter().copied().collect();
    let missing: Vec<&&str> = written.iter().filter(|name| !templates.contains_key(**name)).collect();
    assert!(missing.is_empty(), "write commands without a template: {missing:?}");
    let unknown: Vec<&&str> = templates.keys().filter(|name| !written.contains(**name)).collect();
    assert!(unknown.is_empty(), "templates of no write command: {unknown:?}");
}

/// A planted bug the oracle must find: a replay that goes by another time than the batch's own.
#[test]
fn a_replay_that_forgets_the_time_of_batches_is_caught() {
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        let node = run(&steps, &mut BTreeSet::new());
        let bent = node.replayed_bent(|stamp| Stamp { time: TimeMs(0), ..stamp });
        prop_assert!(bent.dump() == node.dump());
        Ok(())
    });
    assert!(outcome.is_err(), "the oracle saw no difference");
}
