//! Values against those of a Redis 7.0.15 that was given the same elements, and foreign bytes.

use super::*;
use base::checksum::crc32c;

const SPARSE_BYTES_MAX: usize = 3000;

fn number(index: u64) -> Vec<u8> {
    index.to_string().into_bytes()
}

fn padded(index: u64) -> Vec<u8> {
    format!("element:{index:012}").into_bytes()
}

type Name = fn(u64) -> Vec<u8>;

/// Elements, how many, what PFCOUNT said, and of GET before it and after it: bytes, CRC-32C, CRC-32C.
#[rustfmt::skip]
const RECORDED: [(Name, u64, u64, usize, u32, u32); 28] = [
    (number, 1, 1, 21, 0x2d97_a01c, 0x014d_2faf),
    (number, 2, 2, 24, 0x0c41_4e30, 0xb9d1_2b28),
    (number, 3, 3, 27, 0xf9fa_d3cc, 0x898f_5fb3),
    (number, 10, 10, 48, 0x7c3d_3a0a, 0xcfb1_e342),
    (number, 100, 100, 287, 0xd14d_e5da, 0x4ce4_4e92),
    (number, 500, 503, 1061, 0xb7c0_7cd2, 0xae24_eb47),
    (number, 1000, 1001, 1923, 0xfd12_e109, 0xa775_ff58),
    (number, 1500, 1512, 2766, 0x3b12_6a3f, 0xbf85_d729),
    (number, 2000, 2007, 12_304, 0xac12_2fd4, 0xbd79_daba),
    (number, 3000, 3004, 12_304, 0x86eb_e1ad, 0xb268_79f6),
    (number, 5000, 4985, 12_304, 0x410d_6207, 0x1907_0c12),
    (number, 10_000, 9987, 12_304, 0x274a_f0ab, 0x35c0_7e62),
    (number, 50_000, 50_354, 12_304, 0x89b6_4604, 0x8131_89cf),
    (number, 200_000, 200_305, 12_304, 0xcf21_0bdb, 0xdcdd_e70b),
    (padded, 1, 1, 21, 0x56a8_52dd, 0x7a72_dd6e),
    (padded, 2, 2, 23, 0x25ad_264f, 0xb93f_b728),
    (padded, 3, 3, 26, 0x3946_8e1b, 0xd172_8a9a),
    (padded, 10, 10, 47, 0xd4c8_ef0f, 0x488f_184e),
    (padded, 100, 100, 277, 0x4866_fc97, 0xb5de_e878),
    (padded, 500, 499, 1045, 0xea9a_2cb3, 0xea47_73a3),
    (padded, 1000, 999, 1906, 0xcc29_213e, 0x88b9_4d7a),
    (padded, 1500, 1487, 2699, 0x6738_910f, 0xf010_dca6),
    (padded, 2000, 2001, 12_304, 0xa05f_7372, 0x1a70_cdff),
    (padded, 3000, 2991, 12_304, 0xb365_7b6e, 0x05eb_2512),
    (padded, 5000, 4996, 12_304, 0xe8d8_7554, 0xd873_a113),
    (padded, 10_000, 9965, 12_304, 0x7590_ce75, 0x75bc_c5a9),
    (padded, 50_000, 49_768, 12_304, 0xd5e3_989a, 0x65d8_2dc8),
    (padded, 200_000, 197_971, 12_304, 0xdd25_f5c4, 0x802b_9c65),
];

/// As PFADD and PFCOUNT do.
fn add_and_count(bytes: &mut Vec<u8>, elements: impl Iterator<Item = Vec<u8>>) -> (u32, u64) {
    let mut changed = false;
    for element in elements {
        changed |= raise(bytes, Observation::of(&element), SPARSE_BYTES_MAX).unwrap();
    }
    if changed {
        mark_stale(bytes);
    }
    let crc = crc32c(bytes);
    let count = cached(bytes).unwrap_or_else(|| estimate(bytes).unwrap());
    let (at, patch) = cardinality_patch(count);
    bytes[at..at + patch.len()].copy_from_slice(&patch);
    (crc, count)
}

