//! The library `cjson`: JSON to Lua values and back.
//!
//! Behaviour of lua-cjson 2.1, which Redis offers: settings are the state's, not the script's; null is a value of its
//! own; a table is an array when its keys are positive integers and few are missing.

use crate::engine::Shared;
use crate::native::{Given, Native, Params, Problem, one};
use crate::number::{format_general, parse_prefix};
use mlua::{LightUserData, Lua, MultiValue, Result as LuaResult, Table, Value};

pub(crate) const FUNCTIONS: &[Native] = &[
    ("decode", decode),
    ("decode_invalid_numbers", decode_invalid_numbers),
    ("decode_max_depth", decode_max_depth),
    ("encode", encode),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_max_depth", encode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_sparse_array", encode_sparse_array),
];

/// What scripts may set.
pub(crate) struct Settings {
    sparse_converts: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth_max: usize,
    decode_depth_max: usize,
    precision: usize,
    encode_invalid: Invalid,
    decode_invalid: bool,
    keeps_buffer: bool,
}

/// What becomes of numbers JSON has no word for.
#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_converts: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
            keeps_buffer: true,
        }
    }
}

pub(crate) fn constants(lua: &Lua) -> LuaResult<Table> {
    let constants = lua.create_table()?;
    constants.raw_set("null", Value::LightUserData(NULL))?;
    constants.raw_set("_NAME", "cjson")?;
    constants.raw_set("_VERSION", "2.1.0")?;
    Ok(constants)
}

const NULL: LightUserData = LightUserData(std::ptr::null_mut());

fn flag(params: &Params, index: usize, set: &mut bool) -> Result<(), Problem> {
    match params.get(index) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *set = *value,
        Some(Value::String(word)) if word.as_bytes() == *b"on" => *set = true,
        Some(Value::String(word)) if word.as_bytes() == *b"off" => *set = false,
        Some(_) => return Err(params.bad(index, "invalid option")),
    }
    Ok(())
}

fn bounded(params: &Params, index: usize, low: i64, high: i64, set: &mut i64) -> Result<(), Problem> {
    if params.get(index).is_some_and(|value| !value.is_nil()) {
        *set = params.within(index, low, high)?;
    }
    Ok(())
}

const INT_MAX: i64 = i32::MAX as i64;

fn depth(params: &Params, set: &mut usize) -> Given {
    let mut depth = *set as i64;
    bounded(params, 1, 1, INT_MAX, &mut depth)?;
    *set = depth as usize;
    Ok(one(Value::Number(depth as f64)))
}

fn encode_max_depth(_: &Lua, shared: &Shared, params: &Params) -> Given {
    depth(params, &mut shared.cjson.borrow_mut().encode_depth_max)
}

fn decode_max_depth(_: &Lua, shared: &Shared, params: &Params) -> Given {
    depth(params, &mut shared.cjson.borrow_mut().decode_depth_max)
}

fn encode_number_precision(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let settings = &mut shared.cjson.borrow_mut();
    let mut precision = settings.precision as i64;
    bounded(params, 1, 1, 14, &mut precision)?;
    settings.precision = precision as usize;
    Ok(one(Value::Number(precision as f64)))
}

fn encode_keep_buffer(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let settings = &mut shared.cjson.borrow_mut();
    flag(params, 1, &mut settings.keeps_buffer)?;
    Ok(one(Value::Boolean(settings.keeps_buffer)))
}

fn decode_invalid_numbers(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let settings = &mut shared.cjson.borrow_mut();
    flag(params, 1, &mut settings.decode_invalid)?;
    Ok(one(Value::Boolean(settings.decode_invalid)))
}

fn encode_invalid_numbers(lua: &Lua, shared: &Shared, params: &Params) -> Given {
    let settings = &mut shared.cjson.borrow_mut();
    if let Some(Value::String(word)) = params.get(1)
        && word.as_bytes() == *b"null"
    {
        settings.encode_invalid = Invalid::Null;
    } else {
        let mut written = settings.encode_invalid == Invalid::Written;
        let is_given = params.get(1).is_some_and(|value| !value.is_nil());
        flag(params, 1, &mut written)?;
        if is_given {
            settings.encode_invalid = if written { Invalid::Written } else { Invalid::Refused };
        }
    }
    Ok(one(match settings.encode_invalid {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written => Value::Boolean(true),
        Invalid::Null => Value::String(lua.create_string("null")?),
    }))
}

