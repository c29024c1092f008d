//! What a request is answered with, and how that is written: `HTTP/1.1 200 OK`, headers, body.
//!
//! A door fills an [`Answer`]; the connection writes it. The body is bytes of the answer's own, or a part of the replies
//! where it lies, so that a large value is not copied once more.
//!
//! Deliberately not: streams. An answer is whole before its first byte leaves (the gate); of what never ends only the head
//! is here, and which events follow it (`events.rs`).

use super::events::Events;
use crate::clients;
use base::SharedBytes;
use std::io::Write;
use std::ops::Range;

/// Statuses that are used, and their names.
const REASONS: &[(u16, &str)] = &[
    (200, "OK"),
    (201, "Created"),
    (204, "No Content"),
    (206, "Partial Content"),
    (304, "Not Modified"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (412, "Precondition Failed"),
    (413, "Content Too Large"),
    (414, "URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (422, "Unprocessable Content"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (505, "HTTP Version Not Supported"),
    (507, "Insufficient Storage"),
];

/// The name of a status; any other number than those is a class of its own without a name.
pub fn reason(status: u16) -> &'static str {
    REASONS.binary_search_by_key(&status, |(status, _)| *status).map_or("", |index| REASONS[index].1)
}

/// Where the body of an answer lies.
#[derive(Clone, Debug, PartialEq)]
enum Body {
    /// In the answer itself.
    Own,
    /// In the replies to the request's commands.
    Reply(Range<usize>),
    /// Part of a large string, where its key holds it.
    Shared(SharedBytes, Range<usize>),
}

/// See the module's text.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<u8>,
    own: Vec<u8>,
    body: Body,
    /// Length to announce where the body is left out: HEAD.
    is_head: bool,
    closes: bool,
    stream: Option<Events>,
}

/// Memory kept from one answer to the next.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl Default for Answer {
    fn default() -> Self {
        Answer::new()
    }
}

impl Answer {
    pub(super) fn new() -> Self {
        Answer {
            status: 200,
            headers: Vec::new(),
            own: Vec::new(),
            body: Body::Own,
            is_head: false,
            closes: false,
            stream: None,
        }
    }

    pub(super) fn begin(&mut self, is_head: bool) {
        self.status = 200;
        self.headers.clear();
        self.own.clear();
        if KEPT_BYTES_MAX < self.own.capacity() {
            self.own = Vec::new();
        }
        self.body = Body::Own;
        self.is_head = is_head;
        self.closes = false;
        self.stream = None;
    }

    /// Starts anew, with nothing but this status.
    pub fn status(&mut self, status: u16) -> &mut Self {
        self.begin(self.is_head);
        self.status = status;
        self
    }

