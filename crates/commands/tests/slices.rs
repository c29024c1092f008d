//! Replies that are written in slices show what a reply written at once would have shown at one moment between the
//! command's begin and its end, whatever happens between the slices.
//!
//! Deliberately not here: that others run meanwhile, which `tests/slices.py` looks at from outside.

mod harness;

use base::DbId;
use commands::Session;
use env::Clock;
use harness::{Node, Sliced};
use keyspace::PHYSICAL_DB_COUNT;
use keyspace::entry::Stored;
use std::cell::RefCell;
use std::rc::Rc;
use wire::reply::Protocol;
use wire::value::{Decoded, Value};

/// Elements of each collection: enough for a dozen slices or so.
const COUNT: usize = 6_000;
/// What reads the collections that `filled` makes.
const READS: &[&str] = &[
    "SMEMBERS set",
    "HGETALL hash",
    "HKEYS hash",
    "HVALS hash",
    "LRANGE list 0 -1",
    "LRANGE list 700 -900",
    "ZRANGE zset 0 -1",
    "ZRANGE zset 10 -10 WITHSCORES",
    "ZREVRANGE zset 100 5800 WITHSCORES",
    "ZRANGEBYSCORE zset 5 900",
    "ZRANGE zset 999 3 BYSCORE REV LIMIT 7 5000 WITHSCORES",
];

fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}:{number:040}")
}

