//! Every route of `/v1`, once: what is asked for where, in which words, and which statuses it comes to. What serves them,
//! what says 405 and what describes them is made from this table.
//!
//! Invariant: a path belongs to the first row whose segments fit; `{name}` fits any segment that is not empty.

use crate::http::request::Method;
use wire::http::{Captures, PathPattern};

/// What a route does.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A string's bytes.
    KvGet,
    /// Sets a string.
    KvPut,
    /// Removes a key.
    KvDelete,
    /// Keys by prefix.
    Keys,
    /// Adds to a list.
    ListPush,
    /// Takes from a list.
    ListPop,
    /// Runs a command.
    Command,
    /// Runs several commands, each by itself.
    Pipeline,
    /// Runs several commands as one transaction.
    MultiExec,
    /// Runs several commands, either way.
    Batch,
    /// The description of the API.
    Document,
    /// The same for readers.
    Reference,
    /// Messages, as they come.
    Subscribe,
    /// Changes of keys, as they come.
    Changes,
    /// Runs the command that these words make.
    Run(&'static [Word], Shape),
}

/// A word, or some, of the command that a route comes to.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// This word.
    Is(&'static str),
    /// What stands in the path.
    Path(usize),
    /// A parameter, or what it is when it is not said.
    Query(&'static str, &'static str),
    /// The body, whatever it is.
    Body,
    /// The elements of the array that the body is.
    Elements,
    /// Names and values of the object that the body is.
    Pairs,
    /// The same, values first.
    PairsReversed,
}

/// What the reply of a command becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string as it is, or 404 for none.
    Bytes,
    /// JSON; null is 404.
    Json,
    /// 204, whatever it is.
    Done,
    /// 204 for 1, 404 for 0.
    Found,
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

const fn parameter(name: &'static str, place: Place, kind: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, place, kind, summary }
}

const KEY: Parameter =
    parameter("key", Place::Path, "string", "The key: any bytes, those that a path cannot hold as %XX.");
const FIELD: Parameter = parameter("field", Place::Path, "string", "The field: any bytes, as those of a key.");
const MEMBER: Parameter = parameter("member", Place::Path, "string", "The member: any bytes, as those of a key.");
const INDEX: Parameter = parameter("index", Place::Path, "integer", "Which element: 0 is the first, -1 the last.");
const START: Parameter = parameter("start", Place::Query, "integer", "The first element wanted, 0 unless said.");
const STOP: Parameter =
    parameter("stop", Place::Query, "integer", "The last element wanted, -1 (the last) unless said.");
const SIDE: Parameter = parameter("side", Place::Query, "string", "`left` or `right`; `left` unless said.");
const SYNC: Parameter = parameter(
    "Larder-Sync",
    Place::Header,
    "string",
    "`disk` answers when what was written is on disk, `os` when the system has it, which is what happens unless said.",
);
const IF_MATCH: Parameter = parameter(
    "If-Match",
    Place::Header,
    "string",
    "Only if the key is at this ETag, quotes and all, or there at all where it is `*`.",
);

const JSON: Option<&str> = Some("application/json");
const BYTES: Option<&str> = Some("application/octet-stream");

/// What every route takes.
pub const EVERYWHERE: &[Parameter] =
    &[parameter("db", Place::Query, "integer", "Number of the database, 0 unless said.")];

/// What every route may come to.
pub const STATUSES_EVERYWHERE: &[(u16, &str)] = &[
    (400, "The request is not what it should be; `detail` says why."),
    (401, "A user and a password are needed, or those given are wrong."),
    (403, "The user may not do this."),
    (404, "There is no such thing."),
    (408, "The request came too slowly."),
    (409, "The key holds another type, or a state of the server stands against it."),
    (413, "The body is larger than proto-max-bulk-len."),
    (503, "The server cannot do this now."),
    (507, "Memory or disk is used up."),
];

/// What rows have in common.
const ROW: Route = Route {
    method: Method::Get,
    path: "",
    action: Action::KvGet,
    summary: "",
    parameters: &[KEY],
    body: None,
    statuses: &[],
    may_wait: false,
};

const OK_JSON: &[(u16, &str)] = &[(200, "JSON; bytes that are no text are `{\"base64\": …}`.")];
const OK_BYTES: &[(u16, &str)] = &[(200, "The bytes, or JSON where `Accept` asks for it.")];
const DONE: &[(u16, &str)] = &[(204, "It is done.")];
const RESULTS: &[(u16, &str)] = &[(200, "A list of `{\"result\": …}` and `{\"error\": …}`, one for each command.")];

const BASE64: Parameter =
    parameter("Upstash-Encoding", Place::Header, "string", "`base64` answers with strings in base64.");
