//! Whole databases: counting, emptying and exchanging them.
//!
//! Emptying unhooks a database's tables and leaves freeing them to another thread, whatever SYNC or ASYNC say; the
//! words are there because clients send them.
//!
//! Source: behaviour of Valkey 9.1 `db.c`.

use crate::acl::Categories;
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{Dbs, Touches};
use base::number::parse_i64;
use base::{DB_COUNT, DbId, PartitionId};
use std::ops::ControlFlow;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(1),
    flags: Flags::WRITE.and(Flags::DANGEROUS),
    keys: Keys::None,
    scope: Scope::Whole,
    group: Group::Server,
    since: "",
    complexity: "O(1) for the caller; freeing is left to another thread",
    summary: "",
    syntax: "[ASYNC | SYNC]",
    handler: flush_db,
    subcommands: &[],
    touches: Touches::BY_FLAGS.also_in(Categories::KEYSPACE),
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "dbsize",
        arity: Arity::Exactly(1),
        flags: Flags::READONLY.and(Flags::FAST),
        scope: Scope::Each,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the selected database.",
        syntax: "",
        handler: db_size,
        ..ROW
    },
    Spec {
        name: "flushall",
        touches: ROW.touches.reaching(Dbs::All),
        since: "1.0.0",
        summary: "Removes all keys from all databases.",
        handler: flush_all,
        ..ROW
    },
    Spec {
        name: "flushdb",
        since: "1.0.0",
        summary: "Removes all keys from the selected database.",
        handler: flush_db,
        ..ROW
    },
    Spec {
        name: "swapdb",
        touches: ROW.touches.reaching(Dbs::At(&[1, 2])),
        arity: Arity::Exactly(3),
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::DANGEROUS),
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Exchanges two databases.",
        syntax: "index1 index2",
        handler: swap,
        ..ROW
    },
];

/// Argument `index` as the number of a database.
pub(crate) fn db_index(call: &Call<'_>, index: usize) -> Result<DbId, Error> {
    let number = i32::try_from(call.integer(index)?)
        .map_err(|_| refuse!("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX))?;
    db_numbered(number)
}

fn db_numbered(number: i32) -> Result<DbId, Error> {
    let db = u8::try_from(number).ok().filter(|db| usize::from(*db) < DB_COUNT);
    db.map(DbId).ok_or(Error::text("ERR DB index is out of range"))
}

fn db_size(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (now, mut count) = (call.horizon_of_counts(), 0);
    let _ = call.tx.each_partition(PartitionId(0), |partition, db| {
        count += partition.key_count(db, now);
        ControlFlow::<()>::Continue(())
    });
    call.reply.count(count);
    Ok(Flow::Done)
}

fn check_flush_words(call: &Call<'_>) -> Result<(), Error> {
    match call.arg_count() {
        1 => Ok(()),
        2 if call.is_word(1, "SYNC") || call.is_word(1, "ASYNC") => Ok(()),
        _ => Err(Error::Syntax),
    }
}

fn flush_db(call: &mut Call<'_>) -> Result<Flow, Error> {
    check_flush_words(call)?;
    call.tx.flush_db();
    call.reply.ok();
    Ok(Flow::Done)
}

fn flush_all(call: &mut Call<'_>) -> Result<Flow, Error> {
    check_flush_words(call)?;
    let selected = call.tx.db();
    for db in 0..DB_COUNT as u8 {
        call.tx.set_db(DbId(db));
        call.tx.flush_db();
    }
    call.tx.set_db(selected);
    call.reply.ok();
    Ok(Flow::Done)
}

fn swap(call: &mut Call<'_>) -> Result<Flow, Error> {
    let number = |index: usize| parse_i64(call.arg(index)).and_then(|number| i32::try_from(number).ok());
    let one = number(1).ok_or(Error::text("ERR invalid first DB index"))?;
    let other = number(2).ok_or(Error::text("ERR invalid second DB index"))?;
    let (one, other) = (db_numbered(one)?, db_numbered(other)?);
    if one != other {
        call.tx.swap_dbs(one, other);
    }
    call.reply.ok();
    Ok(Flow::Done)
}
