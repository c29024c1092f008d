//! The description of the native API: an OpenAPI 3.1 document, made of the table of routes and the table of commands.
//!
//! ```text
//! routes ──┐
//!          ├─► document ─► /v1/openapi.json
//! commands ┘          └──► page.rs ─► /v1/docs
//! ```
//!
//! Deliberately not here: routes themselves. What is said of one is said in its row, or follows from what serves it: which
//! bodies it takes, which statuses it may come to, what a request to it looks like.
//!
//! Invariant: made once; the same for everybody, as the tables are, but for the name that examples call the server by: that
//! is the one it was just asked by.
//!
//! Source: OpenAPI Specification 3.1.1.

use super::page;
use super::routes::{Action, EVERYWHERE, Parameter, Place, ROUTES, Route, STATUSES_EVERYWHERE, Shape, Word};
use crate::connection::Stream;
use crate::http::doors::Visit;
use crate::http::request::Method;
use base::checksum::crc32c;
use commands::{Spec, table};
use serde_json::{Map, Value as Json, json};
use std::sync::LazyLock;

/// Stands for the server that examples ask.
const EXAMPLE_ORIGIN: &str = "http://localhost:8080";

/// Something that is served as it is, but for [`EXAMPLE_ORIGIN`].
struct Served {
    content_type: &'static str,
    body: String,
}

impl Served {
    fn answer<S: Stream>(&self, visit: &mut Visit<'_, S>) {
        let body = self.body.replace(EXAMPLE_ORIGIN, &origin_asked(visit));
        let etag = format!("\"{:08x}-{}\"", crc32c(body.as_bytes()), body.len());
        let known = visit.request.header("if-none-match").unwrap_or_default();
        let is_known = |known: &[u8]| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == etag.as_bytes();
        if known.split(|byte| *byte == b',').any(|known| is_known(known.trim_ascii())) {
            visit.answer.status(304).header("etag", &etag);
            return;
        }
        visit.answer.header("content-type", self.content_type).header("etag", &etag);
        *visit.answer.header("cache-control", "no-cache").body() = body.into_bytes();
    }
}

/// The scheme, name and port that a request has come by; the configured port where it does not say.
fn origin_asked<S: Stream>(visit: &Visit<'_, S>) -> String {
    let scheme = if visit.port.is_tls() { "https" } else { "http" };
    let port = || visit.caller.server().settings.number(visit.port.setting());
    let host = visit.request.header_text("host").filter(|host| is_host(host));
    host.map_or_else(|| format!("{scheme}://localhost:{}", port()), |host| format!("{scheme}://{host}"))
}

/// Whether a `Host` may stand in a page and in a shell as it is.
fn is_host(host: &str) -> bool {
    const HOST_BYTES_MAX: usize = 255;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_plain)
}

/// GET /v1/openapi.json
pub fn document<S: Stream>(visit: &mut Visit<'_, S>) {
    static DOCUMENT: LazyLock<Served> =
        LazyLock::new(|| Served { content_type: "application/json", body: describe().to_string() });
    DOCUMENT.answer(visit);
}

/// GET /v1/docs
pub fn reference<S: Stream>(visit: &mut Visit<'_, S>) {
    static REFERENCE: LazyLock<Served> =
        LazyLock::new(|| Served { content_type: "text/html; charset=utf-8", body: page::write(&describe()) });
    REFERENCE.answer(visit);
}

/// The whole document.
pub fn describe() -> Json {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[method_name(route)] = operation(route);
        if matches!(route.action, Action::KvGet) {
            methods["head"] = head_operation(route);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Larder",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A durable key-value database over HTTP.",
            "description": INTRODUCTION,
            "license": { "name": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "basic": [] }, { "bearer": [] }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "headers": headers(),
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic", "description": "A user and a password, as AUTH takes them." },
                "bearer": { "type": "http", "scheme": "bearer", "description": "`user:password`, or a password of the user `default`." },
            },
        },
    })
}

const INTRODUCTION: &str = "Keys and their values as resources, and every command as a JSON array of its words. \
    Routes that take GET take HEAD as well. Keys, fields and members are any bytes; what a path cannot hold is written %XX, the slash %2F. \
    In JSON, bytes that are not UTF-8 are `{\"base64\": …}`, in both directions.";

