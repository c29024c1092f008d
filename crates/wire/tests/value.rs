//! The reply decoder from outside: a table of every type, every cut, hostile counts, and decode(encode) = identity.
//!
//! Deliberately not here: the exact bytes each reply encodes to, which are tested beside the writer.

use proptest::prelude::*;
use wire::value::DEPTH_MAX;
use wire::{DecodeError, Decoded, Protocol, Reply, Value};

fn decode_whole(bytes: &[u8]) -> Result<Value, DecodeError> {
    match Value::decode(bytes)? {
        Decoded::Value { value, bytes: used } => {
            assert_eq!(used, bytes.len());
            Ok(value)
        }
        Decoded::Incomplete { .. } => panic!("{:?} is not whole", bytes.escape_ascii().to_string()),
    }
}

fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut Reply::new(&mut out, Protocol::Resp3));
    out
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn every_type() -> Vec<(&'static str, Value)> {
    vec![
        ("+OK\r\n", Value::Simple(b"OK".to_vec())),
        ("+\r\n", Value::Simple(Vec::new())),
        ("-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
        (":-17\r\n", Value::Integer(-17)),
        (":+17\r\n", Value::Integer(17)),
        ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
        ("$0\r\n\r\n", bulk("")),
        ("$-1\r\n", Value::Null),
        ("_\r\n", Value::Null),
        ("*-1\r\n", Value::NullArray),
        ("*0\r\n", Value::Array(vec![])),
        ("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", Value::Array(vec![Value::Integer(1), Value::Array(vec![bulk("x")])])),
        (",1.5\r\n", Value::Double(1.5)),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        ("#t\r\n", Value::Boolean(true)),
        ("#f\r\n", Value::Boolean(false)),
        ("!5\r\nERR a\r\n", Value::BulkError(b"ERR a".to_vec())),
        ("=7\r\ntxt:abc\r\n", Value::Verbatim { format: *b"txt", text: b"abc".to_vec() }),
        ("(-123456789012345678901\r\n", Value::BigNumber(b"-123456789012345678901".to_vec())),
        ("%1\r\n+k\r\n:1\r\n", Value::Map(vec![(Value::Simple(b"k".to_vec()), Value::Integer(1))])),
        ("~2\r\n:1\r\n:2\r\n", Value::Set(vec![Value::Integer(1), Value::Integer(2)])),
        (">1\r\n$3\r\nfoo\r\n", Value::Push(vec![bulk("foo")])),
        (
            "|1\r\n+k\r\n:1\r\n+OK\r\n",
            Value::Attributed {
                attributes: vec![(Value::Simple(b"k".to_vec()), Value::Integer(1))],
                value: Box::new(Value::Simple(b"OK".to_vec())),
            },
        ),
    ]
}

#[test]
fn every_type_decodes_and_every_cut_of_it_is_incomplete() {
    for (bytes, value) in every_type() {
        assert_eq!(decode_whole(bytes.as_bytes()), Ok(value), "{bytes:?}");
        for cut in 0..bytes.len() {
            let missing = bytes.len() - cut;
            match Value::decode(&bytes.as_bytes()[..cut]) {
                Ok(Decoded::Incomplete { bytes_missing }) => {
                    assert!((1..=missing).contains(&bytes_missing), "{bytes:?} cut at {cut}: {bytes_missing}");
                }
                other => panic!("{bytes:?} cut at {cut} gave {other:?}"),
            }
        }
    }
    let Ok(Value::Double(nan)) = decode_whole(b",nan\r\n") else { panic!("nan is a double") };
    assert!(nan.is_nan());
}

#[test]
fn bytes_after_the_reply_are_left_alone() {
    assert_eq!(Value::decode(b":1\r\n:2\r\n"), Ok(Decoded::Value { value: Value::Integer(1), bytes: 4 }));
}

#[test]
fn what_is_no_reply_is_refused_with_its_reason() {
    let long_line = format!("+{}", "x".repeat(wire::value::VALUE_LINE_BYTES_MAX));
    #[rustfmt::skip]
    let table: &[(&str, DecodeError)] = &[
        ("x", DecodeError::Marker(b'x')), ("\r\n", DecodeError::Marker(b'\r')), ("$-2\r\n", DecodeError::Length),
        ("$?\r\n", DecodeError::Length), ("*?\r\n", DecodeError::Length), ("$01\r\n", DecodeError::Length),
        ("$1073741825\r\n", DecodeError::Length), ("!-1\r\n", DecodeError::Length), ("%-1\r\n", DecodeError::Length),
        ("~-1\r\n", DecodeError::Length), ("%9223372036854775807\r\n", DecodeError::Length),
        ("*9223372036854775807\r\n", DecodeError::Length), ("$1\r\nabc", DecodeError::LineEnd),
        ("+a\rb", DecodeError::LineEnd), (":x\r\n", DecodeError::Scalar), (":\r\n", DecodeError::Scalar),
        ("#x\r\n", DecodeError::Scalar), (",x\r\n", DecodeError::Scalar), ("(1x\r\n", DecodeError::Scalar),
        ("(\r\n", DecodeError::Scalar), ("_x\r\n", DecodeError::Scalar), ("=3\r\nabc\r\n", DecodeError::Scalar),
        (&long_line, DecodeError::LineTooLong),
    ];
    for (bytes, error) in table {
        assert_eq!(Value::decode(bytes.as_bytes()), Err(*error), "{:?}", &bytes[..bytes.len().min(30)]);
    }
}

#[test]
fn a_count_beyond_the_bytes_at_hand_is_incomplete_before_anything_is_allocated() {
    let Ok(Decoded::Incomplete { bytes_missing }) = Value::decode(b"*1000000000000\r\n:1\r\n") else {
        panic!("a trillion elements cannot lie in four bytes")
    };
    assert_eq!(bytes_missing, 3_000_000_000_000 - 4);
}

#[test]
fn nesting_stops_at_its_limit_for_every_aggregate() {
    let nested = |opening: &str, depth: usize| format!("{}:1\r\n", opening.repeat(depth));
    for opening in ["*1\r\n", "~1\r\n", ">1\r\n", "%1\r\n:1\r\n", "|0\r\n"] {
        assert!(decode_whole(nested(opening, DEPTH_MAX).as_bytes()).is_ok(), "{opening:?}");
        let deeper = nested(opening, DEPTH_MAX + 1);
        assert_eq!(Value::decode(deeper.as_bytes()), Err(DecodeError::Depth), "{opening:?}");
    }
}

#[test]
fn strings_of_every_kind_can_be_read_alike_and_errors_are_none() {
    for bytes in ["+a\r\n", "$1\r\na\r\n", "=5\r\ntxt:a\r\n"] {
        assert_eq!(decode_whole(bytes.as_bytes()).unwrap().as_bytes(), Some(&b"a"[..]));
    }
    for bytes in ["-a\r\n", "!1\r\na\r\n"] {
        assert_eq!(decode_whole(bytes.as_bytes()).unwrap().as_bytes(), None);
    }
}

fn bytes_any() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..150)
}

