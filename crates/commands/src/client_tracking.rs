//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.
//!
//! Deliberately not here: who remembers what (`tracking.rs`).
//!
//! Source: behaviour of Valkey 9.1 `clientTrackingCommand`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::session::Caching;
use crate::tracking::{Mode, Redirection};

/// What CLIENT TRACKING was asked for.
struct Options<'c> {
    redirect: Option<u64>,
    by_prefix: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'c [u8]>,
}

fn parse<'c>(call: &Call<'c>) -> Result<Options<'c>, Error> {
    let mut options = Options {
        redirect: None,
        by_prefix: false,
        opt_in: false,
        opt_out: false,
        no_loop: false,
        prefixes: Vec::new(),
    };
    let mut at = 3;
    while at < call.arg_count() {
        let has_value = at + 1 < call.arg_count();
        if call.is_word(at, "REDIRECT") && has_value {
            at += 1;
            options.redirect = redirect(call, at, options.redirect)?;
        } else if call.is_word(at, "BCAST") {
            options.by_prefix = true;
        } else if call.is_word(at, "OPTIN") {
            options.opt_in = true;
        } else if call.is_word(at, "OPTOUT") {
            options.opt_out = true;
        } else if call.is_word(at, "NOLOOP") {
            options.no_loop = true;
        } else if call.is_word(at, "PREFIX") && has_value {
            at += 1;
            options.prefixes.push(call.arg(at));
        } else {
            return Err(Error::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// The connection that argument `at` names, which must be there now.
fn redirect(call: &Call<'_>, at: usize, before: Option<u64>) -> Result<Option<u64>, Error> {
    if before.is_some() {
        return Err(Error::text("ERR A client can only redirect to a single other client"));
    }
    let id = u64::try_from(call.integer(at)?).ok().filter(|id| call.host.receiver(*id).is_some());
    id.map(Some).ok_or(Error::text("ERR The client ID you want redirect to does not exist"))
}

fn check(call: &Call<'_>, options: &Options<'_>) -> Result<(), Error> {
    const SWITCH_PREFIX: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, \
                                 and then re-enabling it with a different mode.";
    const SWITCH_OPT: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, \
                              and then re-enabling it with a different mode.";
    let now = call.session.caching;
    if !options.by_prefix && !options.prefixes.is_empty() {
        return Err(Error::text("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    if now.is_some_and(|now| (now == Caching::ByPrefix) != options.by_prefix) {
        return Err(Error::text(SWITCH_PREFIX));
    }
    if options.by_prefix && (options.opt_in || options.opt_out) {
        return Err(Error::text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if options.opt_in && options.opt_out {
        return Err(Error::text("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    let switches = match now {
        Some(Caching::OptIn { .. }) => options.opt_out,
        Some(Caching::OptOut { .. }) => options.opt_in,
        _ => false,
    };
    if switches { Err(Error::text(SWITCH_OPT)) } else { check_prefixes(call, &options.prefixes) }
}

/// Refuses prefixes of which one begins with another: their keys would be told of twice.
fn check_prefixes(call: &Call<'_>, prefixes: &[&[u8]]) -> Result<(), Error> {
    let tracked = call.host.tracking().prefixes_of(call.session.id);
    for (index, prefix) in prefixes.iter().enumerate() {
        let overlaps = |other: &&[u8]| other.starts_with(prefix) || prefix.starts_with(other);
        let collision = |which: &str, other: &[u8]| {
            let text = String::from_utf8_lossy;
            refuse!(
                "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must not overlap.",
                text(prefix),
                text(other)
            )
        };
        if let Some(other) = tracked.iter().map(|other| &**other).find(overlaps) {
            return Err(collision("an existing", other));
        }
        if let Some(other) = prefixes[index + 1..].iter().copied().find(overlaps) {
            return Err(collision("another provided", other));
        }
    }
    Ok(())
}

/// CLIENT TRACKING <ON | OFF> ...
pub(crate) fn tracking(call: &mut Call<'_>) -> Result<Flow, Error> {
    let options = parse(call)?;
    if call.is_word(2, "ON") {
        check(call, &options)?;
        start(call, &options);
    } else if call.is_word(2, "OFF") {
        stop(call);
    } else {
        return Err(Error::Syntax);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn start(call: &mut Call<'_>, options: &Options<'_>) {
    let id = call.session.id;
    let Some(receiver) = call.host.receiver(id) else { return };
    let to = options.redirect.and_then(|id| call.host.receiver(id).map(|receiver| Redirection { id, receiver }));
    let prefixes = || match &options.prefixes[..] {
        [] => vec![Box::from(&b""[..])],
        prefixes => prefixes.iter().map(|prefix| Box::from(*prefix)).collect(),
    };
    let mode = Mode { redirection: to, prefixes: options.by_prefix.then(prefixes), no_loop: options.no_loop };
    call.host.tracking().start(id, receiver, mode);
    call.session.caching = Some(match (options.by_prefix, options.opt_in, options.opt_out) {
        (true, ..) => Caching::ByPrefix,
        (_, true, _) => Caching::OptIn { is_given: false },
        (_, _, true) => Caching::OptOut { is_given: false },
        _ => Caching::All,
    });
    call.session.caches_no_loop = options.no_loop;
}

/// Ends tracking, if the connection does.
pub(crate) fn stop(call: &mut Call<'_>) {
    if call.session.caching.take().is_some() {
        call.host.tracking().stop(call.session.id);
    }
}

/// CLIENT CACHING <YES | NO>
pub(crate) fn caching(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.session.caching.is_none() {
        return Err(Error::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    let (yes, no) = (call.is_word(2, "YES"), call.is_word(2, "NO"));
    match &mut call.session.caching {
        Some(Caching::OptIn { is_given }) if yes => *is_given = true,
        Some(Caching::OptOut { is_given }) if no => *is_given = true,
        _ if yes => {
            return Err(Error::text("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."));
        }
        _ if no => {
            return Err(Error::text("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."));
        }
        _ => return Err(Error::Syntax),
    }
    call.reply.ok();
    Ok(Flow::Done)
}

/// CLIENT GETREDIR
pub(crate) fn getredir(call: &mut Call<'_>) -> Result<Flow, Error> {
    let redirect = redirect_of(call);
    call.reply.integer(redirect);
    Ok(Flow::Done)
}

/// The connection that invalidations go to: 0 for this one, -1 for none.
fn redirect_of(call: &Call<'_>) -> i64 {
    call.host.tracking().view(call.session.id).map_or(-1, |view| view.redirect as i64)
}

/// CLIENT TRACKINGINFO
pub(crate) fn trackinginfo(call: &mut Call<'_>) -> Result<Flow, Error> {
    let view = call.host.tracking().view(call.session.id);
    let mut flags = vec![if view.is_some() { "on" } else { "off" }];
    match call.session.caching {
        None | Some(Caching::All) => {}
        Some(Caching::ByPrefix) => flags.push("bcast"),
        Some(Caching::OptIn { is_given }) => {
            flags.extend(["optin", "caching-yes"].into_iter().take(1 + usize::from(is_given)));
        }
        Some(Caching::OptOut { is_given }) => {
            flags.extend(["optout", "caching-no"].into_iter().take(1 + usize::from(is_given)));
        }
    }
    if view.is_some() && call.session.caches_no_loop {
        flags.push("noloop");
    }
    if view.is_some_and(|view| view.is_broken) {
        flags.push("broken_redirect");
    }
    let (redirect, prefixes) = (redirect_of(call), call.host.tracking().prefixes_of(call.session.id));
    let reply = &mut call.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.integer(redirect);
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    for prefix in &prefixes {
        reply.bulk(prefix);
    }
    Ok(Flow::Done)
}
