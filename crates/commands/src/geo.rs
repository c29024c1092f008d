//! Geo: places on earth as members of sorted sets, by name.
//!
//! A sorted set of places is a sorted set: the score stands for the place (`geo_cells`), and every command of sorted
//! sets works on it.
//!
//! Deliberately not here: searches (`geo_search`).
//!
//! Source: behaviour of Valkey 9.1 `geo.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::geo_cells::{LATITUDE_MAX, LONGITUDE_MAX, Place};
use crate::geo_shape::distance_m;
use crate::refuse;
use crate::sorted_sets::{AddOptions, add_scored};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_f64;
use smallvec::SmallVec;
use wire::reply::Reply;

pub(crate) const ROW: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Geo,
    since: "3.2.0",
    complexity: "O(N) for N members asked for",
    summary: "",
    syntax: "key [member [member ...]]",
    handler: positions,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "geoadd",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(5),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        complexity: "O(log N) for each member, N members in the set",
        summary: "Sets places of members of a sorted set and returns how many members are new.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        handler: add,
        ..ROW
    },
    Spec {
        name: "geodist",
        arity: Arity::AtLeast(4),
        complexity: "O(1)",
        summary: "Returns the distance between two members of a sorted set of places.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        handler: distance,
        ..ROW
    },
    Spec {
        name: "geohash",
        summary: "Returns the places of members of a sorted set as geohashes.",
        handler: texts,
        ..ROW
    },
    Spec {
        name: "geopos",
        summary: "Returns the longitudes and latitudes of members of a sorted set.",
        handler: positions,
        ..ROW
    },
];

/// Two arguments as a place.
pub(crate) fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Error> {
    let number = |text: &[u8]| parse_f64(text).ok_or(Error::NotFloat);
    let place = Place { longitude: number(longitude)?, latitude: number(latitude)? };
    if LONGITUDE_MAX < place.longitude.abs() || LATITUDE_MAX < place.latitude.abs() {
        let Place { longitude, latitude } = place;
        return Err(refuse!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"));
    }
    Ok(place)
}

/// Metres in a unit.
pub(crate) fn unit_m(word: &[u8]) -> Result<f64, Error> {
    match &word.to_ascii_lowercase()[..] {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(Error::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// A distance with four digits behind the point.
pub(crate) fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    let tenths_of_thousandths = (distance * 10_000.0).round_ties_even();
    reply.bulk(format!("{:.4}", tenths_of_thousandths / 10_000.0).as_bytes());
}

/// Longitude and latitude, with 17 digits behind the point but without zeros at the end.
pub(crate) fn reply_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { "0" } else { text }.as_bytes());
    }
}

fn add(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mut options = AddOptions::default();
    let mut start = 2;
    while start < call.arg_count() {
        let option = match &call.arg(start).to_ascii_uppercase()[..] {
            b"NX" => &mut options.if_absent,
            b"XX" => &mut options.if_present,
            b"CH" => &mut options.counts_changed,
            _ => break,
        };
        *option = true;
        start += 1;
    }
    let args = call.args.skip(start);
    if !args.count().is_multiple_of(3) || args.count() == 0 || (options.if_absent && options.if_present) {
        return Err(Error::Syntax);
    }
    let mut pairs = SmallVec::<[(&[u8], f64); 4]>::new();
    for index in (0..args.count()).step_by(3) {
        pairs.push((args.at(index + 2), place(args.at(index), args.at(index + 1))?.score()));
    }
    add_scored(call, &pairs, options)
}

/// Replies for each member with what `each` makes of its place, if it has one.
fn reply_each(call: &mut Call<'_>, each: fn(&mut Reply<'_>, Option<Place>)) -> Result<Flow, Error> {
    let set = call.tx.sorted_set(call.args.at(1))?;
    let members = call.args.skip(2);
    call.reply.array(members.count());
    for member in members.iter() {
        let score = set.and_then(|set| set.score(member));
        each(&mut call.reply, score.map(Place::of_score));
    }
    Ok(Flow::Done)
}

fn texts(call: &mut Call<'_>) -> Result<Flow, Error> {
    reply_each(call, |reply, place| match place {
        Some(place) => reply.bulk(&place.text()),
        None => reply.null(),
    })
}

fn positions(call: &mut Call<'_>) -> Result<Flow, Error> {
    reply_each(call, |reply, place| match place {
        Some(place) => reply_place(reply, place),
        None => reply.null_array(),
    })
}

fn distance(call: &mut Call<'_>) -> Result<Flow, Error> {
    let unit_m = match call.arg_count() {
        4 => 1.0,
        5 => unit_m(call.arg(4))?,
        _ => return Err(Error::Syntax),
    };
    let (one, other) = (call.arg(2), call.arg(3));
    let set = call.tx.sorted_set(call.args.at(1))?;
    let place = |member: &[u8]| set.and_then(|set| set.score(member)).map(Place::of_score);
    match (place(one), place(other)) {
        (Some(one), Some(other)) => reply_distance(&mut call.reply, distance_m(one, other) / unit_m),
        _ => call.reply.null(),
    }
    Ok(Flow::Done)
}
