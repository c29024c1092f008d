//! Commands run within a call that is under way, as a script runs them: on its transaction, with arguments of their
//! own, told to an observer.

mod harness;

use base::{DbId, PartitionId};
use commands::call::Call;
use commands::run::{Engine, Moment, Ran, Scratch, Verdict, resolve, run};
use commands::within::{Inner, Observer, Origin};
use env::Clock;
use harness::Node;
use keyspace::access::AccessClock;
use keyspace::{Begin, Tx};
use std::cell::RefCell;
use wire::args::{Args, ArgsQueue};
use wire::reply::{Protocol, Reply};

#[derive(Default)]
struct Told(RefCell<Vec<String>>);

impl Observer for Told {
    fn ran(&self, inner: &Inner<'_>) {
        assert_eq!(inner.origin, Origin::Script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let Inner { args, db, reply, verdict, .. } = inner;
        self.0.borrow_mut().push(format!("{} {} {} {}", text(args.at(0)), db.0, text(reply), verdict.is_error()));
    }

    fn refused(&self, args: &Args<'_>, error: &str) {
        self.0.borrow_mut().push(format!("{}: {error}", String::from_utf8_lossy(args.at(0))));
    }
}

/// Runs a line within `call`; returns its reply.
fn nested(call: &mut Call<'_>, line: &str) -> String {
    let mut queue = ArgsQueue::default();
    queue.push(line.split(' ').map(str::as_bytes));
    let args: Args<'_> = queue.args(0);
    for index in 1..args.count() {
        let partition = call.tx.keyspace().partition_of(args.at(index));
        assert!(call.tx.lock_partition_also(partition), "nobody else is there");
    }
    let mut out = Vec::new();
    call.nested(resolve(&args).expect("a command there is"), args, Protocol::Resp3, &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn nested_commands_are_one_batch_and_leave_the_outer_call_as_it_was() {
    let mut node = Node::new();
    let (mut session, told) = (Node::connect(1), Told::default());
    let mut own = ArgsQueue::default();
    own.push([&b"eval"[..], b"script"]);
    let before = node.journal.tail();
    let (mut out, mut spare, mut garbage) = (Vec::new(), Vec::new(), Vec::new());
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let begin = Begin { db: DbId(0), now: node.clock.wall_ms(), clock, no_touch: false };
    let first = node.keyspace.partition_of(b"a");
    let mut call = Call {
        args: own.args(0),
        reply: Reply::new(&mut out, Protocol::Resp2),
        tx: Tx::begin(&node.keyspace, &node.journal, &[first], begin, &mut spare),
        session: &mut session,
        host: &node.host,
        observer: &told,
        may_wait: true,
        refuse_growth: None,
    };
    assert_eq!(nested(&mut call, "set a 1"), "+OK\r\n");
    assert_eq!(nested(&mut call, "incr a"), ":2\r\n");
    assert_eq!(nested(&mut call, "hset a f v").split(' ').next(), Some("-WRONGTYPE"));
    assert_eq!(nested(&mut call, "mset b 1 c 2"), "+OK\r\n");
    assert_eq!(nested(&mut call, "get none"), "_\r\n");
    for command in ["rpush l x", "llen l", "llen l"] {
        assert_eq!(nested(&mut call, command), ":1\r\n");
    }
    call.reply.bulk(call.args.at(1));
    assert!(call.may_wait);
    let reads = call.tx.lookups();
    assert_eq!((reads.hits, reads.misses), (2, 1), "GET and LLEN read, and each LLEN counts");
    let Call { tx, .. } = { call };
    assert!(tx.commit(&mut garbage).wrote);
    assert_eq!(out, b"$6\r\nscript\r\n");
    let told = told.0.into_inner();
    assert_eq!(
        told[1..3],
        ["incr 0 :2 false", "hset 0 -WRONGTYPE Operation against a key holding the wrong kind of value true"]
    );
    assert_eq!(told.len(), 8);
    assert_eq!(node.line(&mut session, "mget a b c").reply, b"*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    let mut record_count = 0;
    node.journal.write_through(node.journal.tail()).expect("the simulated disk takes it");
    node.journal
        .scan_segment(before.segment, &mut |at, _| {
            record_count += usize::from(before <= at);
            Ok(())
        })
        .expect("the journal is sound");
    assert_eq!(record_count, 1, "all of it is one batch");
}

#[test]
fn an_error_that_a_script_ends_with_is_told_once() {
    let cases = [
        ("return redis.call('incr', KEYS[1])", Verdict::Relayed, &["incr 0 -ERR value is not an integer"][..]),
        ("return redis.pcall('incr', KEYS[1])", Verdict::Relayed, &["incr 0 -ERR value is not an integer"]),
        ("return redis.pcall('incr', KEYS[1])['err']", Verdict::Answered, &["incr 0 -ERR value is not an integer"]),
        ("return redis.call('nosuch', KEYS[1])", Verdict::Relayed, &["nosuch: ERR Unknown Redis command"]),
        ("return redis.call('get')", Verdict::Relayed, &["get: ERR Wrong number of args"]),
        ("return redis.error_reply('MINE own')", Verdict::Refused, &[]),
        ("return nosuch", Verdict::Refused, &[]),
    ];
    for (script, verdict, wanted) in cases {
        let mut node = Node::new();
        let mut session = Node::connect(1);
        node.line(&mut session, "set k text");
        let mut queue = ArgsQueue::default();
        queue.push([b"eval", script.as_bytes(), b"1", b"k"]);
        let told = Told::default();
        let engine = Engine { keyspace: &node.keyspace, journal: &node.journal, host: &node.host, observer: &told };
        let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
        let moment = Moment { now: node.clock.wall_ms(), clock, refuse_growth: None, weighs: false };
        let (mut out, mut scratch, args) = (Vec::new(), Scratch::default(), queue.args(0));
        let resolved = resolve(&args).expect("EVAL");
        let ran = run(engine, resolved, &mut session, args, &moment, &mut out, &mut scratch);
        assert!(matches!(ran, Ran::Done { verdict: found, .. } if found == verdict), "{script}: {ran:?}");
        let told = told.0.into_inner();
        let is_told = |(told, wanted): (&String, &&str)| told.starts_with(*wanted);
        assert!(told.len() == wanted.len() && told.iter().zip(wanted).all(is_told), "{script}: {told:?}");
    }
}

/// What it was told, in order.
#[derive(Default)]
struct InOrder(RefCell<Vec<String>>);

impl Observer for InOrder {
    fn begins(&self) {
        self.0.borrow_mut().push("begins".to_owned());
    }

    fn ran(&self, inner: &Inner<'_>) {
        self.0.borrow_mut().push(String::from_utf8_lossy(inner.args.at(0)).into_owned());
    }
}

#[test]
fn what_exec_does_before_its_first_command_is_not_that_commands() {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    for line in ["multi", "set a 1", "incr a"] {
        node.line(&mut session, line);
    }
    let mut queue = ArgsQueue::default();
    queue.push([&b"exec"[..]]);
    let told = InOrder::default();
    let engine = Engine { keyspace: &node.keyspace, journal: &node.journal, host: &node.host, observer: &told };
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let moment = Moment { now: node.clock.wall_ms(), clock, refuse_growth: None, weighs: false };
    let (mut out, mut scratch, args) = (Vec::new(), Scratch::default(), queue.args(0));
    run(engine, resolve(&args).expect("EXEC"), &mut session, args, &moment, &mut out, &mut scratch);
    assert_eq!(told.0.into_inner(), ["begins", "set", "incr"]);
}

#[test]
fn a_partition_that_somebody_holds_is_waited_for_in_order_only() {
    let node = Node::new();
    let keys: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number]).collect();
    let key_of = |id: u16| keys.iter().find(|key| node.keyspace.partition_of(key) == PartitionId(id)).expect("a key");
    let mut spare = Vec::new();
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let begin = Begin { db: DbId(0), now: node.clock.wall_ms(), clock, no_touch: false };
    let mut tx = Tx::begin(&node.keyspace, &node.journal, &[PartitionId(3)], begin, &mut spare);
    let held = node.keyspace.lock(PartitionId(1));
    assert!(!tx.lock_partition_also(PartitionId(1)));
    assert!(!tx.has_locked(key_of(1)));
    drop(held);
    assert!([1, 5, 5].into_iter().all(|id| tx.lock_partition_also(PartitionId(id))));
    tx.put_string(key_of(5), b"five", None);
    tx.put_string(key_of(1), b"one", None);
    assert!(node.keyspace.try_lock(PartitionId(5)).is_none());
    assert!(tx.commit(&mut Vec::new()).wrote);
    assert!(node.keyspace.try_lock(PartitionId(5)).is_some());
    assert_eq!(node.replayed().dump(), node.dump());
}

#[test]
fn a_transaction_of_more_partitions_than_a_byte_counts_finds_its_keys() {
    let node = Node::with_partitions(512);
    let (mut spare, mut garbage) = (Vec::new(), Vec::new());
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let begin = Begin { db: DbId(0), now: node.clock.wall_ms(), clock, no_touch: false };
    let ids: Vec<PartitionId> = node.keyspace.ids().collect();
    let names: Vec<String> = (0..2_000).map(|number| format!("key:{number}")).collect();
    assert!(names.iter().any(|name| node.keyspace.partition_of(name.as_bytes()).0 > 256));
    let mut tx = Tx::begin(&node.keyspace, &node.journal, &ids, begin, &mut spare);
    for name in &names {
        tx.put_string(name.as_bytes(), name.as_bytes(), None);
    }
    for name in &names {
        let value = tx.string(name.as_bytes()).expect("a string").expect("there is one").bytes().to_vec();
        assert_eq!(value, name.as_bytes());
    }
    assert!(tx.commit(&mut garbage).wrote);
    assert_eq!(node.replayed().dump(), node.dump());
}

#[test]
fn removals_stop_when_their_names_come_to_a_bound_and_go_on_under_the_next_lock() {
    let mut node = Node::with_partitions(1);
    let mut session = Node::connect(1);
    for name in ["a", "b", "c"] {
        let key = name.repeat(100);
        node.call(&mut session, &["set", key.as_str(), "v", "px", "1"]);
    }
    let fields = ["f", "g", "h"].map(|name| name.repeat(100));
    node.call(&mut session, &["hset", "hash", &fields[0], "v", &fields[1], "v", &fields[2], "v", "stays", "v"]);
    node.call(&mut session, &["hpexpire", "hash", "2", "FIELDS", "3", &fields[0], &fields[1], &fields[2]]);
    node.clock.advance_ms(10);
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let mut removed_counts = Vec::new();
    for _ in 0..5 {
        let mut spare = Vec::new();
        let begin = Begin { db: DbId(0), now: node.clock.wall_ms(), clock, no_touch: true };
        let mut tx = Tx::begin(&node.keyspace, &node.journal, &[PartitionId(0)], begin, &mut spare);
        removed_counts.push(tx.remove_ended(100, 150));
        tx.commit(&mut Vec::new());
    }
    // Two of the three keys, then the third with two of the three fields, then the last field.
    assert_eq!(removed_counts, [2, 2, 1, 0, 0]);
    assert_eq!(node.line(&mut session, "hkeys hash").reply, b"*1\r\n$5\r\nstays\r\n");
    assert_eq!(node.replayed().dump(), node.dump());
}

#[test]
fn a_pause_of_writes_holds_scripts_that_do_not_declare_to_only_read() {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    let reads = b"#!lua flags=no-writes\nreturn 1";
    let library = b"#!lua name=lib\nredis.register_function{function_name='reads', callback=function() end, \
        flags={'no-writes'}}\nredis.register_function('writes', function() end)";
    let sha = node.call(&mut session, &[&b"script"[..], b"load", reads]).reply[5..45].to_vec();
    assert_eq!(node.call(&mut session, &[&b"function"[..], b"load", library]).reply, b"$3\r\nlib\r\n");
    let is_held = |words: &[&[u8]]| {
        let mut queue = ArgsQueue::default();
        queue.push(words.iter().copied());
        let args = queue.args(0);
        let spec = resolve(&args).expect("a command there is").spec;
        commands::flags_of(commands::Host::scripts(&node.host), &node.keyspace, spec, &args).is_held()
    };
    let held: [&[&[u8]]; 8] = [
        &[b"set", b"k", b"v"],
        &[b"publish", b"channel", b"message"],
        &[b"spublish", b"channel", b"message"],
        &[b"pfcount", b"k"],
        &[b"eval", b"return 1", b"0"],
        &[b"eval", b"#!lua\nreturn 1", b"0"],
        &[b"evalsha", &[b'0'; 40], b"0"],
        &[b"fcall", b"writes", b"0"],
    ];
    assert!(held.into_iter().all(is_held));
    let free: [&[&[u8]]; 5] = [
        &[b"get", b"k"],
        &[b"eval", reads, b"0"],
        &[b"eval_ro", b"return 1", b"0"],
        &[b"evalsha", &sha, b"0"],
        &[b"fcall", b"reads", b"0"],
    ];
    assert!(!free.into_iter().any(is_held));
}