/// The tags of routes, which are the first words of their paths, in their order.
fn tags() -> Vec<Json> {
    let mut tags: Vec<&str> = Vec::new();
    for route in ROUTES {
        if !tags.contains(&tag_of(route)) {
            tags.push(tag_of(route));
        }
    }
    tags.into_iter().map(|tag| json!({ "name": tag })).collect()
}

fn tag_of(route: &Route) -> &'static str {
    match route.path.split('/').nth(2).unwrap_or_default() {
        "" | "command" | "pipeline" | "multi-exec" | "batch" => "commands",
        "subscribe" | "changes" => "events",
        "openapi.json" | "docs" => "reference",
        resource => resource,
    }
}

/// The name of a route's method in the document.
pub fn method_name(route: &Route) -> &'static str {
    match route.method {
        Method::Get => "get",
        Method::Head => "head",
        Method::Put => "put",
        Method::Post => "post",
        Method::Delete => "delete",
        Method::Patch => "patch",
        Method::Options | Method::Other => "options",
    }
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty());
    words.fold(method_name(route).to_owned(), |id, word| format!("{id}_{word}"))
}

fn operation(route: &Route) -> Json {
    let parameters: Vec<Json> = parameters(route).map(|parameter| describe_parameter(route, parameter)).collect();
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag_of(route)],
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route),
        "x-codeSamples": [{ "lang": "Shell", "label": "curl", "source": curl(route) }],
    });
    if let Some(content_type) = route.body {
        let (schema, example) = body_of(route);
        operation["requestBody"] = json!({
            "required": content_type != "application/octet-stream",
            "content": { content_type: { "schema": schema, "example": example } },
        });
    }
    operation
}

/// HEAD answers as GET does, without bodies and ranges.
fn head_operation(route: &Route) -> Json {
    let mut operation = operation(route);
    operation["operationId"] = json!(operation_id(route).replace("get_", "head_"));
    operation["summary"] = json!("The same without the bytes: whether there is a key, and its version.");
    operation["x-codeSamples"][0]["source"] = json!(format!("curl -I {EXAMPLE_ORIGIN}{}", example_path(route)));
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["name"] != "Range" && parameter["name"] != "If-Range");
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.retain(|status, _| status != "206" && status != "416");
        responses.values_mut().filter_map(Json::as_object_mut).for_each(|response| _ = response.remove("content"));
    }
    operation
}

fn parameters(route: &Route) -> impl Iterator<Item = &Parameter> {
    route.parameters.iter().chain(EVERYWHERE)
}

fn describe_parameter(route: &Route, parameter: &Parameter) -> Json {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut described = json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.place == Place::Path,
        "description": parameter.summary,
        "schema": parameter_schema(parameter, route.method),
    });
    if parameter.place == Place::Path {
        described["example"] = json!(example_of(route, parameter.name));
    }
    described
}

/// What a parameter must look like: the type its row says, and what is known of its name.
fn parameter_schema(parameter: &Parameter, method: Method) -> Json {
    match (parameter.name, parameter.kind) {
        ("db", _) => json!({ "type": "integer", "minimum": 0, "maximum": base::DB_COUNT - 1, "default": 0 }),
        ("count", _) => json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX, "default": 100 }),
        ("cursor", _) => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$", "default": "0" }),
        ("side", _) => json!({ "type": "string", "enum": ["left", "right"] }),
        ("Larder-Sync", _) => json!({ "type": "string", "enum": ["os", "disk"], "default": "os" }),
        ("If-None-Match", _) if method == Method::Put => json!({ "type": "string", "const": "*" }),
        ("If-Match", _) => json!({ "type": "string", "pattern": "^(\\*|(W/)?\"[!#-~]*\")$" }),
        ("ttl", _) => json!({ "type": "string", "pattern": "^[1-9][0-9]{0,8}(ms|s|m|h|d)?$" }),
        ("wait", _) => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,8})(ms|s|m|h|d)?$" }),
        ("channel" | "pattern", "array") => json!({ "type": "array", "items": { "type": "string" } }),
        (_, "integer") => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        (_, kind) if parameter.place == Place::Path => json!({ "type": kind, "minLength": 1 }),
        (_, kind) => json!({ "type": kind }),
    }
}

/// Every status that a route may come to, with what it means.
fn responses(route: &Route) -> Json {
    let mut responses = Map::new();
    for (status, meaning) in route.statuses {
        responses.insert(status.to_string(), response(route, *status, meaning));
    }
    for (status, meaning) in STATUSES_EVERYWHERE {
        if may_come_to(route, *status) && !responses.contains_key(&status.to_string()) {
            responses.insert(status.to_string(), response(route, *status, meaning));
        }
    }
    Json::Object(responses)
}

