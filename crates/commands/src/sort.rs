//! SORT: the elements of a list, a set or a sorted set in an order, by themselves or by what other keys hold, and with
//! what other keys hold in their place.
//!
//! Which keys those are is known only once the elements are: all partitions are locked.
//!
//! Deliberately not here: collation (texts are compared as bytes, as Redis does in the C locale), and numbers in
//! hexadecimal, which Redis takes because its C library does.
//!
//! Source: behaviour of Redis 7.0 and Valkey 9.1 `sort.c`.

use crate::acl::{Categories, may_read_any_key};
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::live_field;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use keyspace::list::{End, List};
use keyspace::set::Set;
use keyspace::sorted_set::SortedSet;
use keyspace::{Event, Kind, Str, Value};
use std::cmp::Ordering;

const ROW: Spec = Spec {
    name: "sort",
    touches: Touches::keys(&[KeyUse::RO_ACCESS, KeyUse::OW_UPDATE]).also_in(Categories::OF_COLLECTIONS),
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS).and(Flags::DANGEROUS),
    keys: Keys::OneAndBehind { words: &["STORE"], from: 2, options: &[("LIMIT", 2), ("BY", 1), ("GET", 1)] },
    scope: Scope::Whole,
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N+M*log(M)) for N elements of which M are sorted, all partitions locked",
    summary: "Returns or stores the elements of a list, a set or a sorted set in an order.",
    syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA] \
             [STORE destination]",
    handler: |call| sort(call, Access::Write),
    subcommands: &[],
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    ROW,
    Spec {
        name: "sort_ro",
        touches: Touches::keys(&[KeyUse::RO_ACCESS]).also_in(Categories::OF_COLLECTIONS),
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::DANGEROUS),
        keys: Keys::ONE,
        since: "7.0.0",
        summary: "Returns the elements of a list, a set or a sorted set in an order.",
        syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA]",
        handler: |call| sort(call, Access::Read),
        ..ROW
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Where a value that belongs to an element is looked up: a text with a star, which the element takes the place of.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// No star: nothing is looked up.
    Constant,
    /// The string at a key.
    Key { before: &'a [u8], after: &'a [u8] },
    /// The field of a hash at a key.
    Field { before: &'a [u8], after: &'a [u8], name: &'a [u8] },
}

impl<'a> Pattern<'a> {
    fn of(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern::Constant };
        let (before, after) = (&text[..star], &text[star + 1..]);
        match after.windows(2).position(|pair| pair == b"->") {
            Some(arrow) if arrow + 2 < after.len() => {
                Pattern::Field { before, after: &after[..arrow], name: &after[arrow + 2..] }
            }
            _ => Pattern::Key { before, after },
        }
    }

    /// Whether it reads keys, which may be any.
    fn looks_up(self) -> bool {
        matches!(self, Pattern::Key { .. } | Pattern::Field { .. })
    }

    /// The value that belongs to `element`, if there is one of the right type.
    ///
    /// # Errors
    /// It must be fetched first.
    fn look_up(self, call: &mut Call<'_>, element: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = match self {
            Pattern::Element => return Ok(Some(element.to_vec())),
            Pattern::Constant => return Ok(None),
            Pattern::Key { before, after } => {
                let string = call.tx.string(&[before, element, after].concat());
                string.map(|string| string.map(|string| string.bytes().to_vec()))
            }
            Pattern::Field { before, after, name } => {
                let now = call.horizon();
                let hash = call.tx.hash(&[before, element, after].concat());
                hash.map(|hash| live_field(hash, name, now).map(|field| field.value.to_vec()))
            }
        };
        match found.map_err(Error::from) {
            Err(Error::WrongType) => Ok(None),
            found => found,
        }
    }
}

/// The words behind the key.
struct Options<'a> {
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    offset: i64,
    count: i64,
    descending: bool,
    as_text: bool,
    target: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a>, access: Access) -> Result<Options<'a>, Error> {
        let mut options = Options {
            by: None,
            get: Vec::new(),
            offset: 0,
            count: -1,
            descending: false,
            as_text: false,
            target: None,
        };
        let mut index = 2;
        while index < call.arg_count() {
            let left = call.arg_count() - index - 1;
            if call.is_word(index, "ASC") {
                options.descending = false;
            } else if call.is_word(index, "DESC") {
                options.descending = true;
            } else if call.is_word(index, "ALPHA") {
                options.as_text = true;
            } else if call.is_word(index, "LIMIT") && left >= 2 {
                (options.offset, options.count) = (call.integer(index + 1)?, call.integer(index + 2)?);
                index += 2;
            } else if call.is_word(index, "STORE") && left >= 1 && access == Access::Write {
                index += 1;
                options.target = Some(call.arg(index));
            } else if call.is_word(index, "BY") && left >= 1 {
                index += 1;
                let pattern = Pattern::of(call.arg(index));
                if pattern.looks_up() && !may_read_any_key(call) {
                    return Err(Error::text("ERR BY option of SORT denied due to insufficient ACL permissions."));
                }
                options.by = Some(pattern);
            } else if call.is_word(index, "GET") && left >= 1 {
                index += 1;
                let pattern = Pattern::of(call.arg(index));
                if pattern.looks_up() && !may_read_any_key(call) {
                    return Err(Error::text("ERR GET option of SORT denied due to insufficient ACL permissions."));
                }
                options.get.push(pattern);
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }

    /// The part of `count` elements that was asked for.
    fn range(&self, count: usize) -> std::ops::Range<usize> {
        let clamped = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX).min(count);
        let start = clamped(self.offset);
        let end = if self.count < 0 { count } else { start.saturating_add(clamped(self.count)).min(count) };
        start..end
    }
}