#[test]
fn bytes_and_estimates_are_those_of_redis() {
    let (mut bytes, mut done) = (empty(), 0);
    for (name, count, estimate, value_bytes, crc_added, crc_counted) in RECORDED {
        if count < done {
            (bytes, done) = (empty(), 0);
        }
        let (crc, estimated) = add_and_count(&mut bytes, (done..count).map(name));
        assert_eq!((estimated, bytes.len()), (estimate, value_bytes), "{count}");
        assert_eq!((crc, crc32c(&bytes)), (crc_added, crc_counted), "{count}");
        done = count;
    }
}

#[test]
fn elements_of_every_length_hash_as_in_redis() {
    let mut bytes = empty();
    let (crc, count) = add_and_count(&mut bytes, (0..25).map(|length| vec![b'x'; length]));
    assert_eq!((crc, count), (4_255_204_392, 25));
}

fn filled(count: u64) -> Vec<u8> {
    let mut bytes = empty();
    add_and_count(&mut bytes, (0..count).map(number));
    bytes
}

#[test]
fn a_value_made_dense_has_the_same_registers_and_takes_the_same_ones() {
    for count in [0, 1, 50, 1_000, 1_600] {
        let (mut sparse, mut dense) = (filled(count), filled(count));
        assert_eq!(make_dense(&mut dense), Ok(true));
        assert_eq!(make_dense(&mut dense), Ok(false));
        for index in (0..300).map(|index| index * 7 + count) {
            let seen = Observation::of(&number(index));
            assert_eq!(raise(&mut sparse, seen, usize::MAX), raise(&mut dense, seen, usize::MAX));
        }
        assert_eq!(encoding(&sparse), Some(Encoding::Sparse));
        assert_eq!(estimate(&sparse), estimate(&dense));
        make_dense(&mut sparse).unwrap();
        assert_eq!(sparse[HEAD_BYTES..], dense[HEAD_BYTES..]);
    }
}

#[test]
fn a_rank_that_runs_cannot_say_makes_a_value_dense() {
    for (rank, expected) in [(32, Encoding::Sparse), (33, Encoding::Dense), (RANK_MAX, Encoding::Dense)] {
        let mut bytes = filled(10);
        let seen = Observation { index: REGISTER_COUNT - 1, rank };
        assert_eq!(raise(&mut bytes, seen, SPARSE_BYTES_MAX), Ok(true));
        assert_eq!(raise(&mut bytes, seen, SPARSE_BYTES_MAX), Ok(false));
        assert_eq!(encoding(&bytes), Some(expected));
        let mut registers = Registers::new();
        registers.merge(&bytes).unwrap();
        assert_eq!(registers.iter().last(), Some(rank));
    }
}

#[test]
fn what_is_no_whole_value_is_refused_and_never_panics() {
    let whole = filled(300);
    assert!(encoding(&whole[..HEAD_BYTES - 1]).is_none() && encoding(b"").is_none());
    for cut in HEAD_BYTES..whole.len() {
        assert_eq!(estimate(&whole[..cut]), Err(Corrupt), "cut at {cut}");
        let mut bytes = whole[..cut].to_vec();
        assert_eq!(make_dense(&mut bytes), Err(Corrupt), "cut at {cut}");
        _ = raise(&mut bytes, Observation { index: 16_000, rank: 3 }, SPARSE_BYTES_MAX);
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(estimate(&longer), Err(Corrupt));
    for at in HEAD_BYTES..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            _ = estimate(&bent);
            _ = raise(&mut bent, Observation { index: 9_000, rank: 20 }, SPARSE_BYTES_MAX);
        }
    }
    let mut dense = vec![0xff; DENSE_BYTES];
    dense[..HEAD_BYTES].copy_from_slice(&filled(0)[..HEAD_BYTES]);
    dense[4] = 0;
    assert_eq!(encoding(&dense), Some(Encoding::Dense));
    assert!(estimate(&dense).is_ok(), "registers beyond what a hash can give");
    dense.pop();
    assert_eq!(encoding(&dense), None);
}