/// Whether one of [`STATUSES_EVERYWHERE`] can be the answer of this route.
fn may_come_to(route: &Route, status: u16) -> bool {
    let runs_command = !matches!(route.action, Action::Document | Action::Reference);
    let runs_any = matches!(route.action, Action::Command | Action::Pipeline | Action::MultiExec | Action::Batch);
    match status {
        404 => runs_any || !matches!(route.action, Action::Keys | Action::Subscribe | Action::Changes) && runs_command,
        408 | 413 => route.body.is_some(),
        409 => runs_command && !matches!(route.action, Action::Keys | Action::Subscribe),
        503 => runs_command,
        507 => runs_any || route.method != Method::Get,
        _ => true,
    }
}

fn response(route: &Route, status: u16, meaning: &str) -> Json {
    let mut response = json!({ "description": meaning });
    let content = match status {
        204 | 304 => None,
        200..=299 => Some(content(route)),
        _ => Some(problem(route)),
    };
    if let Some(content) = content {
        response["content"] = content;
    }
    let named: Vec<&str> = response_headers(route, status).collect();
    if !named.is_empty() {
        let references =
            named.into_iter().map(|name| (name.to_owned(), json!({ "$ref": reference_to("headers", name) })));
        response["headers"] = Json::Object(references.collect());
    }
    response
}

fn reference_to(kind: &str, name: &str) -> String {
    format!("#/components/{kind}/{name}")
}

fn response_headers(route: &Route, status: u16) -> impl Iterator<Item = &'static str> {
    let is_done = (200..300).contains(&status);
    let has_tag = match route.action {
        Action::KvGet => is_done || status == 304,
        Action::KvPut => is_done,
        Action::Document | Action::Reference => is_done || status == 304,
        _ => false,
    };
    let writes = route.parameters.iter().any(|parameter| parameter.name == "Larder-Sync");
    let named = [
        ("ETag", has_tag),
        ("Content-Range", matches!(route.action, Action::KvGet) && matches!(status, 206 | 416)),
        ("Larder-Durability", is_done && writes),
        ("WWW-Authenticate", status == 401),
    ];
    named.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name)
}

/// Bodies that say that all went well.
fn content(route: &Route) -> Json {
    let value = json!({ "$ref": "#/components/schemas/Value" });
    let is_bytes = matches!(route.action, Action::KvGet | Action::ListPop | Action::Run(_, Shape::Bytes));
    if is_bytes {
        let mut content = json!({
            "application/octet-stream": { "schema": { "type": "string", "format": "binary" } },
            "application/json": { "schema": { "$ref": "#/components/schemas/Text" } },
        });
        if matches!(route.action, Action::KvGet) {
            // What a PUT said; if that was JSON, then any.
            content["*/*"] = json!({});
            content["application/json"] = json!({ "schema": {} });
        }
        return content;
    }
    let results = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Result" } });
    let schema = match route.action {
        Action::Keys => json!({
            "type": "object",
            "required": ["cursor", "keys"],
            "properties": {
                "cursor": { "type": "string" },
                "keys": { "type": "array", "items": { "$ref": "#/components/schemas/Text" } },
            },
        }),
        Action::Command => json!({ "type": "object", "required": ["result"], "properties": { "result": value } }),
        Action::Pipeline | Action::MultiExec => results,
        Action::Batch => json!({ "type": "object", "required": ["results"], "properties": { "results": results } }),
        Action::Document => json!({ "type": "object", "required": ["openapi", "info", "paths"] }),
        Action::Reference => return json!({ "text/html": { "schema": { "type": "string" } } }),
        Action::Subscribe | Action::Changes => {
            return json!({ "text/event-stream": { "schema": { "type": "string" } } });
        }
        _ => value,
    };
    json!({ "application/json": { "schema": schema } })
}

/// Bodies that say what was wrong. What clients of hosted Redis services ask is answered as they expect it, unless it is
/// refused before it comes to a command.
fn problem(route: &Route) -> Json {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    match route.action {
        Action::Command | Action::Pipeline | Action::MultiExec => json!({
            "application/problem+json": problem,
            "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
        }),
        _ => json!({ "application/problem+json": problem }),
    }
}

