//! Replies as golden scripts show them: one line each, RESP's own marker in front, bulk strings quoted and escaped,
//! elements indented below what they belong to.

use super::Answer;
use commands::Flow;
use wire::value::{Decoded, Value};

/// The lines of an answer. Checks that the reply is exactly one whole RESP value, or that all of it is pushes.
pub fn answer(answer: &Answer, sorted: bool) -> String {
    let mut out = String::new();
    match &answer.flow {
        Flow::Await(what) => {
            assert!(answer.reply.is_empty(), "what waits has not answered");
            return format!("(awaits {what:?})\n");
        }
        Flow::Begun(_) => unreachable!("replies are brought to an end"),
        Flow::Done | Flow::Close if answer.reply.is_empty() => out.push_str("(no reply)\n"),
        Flow::Done | Flow::Close => value(&decoded(&answer.reply, sorted), "", &mut out),
        Flow::Subscribed | Flow::Unsubscribed => pushes(&answer.reply, &mut out),
    }
    if matches!(answer.flow, Flow::Close) {
        out.push_str("(closes)\n");
    }
    out
}

/// Replies that are pushes: one for each name.
fn pushes(mut replies: &[u8], out: &mut String) {
    while !replies.is_empty() {
        match Value::decode(replies) {
            Ok(Decoded::Value { value: push, bytes }) => {
                value(&push, "", out);
                replies = &replies[bytes..];
            }
            other => panic!("not a reply: {}: {other:?}", replies.escape_ascii()),
        }
    }
}

fn decoded(reply: &[u8], sorted: bool) -> Value {
    let shown = reply.escape_ascii();
    match Value::decode(reply) {
        Ok(Decoded::Value { value, bytes }) => {
            assert_eq!(bytes, reply.len(), "more than one reply: {shown}");
            if sorted { sort(value) } else { value }
        }
        other => panic!("not a reply: {shown}: {other:?}"),
    }
}

fn sort(value: Value) -> Value {
    let key = |value: &Value| format!("{value:?}");
    match value {
        Value::Array(mut elements) => {
            elements.sort_by_key(key);
            Value::Array(elements)
        }
        Value::Set(mut elements) => {
            elements.sort_by_key(key);
            Value::Set(elements)
        }
        Value::Map(mut pairs) => {
            pairs.sort_by_key(|(name, _)| key(name));
            Value::Map(pairs)
        }
        other => other,
    }
}

fn value(shown: &Value, indent: &str, out: &mut String) {
    let line = match shown {
        Value::Simple(text) => format!("+{}", text.escape_ascii()),
        Value::Error(text) | Value::BulkError(text) => format!("-{}", String::from_utf8_lossy(text)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::Null => "nil".to_owned(),
        Value::NullArray => "nil array".to_owned(),
        Value::Double(number) => format!(",{number}"),
        Value::Boolean(truth) => format!("#{}", if *truth { 't' } else { 'f' }),
        Value::Verbatim { format, text } => format!("={}:\"{}\"", format.escape_ascii(), text.escape_ascii()),
        Value::BigNumber(digits) => format!("({}", digits.escape_ascii()),
        Value::Array(elements) => return list('*', elements, indent, out),
        Value::Set(elements) => return list('~', elements, indent, out),
        Value::Push(elements) => return list('!', elements, indent, out),
        Value::Map(pairs) => return map('%', pairs, indent, out),
        Value::Attributed { attributes, value: described } => {
            map('|', attributes, indent, out);
            return value(described, indent, out);
        }
    };
    out.extend([indent, &line, "\n"]);
}

fn list(marker: char, elements: &[Value], indent: &str, out: &mut String) {
    out.extend([indent, &format!("{marker}{}\n", elements.len())]);
    for element in elements {
        value(element, &format!("{indent}  "), out);
    }
}

fn map(marker: char, pairs: &[(Value, Value)], indent: &str, out: &mut String) {
    out.extend([indent, &format!("{marker}{}\n", pairs.len())]);
    for (name, held) in pairs {
        value(name, &format!("{indent}  "), out);
        value(held, &format!("{indent}    "), out);
    }
}
