//! Geo: members of a sorted set of places that lie within a shape.
//!
//! ```text
//! shape ─► degrees around it ─► ranges of scores ─► members in them ─► those within ─► in order, cut, shown or stored
//! ```
//!
//! Without an order asked for, members come in that of their scores.
//!
//! Not done, and why: Redis visits nine cells around the middle, the middle one first, and results that nobody wants
//! in order come in that order; ours are ascending.
//!
//! Source: behaviour of Valkey 9.1 `geo.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::geo::{ROW, place, reply_distance, reply_place, unit_m};
use crate::geo_cells::Place;
use crate::geo_shape::Shape;
use crate::refuse;
use crate::sorted_sets_range::store;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_f64;
use keyspace::sorted_set::{Direction, Scored, SortedSet, encode_image};
use wire::reply::Reply;

const COST: &str = "O(N + M log M) for N members around the shape and M within";
const RADIUS: Spec = Spec { arity: Arity::AtLeast(6), complexity: COST, since: "3.2.10", ..ROW };
const RADIUS_STORE: Spec = Spec {
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: Keys::OneAndBehind { words: &["STORE", "STOREDIST"], from: 5, options: &[("COUNT", 1)] },
    since: "3.2.0",
    ..RADIUS
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "georadius",
        touches: Touches::keys(&[KeyUse::RO_ACCESS, KeyUse::OW_UPDATE]),
        summary: "Returns or stores members of a sorted set within a distance of a place; see GEOSEARCH.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
                 [COUNT count [ANY]] [ASC | DESC] [STORE storekey | STOREDIST storekey]",
        handler: |call| search(call, Form::AroundPlace { stores: true }),
        ..RADIUS_STORE
    },
    Spec {
        name: "georadius_ro",
        summary: "Returns members of a sorted set within a distance of a place; see GEOSEARCH.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
                 [COUNT count [ANY]] [ASC | DESC]",
        handler: |call| search(call, Form::AroundPlace { stores: false }),
        ..RADIUS
    },
    Spec {
        name: "georadiusbymember",
        touches: Touches::keys(&[KeyUse::RO_ACCESS, KeyUse::OW_UPDATE]),
        arity: Arity::AtLeast(5),
        summary: "Returns or stores members of a sorted set within a distance of a member; see GEOSEARCH.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
                 [ASC | DESC] [STORE storekey | STOREDIST storekey]",
        handler: |call| search(call, Form::AroundMember { stores: true }),
        ..RADIUS_STORE
    },
    Spec {
        name: "georadiusbymember_ro",
        arity: Arity::AtLeast(5),
        summary: "Returns members of a sorted set within a distance of a member; see GEOSEARCH.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
                 [ASC | DESC]",
        handler: |call| search(call, Form::AroundMember { stores: false }),
        ..RADIUS
    },
    Spec {
        name: "geosearch",
        arity: Arity::AtLeast(7),
        complexity: COST,
        since: "6.2.0",
        summary: "Returns members of a sorted set within a circle, a box or a polygon.",
        syntax: "key [FROMMEMBER member | FROMLONLAT longitude latitude] \
                 <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI> | \
                 BYPOLYGON num-vertices longitude latitude [longitude latitude ...]> [ASC | DESC] \
                 [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        handler: |call| search(call, Form::Search),
        ..ROW
    },
    Spec {
        name: "geosearchstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        arity: Arity::AtLeast(8),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        complexity: COST,
        since: "6.2.0",
        summary: "Stores members of a sorted set within a circle, a box or a polygon; returns how many.",
        syntax: "destination source [FROMMEMBER member | FROMLONLAT longitude latitude] \
                 <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI> | \
                 BYPOLYGON num-vertices longitude latitude [longitude latitude ...]> [ASC | DESC] \
                 [COUNT count [ANY]] [STOREDIST]",
        handler: |call| search(call, Form::SearchStore),
        ..ROW
    },
];

