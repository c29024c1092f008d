//! Every route of `/v1`, once: what is asked for where, in which words, and which statuses it comes to. What serves them,
//! what says 405 and what describes them is made from this table.
//!
//! Invariant: a path belongs to the first row whose segments fit; `{name}` fits any segment that is not empty.

use crate::http::request::Method;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A string's bytes.
    KvGet,
    /// Sets a string.
    KvPut,
    /// Removes a key.
    KvDelete,
    /// Runs a command.
    Command,
}

/// Where a parameter is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a segment of the path.
    Path,
    /// Behind the `?`.
    Query,
    /// In a header.
    Header,
}

/// A parameter of a route.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it is said.
    pub place: Place,
    /// What it must look like: a type of JSON schema.
    pub kind: &'static str,
    /// What it is for: a sentence.
    pub summary: &'static str,
}

/// One row.
#[derive(Debug)]
pub struct Route {
    /// The method; GET rows serve HEAD as well.
    pub method: Method,
    /// The path, with `{name}` for what varies.
    pub path: &'static str,
    /// What serves it.
    pub action: Action,
    /// What it does: a sentence.
    pub summary: &'static str,
    /// Parameters, besides those of [`EVERYWHERE`].
    pub parameters: &'static [Parameter],
    /// Content type of the body it takes, if any.
    pub body: Option<&'static str>,
    /// Statuses it may come to, besides those of [`STATUSES_EVERYWHERE`], and what each means.
    pub statuses: &'static [(u16, &'static str)],
    /// It may have to wait for something.
    pub may_wait: bool,
}

const KEY: Parameter = Parameter {
    name: "key",
    place: Place::Path,
    kind: "string",
    summary: "The key: any bytes, those that a path cannot hold as %XX.",
};

/// What every route takes.
pub const EVERYWHERE: &[Parameter] = &[Parameter {
    name: "db",
    place: Place::Query,
    kind: "integer",
    summary: "Number of the database, 0 unless said.",
}];

/// What every route may come to.
pub const STATUSES_EVERYWHERE: &[(u16, &str)] = &[
    (400, "The request is not what it should be; `detail` says why."),
    (401, "A user and a password are needed, or those given are wrong."),
    (403, "The user may not do this."),
    (409, "The key holds another type, or a state of the server stands against it."),
    (413, "The body is larger than proto-max-bulk-len."),
    (503, "The server cannot do this now."),
    (507, "Memory or disk is used up."),
];

/// Every route.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/v1/kv/{key}",
        action: Action::KvGet,
        summary: "Returns the bytes of a string.",
        parameters: &[KEY],
        body: None,
        statuses: &[(200, "The bytes."), (404, "There is no such key.")],
        may_wait: false,
    },
    Route {
        method: Method::Put,
        path: "/v1/kv/{key}",
        action: Action::KvPut,
        summary: "Sets a string to the bytes of the body.",
        parameters: &[KEY],
        body: Some("application/octet-stream"),
        statuses: &[(204, "It is set.")],
        may_wait: false,
    },
    Route {
        method: Method::Delete,
        path: "/v1/kv/{key}",
        action: Action::KvDelete,
        summary: "Removes a key of any type.",
        parameters: &[KEY],
        body: None,
        statuses: &[(204, "It is gone."), (404, "There was no such key.")],
        may_wait: false,
    },
    Route {
        method: Method::Post,
        path: "/v1/command",
        action: Action::Command,
        summary: "Runs any command: the body is an array of its words.",
        parameters: &[],
        body: Some("application/json"),
        statuses: &[(200, "`{\"result\": …}`.")],
        may_wait: true,
    },
];

/// Most `{name}` of a path.
pub const CAPTURES_MAX: usize = 3;

/// A row, and where in the path its captures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    row: u16,
    captures: [(u16, u16); CAPTURES_MAX],
}

impl Found {
    /// The row.
    #[inline]
    pub fn route(&self) -> &'static Route {
        &ROUTES[usize::from(self.row)]
    }

    /// What stands in `path` for the `{name}` at `index`, as it was sent.
    #[inline]
    pub fn capture<'p>(&self, path: &'p str, index: usize) -> &'p [u8] {
        let (start, end) = self.captures[index];
        &path.as_bytes()[usize::from(start)..usize::from(end)]
    }
}

/// What a path comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// A row.
    Found(Found),
    /// It is there for these methods only.
    OtherMethods(Vec<Method>),
    /// There is no such path.
    Nothing,
}

/// Finds the row for a request.
///
/// # Cost
/// A comparison of the path with each row until one fits.
pub fn find(method: Method, path: &str) -> Match {
    let wanted = if method == Method::Head { Method::Get } else { method };
    for (row, route) in ROUTES.iter().enumerate() {
        if route.method == wanted
            && let Some(captures) = fit(route.path, path)
        {
            return Match::Found(Found { row: row as u16, captures });
        }
    }
    let fitting = ROUTES.iter().filter(|route| fit(route.path, path).is_some());
    let mut methods: Vec<Method> = fitting.map(|route| route.method).collect();
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    if methods.is_empty() { Match::Nothing } else { Match::OtherMethods(methods) }
}

/// Where in `path` the captures of `pattern` lie, if it fits.
fn fit(pattern: &str, path: &str) -> Option<[(u16, u16); CAPTURES_MAX]> {
    let (mut captures, mut count, mut at) = ([(0, 0); CAPTURES_MAX], 0, 0);
    let (pattern, bytes) = (pattern.as_bytes(), path.as_bytes());
    let mut rest = pattern;
    loop {
        let Some(open) = memchr::memchr(b'{', rest) else {
            return (bytes.get(at..)? == rest).then_some(captures);
        };
        if !bytes.get(at..)?.starts_with(&rest[..open]) {
            return None;
        }
        at += open;
        let end = memchr::memchr(b'/', &bytes[at..]).map_or(bytes.len(), |slash| at + slash);
        if end == at {
            return None;
        }
        captures[count] = (u16::try_from(at).ok()?, u16::try_from(end).ok()?);
        count += 1;
        at = end;
        let close = memchr::memchr(b'}', rest)?;
        rest = &rest[close + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_own_path_and_no_other() {
        for (index, route) in ROUTES.iter().enumerate() {
            let path = route.path.replace(['{', '}'], "");
            let Match::Found(found) = find(route.method, &path) else { panic!("{path} is not found") };
            assert_eq!(usize::from(found.row), index, "{path}");
            let count = route.path.matches('{').count();
            assert!(count <= CAPTURES_MAX);
            let said = route.parameters.iter().filter(|parameter| parameter.place == Place::Path).count();
            assert_eq!(said, count, "{}: every part of the path is described", route.path);
            for text in [route.summary].into_iter().chain(route.parameters.iter().map(|parameter| parameter.summary)) {
                assert!(text.ends_with('.'), "{text}: a summary is a sentence");
            }
        }
    }

    #[test]
    fn captures_are_what_stands_there() {
        let Match::Found(found) = find(Method::Head, "/v1/kv/a%2Fb") else { panic!("it is there") };
        assert_eq!(found.capture("/v1/kv/a%2Fb", 0), b"a%2Fb");
        assert_eq!(find(Method::Get, "/v1/kv/"), Match::Nothing);
        assert_eq!(find(Method::Get, "/v1/kv/a/b"), Match::Nothing);
        assert_eq!(find(Method::Get, "/v1/command"), Match::OtherMethods(vec![Method::Post]));
    }
}
