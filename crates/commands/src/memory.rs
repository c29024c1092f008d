//! MEMORY: where memory goes.
//!
//! Figures are of keys, values and their tables, as the engine counts them exactly; the rest of the process is seen
//! only in its resident size.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::host::Memory;
use crate::server::ROW;
use crate::spec::{Arity, Flags, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_i64;

/// Bytes of a key's place in the table of its partition.
const SLOT_BYTES: usize = 8;
/// Below this, figures are too small to tell anything.
const DIAGNOSED_BYTES_MIN: u64 = 5 << 20;

/// The row of MEMORY.
pub const MEMORY: Spec = Spec {
    name: "memory",
    arity: Arity::AtLeast(2),
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about memory.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            name: "doctor",
            arity: Arity::Exactly(2),
            scope: Scope::Each,
            since: "4.0.0",
            summary: "Says what is remarkable about memory.",
            handler: doctor,
            ..ROW
        },
        HELP,
        Spec {
            name: "malloc-stats",
            arity: Arity::Exactly(2),
            since: "4.0.0",
            summary: "Returns the allocator's own figures, where it has any.",
            handler: malloc_stats,
            ..ROW
        },
        Spec {
            name: "purge",
            arity: Arity::Exactly(2),
            since: "4.0.0",
            summary: "Does nothing: the allocator gives memory back by itself.",
            handler: purge,
            ..ROW
        },
        Spec {
            name: "stats",
            arity: Arity::Exactly(2),
            scope: Scope::Each,
            since: "4.0.0",
            complexity: "O(N) where N is the number of partitions",
            summary: "Returns what takes memory.",
            handler: stats,
            ..ROW
        },
        Spec {
            name: "usage",
            touches: Touches::keys(&[KeyUse::RO]),
            arity: Arity::AtLeast(3),
            flags: Flags::READONLY,
            keys: Keys::Range { first: 2, last: 2, step: 1 },
            scope: Scope::Keys,
            since: "4.0.0",
            summary: "Returns the memory that a key and its value take.",
            syntax: "key [SAMPLES count]",
            handler: usage,
            ..ROW
        },
    ],
    ..ROW
};

/// SAMPLES is checked and otherwise of no use: every collection knows its size.
fn usage(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mut at = 3;
    while at < call.arg_count() {
        if !call.is_word(at, "SAMPLES") || at + 1 == call.arg_count() {
            return Err(Error::Syntax);
        }
        if parse_i64(call.arg(at + 1)).ok_or(Error::NotInteger)? < 0 {
            return Err(Error::Syntax);
        }
        at += 2;
    }
    match call.tx.peek(call.arg(2)) {
        None => call.reply.null(),
        Some(found) => call.reply.count(call.tx.entry(found).heap_bytes() + SLOT_BYTES),
    }
    Ok(Flow::Done)
}

fn purge(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.ok();
    Ok(Flow::Done)
}

fn malloc_stats(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.bulk(b"Stats not supported for the current allocator");
    Ok(Flow::Done)
}

fn stats(call: &mut Call<'_>) -> Result<Flow, Error> {
    let memory = call.host.memory(&call.tx.figures());
    let reply = &mut call.reply;
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let integers = [
        ("peak.allocated", memory.peak_bytes as i64),
        ("total.allocated", memory.used_bytes as i64),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", memory.clients_bytes as i64),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.db.hashtable.lut", memory.table_bytes() as i64),
        ("overhead.db.hashtable.rehashing", 0),
        ("overhead.total", memory.overhead_bytes() as i64),
        ("db.dict.rehashing.count", 0),
        ("keys.count", memory.key_count as i64),
        ("keys.bytes-per-key", (memory.used_bytes / memory.key_count.max(1)) as i64),
        ("dataset.bytes", memory.dataset_bytes() as i64),
        ("fragmentation.bytes", memory.process_bytes as i64 - memory.used_bytes as i64),
    ];
    let doubles = [
        ("dataset.percentage", percent(memory.dataset_bytes(), memory.used_bytes)),
        ("peak.percentage", percent(memory.used_bytes, memory.peak_bytes)),
        ("fragmentation", memory.process_ratio()),
    ];
    reply.map(integers.len() + doubles.len() + memory.tables.len());
    for (name, value) in integers {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
    for (name, value) in doubles {
        reply.bulk(name.as_bytes());
        reply.double(value);
    }
    for (db, bytes) in memory.tables {
        reply.bulk(format!("db.{}", db.0).as_bytes());
        reply.map(1);
        reply.bulk(b"overhead.hashtable.main");
        reply.integer(bytes as i64);
    }
    Ok(Flow::Done)
}

fn doctor(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.verbatim(*b"txt", diagnosis(&call.host.memory(&call.tx.figures())).as_bytes());
    Ok(Flow::Done)
}

fn diagnosis(memory: &Memory) -> String {
    if memory.used_bytes < DIAGNOSED_BYTES_MIN {
        return "This server holds too little data for its memory to tell anything.\n".to_owned();
    }
    let mut found = Vec::new();
    if memory.used_bytes * 3 / 2 < memory.peak_bytes {
        found.push("The peak was far higher than what is used now: memory may be held for it in vain.");
    }
    if 1.4 < memory.process_ratio() {
        found.push("The process takes far more memory than keys and values do: buffers or fragmentation.");
    }
    if memory.limit_bytes != 0 && memory.limit_bytes < memory.used_bytes + memory.used_bytes / 10 {
        found.push("The memory limit is all but reached: values are spilled, evicted or refused.");
    }
    if found.is_empty() {
        return "Nothing is remarkable about memory.\n".to_owned();
    }
    format!("* {}\n", found.join("\n* "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(used_bytes: u64, peak_bytes: u64, process_bytes: u64, limit_bytes: u64) -> Memory {
        let tables = Vec::new();
        Memory { used_bytes, peak_bytes, process_bytes, limit_bytes, clients_bytes: 0, tables, key_count: 1 }
    }

    #[test]
    fn a_diagnosis_names_what_is_wrong_and_nothing_else() {
        let mib = 1 << 20;
        assert!(diagnosis(&memory(1, 100, 100, 0)).contains("too little"));
        assert!(diagnosis(&memory(100 * mib, 100 * mib, 120 * mib, 0)).contains("Nothing"));
        let all = diagnosis(&memory(100 * mib, 200 * mib, 200 * mib, 105 * mib));
        assert_eq!(all.lines().count(), 3);
    }
}
