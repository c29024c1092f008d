//! `elements`: what an element of a large collection costs in RAM.
//!
//! A fresh server's memory is taken before and after one collection of a million elements is loaded; the difference
//! per element is the cost. Members and list elements are 17 bytes long, as are the values of fields; scores are
//! random. A set of integers is measured too, because both servers hold it otherwise; and a list whose elements have
//! nothing in common, because Larder compresses long lists of others.

use clap::Args;

use crate::error::Error;
use crate::procfs;
use crate::report::{self, Bound, Check, Page, Table};
use crate::resp::Reply;
use crate::server::{AofRewrite, Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::Random;

const CONTESTANTS: [Contestant; 2] = [Contestant::Redis, Contestant::Larder];
/// Elements of one command.
const COMMAND_ELEMENTS: u64 = 500;
const SCORES: u64 = 1_000_000_000;

/// Flags of `elements`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Elements of each collection
    #[arg(long, default_value_t = 1_000_000)]
    elements: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// A set of texts.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A list.
    List,
    /// A set of integers.
    Integers,
    /// A list of texts that cannot be compressed.
    RandomList,
}

const COLLECTIONS: [Collection; 6] = [
    Collection::Set,
    Collection::SortedSet,
    Collection::Hash,
    Collection::List,
    Collection::Integers,
    Collection::RandomList,
];
/// What random texts are made of.
const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
const TEXT_BYTES: usize = 17;

impl Collection {
    fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::SortedSet => "sorted set",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Integers => "set of integers",
            Self::RandomList => "list of random texts",
        }
    }

    /// Bytes of an element that are the client's own.
    fn payload_bytes(self) -> &'static str {
        match self {
            Self::Set | Self::List | Self::RandomList => "17",
            Self::SortedSet => "17 + 8",
            Self::Hash => "17 + 17",
            Self::Integers => "8",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Set | Self::Integers => "SADD",
            Self::SortedSet => "ZADD",
            Self::Hash => "HSET",
            Self::List | Self::RandomList => "RPUSH",
        }
    }

    /// What an element may cost in those of Redis's bytes.
    fn bound(self) -> Bound {
        // Redis spends two bytes beside an element of a list that cannot be compressed, so there is little to save.
        Bound::AtMost(if self == Self::RandomList { 1.0 } else { 0.8 })
    }

    fn element(self, index: u64, random: &mut Random) -> String {
        match self {
            Self::Set | Self::List => format!("member:{index:010}"),
            Self::SortedSet => format!("{} member:{index:010}", random.below(SCORES)),
            Self::Hash => format!("field::{index:010} value::{:010}", random.below(SCORES)),
            // A prime apart, so that they are no range.
            Self::Integers => format!("{}", index * 7919),
            Self::RandomList => {
                let letter = |_| char::from(LETTERS[random.below(LETTERS.len() as u64) as usize]);
                (0..TEXT_BYTES).map(letter).collect()
            }
        }
    }
}

/// Makes `key` a collection of `count` elements.
///
/// # Errors
/// The server refused, or added another number of elements.
pub fn fill(server: &Server, collection: Collection, key: &str, count: u64) -> Result<(), Error> {
    let (mut client, mut random) = (server.client()?, Random::new(1));
    client.call(&format!("DEL {key}"))?;
    let mut added = 0;
    for start in (0..count).step_by(COMMAND_ELEMENTS as usize) {
        let elements = (start..count.min(start + COMMAND_ELEMENTS)).map(|index| collection.element(index, &mut random));
        let elements = elements.collect::<Vec<String>>().join(" ");
        match client.call(&format!("{} {key} {elements}", collection.command()))? {
            Reply::Integer(number) if collection.command() == "RPUSH" => added = number as u64,
            Reply::Integer(number) => added += number as u64,
            reply => return Err(Error::Refused { reply: format!("{reply:?}") }),
        }
    }
    if added == count {
        return Ok(());
    }
    Err(Error::WrongAnswer { detail: format!("{count} elements were sent, {added} were added") })
}

/// Measures and writes `elements.md` and its plot.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let count = setup.scaled(flags.elements);
    let mut samples: [[Vec<f64>; COLLECTIONS.len()]; CONTESTANTS.len()] = Default::default();
    for _ in 0..setup.rounds() {
        for (at, collection) in COLLECTIONS.into_iter().enumerate() {
            for (who, contestant) in CONTESTANTS.into_iter().enumerate() {
                let bytes = measure(setup, contestant, collection, count)?;
                setup::progress(&format!("{}, {}: {bytes:.1} bytes", contestant.name(), collection.name()));
                samples[who][at].push(bytes);
            }
        }
    }
    write_page(setup, count, &samples)
}

/// Bytes that each of `count` elements takes.
fn measure(setup: &Setup, contestant: Contestant, collection: Collection, count: u64) -> Result<f64, Error> {
    let place = Place::new(setup)?;
    let mut launch = Launch::new(contestant, Sync::Everysec);
    launch.aof_rewrite = AofRewrite::Off;
    let server = Server::start(setup, &place, &launch, 0)?;
    setup::settle();
    let empty = procfs::memory(server.pid())?;
    fill(&server, collection, "collection", count)?;
    setup::settle();
    let full = procfs::memory(server.pid())?;
    Ok(full.rss_bytes.saturating_sub(empty.rss_bytes) as f64 / count as f64)
}

fn write_page(
    setup: &Setup,
    count: u64,
    samples: &[[Vec<f64>; COLLECTIONS.len()]; CONTESTANTS.len()],
) -> Result<(), Error> {
    let method = format!(
        "One collection of {count} elements loaded into a fresh server by commands of {COMMAND_ELEMENTS} elements, sync \
         `everysec`; the growth of its RSS (`smaps_rollup`) divided by the elements. Those of the list are numbered, so they are much \
         alike, and Larder compresses the inner parts of long lists."
    );
    let ratio = |at: usize| Spread::of_ratios(&samples[1][at], &samples[0][at]);
    let spread = |who: usize, at: usize| Spread::of(samples[who][at].iter().copied());
    let mut page = Page::new(setup, "elements", "Memory per element", &method);
    let check = |(at, collection): (usize, Collection)| Check {
        claim: format!("{}, bytes per element ÷ redis", collection.name()),
        measured: ratio(at),
        bound: collection.bound(),
    };
    page.checks(&COLLECTIONS.into_iter().enumerate().map(check).collect::<Vec<_>>());
    page.figure("", figure(spread));
    let mut table = Table::new(&["collection", "payload", "redis", "larder", "larder ÷ redis"]);
    for (at, collection) in COLLECTIONS.into_iter().enumerate() {
        table.row([
            collection.name().into(),
            collection.payload_bytes().into(),
            spread(0, at).to_string(),
            spread(1, at).to_string(),
            ratio(at).to_string(),
        ]);
    }
    page.table("Bytes per element", "Payload: the bytes of an element itself.", &table);
    page.write(setup)
}

fn figure(spread: impl Fn(usize, usize) -> Spread) -> Figure {
    let bars = [0, 1].map(|who| (0..COLLECTIONS.len()).map(|at| Some(spread(who, at))).collect::<Vec<_>>());
    Figure {
        title: "Memory per element".into(),
        series: CONTESTANTS.map(report::series_of).to_vec(),
        panels: vec![Panel {
            title: "Growth of RSS per element, payload included".into(),
            y_label: "bytes per element, less is better".into(),
            groups: COLLECTIONS.map(|collection| collection.name().into()).to_vec(),
            bars: bars.to_vec(),
        }],
        columns: 1,
    }
}
