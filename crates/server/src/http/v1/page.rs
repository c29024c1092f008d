//! The reference as a page: the document of `openapi.rs` for readers.
//!
//! One file without scripts, and nothing is loaded from elsewhere: it reads the same without a network.
//!
//! Deliberately not here: what is described, which is the document's. Invariant: all text of the document is escaped.

use super::openapi::method_name;
use super::routes::ROUTES;
use serde_json::Value as Json;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// Writes the page.
pub fn write(document: &Json) -> String {
    let (title, version) = (text(&document["info"]["title"]), text(&document["info"]["version"]));
    let mut page = String::new();
    put(&mut page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put(&mut page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    put(&mut page, &format!("<title>{title} {version}: HTTP API</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    put(&mut page, &format!("<header>\n<h1>{title} <small>{version}</small></h1>\n"));
    put(&mut page, &format!("<p>{}</p>\n", prose(&document["info"]["description"])));
    put(&mut page, "<p>The same for programs: <a href=\"/v1/openapi.json\">openapi.json</a>.</p>\n");
    put_contents(&mut page, document);
    put(&mut page, "</header>\n<main>\n");
    for tag in document["tags"].as_array().into_iter().flatten() {
        put_tag(&mut page, document, tag["name"].as_str().unwrap_or_default());
    }
    put_commands(&mut page, &document["components"]["schemas"]["CommandName"]["x-commands"]);
    put(&mut page, "</main>\n</body>\n</html>\n");
    page
}

fn put(page: &mut String, html: &str) {
    page.push_str(html);
}

/// The text of a string, escaped.
fn text(json: &Json) -> String {
    escaped(json.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// As [`text`], with what stands between backticks as code.
fn prose(json: &Json) -> String {
    let text = text(json);
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 0 {
            html.push_str(part);
        } else {
            html.extend(["<code>", part, "</code>"]);
        }
    }
    html
}

fn put_contents(page: &mut String, document: &Json) {
    put(page, "<nav>\n");
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        put(page, &format!("<a href=\"#{name}\">{name}</a>\n"));
    }
    put(page, "<a href=\"#table\">all commands</a>\n</nav>\n");
}

/// The operations with this tag, in the order of the routes.
fn put_tag(page: &mut String, document: &Json, tag: &str) {
    put(page, &format!("<section id=\"{0}\">\n<h2>{0}</h2>\n", escaped(tag)));
    for route in ROUTES {
        let methods = &document["paths"][route.path];
        put_operation(page, method_name(route), route.path, &methods[method_name(route)], tag);
        if method_name(route) == "get" && methods.get("head").is_some() {
            put_operation(page, "head", route.path, &methods["head"], tag);
        }
    }
    put(page, "</section>\n");
}

fn put_operation(page: &mut String, method: &str, path: &str, operation: &Json, tag: &str) {
    if operation["tags"][0] != tag {
        return;
    }
    let id = text(&operation["operationId"]);
    let _ = write!(
        page,
        "<article id=\"{id}\">\n<h3><a href=\"#{id}\"><b class=\"{method}\">{}</b> ",
        method.to_uppercase()
    );
    let _ = writeln!(page, "<code>{}</code></a></h3>", escaped(path).replace('/', "/<wbr>"));
    let _ = writeln!(page, "<p>{}</p>", prose(&operation["summary"]));
    let _ = writeln!(page, "<pre><code>{}</code></pre>", text(&operation["x-codeSamples"][0]["source"]));
    put(page, "<details><summary>Parameters, body and answers</summary>\n");
    put_parameters(page, &operation["parameters"]);
    put_body(page, &operation["requestBody"]);
    put_responses(page, &operation["responses"]);
    put(page, "</details>\n</article>\n");
}

fn put_parameters(page: &mut String, parameters: &Json) {
    let parameters = parameters.as_array().map_or(&[][..], Vec::as_slice);
    if parameters.is_empty() {
        return;
    }
    put(page, "<h4>Parameters</h4>\n<dl>\n");
    for parameter in parameters {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let _ = write!(page, "<dt><code>{name}</code> <i>{place}</i></dt>");
        let _ = writeln!(page, "<dd>{}</dd>", prose(&parameter["description"]));
    }
    put(page, "</dl>\n");
}

fn put_body(page: &mut String, body: &Json) {
    for (content_type, media) in body["content"].as_object().into_iter().flatten() {
        let example = match &media["example"] {
            Json::String(example) => escaped(example),
            other => escaped(&other.to_string()),
        };
        let _ = writeln!(page, "<h4>Body</h4>\n<p><code>{}</code>, such as</p>", escaped(content_type));
        let _ = writeln!(page, "<pre><code>{example}</code></pre>");
    }
}

fn put_responses(page: &mut String, responses: &Json) {
    put(page, "<h4>Answers</h4>\n<dl>\n");
    for (status, response) in responses.as_object().into_iter().flatten() {
        let types = response["content"].as_object().into_iter().flatten().map(|(name, _)| escaped(name));
        let headers = response["headers"].as_object().into_iter().flatten().map(|(name, _)| escaped(name));
        let said: Vec<String> = types.chain(headers).collect();
        let _ = write!(page, "<dt><code>{status}</code> <i>{}</i></dt>", said.join(", "));
        let _ = writeln!(page, "<dd>{}</dd>", prose(&response["description"]));
    }
    put(page, "</dl>\n");
}

fn put_commands(page: &mut String, commands: &Json) {
    put(page, "<section id=\"table\">\n<h2>all commands</h2>\n<p>For <code>POST /v1/command</code>, ");
    put(page, "<code>/v1/pipeline</code>, <code>/v1/multi-exec</code> and <code>/v1/batch</code>.</p>\n<dl>\n");
    for (name, command) in commands.as_object().into_iter().flatten() {
        put_command(page, name, command);
        for (sub, command) in command["subcommands"].as_object().into_iter().flatten() {
            put_command(page, &format!("{name} {sub}"), command);
        }
    }
    put(page, "</dl>\n</section>\n");
}

fn put_command(page: &mut String, name: &str, command: &Json) {
    let _ = write!(page, "<dt><code>{} <span>{}</span></code></dt>", escaped(name), text(&command["syntax"]));
    let _ = writeln!(page, "<dd>{}</dd>", prose(&command["summary"]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::v1::openapi::describe;

    #[test]
    fn the_page_has_every_route_and_command_and_asks_nobody_for_anything() {
        let page = write(&describe());
        for route in ROUTES {
            assert!(page.contains(&prose(&Json::from(route.summary))), "{}", route.path);
        }
        assert!(page.contains("<dt><code>ZADD "));
        for foreign in ["<script", "src=", "@import", "url(", "href=\"http"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(prose(&Json::from("a `<b>` & \"c\"")), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
    }
}
