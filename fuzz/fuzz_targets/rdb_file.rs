//! RDB files: reading never panics, and each value that is given decodes or is refused.
//!
//! The checksum is made to hold, or a fuzzer would spend its life computing CRCs: eight zeros are taken for it, which
//! say that there is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdb::{FileReader, Item, Value};
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = FileReader::open(bytes.chain(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0][..])) else { return };
    let mut passed_bytes = 0;
    loop {
        match reader.read_next() {
            Ok(Item::Key(key)) => {
                if let Value::Encoded(encoded) = key.value {
                    let _ = encoded.object();
                }
            }
            Ok(Item::End { .. }) | Err(_) => return,
            Ok(_) => {}
        }
        assert!(passed_bytes < reader.position_bytes(), "each step gets on");
        passed_bytes = reader.position_bytes();
    }
});