/// What the body of a request looks like, and one that is right.
fn body_of(route: &Route) -> (Json, Json) {
    let word = json!({ "$ref": "#/components/schemas/Word" });
    let command = json!({ "$ref": "#/components/schemas/Command" });
    let commands = json!({ "type": "array", "items": command });
    match route.action {
        Action::Command => (command, json!(["SET", "greeting", "hello"])),
        Action::Pipeline | Action::MultiExec => (commands, json!([["INCR", "visits"], ["GET", "visits"]])),
        Action::Batch => (
            json!({
                "type": "object",
                "required": ["commands"],
                "properties": { "commands": commands, "atomic": { "type": "boolean", "default": false } },
                "additionalProperties": false,
            }),
            json!({ "commands": [["INCR", "visits"], ["GET", "visits"]], "atomic": true }),
        ),
        Action::ListPush => elements(&word),
        Action::Run(..) if route.body == Some("text/plain") => (json!({ "type": "number" }), json!(2.5)),
        Action::Run(words, _) => words.iter().find_map(|part| body_of_word(*part, &word)).unwrap_or_else(bytes),
        _ => bytes(),
    }
}

/// A body that is bytes.
fn bytes() -> (Json, Json) {
    (json!({ "type": "string", "format": "binary" }), json!("hello"))
}

fn elements(word: &Json) -> (Json, Json) {
    (json!({ "type": "array", "minItems": 1, "items": word }), json!(["apples", "pears"]))
}

fn body_of_word(part: Word, word: &Json) -> Option<(Json, Json)> {
    match part {
        Word::Elements => Some(elements(word)),
        Word::Pairs => Some((
            json!({ "type": "object", "minProperties": 1, "additionalProperties": word }),
            json!({ "name": "Ada", "born": 1815 }),
        )),
        Word::PairsReversed => Some((
            json!({ "type": "object", "minProperties": 1, "additionalProperties": { "type": "number" } }),
            json!({ "ada": 3, "grace": 2.5 }),
        )),
        Word::Body => Some(bytes()),
        Word::Is(_) | Word::Path(_) | Word::Query(..) => None,
    }
}

fn schemas() -> Json {
    let names: Vec<String> = table::all().iter().map(|spec| spec.name.to_uppercase()).collect();
    json!({
        "Problem": {
            "description": "A problem document (RFC 9457).",
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "code": { "type": "string", "description": "The first word of a command's error: WRONGTYPE, OOM, …" },
                "detail": { "type": "string", "description": "What was wrong." },
            },
        },
        "Error": {
            "description": "The error of a command.",
            "type": "object",
            "required": ["error"],
            "properties": { "error": { "type": "string" } },
        },
        "Result": {
            "description": "What became of one command.",
            "anyOf": [
                { "type": "object", "required": ["result"], "properties": { "result": { "$ref": "#/components/schemas/Value" } } },
                { "$ref": "#/components/schemas/Error" },
            ],
        },
        "Value": { "description": "Any JSON; bytes that are not UTF-8 are `{\"base64\": …}`." },
        "Base64": {
            "description": "Bytes that are not UTF-8.",
            "type": "object",
            "required": ["base64"],
            "properties": { "base64": { "type": "string", "contentEncoding": "base64", "pattern": BASE64 } },
            "additionalProperties": false,
        },
        "Text": {
            "description": "Bytes.",
            "anyOf": [{ "type": "string" }, { "$ref": "#/components/schemas/Base64" }],
        },
        "Word": {
            "description": "A word of a command.",
            "anyOf": [{ "type": ["string", "number", "boolean"] }, { "$ref": "#/components/schemas/Base64" }],
        },
        "Command": {
            "description": "A command: its name and its arguments.",
            "type": "array",
            "minItems": 1,
            "prefixItems": [{ "$ref": "#/components/schemas/CommandName" }],
            "items": { "$ref": "#/components/schemas/Word" },
        },
        "CommandName": {
            "description": "The name of a command, in any case. `x-commands` has what each takes and does. \
                Those that act on a connection (SUBSCRIBE, MULTI, SELECT, AUTH and the like) are refused.",
            "anyOf": [{ "enum": names }, { "type": "string" }],
            "x-commands": commands_described(),
        },
    })
}

const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?$";

fn commands_described() -> Json {
    Json::Object(table::all().iter().map(|spec| (spec.name.to_uppercase(), command_described(spec))).collect())
}

