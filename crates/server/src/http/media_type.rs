//! Content types of values that were given one: who may say them, and what keeps a value from running in a browser.
//!
//! A value is somebody's bytes, served from the origin that the API and its description have. A browser that showed them as
//! a page would run what is in them with the rights of this origin. So whatever is not on the short list of types that
//! browsers only show is sent into a sandbox: an origin of its own, without scripts. And no browser is to guess.
//!
//! Deliberately not here: what a media type is (`base::media_type`), where it is kept (`SET … MEDIATYPE`).
//!
//! Source: CSP Level 3, "sandbox"; Fetch, "X-Content-Type-Options".

use super::answer::Answer;
use super::request::Request;
use base::media_type::essence;

/// What every value is unless it was said: the header, as it is sent.
const BYTES: &str = "content-type: application/octet-stream\r\n";
/// What curl says of any body it is given, whatever it is.
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// Types that browsers show, play or save without running anything. Of groups, all but what ends in `+xml`: SVG, and whatever
/// else a browser takes for a document in which scripts run (MIME Sniffing, "XML MIME type").
const INERT: [&[u8]; 7] = [
    b"application/json",
    b"application/octet-stream",
    b"application/pdf",
    b"text/css",
    b"text/csv",
    b"text/markdown",
    b"text/plain",
];
const INERT_GROUPS: [&[u8]; 4] = [b"audio/", b"font/", b"image/", b"video/"];

/// The content type of a request's body that is worth keeping.
pub fn said<'r>(request: &Request<'r>) -> Option<&'r [u8]> {
    let said = request.header("content-type")?.trim_ascii();
    (!said.is_empty() && !essence(said).eq_ignore_ascii_case(FORM)).then_some(said)
}

/// Says what an answer's body is. What was not said costs no header besides.
#[inline]
pub fn put(answer: &mut Answer, media_type: Option<&[u8]>) {
    match media_type {
        None => _ = answer.lines(BYTES),
        Some(media_type) => put_said(answer, media_type),
    }
}

#[cold]
fn put_said(answer: &mut Answer, media_type: &[u8]) {
    answer.header("content-type", media_type).header("x-content-type-options", "nosniff");
    if !is_inert(media_type) {
        answer.header("content-security-policy", "sandbox");
    }
}

/// Whether a value of this type is JSON as it is.
pub fn is_json(media_type: Option<&[u8]>) -> bool {
    media_type.is_some_and(|media_type| essence(media_type).eq_ignore_ascii_case(b"application/json"))
}

fn is_inert(media_type: &[u8]) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    let is_of_group = INERT_GROUPS.iter().any(|group| essence.starts_with(group));
    INERT.contains(&&essence[..]) || (is_of_group && !essence.ends_with(b"+xml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_browser_might_run_is_sent_into_a_sandbox() {
        for inert in ["text/plain; charset=utf-8", "IMAGE/PNG", "application/json", "video/mp4"] {
            assert!(is_inert(inert.as_bytes()), "{inert}");
        }
        for other in [
            "text/html",
            "Text/HTML;charset=utf-8",
            "image/svg+xml",
            "IMAGE/SVG+XML ;a=b",
            "image/x+xml",
            "Video/X+Xml",
            "application/xhtml+xml",
            "text/xml",
            "application/xml",
            "application/rss+xml",
            "text/javascript",
            "text/html/",
            "multipart/related",
            "x/unknown",
        ] {
            assert!(!is_inert(other.as_bytes()), "{other}");
        }
    }
}