fn encode_sparse_array(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let settings = &mut *shared.cjson.borrow_mut();
    flag(params, 1, &mut settings.sparse_converts)?;
    bounded(params, 2, 0, INT_MAX, &mut settings.sparse_ratio)?;
    bounded(params, 3, 0, INT_MAX, &mut settings.sparse_safe)?;
    Ok(MultiValue::from_iter([
        Value::Boolean(settings.sparse_converts),
        Value::Number(settings.sparse_ratio as f64),
        Value::Number(settings.sparse_safe as f64),
    ]))
}

fn encode(lua: &Lua, shared: &Shared, params: &Params) -> Given {
    if params.count() != 1 {
        return Err(params.bad(1, "expected 1 argument"));
    }
    let mut out = Vec::new();
    let value = params.get(1).unwrap_or(&Value::Nil);
    put(&mut out, &shared.cjson.borrow(), value, 0)?;
    Ok(one(Value::String(lua.create_string(out)?)))
}

fn cannot(what: &str, why: &str) -> Problem {
    Problem::Text(format!("Cannot serialise {what}: {why}"))
}

fn put(out: &mut Vec<u8>, settings: &Settings, value: &Value, depth: usize) -> Result<(), Problem> {
    match value {
        Value::Nil | Value::LightUserData(NULL) => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(number) => put_number(out, settings, *number as f64)?,
        Value::Number(number) => put_number(out, settings, *number)?,
        Value::String(text) => put_string(out, &text.as_bytes()),
        Value::Table(table) => put_table(out, settings, table, depth + 1)?,
        other => return Err(cannot(other.type_name(), "type not supported")),
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, settings: &Settings, number: f64) -> Result<(), Problem> {
    if !number.is_finite() {
        match settings.encode_invalid {
            Invalid::Refused => return Err(cannot("number", "must not be NaN or Infinity")),
            Invalid::Null => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Written => {}
        }
    }
    out.extend_from_slice(format_general(number, settings.precision).as_bytes());
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

fn put_table(out: &mut Vec<u8>, settings: &Settings, table: &Table, depth: usize) -> Result<(), Problem> {
    if depth > settings.encode_depth_max {
        return Err(format!("Cannot serialise, excessive depth ({depth})").into());
    }
    if let Some(count) = array_count(settings, table)? {
        out.push(b'[');
        for index in 1..=count {
            if index > 1 {
                out.push(b',');
            }
            put(out, settings, &table.raw_get(index)?, depth)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => put_string(out, &text.as_bytes()),
            Value::Integer(number) => {
                out.push(b'"');
                put_number(out, settings, *number as f64)?;
                out.push(b'"');
            }
            Value::Number(number) => {
                out.push(b'"');
                put_number(out, settings, *number)?;
                out.push(b'"');
            }
            other => return Err(cannot(other.type_name(), "table key must be a number or string")),
        }
        out.push(b':');
        put(out, settings, &value, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// The length of the array that a table is; `None` when it is an object.
fn array_count(settings: &Settings, table: &Table) -> Result<Option<i64>, Problem> {
    let (mut highest, mut count) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        let Value::Integer(key @ 1..) = pair?.0 else { return Ok(None) };
        highest = highest.max(key);
        count += 1;
    }
    let is_sparse =
        settings.sparse_ratio > 0 && highest > count * settings.sparse_ratio && highest > settings.sparse_safe;
    if is_sparse && !settings.sparse_converts {
        return Err(cannot("table", "excessively sparse array"));
    }
    Ok((highest > 0 && !is_sparse).then_some(highest))
}

fn decode(lua: &Lua, shared: &Shared, params: &Params) -> Given {
    if params.count() != 1 {
        return Err(params.bad(1, "expected 1 argument"));
    }
    let text = params.string(lua, 1)?;
    let text = text.as_bytes();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".into());
    }
    let mut parser = Parser { lua, settings: &shared.cjson.borrow(), text: &text, at: 0, depth: 0 };
    let (token, start) = parser.token()?;
    let value = parser.value(token, start)?;
    match parser.token()? {
        (Token::End, _) => Ok(one(value)),
        (token, at) => Err(expected("the end", &token, at)),
    }
}

enum Token {
    Open,
    Close,
    OpenArray,
    CloseArray,
    Colon,
    Comma,
    End,
    Null,
    Boolean(bool),
    Number(f64),
    Text(Vec<u8>),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Open => "T_OBJ_BEGIN",
            Token::Close => "T_OBJ_END",
            Token::OpenArray => "T_ARR_BEGIN",
            Token::CloseArray => "T_ARR_END",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Null => "T_NULL",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Number(_) => "T_NUMBER",
            Token::Text(_) => "T_STRING",
        }
    }
}

fn expected(what: &str, found: &Token, at: usize) -> Problem {
    Problem::Text(format!("Expected {what} but found {} at character {}", found.name(), at + 1))
}

fn invalid(what: &str, at: usize) -> Problem {
    Problem::Text(format!("Expected value but found {what} at character {}", at + 1))
}

struct Parser<'p> {
    lua: &'p Lua,
    settings: &'p Settings,
    text: &'p [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    /// The next token and where it begins.
    fn token(&mut self) -> Result<(Token, usize), Problem> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(byte) = self.text.get(start) else { return Ok((Token::End, start)) };
        self.at += 1;
        let token = match byte {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'[' => Token::OpenArray,
            b']' => Token::CloseArray,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => Token::Text(self.string(start)?),
            b'-' | b'+' | b'0'..=b'9' | b'.' => self.number(start)?,
            _ => self.word(start)?,
        };
        Ok((token, start))
    }

    fn word(&mut self, start: usize) -> Result<Token, Problem> {
        let words = [(&b"null"[..], Token::Null), (b"true", Token::Boolean(true)), (b"false", Token::Boolean(false))];
        for (word, token) in words {
            if self.text[start..].starts_with(word) {
                self.at = start + word.len();
                return Ok(token);
            }
        }
        if self.settings.decode_invalid && matches!(self.text[start], b'i' | b'I' | b'n' | b'N') {
            return self.number(start);
        }
        Err(invalid("invalid token", start))
    }

    fn number(&mut self, start: usize) -> Result<Token, Problem> {
        let rest = &self.text[start..];
        if !self.settings.decode_invalid && is_invalid_number(rest) {
            return Err(invalid("invalid number", start));
        }
        let (number, bytes) = parse_prefix(rest).ok_or_else(|| invalid("invalid number", start))?;
        self.at = start + bytes;
        Ok(Token::Number(number))
    }

    fn string(&mut self, start: usize) -> Result<Vec<u8>, Problem> {
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\')).count();
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            let escaped = match self.text.get(self.at) {
                None => return Err(invalid("unexpected end of string", start.max(self.at))),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(_) => self.text.get(self.at + 1),
            };
            let at = self.at;
            self.at += 2;
            out.push(match escaped {
                Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
                Some(b'b') => 0x08,
                Some(b'f') => 0x0C,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let letter = self.unicode(at)?;
                    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(invalid("invalid escape code", at)),
            });
        }
    }

    /// A character given as `\uXXXX`, or as two of them.
    fn unicode(&mut self, at: usize) -> Result<char, Problem> {
        let unit = |from: usize| {
            let digits = self.text.get(from..from + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let wrong = || invalid("invalid unicode escape code", at);
        let first = unit(at + 2).ok_or_else(wrong)?;
        let (code, bytes) = if (0xD800..0xDC00).contains(&first) {
            let follows = self.text.get(at + 6..at + 8) == Some(b"\\u");
            let second = unit(at + 8).filter(|second| follows && (0xDC00..0xE000).contains(second));
            let second = second.ok_or_else(wrong)?;
            (0x1_0000 + ((first & 0x3FF) << 10 | second & 0x3FF), 12)
        } else {
            (first, 6)
        };
        let letter = char::from_u32(code).ok_or_else(wrong)?;
        self.at = at + bytes;
        Ok(letter)
    }

    fn descend(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > self.settings.decode_depth_max {
            let (depth, at) = (self.depth, self.at);
            return Err(format!("Found too many nested data structures ({depth}) at character {at}").into());
        }
        Ok(())
    }

    fn value(&mut self, token: Token, start: usize) -> Result<Value, Problem> {
        match token {
            Token::Text(text) => Ok(Value::String(self.lua.create_string(text)?)),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Boolean(value) => Ok(Value::Boolean(value)),
            Token::Null => Ok(Value::LightUserData(NULL)),
            Token::Open => self.object(),
            Token::OpenArray => self.array(),
            other => Err(expected("value", &other, start)),
        }
    }

    fn object(&mut self) -> Result<Value, Problem> {
        self.descend()?;
        let object = self.lua.create_table()?;
        let mut next = self.token()?;
        if matches!(next.0, Token::Close) {
            self.depth -= 1;
            return Ok(Value::Table(object));
        }
        loop {
            let Token::Text(key) = next.0 else { return Err(expected("object key string", &next.0, next.1)) };
            let (colon, at) = self.token()?;
            if !matches!(colon, Token::Colon) {
                return Err(expected("colon", &colon, at));
            }
            let (token, at) = self.token()?;
            let value = self.value(token, at)?;
            object.raw_set(self.lua.create_string(key)?, value)?;
            match self.token()? {
                (Token::Close, _) => break,
                (Token::Comma, _) => next = self.token()?,
                (other, at) => return Err(expected("comma or object end", &other, at)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(object))
    }

    fn array(&mut self) -> Result<Value, Problem> {
        self.descend()?;
        let array = self.lua.create_table()?;
        let (mut token, mut at) = self.token()?;
        if matches!(token, Token::CloseArray) {
            self.depth -= 1;
            return Ok(Value::Table(array));
        }
        for index in 1.. {
            let value = self.value(token, at)?;
            array.raw_set(index, value)?;
            match self.token()? {
                (Token::CloseArray, _) => break,
                (Token::Comma, _) => (token, at) = self.token()?,
                (other, at) => return Err(expected("comma or array end", &other, at)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(array))
    }
}

/// Numbers C reads and JSON does not have.
fn is_invalid_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    matches!(digits, [b'+' | b'i' | b'I' | b'n' | b'N', ..] | [b'0', b'x' | b'X' | b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        let lua = Lua::new();
        let settings = Settings::default();
        let mut parser = Parser { lua: &lua, settings: &settings, text: text.as_bytes(), at: 0, depth: 0 };
        let parsed = parser.token().and_then(|(token, start)| parser.value(token, start));
        let encoded = parsed.and_then(|value| {
            let mut out = Vec::new();
            put(&mut out, &settings, &value, 0).map(|()| out)
        });
        match encoded {
            Ok(out) => String::from_utf8(out).expect("text"),
            Err(Problem::Text(text)) => text,
            Err(Problem::Lua(error)) => error.to_string(),
        }
    }

    #[test]
    fn json_is_read_and_written_as_it_was() {
        for text in ["[1,2.5,-3]", "\"a\\n\\u0001\\/\"", "{\"a\":[true,false,null]}", "{}", "1e+20", "\"\u{20ac}\""] {
            assert_eq!(round_trip(text), text);
        }
        assert_eq!(round_trip("[]"), "{}", "an empty table is an object");
        assert_eq!(round_trip("\"\\ud83d\\ude00\""), "\"\u{1F600}\"");
        assert_eq!(round_trip(" [ 0x10 , 1.50 ] "), "[16,1.5]");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, error) in [
            ("", "Expected value but found T_END at character 1"),
            ("[1", "Expected comma or array end but found T_END at character 3"),
            ("{\"a\" 1}", "Expected colon but found T_NUMBER at character 6"),
            ("{1:2}", "Expected object key string but found T_NUMBER at character 2"),
            ("hello", "Expected value but found invalid token at character 1"),
            ("\"\\q\"", "Expected value but found invalid escape code at character 2"),
            ("\"\\ud800\"", "Expected value but found invalid unicode escape code at character 2"),
        ] {
            assert_eq!(round_trip(text), error);
        }
        let nested = "[".repeat(1001);
        assert_eq!(round_trip(&nested), "Found too many nested data structures (1001) at character 1001");
    }
}
