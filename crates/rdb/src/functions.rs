//! Libraries of functions as FUNCTION DUMP gives them and FUNCTION RESTORE takes them.
//!
//! ```text
//! payload  (opcode:u8 = 245, code:string)* version:u16 crc64:u64
//! ```
//! The name and the engine of a library stand in the first line of its code.
//!
//! Deliberately not: the form that Redis 7.0's release candidates wrote (opcode 246), which Valkey refuses too.

use crate::DumpError;
use crate::format::{Checksum, Versions, put_footer, split_footer};
use crate::string::{put_raw, string};
use base::Reader;

const OPCODE: u8 = 245;
const OPCODE_OF_CANDIDATES: u8 = 246;

/// Appends the payload of the libraries with these codes to `out`. Every server that has functions reads it.
pub fn dump_functions<'c>(out: &mut Vec<u8>, codes: impl Iterator<Item = &'c [u8]>) {
    let start = out.len();
    for code in codes {
        out.push(OPCODE);
        put_raw(out, code);
    }
    put_footer(out, start);
}

/// The codes in a payload. What they unfold to may take `bytes_max`.
///
/// # Errors
/// Redis's texts, without their code.
pub fn decode_functions(payload: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, &'static str> {
    let (body, _) = split_footer(payload, Checksum::Verify, Versions::Known).map_err(|_: DumpError| WRONG)?;
    let mut reader = Reader::new(body);
    let (mut codes, mut room) = (Vec::new(), bytes_max);
    while !reader.is_empty() {
        match reader.u8().map_err(|_| "can not read data type")? {
            OPCODE => {}
            OPCODE_OF_CANDIDATES => return Err("Pre-GA function format not supported"),
            _ => return Err("given type is not a function"),
        }
        let code = string(&mut reader, room).map_err(|_| BAD)?;
        room = room.checked_sub(code.len()).ok_or(BAD)?;
        codes.push(code.into_owned());
    }
    Ok(codes)
}

const WRONG: &str = "DUMP payload version or checksum are wrong";
const BAD: &str = "failed loading the given functions payload";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dumped_is_read_back_and_nothing_else() {
        let long = vec![b'x'; 15_000];
        let codes = [&b"#!lua name=a\n"[..], b"12", &long];
        let mut payload = Vec::new();
        dump_functions(&mut payload, codes.iter().copied());
        assert_eq!(decode_functions(&payload, 30_000).as_deref(), Ok(&codes.map(<[u8]>::to_vec)[..]));
        assert_eq!(decode_functions(&payload, 15_000), Err(BAD));
        for cut in 0..payload.len() {
            assert_eq!(decode_functions(&payload[..cut], 30_000), Err(WRONG), "cut at {cut}");
        }
        let closed = |body: &[u8]| {
            let mut payload = body.to_vec();
            put_footer(&mut payload, 0);
            decode_functions(&payload, 30_000)
        };
        assert_eq!(closed(b""), Ok(Vec::new()));
        assert_eq!(closed(b"\xf5\x02ab"), Ok(vec![b"ab".to_vec()]));
        assert_eq!(closed(b"\xf5\x03ab"), Err(BAD));
        assert_eq!(closed(b"\xf6\x02ab"), Err("Pre-GA function format not supported"));
        assert_eq!(closed(b"\x00\x02ab"), Err("given type is not a function"));
    }

    #[test]
    fn payloads_of_redis_7_0_are_read() {
        let payload = include_bytes!("../tests/redis-7.0-functions.bin");
        let code = b"#!lua name=test\nredis.register_function('f', function(keys, args) return args[1] end)\n";
        assert_eq!(decode_functions(payload, 1 << 20), Ok(vec![code.to_vec()]));
    }
}
