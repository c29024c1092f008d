//! Type bytes, versions and the footer: what identifies a payload.
//!
//! Footer, little-endian: `version:u16 crc64:u64`; the checksum covers everything before itself.
//!
//! Up to version 11 Redis and Valkey agree. Redis went on to 12 and 13, Valkey to 80, and both gave types from 22
//! on meanings of their own: a type byte can be read only together with the version.
//!
//! Unlike in a whole RDB file, a checksum of zero does not mean "not computed": RESTORE refuses it in Redis too.

use crate::DumpError;
use crate::crc64::crc64;
use std::ops::RangeInclusive;

/// Versions Redis has written since DUMP exists: 12 by 7.4 and 8.0; 13 came after and adds types from 26 on.
pub(crate) const VERSIONS_REDIS: RangeInclusive<u16> = 1..=13;
/// The version Valkey 9.0 and 9.1 write.
pub(crate) const VERSION_VALKEY_9: u16 = 80;
const VERSION_REDIS_7_4: u16 = 12;
const VERSION_REDIS_7_2: u16 = 11;
const VERSION_REDIS_7_0: u16 = 10;

const VERSION_BYTES: usize = 2;
const CRC_BYTES: usize = 8;

/// Whether to believe a payload's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Refuse the payload unless it holds.
    Verify,
    /// Do not look at it.
    Skip,
}

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encoding {
    String = 0,
    List = 1,
    Set = 2,
    SortedSetText = 3,
    Hash = 4,
    SortedSet = 5,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    SortedSetZiplist = 12,
    HashZiplist = 13,
    ListQuicklist = 14,
    StreamV1 = 15,
    HashListpack = 16,
    SortedSetListpack = 17,
    ListQuicklist2 = 18,
    StreamV2 = 19,
    SetListpack = 20,
    StreamV3 = 21,
    /// Valkey 9: each field with its own expiry.
    HashExpiring = 22,
    /// Redis 7.4: expiries relative to the earliest.
    HashMetadata = 24,
    /// Redis 7.4: triples in a listpack.
    HashListpackEx = 25,
}

impl Encoding {
    /// The encoding that `byte` means in a payload of `version`; `None` when this release knows none.
    pub(crate) fn decode(byte: u8, version: u16) -> Option<Self> {
        use Encoding as E;
        const COMMON: [Encoding; 19] = [
            E::String,
            E::List,
            E::Set,
            E::SortedSetText,
            E::Hash,
            E::SortedSet,
            E::HashZipmap,
            E::ListZiplist,
            E::SetIntset,
            E::SortedSetZiplist,
            E::HashZiplist,
            E::ListQuicklist,
            E::StreamV1,
            E::HashListpack,
            E::SortedSetListpack,
            E::ListQuicklist2,
            E::StreamV2,
            E::SetListpack,
            E::StreamV3,
        ];
        let own: &[Encoding] = match version {
            VERSION_VALKEY_9 => &[E::HashExpiring],
            _ if VERSIONS_REDIS.contains(&version) && VERSION_REDIS_7_4 <= version => {
                &[E::HashMetadata, E::HashListpackEx]
            }
            _ => &[],
        };
        COMMON.iter().chain(own).copied().find(|encoding| *encoding as u8 == byte)
    }

    /// The oldest version whose readers know the encoding, down to Redis 7.0: writing that one rather than the
    /// newest lets older servers restore what they can.
    fn version(self) -> u16 {
        match self {
            Encoding::HashExpiring => VERSION_VALKEY_9,
            Encoding::HashMetadata | Encoding::HashListpackEx => VERSION_REDIS_7_4,
            Encoding::SetListpack | Encoding::StreamV3 => VERSION_REDIS_7_2,
            _ => VERSION_REDIS_7_0,
        }
    }
}

/// Which versions of a payload are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Those this release knows.
    Known,
    /// Any: one that is not known may hold the types that all versions have in common.
    Any,
}

impl Versions {
    fn allows(self, version: u16) -> bool {
        self == Versions::Any || VERSIONS_REDIS.contains(&version) || version == VERSION_VALKEY_9
    }
}

