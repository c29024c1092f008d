//! Any bytes as a reply: never a panic; what decodes has no decodable prefix, and encodes to bytes that decode and
//! encode to themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Decoded, Protocol, Reply, Value};

fn encode(value: &Value, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut Reply::new(&mut out, protocol));
    out
}

/// Decodes bytes that must be one whole reply.
fn decode_whole(bytes: &[u8]) -> Value {
    match Value::decode(bytes) {
        Ok(Decoded::Value { value, bytes: used }) if used == bytes.len() => value,
        other => panic!("our own bytes must decode whole: {other:?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    match Value::decode(input) {
        Err(_) => {}
        Ok(Decoded::Incomplete { bytes_missing }) => assert!(bytes_missing > 0),
        Ok(Decoded::Value { value, bytes }) => {
            let shorter = Value::decode(&input[..bytes - 1]);
            assert!(matches!(shorter, Ok(Decoded::Incomplete { bytes_missing: 1.. })));
            let encoded = encode(&value, Protocol::Resp3);
            assert_eq!(encode(&decode_whole(&encoded), Protocol::Resp3), encoded);
            decode_whole(&encode(&value, Protocol::Resp2));
        }
    }
});