const EVENTS: &[(u16, &str)] = &[(200, "A stream without end; a comment after 15 seconds without events.")];
const DOCUMENTS: &[(u16, &str)] = &[(200, "It, with its version as ETag."), (304, "It has not changed.")];
const CHANNELS: Parameter = parameter("channel", Place::Query, "array", "A channel; may be said several times.");
const PATTERNS: Parameter =
    parameter("pattern", Place::Query, "array", "A pattern of channels, as `news.*`; may be said several times.");
const IF_CHANGED: Parameter =
    parameter("If-None-Match", Place::Header, "string", "Answers 304 when it is still at this ETag.");

use Word::{Body, Elements, Is, Pairs, PairsReversed, Path, Query};

/// Every route.
pub static ROUTES: &[Route] = &[
    Route {
        path: "/v1/kv/{key}",
        summary: "Returns the bytes of a string, with their version as ETag.",
        parameters: &[
            KEY,
            parameter("If-None-Match", Place::Header, "string", "Answers 304 when the key is still at this ETag."),
            parameter("Range", Place::Header, "string", "One range of bytes, as `bytes=0-99`."),
            parameter(
                "If-Range",
                Place::Header,
                "string",
                "The range only if the key is at this ETag, else everything.",
            ),
        ],
        statuses: &[
            (200, "The bytes, or JSON where `Accept` asks for it."),
            (206, "The range."),
            (304, "It has not changed."),
            (416, "The range lies behind the end."),
        ],
        ..ROW
    },
    Route {
        method: Method::Put,
        path: "/v1/kv/{key}",
        action: Action::KvPut,
        summary: "Sets a string to the bytes of the body, whatever the key held before. Its Content-Type is kept.",
        parameters: &[
            KEY,
            parameter(
                "ttl",
                Place::Query,
                "string",
                "When it is to end: seconds, or with a unit (`500ms`, `30s`, `5m`, `1h`, `1d`).",
            ),
            IF_MATCH,
            parameter("If-None-Match", Place::Header, "string", "`*`: only if there is no such key."),
            SYNC,
        ],
        body: BYTES,
        statuses: &[(204, "It is set; ETag is its version."), (412, "If-Match or If-None-Match does not hold.")],
        ..ROW
    },
    Route {
        method: Method::Delete,
        path: "/v1/kv/{key}",
        action: Action::KvDelete,
        summary: "Removes a key of any type.",
        parameters: &[KEY, IF_MATCH, SYNC],
        statuses: &[(204, "It is gone."), (412, "If-Match does not hold.")],
        ..ROW
    },
    Route {
        path: "/v1/keys",
        action: Action::Keys,
        summary: "Returns some of the keys, and where to go on: a cursor of \"0\" has seen all.",
        parameters: &[
            parameter("prefix", Place::Query, "string", "Only keys that begin so."),
            parameter("cursor", Place::Query, "string", "Where to go on; from the beginning unless said."),
            parameter("count", Place::Query, "integer", "About how many to look at, 100 unless said."),
        ],
        statuses: &[(200, "`{\"cursor\": …, \"keys\": […]}`.")],
        ..ROW
    },
    Route {
        path: "/v1/hashes/{key}",
        action: Action::Run(&[Is("HGETALL"), Path(0)], Shape::Json),
        summary: "Returns all fields of a hash and their values.",
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/hashes/{key}",
        action: Action::Run(&[Is("HSET"), Path(0), Pairs], Shape::Json),
        summary: "Sets the fields that the body, an object, names; returns how many are new.",
        parameters: &[KEY, SYNC],
        body: JSON,
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        path: "/v1/hashes/{key}/{field}",
        action: Action::Run(&[Is("HGET"), Path(0), Path(1)], Shape::Bytes),
        summary: "Returns the value of a field.",
        parameters: &[KEY, FIELD],
        statuses: OK_BYTES,
        ..ROW
    },
    Route {
        method: Method::Put,
        path: "/v1/hashes/{key}/{field}",
        action: Action::Run(&[Is("HSET"), Path(0), Path(1), Body], Shape::Done),
        summary: "Sets a field to the bytes of the body.",
        parameters: &[KEY, FIELD, SYNC],
        body: BYTES,
        statuses: DONE,
        ..ROW
    },
    Route {
        method: Method::Delete,
        path: "/v1/hashes/{key}/{field}",
        action: Action::Run(&[Is("HDEL"), Path(0), Path(1)], Shape::Found),
        summary: "Removes a field.",
        parameters: &[KEY, FIELD, SYNC],
        statuses: DONE,
        ..ROW
    },
    Route {
        path: "/v1/sets/{key}",
        action: Action::Run(&[Is("SMEMBERS"), Path(0)], Shape::Json),
        summary: "Returns all members of a set.",
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/sets/{key}",
        action: Action::Run(&[Is("SADD"), Path(0), Elements], Shape::Json),
        summary: "Adds the elements of the body, an array; returns how many are new.",
        parameters: &[KEY, SYNC],
        body: JSON,
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        path: "/v1/sets/{key}/{member}",
        action: Action::Run(&[Is("SISMEMBER"), Path(0), Path(1)], Shape::Found),
        summary: "Answers whether something is in a set.",
        parameters: &[KEY, MEMBER],
        statuses: &[(204, "It is in the set.")],
        ..ROW
    },
    Route {
        method: Method::Put,
        path: "/v1/sets/{key}/{member}",
        action: Action::Run(&[Is("SADD"), Path(0), Path(1)], Shape::Done),
        summary: "Adds a member.",
        parameters: &[KEY, MEMBER, SYNC],
        statuses: DONE,
        ..ROW
    },
    Route {
        method: Method::Delete,
        path: "/v1/sets/{key}/{member}",
        action: Action::Run(&[Is("SREM"), Path(0), Path(1)], Shape::Found),
        summary: "Removes a member.",
        parameters: &[KEY, MEMBER, SYNC],
        statuses: DONE,
        ..ROW
    },
    Route {
        path: "/v1/zsets/{key}",
        action: Action::Run(
            &[Is("ZRANGE"), Path(0), Query("start", "0"), Query("stop", "-1"), Is("WITHSCORES")],
            Shape::Json,
        ),
        summary: "Returns members of a sorted set with their scores, by rank.",
        parameters: &[KEY, START, STOP],
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/zsets/{key}",
        action: Action::Run(&[Is("ZADD"), Path(0), PairsReversed], Shape::Json),
        summary: "Sets scores: the body is an object of members and their scores. Returns how many members are new.",
        parameters: &[KEY, SYNC],
        body: JSON,
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        path: "/v1/zsets/{key}/{member}",
        action: Action::Run(&[Is("ZSCORE"), Path(0), Path(1)], Shape::Json),
        summary: "Returns the score of a member.",
        parameters: &[KEY, MEMBER],
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Put,
        path: "/v1/zsets/{key}/{member}",
        action: Action::Run(&[Is("ZADD"), Path(0), Body, Path(1)], Shape::Done),
        summary: "Sets the score of a member to the number that the body is.",
        parameters: &[KEY, MEMBER, SYNC],
        body: Some("text/plain"),
        statuses: DONE,
        ..ROW
    },
    Route {
        method: Method::Delete,
        path: "/v1/zsets/{key}/{member}",
        action: Action::Run(&[Is("ZREM"), Path(0), Path(1)], Shape::Found),
        summary: "Removes a member.",
        parameters: &[KEY, MEMBER, SYNC],
        statuses: DONE,
        ..ROW
    },
    Route {
        path: "/v1/lists/{key}",
        action: Action::Run(&[Is("LRANGE"), Path(0), Query("start", "0"), Query("stop", "-1")], Shape::Json),
        summary: "Returns elements of a list.",
        parameters: &[KEY, START, STOP],
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/lists/{key}",
        action: Action::ListPush,
        summary: "Adds the elements of the body, an array, at one end; returns how long the list is then.",
        parameters: &[KEY, parameter("side", Place::Query, "string", "`left` or `right`; `right` unless said."), SYNC],
        body: JSON,
        statuses: OK_JSON,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/lists/{key}/pop",
        action: Action::ListPop,
        summary: "Takes an element from one end, and waits for one if told to.",
        parameters: &[
            KEY,
            SIDE,
            parameter(
                "wait",
                Place::Query,
                "string",
                "How long to wait for an element: `30s`; not at all unless said.",
            ),
            SYNC,
        ],
        statuses: OK_BYTES,
        may_wait: true,
        ..ROW
    },
    Route {
        path: "/v1/lists/{key}/{index}",
        action: Action::Run(&[Is("LINDEX"), Path(0), Path(1)], Shape::Bytes),
        summary: "Returns an element of a list.",
        parameters: &[KEY, INDEX],
        statuses: OK_BYTES,
        ..ROW
    },
    Route {
        method: Method::Put,
        path: "/v1/lists/{key}/{index}",
        action: Action::Run(&[Is("LSET"), Path(0), Path(1), Body], Shape::Done),
        summary: "Sets an element that is there to the bytes of the body.",
        parameters: &[KEY, INDEX, SYNC],
        body: BYTES,
        statuses: DONE,
        ..ROW
    },
    Route {
        method: Method::Post,
        path: "/v1/command",
        action: Action::Command,
        summary: "Runs any command: the body is an array of its words.",
        parameters: &[SYNC, BASE64],
        body: JSON,
        statuses: &[(200, "`{\"result\": …}`; errors are `{\"error\": …}`.")],
        may_wait: true,
    },
    Route {
        method: Method::Post,
        path: "/v1",
        action: Action::Command,
        summary: "The same, where clients of hosted Redis services look for it.",
        parameters: &[SYNC, BASE64],
        body: JSON,
        statuses: &[(200, "`{\"result\": …}`; errors are `{\"error\": …}`.")],
        may_wait: true,
    },
    Route {
        method: Method::Post,
        path: "/v1/pipeline",
        action: Action::Pipeline,
        summary: "Runs commands one after the other: the body is an array of arrays of words.",
        parameters: &[SYNC, BASE64],
        body: JSON,
        statuses: RESULTS,
        may_wait: true,
    },
    Route {
        method: Method::Post,
        path: "/v1/multi-exec",
        action: Action::MultiExec,
        summary: "Runs commands as one transaction: all of them with nothing in between, or none.",
        parameters: &[SYNC, BASE64],
        body: JSON,
        statuses: RESULTS,
        may_wait: true,
    },
    Route {
        method: Method::Post,
        path: "/v1/batch",
        action: Action::Batch,
        summary: "Runs `{\"commands\": [[…], …], \"atomic\": true}`: as one transaction, or one by one unless `atomic` is said.",
        parameters: &[SYNC],
        body: JSON,
        statuses: &[(200, "`{\"results\": […]}`: a `{\"result\": …}` or `{\"error\": …}` for each command.")],
        may_wait: true,
    },
    Route {
        path: "/v1/subscribe",
        action: Action::Subscribe,
        summary: "Sends the messages of channels, and of those whose names fit patterns, or of all, as server-sent events.",
        parameters: &[CHANNELS, PATTERNS],
        statuses: EVENTS,
        may_wait: true,
        ..ROW
    },
    Route {
        path: "/v1/subscribe/{channel}",
        action: Action::Subscribe,
        summary: "Sends the messages of channels as server-sent events: `{\"channel\": …, \"message\": …}`.",
        parameters: &[
            parameter("channel", Place::Path, "string", "The channel, or several with commas between them."),
            CHANNELS,
            PATTERNS,
        ],
        statuses: EVENTS,
        may_wait: true,
        ..ROW
    },
    Route {
        path: "/v1/changes",
        action: Action::Changes,
        summary: "Sends what happens to keys as server-sent events: `{\"key\": …, \"event\": …}`, as far as notify-keyspace-events says.",
        parameters: &[parameter("prefix", Place::Query, "string", "Only keys that begin so.")],
        statuses: EVENTS,
        may_wait: true,
        ..ROW
    },
    Route {
        path: "/v1/openapi.json",
        action: Action::Document,
        summary: "Returns this description: OpenAPI 3.1.",
        parameters: &[IF_CHANGED],
        statuses: DOCUMENTS,
        ..ROW
    },
    Route {
        path: "/v1/docs",
        action: Action::Reference,
        summary: "Returns this description as a page.",
        parameters: &[IF_CHANGED],
        statuses: DOCUMENTS,
        ..ROW
    },
];