/// Splits a payload into what stands before its footer, and its version.
pub(crate) fn split_footer(payload: &[u8], checksum: Checksum, versions: Versions) -> Result<(&[u8], u16), DumpError> {
    let (covered, crc) = payload.split_last_chunk::<CRC_BYTES>().ok_or(DumpError::VersionOrChecksum)?;
    let (value, version) = covered.split_last_chunk::<VERSION_BYTES>().ok_or(DumpError::VersionOrChecksum)?;
    let version = u16::from_le_bytes(*version);
    if !versions.allows(version) {
        return Err(DumpError::VersionOrChecksum);
    }
    if checksum == Checksum::Verify && crc64(covered) != u64::from_le_bytes(*crc) {
        return Err(DumpError::VersionOrChecksum);
    }
    Ok((value, version))
}

/// Splits a payload into its encoding and body.
pub(crate) fn open(payload: &[u8], checksum: Checksum, versions: Versions) -> Result<(Encoding, &[u8]), DumpError> {
    let (value, version) = split_footer(payload, checksum, versions)?;
    let (byte, body) = value.split_first().ok_or(DumpError::BadFormat("payload has no type"))?;
    let encoding = Encoding::decode(*byte, version).ok_or(DumpError::BadFormat("type is not known"))?;
    Ok((encoding, body))
}

/// Appends a whole payload to `out`: the type, what `body` writes, and the footer.
pub(crate) fn put_payload(out: &mut Vec<u8>, encoding: Encoding, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(encoding as u8);
    body(out);
    put_footer_of(out, start, encoding.version());
}

/// Appends the footer of a payload that began at `start`, and that Redis 7.0 can read.
pub(crate) fn put_footer(out: &mut Vec<u8>, start: usize) {
    put_footer_of(out, start, VERSION_REDIS_7_0);
}

fn put_footer_of(out: &mut Vec<u8>, start: usize, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc64(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(payload: &[u8], checksum: Checksum) -> Result<(Encoding, &[u8]), DumpError> {
        super::open(payload, checksum, Versions::Known)
    }

    #[test]
    fn every_type_byte_means_one_encoding_or_none_in_each_version() {
        #[rustfmt::skip]
        let versions = [
            (0, vec![]), (1, vec![]), (11, vec![]), (12, vec![24, 25]), (13, vec![24, 25]), (14, vec![]), (80, vec![22]),
            (81, vec![]), (222, vec![]),
        ];
        for (version, own) in versions {
            for byte in 0..=u8::MAX {
                let known = byte < 22 && !matches!(byte, 6..=8) || own.contains(&byte);
                assert_eq!(Encoding::decode(byte, version).map(|encoding| encoding as u8), known.then_some(byte));
            }
        }
    }

    #[test]
    fn only_known_versions_and_true_checksums_open() {
        let mut whole = Vec::new();
        put_payload(&mut whole, Encoding::String, |out| out.extend_from_slice(b"\x03bar"));
        assert_eq!(open(&whole, Checksum::Verify), Ok((Encoding::String, &b"\x03bar"[..])));
        for cut in 0..whole.len() {
            assert_eq!(open(&whole[..cut], Checksum::Verify), Err(DumpError::VersionOrChecksum));
        }
        for flip in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[flip / 8] ^= 1 << (flip % 8);
            assert_eq!(open(&bent, Checksum::Verify), Err(DumpError::VersionOrChecksum));
        }
        for version in 0..=u16::MAX {
            let covered = [&b"\x00\x03bar"[..], &version.to_le_bytes()].concat();
            let payload = [&covered[..], &crc64(&covered).to_le_bytes()].concat();
            assert_eq!(open(&payload, Checksum::Verify).is_ok(), matches!(version, 1..=13 | 80), "{version}");
            assert!(super::open(&payload, Checksum::Verify, Versions::Any).is_ok(), "{version}");
        }
    }

    #[test]
    fn a_checksum_of_zero_is_refused_unless_it_is_skipped() {
        let payload = b"\x00\x03bar\x0b\x00\0\0\0\0\0\0\0\0";
        assert_eq!(open(payload, Checksum::Verify), Err(DumpError::VersionOrChecksum));
        assert!(open(payload, Checksum::Skip).is_ok());
    }
}
