//! Lua 5.1 as Redis offers it to scripts: a state that a script cannot change or leave, the `redis` (or `server`)
//! table, `cjson`, `cmsgpack`, `bit` and `struct`, and what becomes of values on their way between Lua and RESP.
//!
//! ```text
//! Engine::run ─► chunk or function ─► redis.call ─► Caller::call ─► reply bytes ─► Lua value ─► … ─► reply bytes
//! ```
//!
//! Does not know: keys, sockets, the command table. Commands reach the outside through the [`Caller`] trait, the clock
//! through it as well.
//!
//! Invariants: no script sees what another left behind, except in a state the caller throws away; a script that was
//! stopped runs no command, and no further than to the next look at the clock, whatever it catches; memory stays below [`HEAP_BYTES_MAX`] for each state.

mod bit;
mod cjson;
mod cmsgpack;
mod convert;
mod debugger;
mod engine;
mod library;
mod native;
mod number;
mod raw;
mod sha1;
mod shebang;
mod structs;

pub use debugger::{Console, Debugger};
pub use engine::{Called, Caller, Engine, Failure, Kind, Options, Outcome, Run, Stop, Target};
pub use library::{Declared, LibraryFunction};
pub use sha1::{Digest, sha1_hex};
pub use shebang::{Header, ScriptFlags, library_header, script_header};

/// Memory of one Lua state; what asks for more fails with "not enough memory".
pub const HEAP_BYTES_MAX: usize = 1 << 30;
