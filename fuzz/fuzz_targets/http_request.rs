//! Any bytes as what an HTTP client sends: heads, bodies, routes and queries, cut into pieces two ways with the same outcome.
//!
//! The first byte of the input is the size of the pieces; the rest are the bytes a client sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use server::http::request::Request;
use server::http::v1::routes::{self, Match};
use wire::http::{BodyLength, Chunks, HEAD_BYTES_MAX, HeadError, HeaderSpace, parse_head};

const BODY_BYTES_MAX: usize = 1 << 20;

/// What requests come to: their heads in text, their bodies, and how it ended.
type Seen = (Vec<(String, Vec<u8>)>, Option<HeadError>);

fn look(bytes: &[u8], piece_bytes: usize) -> Seen {
    let (mut seen, mut start, mut shown) = (Vec::new(), 0, 0);
    loop {
        let mut space = HeaderSpace::new();
        match parse_head(&bytes[start..shown], &mut space) {
            Err(error) => return (seen, Some(error)),
            Ok(None) if shown == bytes.len() => return (seen, None),
            Ok(None) => shown = (shown + piece_bytes).min(bytes.len()),
            Ok(Some((head, headers))) => {
                assert!(0 < head.bytes && head.bytes <= HEAD_BYTES_MAX);
                let request = Request::new(&head, headers);
                let said = format!("{:?} {} {}", request.method, request.path, request.query);
                route(&request);
                start += head.bytes;
                let Some(body) = body(head.body, bytes, &mut start, &mut shown, piece_bytes) else {
                    return (seen, None);
                };
                seen.push((said, body));
            }
        }
    }
}

/// A body, if it comes to its end.
fn body(length: BodyLength, bytes: &[u8], start: &mut usize, shown: &mut usize, piece_bytes: usize) -> Option<Vec<u8>> {
    match length {
        BodyLength::Bytes(count) => {
            let count = usize::try_from(count).ok().filter(|count| *count <= bytes.len() - *start)?;
            let body = bytes[*start..*start + count].to_vec();
            *start += count;
            *shown = (*shown).max(*start);
            Some(body)
        }
        BodyLength::Chunked => {
            let (mut chunks, mut out) = (Chunks::default(), Vec::new());
            loop {
                *start += chunks.decode(&bytes[*start..*shown], &mut out, BODY_BYTES_MAX).ok()?;
                assert!(out.len() <= BODY_BYTES_MAX);
                if chunks.is_done() {
                    return Some(out);
                }
                if *shown == bytes.len() {
                    return None;
                }
                *shown = (*shown + piece_bytes).min(bytes.len());
            }
        }
    }
}

fn route(request: &Request<'_>) {
    match routes::find(request.method, request.path) {
        Match::Found(found) => {
            for index in 0..found.route().path.matches('{').count() {
                assert!(!found.capture(request.path, index).is_empty());
            }
        }
        Match::OtherMethods(methods) => assert!(!methods.contains(&request.method)),
        Match::Nothing => {}
    }
    for name in ["db", "ttl", "wait", "prefix"] {
        if let Some(Ok(value)) = request.parameter(name) {
            assert!(value.len() <= request.query.len());
        }
    }
    _ = request.parameters().count();
}

fuzz_target!(|input: &[u8]| {
    let Some((piece_bytes, bytes)) = input.split_first() else { return };
    let (in_pieces, at_once) = (look(bytes, usize::from(*piece_bytes).max(1)), look(bytes, bytes.len().max(1)));
    // What is wrong in two ways may be told by either.
    assert_eq!((in_pieces.0, in_pieces.1.is_some()), (at_once.0, at_once.1.is_some()));
});
