//! Strings so large that they are shared rather than copied are strings like others: whatever is done with them, with
//! arguments lent or not, replies are the same and say what was put, and a replay gives the same state.
//!
//! Deliberately not here: how much memory that takes, which `tests/large_values.py` measures.

mod harness;

use commands::Session;
use harness::Node;
use keyspace::SHARED_BYTES_MIN;

/// A word of a command line of the test.
enum Word {
    Text(&'static str),
    /// So many bytes that tell where they are.
    Bytes(usize),
}

use Word::{Bytes, Text};

const SIZES: [usize; 3] = [SHARED_BYTES_MIN - 1, SHARED_BYTES_MIN, SHARED_BYTES_MIN + 70_000];

fn bytes_of(count: usize) -> Vec<u8> {
    (0..count).map(|at| b'a' + (at / 7 + at / 1_000) as u8 % 26).collect()
}

/// Commands, the words of each separated by spaces; `@0` is a value of the first size.
fn commands(text: &'static str) -> Vec<Vec<Word>> {
    let word = |word: &'static str| match word.strip_prefix('@') {
        Some(size) => Bytes(SIZES[size.parse::<usize>().expect("a size")]),
        None => Text(word),
    };
    text.lines()
        .map(|line| line.split_whitespace().map(word).collect())
        .filter(|line: &Vec<_>| !line.is_empty())
        .collect()
}

fn call(node: &mut Node, session: &mut Session, words: &[Word]) -> Vec<u8> {
    let args: Vec<Vec<u8>> = words
        .iter()
        .map(|word| match word {
            Text(text) => text.replace('_', " ").into_bytes(),
            Bytes(count) => bytes_of(*count),
        })
        .collect();
    node.call(session, &args).reply
}

const SCRIPT: &str = "
    SET k @1
    GET k
    GETVER k
    STRLEN k
    GETRANGE k 262140 -1
    APPEND k tail
    GET k
    SETRANGE k 10 xyz
    SETBIT k 7 1
    GET k
    BITCOUNT k
    SET k @2 EX 100
    GETEX k PERSIST
    OBJECT ENCODING k
    MSET a @0 b @1 c small d @2
    MGET a b nothing c d
    SET b @2 GET
    SET b @2 NX GET
    SET b @1 XX KEEPTTL
    GETSET c @1
    GETDEL c
    MGET c d
    MULTI
    SET k @1
    GET k
    SET k @2
    APPEND k !
    INCR n
    SET d @1
    EXEC
    MULTI
    SET k @2
    EXEC
    EVAL redis.call('set',KEYS[1],ARGV[1]..'x');redis.call('set',KEYS[2],ARGV[1]);return_redis.call('get',KEYS[1]) 2 k a @1
    RENAME k e
    COPY e k
    APPEND k copied
    SETRANGE e 0 E
    MGET e k
    HUSTDB hset h f v 0 0
    SET h @2
    HUSTDB hset h2 f v 0 0
    SET b @1
    HUSTDB hset h2 g v 0 0
    DEL d a
    SETEX d 50 @1
    PSETEX a 5000 @2
    MSETNX a @1 z @1
    MSETNX y @1 z @2
    EXPIRE y 10
    LPUSH list @1
    LSET list 0 @2
    DUMP z
";

fn run_all(mut node: Node, between: impl Fn(&mut Node)) -> (Vec<Vec<u8>>, String) {
    let mut session = Node::connect(1);
    let mut replies = Vec::new();
    for words in commands(SCRIPT) {
        replies.push(call(&mut node, &mut session, &words));
        between(&mut node);
    }
    let dump = node.dump();
    assert!(node.replayed().dump() == dump, "a replay gives the same");
    (replies, dump)
}

fn sharing() -> Node {
    let mut node = Node::new();
    node.share();
    node
}

#[test]
fn large_strings_are_strings_whether_shared_or_not() {
    let (replies, dump) = run_all(Node::new(), |_| {});
    let refused = replies.iter().filter(|reply| reply.starts_with(b"-")).count();
    assert_eq!(
        refused,
        0,
        "{:?}",
        replies.iter().find(|reply| reply.starts_with(b"-")).map(|reply| reply.escape_ascii().to_string())
    );
    let whole = bytes_of(SIZES[1]);
    assert!(replies[1] == [&b"$262144\r\n"[..], &whole, b"\r\n"].concat(), "GET gives what SET put");
    for (name, shared) in [
        ("shared", run_all(sharing(), |_| {})),
        ("shared and spilled", run_all(sharing(), |node| node.spill_all())),
        ("spilled", run_all(Node::new(), |node| node.spill_all())),
        ("heard", {
            let node = sharing();
            node.listen("KEA");
            run_all(node, |_| {})
        }),
    ] {
        for (index, (got, wanted)) in shared.0.iter().zip(&replies).enumerate() {
            assert!(got == wanted, "{name}: reply {index} differs");
        }
        assert!(shared.1 == dump, "{name}: the state differs");
    }
}