/// The paths of the rows.
static PATHS: [PathPattern; ROUTES.len()] = {
    let mut patterns = [PathPattern::of(""); ROUTES.len()];
    let mut row = 0;
    while row < patterns.len() {
        patterns[row] = PathPattern::of(ROUTES[row].path);
        row += 1;
    }
    patterns
};

/// A row, and where in the path its captures lie. Aligned, so that it is copied in words that do not overlap: reading back
/// bytes of two earlier writes stalls the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Found {
    row: u16,
    captures: Captures,
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
        self.captures.of(path, index)
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
    let fits = |(row, pattern): (usize, &PathPattern)| pattern.fit(path).map(|captures| (row, captures));
    let Some((first, captures)) = PATHS.iter().enumerate().find_map(fits) else { return Match::Nothing };
    let pattern = ROUTES[first].path;
    let wanted = if method == Method::Head { Method::Get } else { method };
    match ROUTES[first..].iter().position(|route| route.method == wanted && route.path == pattern) {
        Some(behind) => Match::Found(Found { row: (first + behind) as u16, captures }),
        None => Match::OtherMethods(methods_of(pattern)),
    }
}

/// The methods that a path takes.
fn methods_of(pattern: &str) -> Vec<Method> {
    let rows = ROUTES.iter().filter(|route| route.path == pattern);
    let mut methods: Vec<Method> = rows.map(|route| route.method).collect();
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    methods
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
            let is_described = |name: &str| {
                route.parameters.iter().any(|parameter| parameter.place == Place::Path && parameter.name == name)
            };
            let names = route.path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
            assert_eq!(names.filter(|(name, _)| is_described(name)).count(), count, "{}", route.path);
            assert!(!route.statuses.is_empty() && !route.summary.is_empty());
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
        assert_eq!(find(Method::Put, "/v1/lists/a/pop"), Match::OtherMethods(vec![Method::Post]));
        assert_eq!(find(Method::Get, "/v1/command"), Match::OtherMethods(vec![Method::Post]));
    }
}
