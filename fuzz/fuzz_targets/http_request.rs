//! Any bytes as what an HTTP client sends: heads, bodies, routes and queries, cut into pieces two ways with the same outcome.
//!
//! The first byte of the input is the size of the pieces; the rest are the bytes a client sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::{
    BodyLength, Chunks, HEAD_BYTES_MAX, HeadError, HeadReader, PathPattern, percent_decode, query_decode, query_pairs,
    split_target,
};

const BODY_BYTES_MAX: usize = 1 << 20;

/// What requests come to: their heads in text, their bodies, and how it ended.
type Seen = (Vec<(String, Vec<u8>)>, Option<HeadError>);

fn look(bytes: &[u8], piece_bytes: usize) -> Seen {
    let (mut seen, mut start, mut shown) = (Vec::new(), 0, 0);
    let mut reader = HeadReader::default();
    loop {
        let mut first = HeadReader::default();
        let (first, read) = (first.read(&bytes[start..shown]), reader.read(&bytes[start..shown]));
        match (&first, &read) {
            (Ok(Some((head_of_first, headers_of_first))), Ok(Some((head, headers)))) => {
                assert_eq!(head, head_of_first, "heads of a connection are read as if each were the first");
                for name in ["host", "connection", "content-length", "expect", "transfer-encoding", "a", ""] {
                    assert_eq!(headers.find(name), headers_of_first.find(name), "{name}");
                }
            }
            (first, read) => {
                assert_eq!(first.as_ref().err(), read.as_ref().err());
                assert_eq!(matches!(first, Ok(None)), matches!(read, Ok(None)));
            }
        }
        match read {
            Err(error) => return (seen, Some(error)),
            Ok(None) if shown == bytes.len() => return (seen, None),
            Ok(None) => shown = (shown + piece_bytes).min(bytes.len()),
            Ok(Some((head, headers))) => {
                assert!(0 < head.bytes && head.bytes <= HEAD_BYTES_MAX);
                assert_eq!(headers.find("no such header"), None);
                let text = &bytes[start..start + head.bytes];
                assert!((0..text.len()).all(|at| text[at] != b'\n' || (0 < at && text[at - 1] == b'\r')));
                let (path, query) = split_target(head.target);
                let said = format!("{} {path} {query}", head.method);
                route(path, query);
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

/// Paths fit patterns, and what stands in them is decoded; a query likewise.
fn route(path: &str, query: &str) {
    let mut decoded = Vec::new();
    for (pattern, count) in [("/v1/{a}", 1), ("/v1/{a}/{b}", 2), ("/{a}/x/{b}/{c}", 3)] {
        if let Some(captures) = PathPattern::of(pattern).fit(path) {
            for index in 0..count {
                let part = captures.of(path, index);
                assert!(!part.is_empty() && !part.contains(&b'/'));
                decoded.clear();
                if percent_decode(part, &mut decoded).is_some() {
                    assert!(decoded.len() <= part.len());
                }
            }
        }
    }
    for (name, value) in query_pairs(query.as_bytes()) {
        assert!(!name.contains(&b'=') && name.len() + value.len() <= query.len());
        decoded.clear();
        if query_decode(value, &mut decoded).is_some() {
            assert!(decoded.len() <= value.len());
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((piece_bytes, bytes)) = input.split_first() else { return };
    let (in_pieces, at_once) = (look(bytes, usize::from(*piece_bytes).max(1)), look(bytes, bytes.len().max(1)));
    // What is wrong in two ways may be told by either.
    assert_eq!((in_pieces.0, in_pieces.1.is_some()), (at_once.0, at_once.1.is_some()));
});