/// How the arguments of a search are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `key longitude latitude radius unit …`
    AroundPlace { stores: bool },
    /// `key member radius unit …`
    AroundMember { stores: bool },
    /// `key …`
    Search,
    /// `destination source …`
    SearchStore,
}

impl Form {
    fn source_at(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn options_at(self) -> usize {
        match self {
            Form::AroundPlace { .. } => 6,
            Form::AroundMember { .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }

    /// Whether the shape is among the options.
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn takes_store_key(self) -> bool {
        matches!(self, Form::AroundPlace { stores: true } | Form::AroundMember { stores: true })
    }
}

/// What is searched for, and what becomes of it.
struct Wanted<'a> {
    /// The middle; none of a polygon, and where a member is the middle of a set that does not exist.
    center: Option<Place>,
    /// Whether a search says where its middle is.
    has_center: bool,
    shape: Option<Shape>,
    /// Metres in the unit of the reply.
    unit_m: f64,
    order: Option<Direction>,
    /// At most so many, if any number is given.
    count: Option<usize>,
    /// Any so many, rather than the nearest.
    takes_any: bool,
    with_place: bool,
    with_distance: bool,
    with_score: bool,
    store_key: Option<&'a [u8]>,
    stores_distance: bool,
}

/// A number of the client's that cannot be negative.
fn magnitude(text: &[u8], not_a_number: &'static str, negative: &'static str) -> Result<f64, Error> {
    let number = parse_f64(text).ok_or(Error::text(not_a_number))?;
    if number < 0.0 { Err(Error::text(negative)) } else { Ok(number) }
}

fn member_place(set: &SortedSet, member: &[u8]) -> Result<Place, Error> {
    let score = set.score(member);
    let missing = || refuse!("ERR member {} does not exist", String::from_utf8_lossy(member));
    score.map(Place::of_score).ok_or_else(missing)
}

impl<'a> Wanted<'a> {
    fn parse(call: &Call<'a>, form: Form, set: Option<&SortedSet>) -> Result<Wanted<'a>, Error> {
        let mut wanted = Wanted {
            center: None,
            has_center: false,
            shape: None,
            unit_m: 1.0,
            order: None,
            count: None,
            takes_any: false,
            with_place: false,
            with_distance: false,
            with_score: false,
            store_key: (form == Form::SearchStore).then(|| call.arg(1)),
            stores_distance: false,
        };
        match (form, set) {
            (Form::AroundPlace { .. }, _) => {
                wanted.center = Some(place(call.arg(2), call.arg(3))?);
                wanted.take_circle(call, 4)?;
            }
            (Form::AroundMember { .. }, Some(set)) => {
                wanted.center = Some(member_place(set, call.arg(2))?);
                wanted.take_circle(call, 3)?;
            }
            _ => {}
        }
        wanted.take_options(call, form, set)?;
        wanted.ensure_compatible(call, form)?;
        Ok(wanted)
    }

    /// Takes `radius unit`.
    fn take_circle(&mut self, call: &Call<'_>, at: usize) -> Result<(), Error> {
        let radius = magnitude(call.arg(at), "ERR need numeric radius", "ERR radius cannot be negative")?;
        self.unit_m = unit_m(call.arg(at + 1))?;
        self.shape = Some(Shape::Circle { radius_m: radius * self.unit_m });
        Ok(())
    }

    /// Takes `width height unit`.
    fn take_box(&mut self, call: &Call<'_>, at: usize) -> Result<(), Error> {
        let number = |text: &[u8], name: &'static str| parse_f64(text).ok_or(Error::text(name));
        let width = number(call.arg(at), "ERR need numeric width")?;
        let height = number(call.arg(at + 1), "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Error::text("ERR height or width cannot be negative"));
        }
        self.unit_m = unit_m(call.arg(at + 2))?;
        self.shape = Some(Shape::Box { width_m: width * self.unit_m, height_m: height * self.unit_m });
        Ok(())
    }

    /// Takes `num-vertices longitude latitude …`, and returns how many arguments that is.
    fn take_polygon(&mut self, call: &Call<'_>, at: usize) -> Result<usize, Error> {
        let count = base::number::parse_i64(call.arg(at)).ok_or(Error::text("ERR invalid number of vertices"))?;
        let corners = call.args.skip(at + 1);
        let count = usize::try_from(count).ok().filter(|count| (3..=corners.count() / 2).contains(count));
        let count = count.ok_or(Error::text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
        let corners: Result<Vec<Place>, Error> =
            (0..count).map(|corner| place(corners.at(2 * corner), corners.at(2 * corner + 1))).collect();
        let corners = corners?;
        self.center = Some(Shape::center_of(&corners));
        self.shape = Some(Shape::Polygon(corners));
        Ok(1 + 2 * count)
    }

    fn take_options(&mut self, call: &Call<'a>, form: Form, set: Option<&SortedSet>) -> Result<(), Error> {
        let (mut from_member, mut from_place) = (false, false);
        let mut index = form.options_at();
        while index < call.arg_count() {
            let left = call.arg_count() - index - 1;
            let by = self.shape.as_ref().filter(|_| form.is_search());
            let is_polygon = matches!(by, Some(Shape::Polygon(_)));
            let option = call.arg(index).to_ascii_uppercase();
            index += 1;
            index += match &option[..] {
                b"WITHDIST" => set_flag(&mut self.with_distance),
                b"WITHHASH" => set_flag(&mut self.with_score),
                b"WITHCOORD" => set_flag(&mut self.with_place),
                b"ANY" => set_flag(&mut self.takes_any),
                b"ASC" => self.take_order(Direction::Ascending),
                b"DESC" => self.take_order(Direction::Descending),
                b"COUNT" if 1 <= left => self.take_count(call, index)?,
                b"STORE" | b"STOREDIST" if 1 <= left && form.takes_store_key() => {
                    self.store_key = Some(call.arg(index));
                    self.stores_distance = option.len() > b"STORE".len();
                    1
                }
                b"STOREDIST" if form == Form::SearchStore => set_flag(&mut self.stores_distance),
                b"FROMMEMBER" if 1 <= left && form.is_search() && !from_place && !is_polygon => {
                    self.center = set.map(|set| member_place(set, call.arg(index))).transpose()?;
                    from_member = true;
                    1
                }
                b"FROMLONLAT" if 2 <= left && form.is_search() && !from_member && !is_polygon => {
                    self.center = Some(place(call.arg(index), call.arg(index + 1))?);
                    from_place = true;
                    2
                }
                b"BYRADIUS" if 2 <= left && form.is_search() && matches!(by, None | Some(Shape::Circle { .. })) => {
                    self.take_circle(call, index)?;
                    2
                }
                b"BYBOX" if 3 <= left && form.is_search() && matches!(by, None | Some(Shape::Box { .. })) => {
                    self.take_box(call, index)?;
                    3
                }
                b"BYPOLYGON"
                    if 2 <= left && form.is_search() && (by.is_none() || is_polygon) && !from_member && !from_place =>
                {
                    self.take_polygon(call, index)?
                }
                _ => return Err(Error::Syntax),
            };
        }
        self.has_center = from_member || from_place || matches!(self.shape, Some(Shape::Polygon(_)));
        Ok(())
    }

    fn take_order(&mut self, order: Direction) -> usize {
        self.order = Some(order);
        0
    }

    fn take_count(&mut self, call: &Call<'_>, at: usize) -> Result<usize, Error> {
        let count = usize::try_from(call.integer(at)?).ok().filter(|count| 0 < *count);
        self.count = Some(count.ok_or(Error::text("ERR COUNT must be > 0"))?);
        Ok(1)
    }

    fn ensure_compatible(&self, call: &Call<'_>, form: Form) -> Result<(), Error> {
        if self.store_key.is_some() && (self.with_distance || self.with_score || self.with_place) {
            let name = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(refuse!("ERR {name} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"));
        }
        let command = String::from_utf8_lossy(call.arg(0));
        if form.is_search() && !self.has_center {
            return Err(refuse!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {command}"));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(refuse!("ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for {command}"));
        }
        if self.takes_any && self.count.is_none() {
            return Err(Error::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members that lie within, in order and no more than asked for.
    fn found<'s>(&self, set: &'s SortedSet) -> Vec<Found<'s>> {
        let (Some(center), Some(shape)) = (self.center, &self.shape) else { return Vec::new() };
        let enough = self.count.filter(|_| self.takes_any).unwrap_or(usize::MAX);
        let mut ranges = shape.bounds(center).scores();
        // The range of scores with the center comes first where no order is asked for, as its cell does in Redis; with ANY
        // what lies there is what is found.
        let at = center.score();
        if let Some(home) = ranges.iter().position(|range| range.contains(&at)) {
            ranges[..=home].rotate_right(1);
        }
        let ranks = ranges.into_iter().map(|scores| {
            set.partition_by_score(|score| score < scores.start)..set.partition_by_score(|score| score < scores.end)
        });
        let members = ranks.flat_map(|ranks| set.walk(ranks, Direction::Ascending));
        let within = members.filter_map(|scored| {
            let place = Place::of_score(scored.score);
            let distance_m = shape.distance_within_m(center, place)?;
            Some(Found { scored, place, distance: distance_m / self.unit_m })
        });
        let mut found: Vec<Found<'s>> = within.take(enough).collect();
        // So many without an order are the nearest so many, unless any will do.
        let order = self.order.or(self.count.filter(|_| !self.takes_any).map(|_| Direction::Ascending));
        match order {
            None => {}
            Some(Direction::Ascending) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
            Some(Direction::Descending) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }
}

/// Sets a flag, which takes no more arguments.
fn set_flag(flag: &mut bool) -> usize {
    *flag = true;
    0
}

/// A member that lies within.
struct Found<'s> {
    scored: Scored<'s>,
    place: Place,
    /// From the middle, in the unit asked for.
    distance: f64,
}

fn search(call: &mut Call<'_>, form: Form) -> Result<Flow, Error> {
    let source = call.arg(form.source_at());
    call.tx.sorted_set(source)?;
    let set = call.tx.sorted_set_at_hand(source);
    let wanted = Wanted::parse(call, form, set)?;
    let found = set.map_or_else(Vec::new, |set| wanted.found(set));
    let Some(target) = wanted.store_key else {
        reply_found(&mut call.reply, &wanted, &found);
        return Ok(Flow::Done);
    };
    let mut scored: Vec<Scored<'_>> = found
        .iter()
        .map(|found| Scored {
            score: if wanted.stores_distance { found.distance } else { found.scored.score },
            ..found.scored
        })
        .collect();
    scored.sort_unstable_by(Scored::order);
    let (mut image, count) = (Vec::new(), scored.len());
    encode_image(&mut image, count, scored.into_iter());
    let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
    store(call, target, count, &image, event)
}

fn reply_found(reply: &mut Reply<'_>, wanted: &Wanted<'_>, found: &[Found<'_>]) {
    let option_count = [wanted.with_distance, wanted.with_score, wanted.with_place].into_iter().filter(|with| *with);
    let option_count = option_count.count();
    reply.array(found.len());
    for Found { scored, place, distance } in found {
        if 0 < option_count {
            reply.array(1 + option_count);
        }
        reply.bulk(scored.member);
        if wanted.with_distance {
            reply_distance(reply, *distance);
        }
        if wanted.with_score {
            reply.integer(scored.score as i64);
        }
        if wanted.with_place {
            reply_place(reply, *place);
        }
    }
}
