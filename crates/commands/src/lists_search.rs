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
use keyspace::list::List;
use keyspace::{Event, Str};

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

/// Indexes of the elements that equal `wanted`, from the end that `from_back` says on, of the first `count_max`
/// elements there.
fn matches(list: &List, wanted: Str<'_>, from_back: bool, count_max: usize) -> impl Iterator<Item = usize> {
    let last = list.len().saturating_sub(1);
    let (mut forwards, mut backwards) = (list.iter(), list.iter().rev());
    let elements = std::iter::from_fn(move || if from_back { backwards.next() } else { forwards.next() });
    let places = elements.take(count_max).enumerate().filter(move |(_, element)| *element == wanted);
    places.map(move |(place, _)| if from_back { last - place } else { place })
}

/// An integer other than the lowest, which has no opposite.
fn integer_with_opposite(text: &[u8]) -> Result<i64, Error> {
    let number = parse_i64(text).ok_or(Error::NotInteger)?;
    if number == i64::MIN {
        return Err(refuse!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX));
    }
    Ok(number)
}

struct Search {
    rank: i64,
    count: Option<usize>,
    /// Elements compared at most.
    compared_max: usize,
}

impl Search {
    fn parse(call: &Call<'_>) -> Result<Search, Error> {
        let mut search = Search { rank: 1, count: None, compared_max: usize::MAX };
        let natural = |index: usize, refusal: &'static str| {
            parse_i64(call.arg(index)).and_then(|number| usize::try_from(number).ok()).ok_or(Error::text(refusal))
        };
        for index in (3..call.arg_count()).step_by(2) {
            if index + 1 == call.arg_count() {
                return Err(Error::Syntax);
            }
            if call.is_word(index, "RANK") {
                search.rank = integer_with_opposite(call.arg(index + 1))?;
                if search.rank == 0 {
                    return Err(Error::text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
            } else if call.is_word(index, "COUNT") {
                search.count = Some(natural(index + 1, "ERR COUNT can't be negative")?);
            } else if call.is_word(index, "MAXLEN") {
                search.compared_max = match natural(index + 1, "ERR MAXLEN can't be negative")? {
                    0 => usize::MAX,
                    some => some,
                };
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(search)
    }
}

fn positions(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Search { rank, count, compared_max } = Search::parse(call)?;
    let wanted = Str::of(call.arg(2));
    let list = call.tx.list(call.args.at(1))?;
    let skipped = rank.unsigned_abs() as usize - 1;
    let mut found = list.into_iter().flat_map(|list| matches(list, wanted, rank < 0, compared_max)).skip(skipped);
    match (count, found.next()) {
        (None, None) => call.reply.null(),
        (None, Some(first)) => call.reply.count(first),
        (Some(count), first) => {
            let count_max = if count == 0 { usize::MAX } else { count };
            let all: Vec<usize> = first.into_iter().chain(found).take(count_max).collect();
            call.reply.array(all.len());
            for index in all {
                call.reply.count(index);
            }
        }
    }
    Ok(Flow::Done)
}

fn remove(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, wanted) = (call.arg(1), Str::of(call.arg(3)));
    let count = integer_with_opposite(call.arg(2))?;
    let count_max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut indexes: Vec<usize> = match call.tx.list(key)? {
        Some(list) => matches(list, wanted, count < 0, usize::MAX).take(count_max).collect(),
        None => Vec::new(),
    };
    indexes.sort_unstable();
    if !indexes.is_empty() {
        call.tx.list_remove(key, &indexes)?;
        call.notify(Event::List, "lrem", key);
        notify_if_gone(call, key);
    }
    call.reply.count(indexes.len());
    Ok(Flow::Done)
}