    /// Adds a header. Line ends in the value are left out: nobody smuggles headers of their own in.
    #[inline]
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(b": ");
        let value = value.as_ref();
        match memchr::memchr3(b'\r', b'\n', 0, value) {
            None => self.headers.extend_from_slice(value),
            Some(_) => self.headers.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))),
        }
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    /// Adds headers that need no look: whole lines, as they are sent.
    #[inline]
    pub fn lines(&mut self, lines: &'static str) -> &mut Self {
        self.headers.extend_from_slice(lines.as_bytes());
        self
    }

    /// Adds the ETag of a version.
    #[inline]
    pub fn etag(&mut self, version: u64) -> &mut Self {
        self.headers.extend_from_slice(b"etag: \"");
        self.headers.extend_from_slice(itoa::Buffer::new().format(version).as_bytes());
        self.headers.extend_from_slice(b"\"\r\n");
        self
    }

    /// The body, to be written by the door.
    pub fn body(&mut self) -> &mut Vec<u8> {
        self.body = Body::Own;
        &mut self.own
    }

    /// The body is this part of the replies.
    pub fn body_is_reply(&mut self, part: Range<usize>) -> &mut Self {
        self.body = Body::Reply(part);
        self
    }

    /// The body is this part of a large string.
    pub fn body_is_shared(&mut self, bytes: SharedBytes, part: Range<usize>) -> &mut Self {
        self.body = Body::Shared(bytes, part);
        self
    }

    /// The connection ends after this answer.
    pub fn close(&mut self) -> &mut Self {
        self.closes = true;
        self
    }

    /// Events follow until the connection ends, in place of a body.
    pub fn stream(&mut self, events: Events) -> &mut Self {
        self.closes = true;
        self.stream = Some(events);
        self
    }

    /// The events that follow, unless only the head was asked for.
    pub(super) fn streamed(&self) -> Option<Events> {
        self.stream.filter(|_| !self.is_head)
    }

    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    fn body_bytes(&self) -> usize {
        match &self.body {
            Body::Own => self.own.len(),
            Body::Reply(part) | Body::Shared(_, part) => part.len(),
        }
    }

    /// Writes the answer without its body to `out`.
    pub(super) fn put_head(&self, out: &mut Vec<u8>, date: &[u8], closes: bool, is_http11: bool) {
        match self.status {
            200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\ndate: "),
            status => _ = write!(out, "HTTP/1.1 {status} {}\r\ndate: ", reason(status)),
        }
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
        if closes {
            out.extend_from_slice(b"connection: close\r\n");
        } else if !is_http11 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(&self.headers);
        if !matches!(self.status, 204 | 304) && self.stream.is_none() {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(self.body_bytes()).as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The part of the replies that is the body, and is sent.
    pub(super) fn reply_part(&self) -> Option<Range<usize>> {
        match &self.body {
            Body::Reply(part) if self.has_body() => Some(part.clone()),
            _ => None,
        }
    }

    /// The part of a large string that is the body, and is sent. The answer gives it up.
    pub(super) fn take_shared_part(&mut self) -> Option<(SharedBytes, Range<usize>)> {
        if !matches!(self.body, Body::Shared(..)) {
            return None;
        }
        let has_body = self.has_body();
        match std::mem::replace(&mut self.body, Body::Own) {
            Body::Shared(bytes, part) if has_body => Some((bytes, part)),
            _ => None,
        }
    }

    /// The own bytes that are the body, and are sent.
    pub(super) fn own_part(&self) -> &[u8] {
        if self.body == Body::Own && self.has_body() { &self.own } else { &[] }
    }

    fn has_body(&self) -> bool {
        !self.is_head && !matches!(self.status, 204 | 304)
    }
}

/// The time of day as answers say it, written once a second.
#[derive(Default)]
pub(super) struct Date {
    /// When the second that it says is over, by [`env::monotonic_ns`].
    until_ns: u64,
    text: Vec<u8>,
}

impl Date {
    /// `Sun, 06 Nov 1994 08:49:37 GMT` now, which is `now_ns` by [`env::monotonic_ns`]: a second that is not over costs no
    /// look at the calendar's clock.
    pub fn at(&mut self, now_ns: u64) -> &[u8] {
        if self.until_ns <= now_ns {
            self.write(now_ns, clients::wall_us());
        }
        &self.text
    }

    #[cold]
    fn write(&mut self, now_ns: u64, wall_us: i64) {
        let left_us = 1_000_000 - wall_us.rem_euclid(1_000_000);
        self.until_ns = now_ns + left_us as u64 * 1000;
        self.text.clear();
        put_date(wall_us.div_euclid(1_000_000), &mut self.text);
    }
}

/// Days to a date: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn put_date(second: i64, out: &mut Vec<u8>) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, of_day) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = (month_shifted + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    // Writing to memory cannot fail.
    let _ =
        write!(out, "{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", MONTHS[month as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        answer.put_head(&mut out, b"today", answer.closes(), true);
        out.extend_from_slice(answer.own_part());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_answer_is_written_as_http_has_it() {
        let mut answer = Answer::new();
        answer.status(201).header("etag", "\"7\"").body().extend_from_slice(b"ok");
        assert_eq!(
            written(&answer),
            "HTTP/1.1 201 Created\r\ndate: today\r\netag: \"7\"\r\ncontent-length: 2\r\n\r\nok"
        );
        answer.begin(true);
        answer.body().extend_from_slice(b"left out");
        assert_eq!(written(&answer), "HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 8\r\n\r\n");
        answer.begin(false);
        answer.status(204).close();
        assert_eq!(written(&answer), "HTTP/1.1 204 No Content\r\ndate: today\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn values_of_headers_have_no_line_ends() {
        let mut answer = Answer::new();
        answer.header("x", "a\r\ny: b");
        assert!(written(&answer).contains("x: ay: b\r\n"));
    }

    #[test]
    fn statuses_are_sorted_and_dates_are_those_of_the_calendar() {
        assert!(REASONS.is_sorted());
        for (second, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            let mut date = Date::default();
            date.write(7, second * 1_000_000 + 999_999);
            assert_eq!(date.at(7 + 999), text.as_bytes());
            assert_ne!(date.at(7 + 1000), text.as_bytes(), "the second is over");
        }
    }
}
