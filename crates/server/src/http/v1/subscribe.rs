//! Subscriptions, as streams of server-sent events: messages of channels, and changes of keys.
//!
//! Deliberately not here: the stream itself (`http/events.rs`); changes without `notify-keyspace-events`, by which the
//! server keeps no events that nobody asked for.

use super::is_refused;
use super::routes::Found;
use super::run::{Wrong, parameter, pattern_of};
use crate::config::SettingId;
use crate::connection::{End, Stream};
use crate::http::doors::Visit;
use crate::http::events::Events;
use crate::http::problem::refuse;
use crate::http::request::Method;
use keyspace::events::Interests;
use wire::http::{percent_decode, query_decode};

const NO_CHANGES: &str = "nothing is told of keys while notify-keyspace-events does not have K and the classes of events \
    that are wanted: CONFIG SET notify-keyspace-events KA has all of them";

/// What is subscribed to.
#[derive(Default)]
struct Names {
    channels: Vec<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
}

/// GET /v1/subscribe, GET /v1/subscribe/{channel}
pub async fn messages<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    match names(found, visit) {
        Ok(names) => open(visit, &names, Events::Messages).await,
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            Ok(())
        }
    }
}

fn names<S: Stream>(found: Found, visit: &Visit<'_, S>) -> Result<Names, Wrong> {
    let mut names = Names::default();
    if found.route().path.contains('{') {
        for name in found.capture(visit.request.path, 0).split(|byte| *byte == b',') {
            let mut decoded = Vec::new();
            percent_decode(name, &mut decoded).ok_or("the channel is not spelled right: two digits follow a %")?;
            names.channels.push(decoded);
        }
    }
    for (name, value) in visit.request.parameters() {
        let into = match name {
            b"channel" => &mut names.channels,
            b"pattern" => &mut names.patterns,
            _ => continue,
        };
        let mut decoded = Vec::new();
        query_decode(value, &mut decoded).ok_or("a parameter is not spelled right: two digits follow a %")?;
        into.push(decoded);
    }
    // Who names nothing wants everything.
    if names.channels.is_empty() && names.patterns.is_empty() {
        names.patterns.push(b"*".to_vec());
    }
    Ok(names)
}

/// GET /v1/changes
pub async fn changes<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let prefix = match parameter(visit, "prefix") {
        Ok(prefix) => prefix.unwrap_or_default(),
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            return Ok(());
        }
    };
    let letters = visit.caller.server().settings.text(const { SettingId::of("notify-keyspace-events") });
    let interests = Interests::of_letters(&letters);
    if !interests.by_key() || !interests.wants_events() {
        refuse(visit.answer, 409, NO_CHANGES);
        return Ok(());
    }
    let db = visit.caller.session().db.0;
    let pattern = [format!("__keyspace@{db}__:").as_bytes(), &pattern_of(&prefix)].concat();
    let names = Names { patterns: vec![pattern], ..Names::default() };
    open(visit, &names, Events::Changes).await
}

/// Subscribes, and has the answer be a stream. HEAD asks whether there is one, and subscribes to nothing.
async fn open<S: Stream>(visit: &mut Visit<'_, S>, names: &Names, events: Events) -> Result<(), End> {
    if visit.request.method != Method::Head {
        let commands: [(&[u8], &[Vec<u8>]); 2] = [(b"SUBSCRIBE", &names.channels), (b"PSUBSCRIBE", &names.patterns)];
        for (command, names) in commands {
            if names.is_empty() {
                continue;
            }
            let words: Vec<&[u8]> = std::iter::once(command).chain(names.iter().map(Vec::as_slice)).collect();
            let reply = visit.caller.call_own(&words).await?;
            if is_refused(visit, reply) {
                // The first of the two may have been permitted: its subscriptions end with the connection.
                visit.answer.close();
                return Ok(());
            }
        }
    }
    visit.answer.header("content-type", "text/event-stream").header("cache-control", "no-store").stream(events);
    Ok(())
}
