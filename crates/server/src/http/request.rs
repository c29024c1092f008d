//! A request as doors see it: method, path, query, headers. Its body, once received, is in [`Arguments`].
//!
//! Deliberately not decoded: what a path or a query means is the door's, which decodes the parts it looks at.
//!
//! [`Arguments`]: super::arguments::Arguments

use wire::http::{Head, Headers, query_decode, query_pairs, split_target};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read, but for the body.
    Head,
    /// Write what the path names.
    Put,
    /// Whatever the path says.
    Post,
    /// Remove.
    Delete,
    /// Change in part.
    Patch,
    /// What may be done (CORS).
    Options,
    /// Any other.
    Other,
}

impl Method {
    fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            "PATCH" => Method::Patch,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// As it is spelled.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Other => "another method",
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Request<'r> {
    /// The method.
    pub method: Method,
    /// The path, as it was sent: `/v1/kv/a%2Fb`.
    pub path: &'r str,
    /// What stands behind the `?`, as it was sent.
    pub query: &'r str,
    headers: Headers<'r, 'r>,
}

impl<'r> Request<'r> {
    /// The request that a head is.
    pub fn new(head: &Head<'r>, headers: Headers<'r, 'r>) -> Self {
        let (path, query) = split_target(head.target);
        Request { method: Method::of(head.method), path, query, headers }
    }

    /// The value of the first header with this name.
    #[inline]
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.headers.find(name)
    }

    /// As [`Request::header`], if it is text.
    pub fn header_text(&self, name: &str) -> Option<&'r str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Its headers are those of the request before on the same connection.
    #[inline]
    pub fn repeats_headers(&self) -> bool {
        self.headers.are_repeated()
    }

    /// The decoded value of the first parameter with this name. `Some(Err)` when it is spelled wrong.
    ///
    /// # Cost
    /// Nothing where there is no query; else one pass and an allocation.
    #[inline]
    pub fn parameter(&self, name: &str) -> Option<Result<Vec<u8>, BadEscape>> {
        if self.query.is_empty() {
            return None;
        }
        let (_, value) = query_pairs(self.query.as_bytes()).find(|(other, _)| *other == name.as_bytes())?;
        let mut decoded = Vec::new();
        Some(query_decode(value, &mut decoded).map(|()| decoded).ok_or(BadEscape))
    }

    /// Names and values of all parameters, as they were sent.
    pub fn parameters(&self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
        query_pairs(self.query.as_bytes())
    }
}

/// A `%` without two hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape;

#[cfg(test)]
mod tests {
    use super::*;
    use wire::http::HeadReader;

    #[test]
    fn paths_queries_and_headers_are_told_apart() {
        for (target, path, query) in [
            ("/a/b?x=1", "/a/b", "x=1"),
            ("/a?", "/a", ""),
            ("/", "/", ""),
            ("HTTP://host:1/a?x#y", "/a", "x"),
            ("http://host", "/", ""),
            ("*", "*", ""),
        ] {
            let text = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n");
            let mut reader = HeadReader::default();
            let (head, headers) = reader.read(text.as_bytes()).expect("HTTP").expect("whole");
            let request = Request::new(&head, headers);
            assert_eq!((request.method, request.path, request.query), (Method::Put, path, query));
            assert_eq!((request.header_text("x-a"), request.header("x-b")), (Some("1"), None));
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let text = "GET /?a=1+2&b&c=%2 HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut reader = HeadReader::default();
        let (head, headers) = reader.read(text.as_bytes()).expect("HTTP").expect("whole");
        let request = Request::new(&head, headers);
        assert_eq!(request.parameter("a"), Some(Ok(b"1 2".to_vec())));
        assert_eq!(request.parameter("b"), Some(Ok(Vec::new())));
        assert_eq!(request.parameter("c"), Some(Err(BadEscape)));
        assert_eq!(request.parameter("d"), None);
    }
}