fn text_any() -> impl Strategy<Value = Vec<u8>> {
    bytes_any().prop_map(|bytes| bytes.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

fn value_any() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text_any().prop_map(Value::Simple),
        text_any().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes_any().prop_map(Value::Bulk),
        Just(Value::Null),
        Just(Value::NullArray),
        any::<f64>().prop_filter("NaN is not equal to itself", |value| !value.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        bytes_any().prop_map(Value::BulkError),
        (any::<[u8; 3]>(), bytes_any()).prop_map(|(format, text)| Value::Verbatim { format, text }),
        any::<i128>().prop_map(|number| Value::BigNumber(number.to_string().into_bytes())),
    ];
    leaf.prop_recursive(4, 60, 12, |inner| {
        let values = proptest::collection::vec(inner.clone(), 0..12);
        let pairs = proptest::collection::vec((inner.clone(), inner.clone()), 0..6);
        prop_oneof![
            values.clone().prop_map(Value::Array),
            values.clone().prop_map(Value::Set),
            values.prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner).prop_map(|(attributes, value)| Value::Attributed { attributes, value: Box::new(value) }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(value in value_any()) {
        prop_assert_eq!(decode_whole(&encode(&value)), Ok(value));
    }

    #[test]
    fn every_cut_of_a_reply_is_incomplete_and_asks_for_no_more_than_is_missing(value in value_any(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&value);
        let cut = cut.index(bytes.len());
        let Ok(Decoded::Incomplete { bytes_missing }) = Value::decode(&bytes[..cut]) else {
            return Err(TestCaseError::fail("a cut reply is incomplete"));
        };
        prop_assert!((1..=bytes.len() - cut).contains(&bytes_missing));
    }

    #[test]
    fn damaged_replies_never_panic_and_what_decodes_encodes_stably(
        value in value_any(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode(&value);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Decoded::Value { value, bytes: used }) = Value::decode(&bytes) {
            prop_assert!(used <= bytes.len());
            let again = encode(&value);
            prop_assert_eq!(encode(&decode_whole(&again).unwrap()), again);
        }
    }
}
