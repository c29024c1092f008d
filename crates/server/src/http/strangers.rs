//! Web pages that ask without being allowed to. A browser sends this machine what any page tells it to, so that without a look at
//! who asks, a page somewhere could delete what a developer's own server holds, or read it by giving its own name this
//! machine's address (DNS rebinding).
//!
//! | a request | is refused |
//! |---|---|
//! | with an `Origin` that is neither the server's own nor one of `http-cors-origins` | always |
//! | that a browser calls `cross-site` or `same-site` (`Sec-Fetch-Site`), without an `Origin` | but for the description of the API |
//! | of a browser that says neither, to hustdb's paths, which change by GET | always |
//! | to a public name (`Host`), from this machine, without `Authorization` | unless `http-cors-origins` lists an origin of that name |
//!
//! Programs send none of these headers, and call this machine by an address, `localhost`, or a name without a dot. `*` among the
//! origins allows everything.
//!
//! Source: the Fetch standard, "Fetch metadata request headers" (W3C); Redis ends connections that say POST or Host: for the same reason.

use super::doors::Visit;
use super::problem::refuse;
use crate::config::SettingId;
use crate::connection::Stream;
use std::net::Ipv6Addr;

const DESCRIPTIONS: [&str; 2] = ["/v1/docs", "/v1/openapi.json"];

/// Whether the headers of the last request were those of a program, which says none of a browser's, and calls this machine by
/// an address, `localhost` or a name without a dot. A connection mostly says the same ones again.
#[derive(Default)]
pub struct Harmless(bool);

/// Whether a request comes from a page that may not ask; the answer says so then.
///
/// # Cost
/// A test of a flag where a program says the headers of its last request again; else a look for four of them, and at the host.
#[inline]
pub fn refuses<S: Stream>(visit: &mut Visit<'_, S>) -> bool {
    (!visit.request.repeats_headers() || !visit.harmless.0) && refuses_unknown(visit)
}

fn refuses_unknown<S: Stream>(visit: &mut Visit<'_, S>) -> bool {
    let host = visit.request.header_text("host").unwrap_or_default();
    let origin = visit.request.header_text("origin");
    let site = visit.request.header("sec-fetch-site");
    let says_nothing = origin.is_none() && site.is_none() && !is_public(host);
    *visit.harmless = Harmless(says_nothing && !is_browser(visit));
    (!says_nothing || may_be_an_image(visit)) && refuses_page(visit, host, origin, site)
}

fn is_browser<S>(visit: &Visit<'_, S>) -> bool {
    visit.request.header("user-agent").is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

/// Whether a browser asks one of hustdb's paths, which change by GET, without saying for whom: over plain HTTP it does so for
/// addresses other than this machine's own.
fn may_be_an_image<S>(visit: &Visit<'_, S>) -> bool {
    let request = &visit.request;
    request.path.starts_with("/hust")
        && request.header("origin").is_none()
        && request.header("sec-fetch-site").is_none()
        && is_browser(visit)
}

fn refuses_page<S: Stream>(visit: &mut Visit<'_, S>, host: &str, origin: Option<&str>, site: Option<&[u8]>) -> bool {
    let allowed = visit.caller.server().settings.text(const { SettingId::of("http-cors-origins") });
    let allowed: Vec<&str> = allowed.split_whitespace().collect();
    let is_listed = |found: &dyn Fn(&str) -> bool| allowed.iter().any(|origin| *origin == "*" || found(origin));
    let why = match origin {
        Some(origin) if host_of(origin) != host && !is_listed(&|listed| listed == origin) => {
            format!("pages of {origin} may not ask this server; http-cors-origins says which may")
        }
        None if (matches!(site, Some(b"cross-site" | b"same-site")) || may_be_an_image(visit))
            && !DESCRIPTIONS.contains(&visit.request.path)
            && !is_listed(&|_| false) =>
        {
            "pages of other sites may not ask this server; http-cors-origins says which may".to_owned()
        }
        _ if is_public(host)
            && visit.request.header("authorization").is_none()
            && visit.caller.peer().is_some_and(|peer| peer.is_loopback())
            && !is_listed(&|listed| host_of(listed) == host) =>
        {
            format!(
                "this server does not go by the name {host} on its own machine; http-cors-origins may list http://{host}"
            )
        }
        _ => return false,
    };
    refuse(visit.answer, 403, &why);
    true
}

/// The name and port of an origin.
fn host_of(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// Whether a host may be anybody's name: one with a dot that is no address and not `localhost`'s.
#[inline]
fn is_public(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split(']').next().is_none_or(|address| address.parse::<Ipv6Addr>().is_err()),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_address = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.contains('.') && !is_address && !name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_names_without_a_dot_are_nobodys_else() {
        for host in
            ["127.0.0.1:8080", "10.1.2.3", "[::1]:8080", "localhost", "localhost:1", "larder:8080", "a.localhost", ""]
        {
            assert!(!is_public(host), "{host}");
        }
        for host in
            ["a.example", "a.example:8080", "127.0.0.1.a.example", "[a.example]", "localhost.example.", "LOCALHOST.a"]
        {
            assert!(is_public(host), "{host}");
        }
    }
}
