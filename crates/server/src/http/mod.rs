//! The HTTP doors: HTTP/1.1 in front of the same commands that RESP connections run.
//!
//! | file            | what it is                                                                        |
//! |-----------------|-----------------------------------------------------------------------------------|
//! | `connection.rs` | one connection: requests in, answers out, limits and pace                         |
//! | `request.rs`    | a request as doors see it                                                         |
//! | `arguments.rs`  | its body, and the arguments of the commands it comes to                           |
//! | `answer.rs`     | what it is answered with                                                          |
//! | `desk.rs`       | room for these while a request is served, which connections take turns at         |
//! | `media_type.rs` | what its body is said to be, and what keeps that from running in a browser        |
//! | `auth.rs`       | who it is from                                                                    |
//! | `events.rs`     | answers without an end: server-sent events                                       |
//! | `problem.rs`    | what it is told that cannot be done; the status of each error                     |
//! | `strangers.rs`  | which web pages may not ask                                                       |
//! | `doors.rs`      | which door a path belongs to                                                      |
//! | `v1/`           | the native API                                                                    |
//! | `hustdb/`       | hustdb's API, over HUSTDB                                                         |
//! | `hustcache/`    | hustcache's API, over a store of its own in memory                                |
//! | `json_store.rs` | the JSON API of the raft and bitcask store, on its own port                       |
//!
//! # How a door is added
//!
//! 1. Write `async fn admit` and `async fn answer` over a [`doors::Visit`], in a folder of the door's own. `admit` runs before
//!    the body is received: it looks at path, method and headers, logs the request in if it must be, and either refuses
//!    (fills `visit.answer` and says [`doors::Admitted::No`]) or says how large a body may be. `answer` runs when the
//!    body is there.
//! 2. Give [`doors::Door`] a variant, and [`doors::admit`] and [`doors::answer`] an arm. What `admit` found out about the path
//!    travels in the variant.
//! 3. A command is run by `visit.arguments.begin(b"SET").add(key).add_body()` and then
//!    `visit.caller.call(visit.arguments.args()).await?`, which returns where its reply lies in `visit.caller.replies()`: RESP3, to
//!    be read by `wire::Value::decode`, or `visit.answer.body_is_reply(part)` to send a part of it uncopied. Several commands as one
//!    transaction: `call_atomically`. Database and protocol are `visit.caller.session()`'s: set them in every request.
//! 4. `visit.answer` is filled: status, headers, body. Gate, Date, lengths, HEAD and keep-alive are the connection's.
//!
//! The futures are `Send`: nothing that is locked may be held while something is awaited.
//!
//! Deliberately not here: HTTP/2, which proxies speak on our behalf; TLS, which the listener puts before a connection.

pub mod answer;
pub mod arguments;
pub mod auth;
pub mod connection;
pub mod desk;
pub mod doors;
pub mod events;
pub mod hustcache;
pub mod hustdb;
pub mod json;
pub mod json_store;
pub mod media_type;
pub mod problem;
pub mod request;
pub mod strangers;
pub mod v1;
