//! Strings: the rows of their commands. Handlers stand in `strings_read.rs`, `strings_write.rs`, `counters.rs` and
//! `lcs.rs`; commands on the bits of strings in `bits.rs`.

use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use crate::{counters, lcs, strings_read as read, strings_write as write};

const READ: Spec = Spec {
    name: "",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "key",
    handler: read::get,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const WRITE: Spec = Spec { flags: Flags::WRITE.and(Flags::DENYOOM), ..READ };
const WRITE_FAST: Spec = Spec { flags: WRITE.flags.and(Flags::FAST), ..WRITE };
/// Writes that make nothing grow.
const SHRINK_FAST: Spec = Spec { flags: Flags::WRITE.and(Flags::FAST), ..READ };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "append",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        arity: Arity::Exactly(3),
        since: "2.0.0",
        complexity: "O(1) amortized for small appended values",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        syntax: "key value",
        handler: write::append,
        ..WRITE_FAST
    },
    Spec {
        name: "decr",
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        handler: counters::decr,
        ..WRITE_FAST
    },
    Spec {
        name: "decrby",
        arity: Arity::Exactly(3),
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key decrement",
        handler: counters::decrby,
        ..WRITE_FAST
    },
    Spec {
        name: "delifeq",
        touches: Touches::keys(&[KeyUse::RM_DELETE]),
        arity: Arity::Exactly(3),
        since: "9.0.0",
        summary: "Delete key if value matches string.",
        syntax: "key value",
        handler: write::delifeq,
        ..SHRINK_FAST
    },
    Spec {
        name: "delifver",
        touches: Touches::keys(&[KeyUse::RM_DELETE]),
        arity: Arity::Exactly(3),
        since: "larder 0.1",
        summary: "Deletes a key if it was last written at a version, as GETVER tells it.",
        syntax: "key version",
        handler: write::delifver,
        ..SHRINK_FAST
    },
    Spec {
        name: "get",
        complexity: "O(1); one pread when the value is spilled",
        summary: "Returns the string value of a key.",
        handler: read::get,
        ..READ
    },
    Spec {
        name: "getdel",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        since: "6.2.0",
        summary: "Returns the string value of a key after deleting the key.",
        handler: write::getdel,
        ..SHRINK_FAST
    },
    Spec {
        name: "getex",
        arity: Arity::AtLeast(2),
        since: "6.2.0",
        summary: "Returns the string value of a key after setting its expiration time.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        handler: write::getex,
        ..SHRINK_FAST
    },
    Spec {
        name: "getrange",
        arity: Arity::Exactly(4),
        flags: Flags::READONLY,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string",
        summary: "Returns a substring of the string stored at a key.",
        syntax: "key start end",
        handler: read::getrange,
        ..READ
    },
    Spec {
        name: "getset",
        arity: Arity::Exactly(3),
        summary: "Returns the previous string value of a key after setting it to a new value.",
        syntax: "key value",
        handler: write::getset,
        ..WRITE_FAST
    },
    Spec {
        name: "getver",
        arity: Arity::AtLeast(2),
        since: "larder 0.1",
        complexity: "O(1); one pread when the value is spilled",
        summary: "Returns the string value of a key and the version at which it was last written, as SET ... IFVER takes it; \
                  with MEDIATYPE the media type that SET gave it, too.",
        syntax: "key [MEDIATYPE]",
        handler: read::getver,
        ..READ
    },
    Spec {
        name: "incr",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        handler: counters::incr,
        ..WRITE_FAST
    },
    Spec {
        name: "incrby",
        arity: Arity::Exactly(3),
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key increment",
        handler: counters::incrby,
        ..WRITE_FAST
    },
    Spec {
        name: "incrbyfloat",
        arity: Arity::Exactly(3),
        since: "2.6.0",
        summary: "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key increment",
        handler: counters::incrbyfloat,
        ..WRITE_FAST
    },
    Spec {
        name: "lcs",
        arity: Arity::AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::TWO,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of the two strings",
        summary: "Finds the longest common substring.",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        handler: lcs::lcs,
        ..READ
    },
    Spec {
        name: "mget",
        arity: Arity::AtLeast(2),
        keys: Keys::ALL,
        complexity: "O(N) where N is the number of keys to retrieve",
        summary: "Atomically returns the string values of one or more keys.",
        syntax: "key [key ...]",
        handler: read::mget,
        ..READ
    },
    Spec {
        name: "mset",
        touches: Touches::keys(&[KeyUse::OW_UPDATE]),
        arity: Arity::AtLeast(3),
        flags: WRITE.flags.and(Flags::BLIND),
        keys: Keys::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        syntax: "key value [key value ...]",
        handler: write::mset,
        ..WRITE
    },
    Spec {
        name: "msetex",
        touches: Touches::keys(&[KeyUse::OW_UPDATE]),
        arity: Arity::AtLeast(4),
        keys: Keys::Counted { count_at: 1, also: 0, step: 2 },
        since: "9.1.0",
        complexity: "O(N) where N is the number of keys to set",
        summary: "Atomically creates or modifies the string values of one or more keys, and optionally set their expiration.",
        syntax: "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | \
                 EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        handler: write::msetex,
        ..WRITE
    },
    Spec {
        name: "msetnx",
        touches: Touches::keys(&[KeyUse::OW_INSERT]),
        arity: Arity::AtLeast(3),
        keys: Keys::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
        syntax: "key value [key value ...]",
        handler: write::msetnx,
        ..WRITE
    },
    Spec {
        name: "psetex",
        touches: Touches::keys(&[KeyUse::OW_UPDATE]),
        arity: Arity::Exactly(4),
        flags: WRITE.flags.and(Flags::BLIND),
        since: "2.6.0",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.",
        syntax: "key milliseconds value",
        handler: write::psetex,
        ..WRITE
    },
    Spec {
        name: "set",
        touches: Touches::varying(crate::strings_options::set_use),
        arity: Arity::AtLeast(3),
        flags: WRITE.flags.and(Flags::BLIND),
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        syntax: "key value [NX | XX | IFEQ comparison-value | IFVER version] [GET] [EX seconds | PX milliseconds | \
                 EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] [MEDIATYPE media-type]",
        handler: write::set,
        ..WRITE
    },
    Spec {
        name: "setex",
        touches: Touches::keys(&[KeyUse::OW_UPDATE]),
        arity: Arity::Exactly(4),
        flags: WRITE.flags.and(Flags::BLIND),
        since: "2.0.0",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        syntax: "key seconds value",
        handler: write::setex,
        ..WRITE
    },
    Spec {
        name: "setnx",
        touches: Touches::keys(&[KeyUse::OW_INSERT]),
        arity: Arity::Exactly(3),
        flags: WRITE_FAST.flags.and(Flags::BLIND),
        summary: "Set the string value of a key only when the key doesn't exist.",
        syntax: "key value",
        handler: write::setnx,
        ..WRITE_FAST
    },
    Spec {
        name: "setrange",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::Exactly(4),
        since: "2.2.0",
        complexity: "O(M) where M is the length of the value argument, plus what the string grows by",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        handler: write::setrange,
        ..WRITE
    },
    Spec {
        name: "strlen",
        touches: Touches::keys(&[KeyUse::RO]),
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        handler: read::strlen,
        ..READ
    },
    Spec {
        name: "substr",
        arity: Arity::Exactly(4),
        flags: Flags::READONLY,
        complexity: "O(N) where N is the length of the returned string",
        summary: "Returns a substring from a string value.",
        syntax: "key start end",
        handler: read::getrange,
        ..READ
    },
];
