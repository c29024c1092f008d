//! Problem documents (RFC 9457): what a request is told that cannot be done, and which status that is.
//!
//! ```text
//! {"type":"about:blank","title":"Conflict","status":409,"code":"WRONGTYPE","detail":"Operation against a key …"}
//! ```
//!
//! `code` is the first word of a command's error, where it was a command that refused. Deliberately one table from
//! codes to statuses: a door that wants other statuses for its own clients has a table of its own.

use super::answer::{Answer, reason};
use super::json::put_string;
use std::io::Write;

/// The status that an error of a command comes to, by its code; whatever is not here was asked wrongly.
const STATUSES: &[(&str, u16)] = &[
    ("BUSY", 503),
    ("BUSYGROUP", 409),
    ("BUSYKEY", 409),
    ("EXECABORT", 409),
    ("INPROG", 409),
    ("LOADING", 503),
    ("MASTERDOWN", 503),
    ("MISCONF", 507),
    ("NOAUTH", 401),
    ("NOGROUP", 404),
    ("NOPERM", 403),
    ("NOREPLICAS", 503),
    ("NOSCRIPT", 404),
    ("NOTBUSY", 409),
    ("OOM", 507),
    ("READONLY", 503),
    ("TRYAGAIN", 503),
    ("UNBLOCKED", 503),
    ("UNKILLABLE", 409),
    ("WRONGPASS", 401),
    ("WRONGTYPE", 409),
];

/// The code of an error of a command, `ERR` where it has none, and what is said behind it.
pub fn split_error(error: &[u8]) -> (&str, &[u8]) {
    let bytes = error.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match (bytes, error.get(bytes)) {
        (1.., Some(b' ')) => (std::str::from_utf8(&error[..bytes]).unwrap_or("ERR"), &error[bytes + 1..]),
        _ => ("ERR", error),
    }
}

/// The status that an error of a command comes to. `error` is its text, without the marker.
pub fn status_of(error: &[u8]) -> u16 {
    let (code, detail) = split_error(error);
    match STATUSES.binary_search_by_key(&code, |(code, _)| code) {
        Ok(index) => STATUSES[index].1,
        Err(_) if matches!(detail, b"no such key" | b"index out of range") => 404,
        Err(_) => 400,
    }
}

/// Answers with a problem document. What was in the answer before is gone.
pub fn refuse<'a>(answer: &'a mut Answer, status: u16, detail: &str) -> &'a mut Answer {
    put(answer, status, None, detail.as_bytes())
}

/// Answers with a problem document about an error of a command, which stands in the replies without its marker.
pub fn refuse_error<'a>(answer: &'a mut Answer, error: &[u8]) -> &'a mut Answer {
    let (code, detail) = split_error(error);
    put(answer, status_of(error), Some(code), detail)
}

fn put<'a>(answer: &'a mut Answer, status: u16, code: Option<&str>, detail: &[u8]) -> &'a mut Answer {
    answer.status(status).header("content-type", "application/problem+json");
    let body = answer.body();
    // Writing to memory cannot fail.
    let _ = write!(body, "{{\"type\":\"about:blank\",\"title\":\"{}\",\"status\":{status}", reason(status));
    if let Some(code) = code {
        let _ = write!(body, ",\"code\":\"{code}\"");
    }
    body.extend_from_slice(b",\"detail\":");
    put_string(body, &String::from_utf8_lossy(detail));
    body.extend_from_slice(b"}\n");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_to_statuses() {
        assert!(STATUSES.is_sorted());
        for (error, status) in [
            ("WRONGTYPE Operation against a key holding the wrong kind of value", 409),
            ("ERR no such key", 404),
            ("ERR index out of range", 404),
            ("ERR syntax error", 400),
            ("NOPERM no", 403),
            ("OOM", 400),
            ("lower case", 400),
            ("", 400),
        ] {
            assert_eq!(status_of(error.as_bytes()), status, "{error}");
        }
    }

    #[test]
    fn a_problem_names_what_was_wrong() {
        let mut answer = Answer::new();
        refuse_error(&mut answer, b"WRONGTYPE a \"b\"");
        let body = String::from_utf8(answer.own_part().to_vec()).expect("text");
        assert_eq!(
            body,
            "{\"type\":\"about:blank\",\"title\":\"Conflict\",\"status\":409,\"code\":\"WRONGTYPE\",\"detail\":\"a \\\"b\\\"\"}\n"
        );
    }
}
