//! DUMP payloads: decoding never panics, keeps to its memory budget, and what it accepts encodes to something that
//! decodes to the same value again.
//!
//! The checksum is not looked at: a fuzzer would spend its life computing CRCs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdb::{Object, decode_dump, decode_dump_unchecked, encode_dump};

/// A set has no order, and one of integers is written in theirs.
fn ordered(mut object: Object) -> Object {
    if let Object::Set(members) = &mut object {
        members.sort();
    }
    object
}

fuzz_target!(|payload: &[u8]| {
    let Ok(object) = decode_dump_unchecked(payload) else { return };
    let mut encoded = Vec::new();
    encode_dump(&object, &mut encoded);
    let again = decode_dump(&encoded).expect("what was encoded decodes");
    assert!(ordered(again) == ordered(object), "a value survives being encoded");
});
