//! Access control: who may run which command on which keys, channels and databases.
//!
//! ```text
//! rules of a user ─► Selector (commands, keys, channels, databases) ─► check(user, command, arguments) ─► run, or NOPERM
//! ```
//!
//! Users are rules ([`User`]); what a connection is logged in to is an [`Account`], whose rules may change under it. A
//! user that may do everything costs each command one look at a flag.
//!
//! Deliberately not here: reading and writing the users' file, which is the server's; what commands touch, which their
//! rows say (`touches.rs`).
//!
//! Invariants: a command that is not allowed changes nothing and tells nothing but that; passwords are kept as SHA-256
//! and compared in a time that tells nothing of them; an account that was deleted may do nothing.
//!
//! Source: behaviour of Redis 7.2 and Valkey 9.1, `acl.c`; rules for databases are Valkey's.

mod categories;
mod check;
mod command_rules;
mod gate;
mod log;
mod rows;
mod selector;
mod text;
mod user;
mod users;

pub use categories::Categories;
pub use check::{Denied, Reason};
pub(crate) use gate::{Context, is_permitted, may_read_any_key, may_run, note_login, permit, permit_again};
pub use log::{Entry, Log};
pub(crate) use rows::ACL;
pub use text::{NamedUser, parse_users, print_users};
pub use user::{Defaults, RuleError, User};
pub use users::{Account, Counts, Users};
