//! Keys of any type: removing, finding, renaming and copying them.
//!
//! A value that gets another name is written whole under that name, as an image: effects know one key each, so
//! that a replica never needs the old one. Deliberately not here: names in bulk (`scan`), ends of life (`expire`),
//! payloads (`dump`), whole databases (`keys_databases`).
//!
//! Not done, and why: RENAME costs the size of the value and not O(1), because source and target may live in
//! different partitions, and on different nodes.
//!
//! Source: behaviour of Valkey 9.1 `db.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::keys_databases::db_index;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{Dbs, KeyUse, Touches};
use base::DbId;
use keyspace::Event;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE,
    keys: Keys::ALL,
    scope: Scope::Keys,
    group: Group::Generic,
    since: "",
    complexity: "O(N) for N keys",
    summary: "",
    syntax: "key [key ...]",
    handler: delete,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "copy",
        touches: Touches::keys(&[KeyUse::RO_ACCESS, KeyUse::OW_UPDATE]).reaching(Dbs::Behind { word: "DB", from: 3 }),
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        since: "6.2.0",
        complexity: "O(N) for N bytes of value",
        summary: "Copies the value of a key to another key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        handler: copy,
        ..ROW
    },
    Spec {
        name: "del",
        touches: Touches::keys(&[KeyUse::RM_DELETE]),
        flags: ROW.flags.and(Flags::BLIND),
        since: "1.0.0",
        summary: "Removes keys and returns how many there were; large values are freed in the background.",
        handler: delete,
        ..ROW
    },
    Spec {
        name: "exists",
        touches: Touches::keys(&[KeyUse::RO]),
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::BLIND),
        since: "1.0.0",
        summary: "Returns how many of the keys exist, counting a key as often as it is named.",
        handler: exists,
        ..ROW
    },
    Spec {
        name: "move",
        touches: Touches::BY_FLAGS.reaching(Dbs::At(&[2])),
        arity: Arity::Exactly(3),
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        since: "1.0.0",
        complexity: "O(N) for N bytes of value",
        summary: "Moves a key to another database unless it exists there.",
        syntax: "key db",
        handler: move_to,
        ..ROW
    },
    Spec {
        name: "rename",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::OW_UPDATE]),
        arity: Arity::Exactly(3),
        keys: Keys::TWO,
        since: "1.0.0",
        complexity: "O(N) for N bytes of value",
        summary: "Renames a key, replacing the key that had the new name.",
        syntax: "key newkey",
        handler: rename,
        ..ROW
    },
    Spec {
        name: "renamenx",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::OW_INSERT]),
        arity: Arity::Exactly(3),
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::TWO,
        since: "1.0.0",
        complexity: "O(N) for N bytes of value",
        summary: "Renames a key unless the new name is taken.",
        syntax: "key newkey",
        handler: rename_if_free,
        ..ROW
    },
    Spec {
        name: "touch",
        touches: Touches::keys(&[KeyUse::RO]),
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::BLIND),
        since: "3.2.1",
        summary: "Notes a use of keys and returns how many exist.",
        handler: touch,
        ..ROW
    },
    Spec {
        name: "type",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::BLIND),
        keys: Keys::ONE,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the type of a key's value.",
        syntax: "key",
        handler: kind,
        ..ROW
    },
    Spec {
        name: "unlink",
        touches: Touches::keys(&[KeyUse::RM_DELETE]),
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::BLIND),
        since: "4.0.0",
        summary: "Removes keys, exactly as DEL does.",
        handler: delete,
        ..ROW
    },
];

fn count_keys(call: &mut Call<'_>, mut counts: impl FnMut(&mut Call<'_>, &[u8]) -> bool) -> Result<Flow, Error> {
    let count = call.args.skip(1).iter().filter(|key| counts(call, key)).count();
    call.reply.count(count);
    Ok(Flow::Done)
}

fn delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    count_keys(call, |call, key| {
        let is_removed = call.tx.delete(key);
        if is_removed {
            call.notify(Event::Generic, "del", key);
        }
        is_removed
    })
}

fn exists(call: &mut Call<'_>) -> Result<Flow, Error> {
    count_keys(call, |call, key| call.tx.look_for(key).is_some())
}

