//! Any bytes as a connection's requests, cut into pieces two ways: the same commands and the same error both times.
//!
//! The first byte of the input is the size of the pieces; the rest are the bytes a client sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Limits, Login, Parsed, ProtocolError, Ranges, RequestParser};

type Commands = Vec<Vec<Vec<u8>>>;

fn parse(bytes: &[u8], piece_bytes: usize, login: Login) -> (Commands, usize, Option<ProtocolError>) {
    let (mut parser, mut ranges) = (RequestParser::new(), Ranges::new());
    let limits = Limits::standard(login);
    let (mut commands, mut consumed, mut shown) = (Vec::new(), 0, 0);
    while shown < bytes.len() {
        shown = (shown + piece_bytes).min(bytes.len());
        loop {
            let rest = &bytes[consumed..shown];
            match parser.parse(rest, &limits, &mut ranges) {
                Err(error) => return (commands, consumed, Some(error)),
                Ok(Parsed::Incomplete { bytes_missing }) => {
                    assert!(bytes_missing > 0);
                    break;
                }
                Ok(Parsed::Empty { bytes }) => consumed += bytes,
                Ok(Parsed::Command { bytes }) => {
                    assert!(ranges.count() > 0);
                    assert!(ranges.count() <= bytes);
                    commands.push(ranges.args(&rest[..bytes]).iter().map(<[u8]>::to_vec).collect());
                    consumed += bytes;
                }
            }
        }
    }
    (commands, consumed, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((piece_bytes, bytes)) = input.split_first() else { return };
    let login = if piece_bytes % 2 == 0 { Login::Done } else { Login::Required };
    let whole = parse(bytes, bytes.len().max(1), login);
    let pieces = parse(bytes, usize::from(*piece_bytes) / 2 + 1, login);
    assert_eq!(whole, pieces);
    assert!(whole.1 <= bytes.len());
});