/// The elements at the key in their own order, or the reverse, and whether that is one: a set has none.
fn elements(call: &mut Call<'_>, descending: bool) -> Result<(Vec<Vec<u8>>, bool), Error> {
    let key = call.arg(1);
    let Some(found) = call.tx.find(key) else { return Ok((Vec::new(), true)) };
    let kind = call.tx.entry(found).kind();
    Ok(match kind {
        Kind::List => (in_direction(elements_of_list(call.tx.list(key)?), descending), true),
        Kind::Set => (call.tx.set(key)?.into_iter().flat_map(Set::iter).map(|member| member.to_vec()).collect(), false),
        Kind::SortedSet => {
            let set = call.tx.sorted_set(key)?;
            let members = set.into_iter().flat_map(SortedSet::iter).map(|scored| scored.member.to_vec());
            (in_direction(members.collect(), descending), true)
        }
        _ => return Err(Error::WrongType),
    })
}

fn in_direction(mut elements: Vec<Vec<u8>>, descending: bool) -> Vec<Vec<u8>> {
    if descending {
        elements.reverse();
    }
    elements
}

fn elements_of_list(list: Option<&List>) -> Vec<Vec<u8>> {
    let mut elements = Vec::with_capacity(list.map_or(0, List::len));
    if let Some(list) = list {
        list.for_each(|element| elements.push(element.bytes().to_vec()));
    }
    elements
}

/// What an element is ordered by.
#[derive(Debug, PartialEq)]
enum Weight {
    Number(f64),
    /// Nothing comes before every text.
    Text(Option<Vec<u8>>),
}

impl Weight {
    fn of_number(text: Option<&[u8]>) -> Result<Weight, Error> {
        let text = text.unwrap_or_default().trim_ascii_start();
        let number = if text.is_empty() { Some(0.0) } else { base::number::parse_f64(text) };
        let number = number.filter(|number| !number.is_nan());
        number.map(Weight::Number).ok_or(Error::text("ERR One or more scores can't be converted into double"))
    }

    fn order(&self, other: &Weight) -> Ordering {
        match (self, other) {
            (Weight::Number(one), Weight::Number(other)) => one.partial_cmp(other).expect("no weight is NaN"),
            (Weight::Text(one), Weight::Text(other)) => one.cmp(other),
            _ => unreachable!("all elements are weighed alike"),
        }
    }
}

/// Keeps going after a value that must be fetched, so that all of them are asked for at once.
fn and_on<T>(found: Result<T, Error>, spilled: &mut bool) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::Spilled) => {
            *spilled = true;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn sorted(call: &mut Call<'_>, options: &Options<'_>, elements: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    let (mut weighed, mut spilled) = (Vec::with_capacity(elements.len()), false);
    for element in elements {
        let found = match options.by {
            Some(by) => and_on(by.look_up(call, &element), &mut spilled)?.flatten(),
            None => Some(element.clone()),
        };
        if !spilled {
            let weight = if options.as_text { Weight::Text(found) } else { Weight::of_number(found.as_deref())? };
            weighed.push((weight, element));
        }
    }
    if spilled {
        return Err(Error::Spilled);
    }
    weighed.sort_by(|(one, one_element), (other, other_element)| {
        // Texts of other keys that are equal say nothing about their elements: these stay as they came.
        let by_other_text = options.as_text && options.by.is_some();
        let order = one.order(other);
        let order = if by_other_text { order } else { order.then_with(|| one_element.cmp(other_element)) };
        if options.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// What is returned or stored for the elements: themselves, or what was asked for in their place.
fn results(call: &mut Call<'_>, options: &Options<'_>, elements: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, Error> {
    if options.get.is_empty() {
        return Ok(elements.into_iter().map(Some).collect());
    }
    let (mut results, mut spilled) = (Vec::with_capacity(elements.len() * options.get.len()), false);
    for element in &elements {
        for pattern in &options.get {
            results.extend(and_on(pattern.look_up(call, element), &mut spilled)?);
        }
    }
    if spilled { Err(Error::Spilled) } else { Ok(results) }
}

fn sort(call: &mut Call<'_>, access: Access) -> Result<Flow, Error> {
    let mut options = Options::parse(call, access)?;
    let is_ordered = matches!(options.by, Some(Pattern::Constant | Pattern::Element));
    let (mut elements, has_order) = elements(call, is_ordered && options.descending)?;
    // What is stored, or given to a script or a transaction, must not depend on the form a set happens to have.
    let orders_set = !has_order && (options.target.is_some() || !call.may_wait);
    if is_ordered && orders_set {
        (options.by, options.as_text) = (None, true);
    }
    if !is_ordered || orders_set {
        elements = sorted(call, &options, elements)?;
    }
    let range = options.range(elements.len());
    elements.truncate(range.end);
    let results = results(call, &options, elements.split_off(range.start))?;
    if let Some(target) = options.target {
        store(call, target, results)?;
        return Ok(Flow::Done);
    }
    call.reply.array(results.len());
    for result in &results {
        match result {
            Some(bytes) => call.reply.bulk(bytes),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// Makes `target` a list of the results, with nothing for those that are not there; no results make it no more.
fn store(call: &mut Call<'_>, target: &[u8], results: Vec<Option<Vec<u8>>>) -> Result<(), Error> {
    let count = results.len();
    if count == 0 {
        if call.tx.delete(target) {
            call.notify(Event::Generic, "del", target);
        }
    } else {
        let mut list = List::new();
        for result in results {
            list.push(End::Back, Str::of(&result.unwrap_or_default()));
        }
        let mut image = Vec::new();
        Value::List(list).encode_image(&mut image);
        call.ensure_room(target.len() + image.len())?;
        call.tx.put_image(target, Kind::List, &image, None);
        call.notify(Event::List, "sortstore", target);
    }
    call.reply.count(count);
    Ok(())
}