/// Notes the use of keys even for a client in no-touch mode: it asks for nothing else.
fn touch(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.tx.set_no_touch(false);
    count_keys(call, |call, key| call.tx.find(key).is_some())
}

fn kind(call: &mut Call<'_>) -> Result<Flow, Error> {
    let found = call.tx.look_for(call.arg(1));
    let name = found.map_or("none", |found| call.tx.entry(found).kind().name());
    call.reply.simple(name);
    Ok(Flow::Done)
}

/// Writes what is at `source` in this database to `target` in database `db`, end of life included. Returns
/// whether there was anything.
fn copy_value(call: &mut Call<'_>, source: &[u8], target: &[u8], db: DbId) -> Result<bool, Error> {
    let Some(found) = call.tx.find(source) else { return Ok(false) };
    let expires = call.tx.entry(found).expires();
    let media_type = call.tx.media_type(source)?.map(<[u8]>::to_vec);
    let Some((kind, image)) = call.tx.image(source)? else { return Ok(false) };
    call.ensure_room(source.len() + target.len() + image.len())?;
    let source_db = call.tx.db();
    call.tx.set_db(db);
    call.tx.put_image(target, kind, &image, expires);
    if let Some(media_type) = media_type {
        call.tx.put_media_type(target, &media_type);
    }
    call.tx.set_db(source_db);
    Ok(true)
}

/// Tells of something that happened to `key` in database `db`.
fn notify_in(call: &mut Call<'_>, db: DbId, name: &'static str, key: &[u8]) {
    let source_db = call.tx.db();
    call.tx.set_db(db);
    call.notify(Event::Generic, name, key);
    call.tx.set_db(source_db);
}

fn is_taken(call: &mut Call<'_>, key: &[u8], db: DbId) -> bool {
    let source_db = call.tx.db();
    call.tx.set_db(db);
    let taken = call.tx.peek(key).is_some();
    call.tx.set_db(source_db);
    taken
}

fn rename(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (source, target) = (call.arg(1), call.arg(2));
    if call.tx.peek(source).is_none() {
        return Err(Error::NoSuchKey);
    }
    if source != target {
        rename_value(call, source, target)?;
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn rename_value(call: &mut Call<'_>, source: &[u8], target: &[u8]) -> Result<(), Error> {
    copy_value(call, source, target, call.tx.db())?;
    call.tx.delete(source);
    call.notify(Event::Generic, "rename_from", source);
    call.notify(Event::Generic, "rename_to", target);
    Ok(())
}

fn rename_if_free(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (source, target) = (call.arg(1), call.arg(2));
    if call.tx.peek(source).is_none() {
        return Err(Error::NoSuchKey);
    }
    // A key that would get its own name finds it taken.
    let is_free = call.tx.peek(target).is_none();
    if is_free {
        rename_value(call, source, target)?;
    }
    call.reply.integer(i64::from(is_free));
    Ok(Flow::Done)
}

fn move_to(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let db = db_index(call, 2)?;
    if db == call.tx.db() {
        return Err(SAME);
    }
    let moves = !is_taken(call, key, db) && copy_value(call, key, key, db)?;
    if moves {
        call.tx.delete(key);
        call.notify(Event::Generic, "move_from", key);
        notify_in(call, db, "move_to", key);
    }
    call.reply.integer(i64::from(moves));
    Ok(Flow::Done)
}

const SAME: Error = Error::text("ERR source and destination objects are the same");

fn copy(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (mut db, mut replace) = (call.tx.db(), false);
    let mut index = 3;
    while index < call.arg_count() {
        if call.is_word(index, "REPLACE") {
            replace = true;
        } else if call.is_word(index, "DB") && index + 1 < call.arg_count() {
            index += 1;
            db = db_index(call, index)?;
        } else {
            return Err(Error::Syntax);
        }
        index += 1;
    }
    let (source, target) = (call.arg(1), call.arg(2));
    if source == target && db == call.tx.db() {
        return Err(SAME);
    }
    let copied = (replace || !is_taken(call, target, db)) && copy_value(call, source, target, db)?;
    if copied {
        notify_in(call, db, "copy_to", target);
    }
    call.reply.integer(i64::from(copied));
    Ok(Flow::Done)
}
