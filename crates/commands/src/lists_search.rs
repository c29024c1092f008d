//! Lists: elements looked for by their value.
//!
//! An element equals another when it has the same bytes. Searches go from either end, as far as they must.
//!
//! Source: behaviour of Valkey 9.1 `t_list.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::lists::ROW;
use crate::refuse;
use crate::spec::{Arity, Flags, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_i64;
use keyspace::list::{End, List};
use keyspace::{Event, Str};
use std::ops::ControlFlow;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "lpos",
        arity: Arity::AtLeast(3),
        since: "6.0.6",
        complexity: "O(N) for N elements compared",
        summary: "Returns the index of an element, or of several that are equal.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        handler: positions,
        ..ROW
    },
    Spec {
        name: "lrem",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::Exactly(4),
        flags: Flags::WRITE,
        complexity: "O(N+M) for N elements compared and M removed",
        summary: "Removes elements that are equal to one; returns how many there were.",
        syntax: "key count element",
        handler: remove,
        ..ROW
    },
];

/// How to look for the elements that equal one.
pub(crate) struct Search {
    /// Where to begin.
    pub end: End,
    /// Elements compared at most.
    pub compared_max: usize,
    /// How many of those found do not count.
    pub skipped: usize,
    /// How many are enough, at least 1.
    pub count_max: usize,
}

/// Indexes of the elements that equal `wanted`, in the order in which they are found.
pub(crate) fn matches(list: &List, wanted: Str<'_>, search: &Search) -> Vec<usize> {
    let count = list.len();
    let compared = search.compared_max.min(count);
    let range = if search.end == End::Front { 0..compared } else { count - compared..count };
    let (mut found, mut place, mut skipped) = (Vec::new(), 0, 0);
    list.walk(search.end, range, |element| {
        let index = if search.end == End::Front { place } else { count - 1 - place };
        place += 1;
        if element == wanted && skipped < search.skipped {
            skipped += 1;
        } else if element == wanted {
            found.push(index);
        }
        if found.len() < search.count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

/// An integer other than the lowest, which has no opposite.
fn integer_with_opposite(text: &[u8]) -> Result<i64, Error> {
    let number = parse_i64(text).ok_or(Error::NotInteger)?;
    if number == i64::MIN {
        return Err(refuse!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX));
    }
    Ok(number)
}

struct Options {
    rank: i64,
    count: Option<usize>,
    /// Elements compared at most.
    compared_max: usize,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Options, Error> {
        let mut options = Options { rank: 1, count: None, compared_max: usize::MAX };
        let natural = |index: usize, refusal: &'static str| {
            parse_i64(call.arg(index)).and_then(|number| usize::try_from(number).ok()).ok_or(Error::text(refusal))
        };
        for index in (3..call.arg_count()).step_by(2) {
            if index + 1 == call.arg_count() {
                return Err(Error::Syntax);
            }
            if call.is_word(index, "RANK") {
                options.rank = integer_with_opposite(call.arg(index + 1))?;
                if options.rank == 0 {
                    return Err(Error::text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
            } else if call.is_word(index, "COUNT") {
                options.count = Some(natural(index + 1, "ERR COUNT can't be negative")?);
            } else if call.is_word(index, "MAXLEN") {
                options.compared_max = match natural(index + 1, "ERR MAXLEN can't be negative")? {
                    0 => usize::MAX,
                    some => some,
                };
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

fn all_if_0(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

fn positions(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Options { rank, count, compared_max } = Options::parse(call)?;
    let wanted = Str::of(call.arg(2));
    let search = Search {
        end: if rank < 0 { End::Back } else { End::Front },
        compared_max,
        skipped: rank.unsigned_abs() as usize - 1,
        count_max: all_if_0(count.unwrap_or(1)),
    };
    let found = call.tx.list(call.args.at(1))?.map_or_else(Vec::new, |list| matches(list, wanted, &search));
    match (count, found.first()) {
        (None, None) => call.reply.null(),
        (None, Some(first)) => call.reply.count(*first),
        (Some(_), _) => {
            call.reply.array(found.len());
            for index in found {
                call.reply.count(index);
            }
        }
    }
    Ok(Flow::Done)
}

fn remove(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, wanted) = (call.arg(1), Str::of(call.arg(3)));
    let count = integer_with_opposite(call.arg(2))?;
    let search = Search {
        end: if count < 0 { End::Back } else { End::Front },
        compared_max: usize::MAX,
        skipped: 0,
        count_max: all_if_0(count.unsigned_abs() as usize),
    };
    let mut indexes = call.tx.list(key)?.map_or_else(Vec::new, |list| matches(list, wanted, &search));
    indexes.sort_unstable();
    if !indexes.is_empty() {
        call.tx.list_remove(key, &indexes)?;
        call.notify(Event::List, "lrem", key);
        notify_if_gone(call, key);
    }
    call.reply.count(indexes.len());
    Ok(Flow::Done)
}
