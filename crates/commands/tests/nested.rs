//! Commands run within a call that is under way, as a script runs them: on its transaction, with arguments of their
//! own, told to an observer.

mod harness;

use base::{DbId, PartitionId};
use commands::call::Call;
use commands::run::resolve;
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
        let Inner { args, db, reply, is_refused, .. } = inner;
        self.0.borrow_mut().push(format!("{} {} {} {is_refused}", text(args.at(0)), db.0, text(reply)));
    }
}

/// Runs a line within `call`; returns its reply.
fn nested(call: &mut Call<'_>, line: &str) -> String {
    let mut queue = ArgsQueue::default();
    queue.push(line.split(' ').map(str::as_bytes));
    let args: Args<'_> = queue.args(0);
    for index in 1..args.count() {
        assert!(call.tx.lock_also(args.at(index)), "nobody else is there");
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
    call.reply.bulk(call.args.at(1));
    assert!(call.may_wait);
    let reads = call.tx.lookups();
    assert_eq!((reads.hits, reads.misses), (0, 1), "only GET reads");
    let Call { tx, .. } = { call };
    assert!(tx.commit(&mut garbage).wrote);
    assert_eq!(out, b"$6\r\nscript\r\n");
    let told = told.0.into_inner();
    assert_eq!(
        told[1..3],
        ["incr 0 :2 false", "hset 0 -WRONGTYPE Operation against a key holding the wrong kind of value true"]
    );
    assert_eq!(told.len(), 5);
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
fn a_partition_that_somebody_holds_is_waited_for_in_order_only() {
    let node = Node::new();
    let keys: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number]).collect();
    let key_of = |id: u16| keys.iter().find(|key| node.keyspace.partition_of(key) == PartitionId(id)).expect("a key");
    let mut spare = Vec::new();
    let clock = AccessClock { seconds: 0, frequency: None, random: 1 };
    let begin = Begin { db: DbId(0), now: node.clock.wall_ms(), clock, no_touch: false };
    let mut tx = Tx::begin(&node.keyspace, &node.journal, &[PartitionId(3)], begin, &mut spare);
    let held = node.keyspace.lock(PartitionId(1));
    assert!(!tx.lock_also(key_of(1)));
    assert!(!tx.has_locked(key_of(1)));
    drop(held);
    assert!(tx.lock_also(key_of(1)) && tx.lock_also(key_of(5)) && tx.lock_also(key_of(5)));
    tx.put_string(key_of(5), b"five", None);
    tx.put_string(key_of(1), b"one", None);
    assert!(node.keyspace.try_lock(PartitionId(5)).is_none());
    assert!(tx.commit(&mut Vec::new()).wrote);
    assert!(node.keyspace.try_lock(PartitionId(5)).is_some());
    assert_eq!(node.replayed().dump(), node.dump());
}
