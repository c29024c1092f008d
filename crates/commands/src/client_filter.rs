//! Which connections CLIENT LIST and CLIENT KILL mean.
//!
//! Every criterion can be asked for or, with `NOT-`, excluded. All that are asked for must hold and none of the
//! excluded may; the last of two alike counts, except that numbers of connections add up.
//!
//! Source: behaviour of Valkey 9.1, `parseClientFiltersOrReply`.

use crate::call::Call;
use crate::error::Error;
use crate::host::ClientView;
use crate::refuse;
use base::number::parse_i64;
use base::{DB_COUNT, DbId};

/// Letters that a connection's `flags=` may have.
const FLAG_LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";
/// Letters that a connection's `capa=` may have.
const CAPABILITY_LETTERS: &[u8] = b"r";

/// Kinds of connections that TYPE tells apart. There are no replicas here, and no master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Pubsub,
    Other,
}

/// Something a connection may or may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Criterion<'a> {
    Ids(Vec<u64>),
    Address(&'a [u8]),
    LocalAddress(&'a [u8]),
    Ip(&'a [u8]),
    Kind(Kind),
    User(&'a [u8]),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVersion(&'a [u8]),
    Flags(&'a [u8]),
    Capabilities(&'a [u8]),
    Db(DbId),
}

impl Criterion<'_> {
    fn holds(&self, view: &ClientView) -> bool {
        match self {
            Criterion::Ids(ids) => ids.contains(&view.id),
            Criterion::Address(address) => view.address.as_bytes() == *address,
            Criterion::LocalAddress(address) => view.local_address.as_bytes() == *address,
            Criterion::Ip(ip) => ip_of(&view.address).as_bytes() == *ip,
            Criterion::Kind(kind) => *kind == kind_of(view),
            Criterion::User(name) => view.user == *name,
            Criterion::Name(name) => !view.name.is_empty() && view.name == *name,
            Criterion::LibName(name) => !view.lib_name.is_empty() && view.lib_name == *name,
            Criterion::LibVersion(version) => !view.lib_version.is_empty() && view.lib_version == *version,
            Criterion::Flags(letters) => letters.iter().all(|letter| view.flags.as_bytes().contains(letter)),
            Criterion::Capabilities(letters) => {
                letters.iter().all(|letter| view.capabilities.as_bytes().contains(letter))
            }
            Criterion::Db(db) => view.db == *db,
        }
    }

    fn is_alike(&self, other: &Criterion<'_>) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

fn kind_of(view: &ClientView) -> Kind {
    if view.subscriptions.total() > 0 { Kind::Pubsub } else { Kind::Normal }
}

/// The address of `address:port`, without the brackets of IPv6.
fn ip_of(address: &str) -> &str {
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    ip.trim_start_matches('[').trim_end_matches(']')
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    wanted: Vec<Criterion<'a>>,
    excluded: Vec<Criterion<'a>>,
    age_seconds_min: u64,
    idle_seconds_min: u64,
    skip_self: Option<bool>,
}

impl<'a> Filter<'a> {
    /// The connections from one address, the asking one included.
    pub fn address(address: &'a [u8]) -> Self {
        Filter { wanted: vec![Criterion::Address(address)], ..Filter::default() }
    }

    /// Leaves out the asking connection unless SKIPME said otherwise.
    #[must_use]
    pub fn or_skip_self(self) -> Self {
        Filter { skip_self: self.skip_self.or(Some(true)), ..self }
    }

    /// Whether this connection is meant; `own_id` is the asking one's number.
    pub fn matches(&self, view: &ClientView, own_id: u64) -> bool {
        self.wanted.iter().all(|criterion| criterion.holds(view))
            && !self.excluded.iter().any(|criterion| criterion.holds(view))
            && self.age_seconds_min <= view.age_seconds
            && self.idle_seconds_min <= view.idle_seconds
            && !(self.skip_self == Some(true) && view.id == own_id)
    }

    fn add(&mut self, criterion: Criterion<'a>, is_wanted: bool) {
        let list = if is_wanted { &mut self.wanted } else { &mut self.excluded };
        let alike = list.iter_mut().find(|other| other.is_alike(&criterion));
        match (alike, criterion) {
            (Some(Criterion::Ids(ids)), Criterion::Ids(more)) => ids.extend(more),
            (Some(other), criterion) => *other = criterion,
            (None, criterion) => list.push(criterion),
        }
    }
}

/// Reads the filter that the arguments from `at` on are.
pub fn parse<'c>(call: &Call<'c>, mut at: usize) -> Result<Filter<'c>, Error> {
    let mut filter = Filter::default();
    while at < call.arg_count() {
        let word = call.arg(at).to_ascii_lowercase();
        let (name, is_wanted) = match word.strip_prefix(b"not-") {
            Some(name) => (name, false),
            None => (&word[..], true),
        };
        at += 1;
        if name == b"id" {
            let ids = parse_ids(call, &mut at)?;
            filter.add(Criterion::Ids(ids), is_wanted);
            continue;
        }
        let value = call.args.nth(at).ok_or(Error::Syntax)?;
        at += 1;
        if is_wanted && parse_bound(&mut filter, name, value)? {
            continue;
        }
        filter.add(parse_criterion(call, name, value, is_wanted)?, is_wanted);
    }
    Ok(filter)
}

/// Numbers of connections, one at least, up to the first argument that is none. Where there is not even one, KILL says so
/// in Redis's words, LIST in Valkey's.
fn parse_ids(call: &Call<'_>, at: &mut usize) -> Result<Vec<u64>, Error> {
    const NOT_AN_ID: Error = Error::text("ERR client-id should be greater than 0");
    let mut ids = Vec::new();
    while let Some(id) = call.args.nth(*at).and_then(parse_i64) {
        if id < 1 {
            return Err(NOT_AN_ID);
        }
        ids.push(id as u64);
        *at += 1;
    }
    let has_more = *at < call.arg_count();
    match ids.is_empty() {
        false => Ok(ids),
        true if has_more && call.is_word(1, "KILL") => Err(NOT_AN_ID),
        true => Err(Error::Syntax),
    }
}

/// Whether `name` is a bound, or SKIPME, rather than a criterion; it is noted then.
fn parse_bound(filter: &mut Filter<'_>, name: &[u8], value: &[u8]) -> Result<bool, Error> {
    match name {
        b"maxage" => filter.age_seconds_min = seconds("maxage", value)?,
        b"idle" => filter.idle_seconds_min = seconds("idle", value)?,
        b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_self = Some(true),
        b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_self = Some(false),
        b"skipme" => return Err(Error::Syntax),
        _ => return Ok(false),
    }
    Ok(true)
}

fn seconds(name: &str, value: &[u8]) -> Result<u64, Error> {
    match parse_i64(value) {
        None => Err(refuse!("ERR {name} is not an integer or out of range")),
        Some(seconds) if seconds < 1 => Err(refuse!("ERR {name} should be greater than 0")),
        Some(seconds) => Ok(seconds as u64),
    }
}

fn parse_criterion<'c>(call: &Call<'c>, name: &[u8], value: &'c [u8], is_wanted: bool) -> Result<Criterion<'c>, Error> {
    let prefix = if is_wanted { "" } else { "NOT-" };
    Ok(match name {
        b"addr" => Criterion::Address(value),
        b"laddr" => Criterion::LocalAddress(value),
        b"ip" => Criterion::Ip(value),
        b"name" => Criterion::Name(value),
        b"lib-name" => Criterion::LibName(value),
        b"lib-ver" => Criterion::LibVersion(value),
        b"type" => Criterion::Kind(parse_kind(value)?),
        b"user" if call.host.users().find(value).is_some() => Criterion::User(value),
        b"user" => return Err(refuse!("ERR No such user '{}'", String::from_utf8_lossy(value))),
        b"flags" => Criterion::Flags(letters("flags", value, FLAG_LETTERS, is_wanted)?),
        b"capa" => Criterion::Capabilities(letters("capa", value, CAPABILITY_LETTERS, is_wanted)?),
        b"db" => Criterion::Db(parse_db(prefix, value)?),
        _ => return Err(Error::Syntax),
    })
}

fn parse_kind(value: &[u8]) -> Result<Kind, Error> {
    match value.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Kind::Normal),
        b"pubsub" => Ok(Kind::Pubsub),
        b"slave" | b"replica" | b"master" | b"primary" => Ok(Kind::Other),
        _ => Err(refuse!("ERR Unknown client type '{}'", String::from_utf8_lossy(value))),
    }
}

fn letters<'c>(name: &str, value: &'c [u8], known: &[u8], is_wanted: bool) -> Result<&'c [u8], Error> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value);
    }
    let shown = String::from_utf8_lossy(value);
    if is_wanted {
        Err(refuse!("ERR Unknown {name} found in the provided filter: {shown}"))
    } else {
        Err(refuse!("ERR Unknown {name} found in the NOT-{} filter: {shown}", name.to_ascii_uppercase()))
    }
}

fn parse_db(prefix: &str, value: &[u8]) -> Result<DbId, Error> {
    match parse_i64(value) {
        None => Err(refuse!("ERR {prefix}DB is not an integer or out of range")),
        Some(db) if (0..DB_COUNT as i64).contains(&db) => Ok(DbId(db as u8)),
        Some(_) => Err(refuse!("ERR {prefix}DB number should be between 0 and {}", DB_COUNT - 1)),
    }
}