fn command_described(spec: &Spec) -> Json {
    let mut described = json!({ "syntax": spec.syntax, "summary": spec.summary, "group": spec.group.name() });
    if !spec.subcommands.is_empty() {
        let subcommands = spec.subcommands.iter().map(|spec| (spec.name.to_uppercase(), command_described(spec)));
        described["subcommands"] = Json::Object(subcommands.collect());
    }
    described
}

fn headers() -> Json {
    json!({
        "ETag": { "description": "The version.", "schema": { "type": "string" } },
        "Content-Range": { "description": "Which bytes of how many these are.", "schema": { "type": "string" } },
        "Larder-Durability": {
            "description": "Where what was written is: `os` outlives the end of the process, `disk` that of power. Not there when nothing was written.",
            "schema": { "type": "string", "enum": ["os", "disk"] },
        },
        "WWW-Authenticate": { "description": "That a user is asked for.", "schema": { "type": "string" } },
    })
}

/// What stands for a `{name}` in examples. A key of each type has its own name, so that they can be followed in a row.
fn example_of(route: &Route, name: &str) -> Json {
    match (name, tag_of(route)) {
        ("index", _) => json!(0),
        ("field", _) => json!("name"),
        ("member", "sets") => json!("apples"),
        ("member", _) => json!("ada"),
        ("channel", _) => json!("news"),
        (_, "hashes") => json!("person"),
        (_, "sets") => json!("fruit"),
        (_, "zsets") => json!("scores"),
        (_, "lists") => json!("basket"),
        _ => json!("greeting"),
    }
}

fn example_path(route: &Route) -> String {
    let mut path = route.path.to_owned();
    for parameter in route.parameters.iter().filter(|parameter| parameter.place == Place::Path) {
        let example = example_of(route, parameter.name);
        let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        path = path.replace(&format!("{{{}}}", parameter.name), &text);
    }
    path
}

/// A request of the route, to be pasted into a shell.
fn curl(route: &Route) -> String {
    let query = match route.action {
        Action::Keys => "?prefix=greet",
        Action::Changes => "?prefix=user:",
        Action::Subscribe if !route.path.contains('{') => "?pattern=news.*",
        Action::ListPop => "?wait=5s",
        _ => "",
    };
    let url = format!("{EXAMPLE_ORIGIN}{}{query}", example_path(route));
    let url = if query.is_empty() { url } else { format!("'{url}'") };
    let flags = match (route.method, route.action) {
        (_, Action::Subscribe | Action::Changes) => "-N ".to_owned(),
        (Method::Get, _) => String::new(),
        (Method::Post, _) if route.body.is_some() => String::new(),
        (method, _) => format!("-X {} ", method.name()),
    };
    let body = match route.body {
        None => String::new(),
        Some("application/json") => format!(" -d '{}'", body_of(route).1),
        Some(_) => match body_of(route).1 {
            Json::String(text) => format!(" --data-binary '{text}'"),
            other => format!(" --data-binary '{other}'"),
        },
    };
    format!("curl {flags}{url}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of a part of the document.
    fn references<'d>(part: &'d Json, found: &mut Vec<&'d str>) {
        match part {
            Json::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Json::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            Json::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_with_a_body_where_it_takes_one() {
        let document = describe();
        let mut ids = Vec::new();
        for route in ROUTES {
            let operation = &document["paths"][route.path][method_name(route)];
            assert_eq!(operation["summary"], route.summary, "{}", route.path);
            assert_eq!(operation.get("requestBody").is_some(), route.body.is_some(), "{}", route.path);
            assert!(operation["responses"].get("401").is_some(), "{}", route.path);
            ids.push(operation["operationId"].as_str().expect("it has one"));
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "names of operations are unique");
    }

    #[test]
    fn references_lead_somewhere() {
        let document = describe();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > ROUTES.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("it is of this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn only_names_of_hosts_stand_in_the_page() {
        for host in ["localhost", "a.example:8080", "[::1]:8080", "under_score"] {
            assert!(is_host(host), "{host}");
        }
        for other in ["", "a b", "<b>", "a/b", "a'b", "a$(b)", &"a".repeat(256)] {
            assert!(!is_host(other), "{other}");
        }
    }

    #[test]
    fn examples_are_requests_of_their_routes() {
        for route in ROUTES {
            let path = example_path(route);
            let super::super::routes::Match::Found(found) = super::super::routes::find(route.method, &path) else {
                panic!("{path} is not found")
            };
            assert_eq!(found.route().path, route.path);
            assert!(curl(route).contains(&path));
        }
    }
}
