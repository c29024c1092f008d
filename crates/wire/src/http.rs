//! The request half of HTTP/1.1: client bytes to heads and bodies, incrementally.
//!
//! ```text
//! PUT /v1/kv/a?ttl=60 HTTP/1.1\r\n  Host: larder\r\n  Content-Length: 5\r\n  \r\n   hello
//! ├──────────────────────────── Head ──────────────────────────────────────┤   body
//! ```
//!
//! Deliberately not here: sockets, what a path means, replies. Deliberately strict: whatever two parsers could read in two
//! ways is refused, since that is how one request is smuggled inside another (RFC 9112 §11.2). A line must end in
//! `\r\n`; a body has one length and one only; chunked is the one transfer coding.
//!
//! Invariants:
//! - any bytes are a head, the beginning of one, or refused: no panic;
//! - a head is at most [`HEAD_BYTES_MAX`] with [`HEADERS_COUNT_MAX`] headers; decoding a body allocates no more than came.
//!
//! | file | what |
//! |---|---|
//! | `head.rs` | request line and headers |
//! | `chunks.rs` | bodies in chunks |
//! | `target.rs` | paths, queries and patterns of paths |
//!
//! Source: RFC 9110, RFC 9112. Tokens are checked by the crate `httparse`.

mod chunks;
mod head;
mod target;

pub use chunks::{CHUNK_LINE_BYTES_MAX, ChunkError, Chunks, TRAILER_BYTES_MAX};
pub use head::{
    BLOCK_KEPT_BYTES_MAX, BodyLength, HEAD_BYTES_MAX, HEADERS_COUNT_MAX, Head, HeadError, HeadReader, Headers,
};
pub use target::{CAPTURES_MAX, Captures, PathPattern, percent_decode, query_decode, query_pairs, split_target};
