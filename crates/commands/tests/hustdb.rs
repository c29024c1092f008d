//! HUSTDB where memory is short, and where the timer is late.
//!
//! Deliberately not here: what its subcommands answer otherwise (`golden/hustdb*.txt`).

mod harness;

use harness::{Fetching, Node};

const TABLE_COUNT: usize = 300;

/// A node with tables and pairs, so many that a bucket has several.
fn filled() -> Node {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    for number in 0..TABLE_COUNT {
        node.line(&mut session, &format!("hset table field value:{number} other x"));
        // Written whole, so that it can be dropped from memory.
        node.line(&mut session, &format!("rename table table:{number}"));
        node.line(&mut session, &format!("set pair:{number} pair:{number}"));
    }
    node
}

fn said(node: &mut Node, line: &str) -> String {
    String::from_utf8(node.line(&mut Node::connect(2), line).reply).expect("text")
}

#[test]
fn a_walk_over_everything_ends_with_memory_for_one_value() {
    let (mut plenty, mut short) = (filled(), filled());
    short.fetching = Fetching::One;
    let pages = (0..8)
        .flat_map(|file| [format!("items {file} 0 5000 0 1024 VALUES"), format!("items {file} 7 20 0 512 NAMES")]);
    for walk in pages.chain(["tables".to_owned()]) {
        short.spill_all();
        let expected = said(&mut plenty, &format!("hustdb {walk}"));
        assert!(expected.len() > 100, "{walk} finds something: {expected}");
        assert_eq!(said(&mut short, &format!("hustdb {walk}")), expected, "{walk}");
    }
}

#[test]
fn a_walk_that_was_given_up_is_not_gone_on_with_by_another_command() {
    let mut node = filled();
    let mut session = Node::connect(1);
    node.spill_all();
    node.fetching = Fetching::Never;
    assert_eq!(node.line(&mut session, "hustdb tables").reply, b"");
    node.fetching = Fetching::Every;
    node.line(&mut session, "flushall");
    let answer = node.line(&mut session, "hustdb items 0 0 10 0 1024 NAMES");
    assert_eq!(answer.reply, b"*1\r\n:200\r\n");
}

#[test]
fn a_table_made_anew_has_no_versions_of_the_one_that_ended() {
    let mut node = Node::new();
    let mut session = Node::connect(1);
    for line in ["hustdb hset t e v 0 0", "hustdb hset t e v 0 0", "pexpire t 50"] {
        node.line(&mut session, line);
    }
    let listing = "hustdb elements t H 0 10 0 1024 NAMES";
    let with_version =
        |version: u32| format!("*2\r\n:200\r\n*6\r\n$1\r\ne\r\n$-1\r\n:{version}\r\n:0\r\n$-1\r\n$-1\r\n");
    assert_eq!(said(&mut node, listing), with_version(2));
    // The timer has not come by.
    node.clock.advance_ms(50);
    node.line(&mut session, "hset t e w");
    assert_eq!(said(&mut node, listing), with_version(1));
}