fn args(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Of those one for each type.
const READS_OF_TYPES: &[&str] = &["SMEMBERS set", "HGETALL hash", "LRANGE list 0 -1", "ZRANGE zset 10 -10 WITHSCORES"];

/// Adds `COUNT` elements to each collection; one field in ten ends a second from now.
fn fill(node: &mut Node, session: &mut Session, prefix: &str) {
    for start in (0..COUNT).step_by(1_000) {
        let numbers = start..start + 1_000;
        let mut commands = [args("SADD set"), args("HSET hash"), args("RPUSH list"), args("ZADD zset")];
        for number in numbers.clone() {
            commands[0].push(name(prefix, number));
            commands[1].extend([name(prefix, number), number.to_string()]);
            commands[2].push(name(prefix, number));
            commands[3].extend([(number % 1_000).to_string(), name(prefix, number)]);
        }
        for command in &commands {
            node.call(session, command);
        }
        let mut ends = args("HPEXPIRE hash 1000 FIELDS 100");
        ends.extend(numbers.step_by(10).map(|number| name(prefix, number)));
        node.call(session, &ends);
    }
}

/// The reply as it is written at once.
fn whole(node: &mut Node, session: &mut Session, line: &str) -> Vec<u8> {
    session.takes_slices = false;
    let reply = node.call(session, &args(line)).reply;
    session.takes_slices = true;
    reply
}

/// The elements of a reply, sorted where their order means nothing.
fn elements(line: &str, reply: &[u8]) -> Vec<Value> {
    let elements = match Value::decode(reply) {
        Ok(Decoded::Value { value: Value::Array(elements) | Value::Set(elements), bytes }) if bytes == reply.len() => {
            elements
        }
        other => panic!("{line}: {other:?}"),
    };
    let mut groups: Vec<Vec<Value>> =
        elements.chunks(if line.starts_with("HGETALL") { 2 } else { 1 }).map(<[Value]>::to_vec).collect();
    if line.starts_with('H') || line.starts_with('S') {
        groups.sort_by_cached_key(|group| format!("{group:?}"));
    }
    groups.concat()
}

#[test]
fn a_reply_in_slices_is_that_which_is_written_at_once() {
    for (protocol, shares) in [(Protocol::Resp2, false), (Protocol::Resp3, false), (Protocol::Resp2, true)] {
        let (mut node, mut session) = (Node::new(), Node::connect(1));
        session.protocol = protocol;
        if shares {
            node.share();
        }
        fill(&mut node, &mut session, "m");
        for line in READS {
            let before = node.sliced;
            let reply = node.line(&mut session, line).reply;
            let Sliced { slices, finished, changed } = node.sliced;
            assert_eq!((finished - before.finished, changed), (1, 0), "{line}");
            assert!(5 < slices - before.slices, "{line}");
            assert!(reply == whole(&mut node, &mut session, line), "{line}");
        }
    }
}

#[test]
fn what_is_small_or_within_others_is_written_at_once() {
    let (mut node, mut session) = (Node::new(), Node::connect(1));
    fill(&mut node, &mut session, "m");
    for line in ["LRANGE list 0 100", "ZRANGE zset 0 100", "SADD few 1 2 3", "SMEMBERS few", "SMEMBERS none"] {
        node.line(&mut session, line);
    }
    let alone = whole(&mut node, &mut session, "SMEMBERS set");
    node.line(&mut session, "MULTI");
    node.line(&mut session, "SMEMBERS set");
    let within = node.line(&mut session, "EXEC").reply;
    assert!(within == [b"*1\r\n", &alone[..]].concat());
    let script = ["EVAL", "return redis.call('SMEMBERS', KEYS[1])", "1", "set"];
    assert!(node.call(&mut session, &script).reply == alone);
    assert_eq!(node.sliced, Sliced::default());
}

/// What others do between two slices. A percent sign stands for a number that is new each time.
const CHANGES: &[&[&str]] = &[
    &[],
    &["SADD set new:%", "HSET hash new:% v", "RPUSH list new:%", "ZADD zset 0 new:%"],
    &["SPOP set", "HPEXPIRE hash 1 FIELDS 1 m%0003", "LPOP list", "ZPOPMAX zset"],
    &["MULTI", "SPOP set", "SADD set x:%", "LPOP list", "RPUSH list x:%", "EXEC"],
    &["@spill"],
    &["@spill", "SCARD set", "HLEN hash", "LLEN list", "ZCARD zset"],
    &["@second"],
    &["@second", "@remove"],
    &["RENAME set other", "RENAME other set", "RENAME zset other", "RENAME other zset"],
    &["COPY list other REPLACE", "DEL list", "RENAME other list"],
    &["EXPIRE set 100", "PERSIST hash", "EXPIRE list 100", "EXPIRE zset 100"],
    &["DEL set", "DEL hash", "DEL list", "DEL zset", "SADD set a", "HSET hash a b", "RPUSH list a", "ZADD zset 1 a"],
];

/// Gives every value a home in the journal, and leaves it there.
fn spill(node: &Node) {
    for id in node.keyspace.ids() {
        let mut partition = node.keyspace.lock(id);
        for db in 0..PHYSICAL_DB_COUNT {
            let mut keys = Vec::new();
            partition.index(db).each(|entry| keys.push(entry.key().to_vec()));
            for key in keys {
                let place = partition.find(db, &key).expect("it was just seen");
                if !matches!(partition.index(db).entry(place).stored(), Stored::Spilled) {
                    partition.write_home(db, place, &node.journal, node.clock.wall_ms());
                }
            }
        }
    }
    node.spill_all();
}

fn change(node: &mut Node, session: &mut Session, lines: &[&str], number: usize) {
    for line in lines {
        match *line {
            "@spill" => spill(node),
            "@second" => node.clock.advance_ms(1_000),
            "@remove" => node.remove_ended(),
            line => drop(node.line(session, &line.replace("%0003", &name("", 3)).replace('%', &number.to_string()))),
        }
    }
}

#[test]
fn a_reply_shows_a_moment_whatever_happens_between_its_slices() {
    let mut sliced = Sliced::default();
    for line in READS_OF_TYPES {
        for (at, lines) in CHANGES.iter().enumerate() {
            let (mut node, mut reader) = (Node::new(), Node::connect(1));
            fill(&mut node, &mut reader, "m");
            // Before the last change, now and then: a reply is taken back for more than one.
            let (first, again) = (1 + at % 4, 3 + at % 5);
            let states = Rc::new(RefCell::new(vec![elements(line, &whole(&mut node, &mut reader, line))]));
            let (seen, mut writer, mut number) = (Rc::clone(&states), Node::connect(2), 0);
            node.between_slices = Some(Box::new(move |node| {
                number += 1;
                if number == first || number == again {
                    change(node, &mut writer, lines, number);
                    seen.borrow_mut().push(elements(line, &whole(node, &mut writer, line)));
                }
            }));
            let reply = node.line(&mut reader, line).reply;
            let shown = elements(line, &reply);
            assert!(states.borrow().contains(&shown), "{line} with {lines:?} shows what never was");
            sliced.finished += node.sliced.finished;
            sliced.changed += node.sliced.changed;
        }
    }
    assert!(READS_OF_TYPES.len() < sliced.finished, "some of it changes nothing of what is shown: {sliced:?}");
    assert!(READS_OF_TYPES.len() < sliced.changed, "some of it does: {sliced:?}");
}

#[test]
fn a_table_laid_out_anew_between_two_slices_shows_no_member_twice() {
    let (mut node, mut session) = (Node::new(), Node::connect(1));
    fill(&mut node, &mut session, "m");
    // The table has buckets for all of them, and is read back with fewer.
    let mut gone = args("SREM set");
    gone.extend((0..COUNT).filter(|number| number % 2 == 0).map(|number| name("m", number)));
    node.call(&mut session, &gone);
    let expected = elements("SMEMBERS set", &whole(&mut node, &mut session, "SMEMBERS set"));
    let (mut writer, mut number) = (Node::connect(2), 0);
    node.between_slices = Some(Box::new(move |node| {
        number += 1;
        if number == 3 {
            change(node, &mut writer, &["@spill", "SISMEMBER set x"], 0);
        }
    }));
    let reply = node.line(&mut session, "SMEMBERS set").reply;
    assert!(elements("SMEMBERS set", &reply) == expected);
    assert_eq!((node.sliced.finished, node.sliced.changed), (0, 1), "it was noticed");
}

#[test]
fn a_database_that_is_exchanged_between_two_slices_is_another_moment() {
    let (mut node, mut session) = (Node::new(), Node::connect(1));
    // Both keys have the same version, for they were written by the same batch.
    node.line(&mut session, "MULTI");
    for (db, prefix) in [(0, "a"), (1, "b")] {
        node.line(&mut session, &format!("SELECT {db}"));
        let mut add = args("SADD set");
        add.extend((0..COUNT).map(|number| name(prefix, number)));
        node.call(&mut session, &add);
    }
    node.line(&mut session, "EXEC");
    session.db = DbId(0);
    let (mut writer, mut number) = (Node::connect(2), 0);
    node.between_slices = Some(Box::new(move |node| {
        number += 1;
        if number == 3 {
            change(node, &mut writer, &["SWAPDB 0 1"], 0);
        }
    }));
    let shown = elements("SMEMBERS set", &node.line(&mut session, "SMEMBERS set").reply);
    let is_of =
        |prefix: &str| shown.iter().all(|member| member.as_bytes().expect("a string").starts_with(prefix.as_bytes()));
    assert!(is_of("a") || is_of("b"));
    assert_eq!((shown.len(), node.sliced.changed), (COUNT, 1));
}

#[test]
fn a_reply_that_was_asked_to_be_remembered_is_so_when_it_was_taken_back_too() {
    for changes in [&[][..], &["SADD set new"], &["@spill"], &["SADD set new", "@spill"]] {
        let (mut node, mut session) = (Node::new(), Node::connect(1));
        fill(&mut node, &mut session, "m");
        assert_eq!(node.line(&mut session, "CLIENT TRACKING ON OPTIN").reply, b"+OK\r\n");
        node.line(&mut session, "CLIENT CACHING YES");
        let (mut writer, mut number) = (Node::connect(2), 0);
        node.between_slices = Some(Box::new(move |node| {
            number += 1;
            if number == 3 {
                change(node, &mut writer, changes, 0);
            }
        }));
        node.line(&mut session, "SMEMBERS set");
        node.line(&mut session, "HGETALL hash");
        let names: Vec<&str> = ["set", "hash"]
            .into_iter()
            .filter(|key| {
                let before = node.host.log.tracking.totals().key_count;
                node.line(&mut session, &format!("DEL {key}"));
                node.host.log.tracking.totals().key_count < before
            })
            .collect();
        assert_eq!(names, ["set"], "{changes:?}: what was asked for holds for one command");
    }
}

#[test]
fn nothing_is_locked_between_two_slices() {
    let (mut node, mut session) = (Node::new(), Node::connect(1));
    fill(&mut node, &mut session, "m");
    node.between_slices = Some(Box::new(|node| {
        assert!(
            node.keyspace.ids().all(|id| node.keyspace.try_lock(id).is_some()),
            "nothing is locked between two slices"
        );
    }));
    node.line(&mut session, "SMEMBERS set");
    assert!(5 < node.sliced.slices);
}
