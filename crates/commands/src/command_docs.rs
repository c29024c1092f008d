//! COMMAND DOCS: what commands are for and what they take, in Redis's words.
//!
//! The tree of arguments is computed from the `syntax` of a row: which of its words are keys, from where the row says
//! that keys stand; of what type the others are, from the word itself, so that a word means the same in every row.
//!
//! Deliberately not here: the grammar (`syntax.rs`). Not done, and why: `history`, `since` of single options and
//! `deprecated_since`, which are about releases of another product; names such as `condition`, which Redis gives to
//! choices and blocks: here they are called after what they consist of.
//!
//! Source: the reply of COMMAND DOCS as the Redis 7.2 documentation has it, and `redis-cli` 7.0 reading it.

use crate::call::{Call, Flow};
use crate::command::{subcommand_numbers, top_numbers};
use crate::error::Error;
use crate::spec::{Group, Keys, Spec};
use crate::syntax::{self, Argument, Repeats, Shape};
use crate::table;
use wire::reply::Reply;

/// Words that stand for integers, sorted.
const INTEGERS: &[&str] = &[
    "bit",
    "client-id",
    "count",
    "cursor",
    "db",
    "decrement",
    "destination-db",
    "end",
    "entries-added",
    "entries-read",
    "frequency",
    "increment",
    "index",
    "index1",
    "index2",
    "length",
    "milliseconds",
    "min-match-len",
    "numfields",
    "numkeys",
    "numlocal",
    "numreplicas",
    "offset",
    "protover",
    "seconds",
    "start",
    "timeout",
    "ttl",
    "version",
];

/// The handler of COMMAND DOCS.
pub fn docs(call: &mut Call<'_>) -> Result<Flow, Error> {
    let numbers: Vec<u16> = match call.arg_count() {
        2 => top_numbers(),
        _ => call.args.skip(2).iter().filter_map(table::number_of_name).collect(),
    };
    call.reply.map(numbers.len());
    for number in numbers {
        write_docs(number, &mut call.reply);
    }
    Ok(Flow::Done)
}

fn write_docs(number: u16, reply: &mut Reply<'_>) {
    let spec = table::by_number(number);
    let fields = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let name = table::full_name(number);
    let subcommands = subcommand_numbers(number);
    // A command with subcommands takes what they take.
    let arguments = if subcommands.is_empty() { described(spec, name.split('|').count()) } else { Vec::new() };
    reply.bulk(name.as_bytes());
    reply.map(fields.len() + usize::from(!arguments.is_empty()) + usize::from(!subcommands.is_empty()));
    for (name, value) in fields {
        write_text(name, value, reply);
    }
    if !arguments.is_empty() {
        write_arguments(&arguments, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.for_each(|number| write_docs(number, reply));
    }
}

fn write_text(name: &str, value: &str, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

/// An argument as COMMAND DOCS tells it.
#[derive(Debug)]
struct Described {
    name: String,
    kind: &'static str,
    key_spec_index: Option<i64>,
    token: Option<&'static str>,
    flags: Vec<&'static str>,
    /// Of what a choice or a block consists.
    parts: Vec<Described>,
}

/// The arguments of a row, the first of which is argument `first`.
fn described(spec: &Spec, first: usize) -> Vec<Described> {
    let arguments = syntax::parse(spec.syntax).expect("a test parses the syntax of every row");
    Describer { spec, position: Some(first) }.all(&arguments)
}

/// Goes through the arguments of a row in order.
struct Describer<'r> {
    spec: &'r Spec,
    /// Where the next argument stands; unknown after one that takes a number of places which cannot be told.
    position: Option<usize>,
}

impl Describer<'_> {
    fn all(&mut self, arguments: &[Argument<'static>]) -> Vec<Described> {
        arguments.iter().map(|argument| self.one(argument)).collect()
    }

    fn one(&mut self, argument: &Argument<'static>) -> Described {
        let key_spec_index = self.key_spec_index(argument);
        self.skip(usize::from(argument.token.is_some()));
        let parts = match &argument.shape {
            Shape::Block(arguments) => self.all(arguments),
            Shape::OneOf(choices) => self.choices(choices),
            Shape::Word(_) => {
                self.skip(1);
                Vec::new()
            }
            Shape::Token => Vec::new(),
        };
        if argument.is_optional || argument.repeats != Repeats::Never {
            self.position = None;
        }
        Described {
            name: name(argument, &parts),
            kind: if key_spec_index.is_some() { "key" } else { kind(argument, self.spec) },
            key_spec_index,
            token: argument.token,
            flags: flags(argument),
            parts,
        }
    }

    /// All choices stand at one place; what follows them does only if all end at one.
    fn choices(&mut self, choices: &[Argument<'static>]) -> Vec<Described> {
        let start = self.position;
        let mut ends = Vec::new();
        let mut describe = |choice| {
            self.position = start;
            let described = self.one(choice);
            ends.push(self.position);
            described
        };
        let described = choices.iter().map(&mut describe).collect();
        if ends.windows(2).any(|pair| pair[0] != pair[1]) {
            self.position = None;
        }
        described
    }

    fn skip(&mut self, places: usize) {
        self.position = self.position.map(|position| position + places);
    }

    /// Which of the row's key specifications a word belongs to. Where its place cannot be told, its name decides.
    fn key_spec_index(&self, argument: &Argument<'_>) -> Option<i64> {
        let Shape::Word(word) = argument.shape else { return None };
        match self.position {
            Some(position) => key_spec_index(self.spec.keys, position + usize::from(argument.token.is_some())),
            None if word == "key" && !matches!(self.spec.keys, Keys::None) => Some(0),
            None => None,
        }
    }
}

/// Which key specification, of those that COMMAND INFO tells, covers the argument at `position`.
fn key_spec_index(keys: Keys, position: usize) -> Option<i64> {
    let is_step = |first: usize, step: u8| first <= position && (position - first).is_multiple_of(usize::from(step));
    match keys {
        Keys::None | Keys::After { .. } => None, // Where its keys stand cannot be told.
        Keys::OneAndBehind { .. } => (position == 1).then_some(0),
        Keys::Range { first, last, step } => {
            let is_before_end = usize::try_from(last).map_or(true, |last| position <= last);
            (is_before_end && is_step(usize::from(first), step)).then_some(0)
        }
        Keys::Counted { also: also @ 1.., .. } if position == usize::from(also) => Some(0),
        Keys::Counted { count_at, also, step } => {
            is_step(usize::from(count_at) + 1, step).then_some(i64::from(also != 0))
        }
    }
}

/// What Redis calls the type of an argument that is no key.
fn kind(argument: &Argument<'_>, spec: &Spec) -> &'static str {
    match argument.shape {
        Shape::Block(_) => "block",
        Shape::OneOf(_) => "oneof",
        Shape::Token => "pure-token",
        Shape::Word("pattern") => "pattern",
        Shape::Word("delay-seconds") => "double",
        Shape::Word("increment") if spec.name.ends_with("float") => "double",
        Shape::Word("value") if spec.group == Group::Bitmap => "integer", // Bits and bit fields hold numbers.
        Shape::Word("start" | "end") if spec.group == Group::Stream => "string", // Ids of entries.
        Shape::Word(word) if word.starts_with("unix-time") => "unix-time",
        Shape::Word(word) if INTEGERS.binary_search(&word).is_ok() => "integer",
        Shape::Word(_) => "string",
    }
}

/// A word's name is the word; what has several parts is named by its token, or else by its parts.
fn name(argument: &Argument<'_>, parts: &[Described]) -> String {
    match (&argument.shape, argument.token) {
        (Shape::Word(word), _) => (*word).to_owned(),
        (_, Some(token)) => token.to_ascii_lowercase(),
        (_, None) => parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("_"),
    }
}

fn flags(argument: &Argument<'_>) -> Vec<&'static str> {
    let flags = [
        ("optional", argument.is_optional),
        ("multiple", argument.repeats != Repeats::Never),
        ("multiple_token", argument.repeats == Repeats::WithToken),
    ];
    flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

fn write_arguments(arguments: &[Described], reply: &mut Reply<'_>) {
    reply.bulk(b"arguments");
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(argument, reply);
    }
}

fn write_argument(argument: &Described, reply: &mut Reply<'_>) {
    let Described { name, kind, key_spec_index, token, flags, parts } = argument;
    // Name, type, and either the parts or a text to show for what has none.
    let pair_count =
        3 + [key_spec_index.is_some(), token.is_some(), !flags.is_empty()].map(usize::from).iter().sum::<usize>();
    reply.map(pair_count);
    write_text("name", name, reply);
    write_text("type", kind, reply);
    if parts.is_empty() {
        write_text("display_text", name, reply);
    }
    if let Some(index) = key_spec_index {
        reply.bulk(b"key_spec_index");
        reply.integer(*index);
    }
    if let Some(token) = token {
        write_text("token", token, reply);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if !parts.is_empty() {
        write_arguments(parts, reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(arguments: Vec<Described>, found: &mut Vec<Described>) {
        for mut argument in arguments {
            flat(std::mem::take(&mut argument.parts), found);
            found.push(argument);
        }
    }

    /// All arguments of all rows without subcommands, nested ones too, with their row.
    fn every_argument() -> Vec<(&'static Spec, Vec<Described>)> {
        let leaves = (0..table::number_count() as u16).filter(|number| subcommand_numbers(*number).is_empty());
        let of_row = |number| {
            let mut found = Vec::new();
            flat(described(table::by_number(number), table::full_name(number).split('|').count()), &mut found);
            (table::by_number(number), found)
        };
        leaves.map(of_row).collect()
    }

    #[test]
    fn a_row_has_key_arguments_when_it_says_where_its_keys_stand() {
        for (spec, arguments) in every_argument() {
            let keys: Vec<&str> =
                arguments.iter().filter(|argument| argument.kind == "key").map(|key| key.name.as_str()).collect();
            assert_eq!(keys.is_empty(), matches!(spec.keys, Keys::None), "{}: {keys:?}", spec.name);
            for key in keys {
                let is_key_word = ["key", "source", "dest"].iter().any(|word| key.contains(word));
                assert!(is_key_word, "{}: a key is called {key}", spec.name);
            }
        }
    }

    #[test]
    fn integer_words_are_sorted_and_each_stands_in_a_row() {
        assert!(INTEGERS.is_sorted_by(|a, b| a < b));
        let rows = every_argument();
        let is_used =
            |word: &&str| rows.iter().any(|(_, arguments)| arguments.iter().any(|argument| argument.name == **word));
        let unused: Vec<_> = INTEGERS.iter().filter(|word| !is_used(word)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn key_specifications_are_numbered_as_command_info_lists_them() {
        let indexes = |keys| (0..7).map(|position| key_spec_index(keys, position)).collect::<Vec<_>>();
        assert_eq!(indexes(Keys::TWO), [None, Some(0), Some(0), None, None, None, None]);
        let every_other = Keys::Range { first: 1, last: -1, step: 2 };
        assert_eq!(indexes(every_other), [None, Some(0), None, Some(0), None, Some(0), None]);
        let counted = Keys::Counted { count_at: 2, also: 1, step: 1 };
        assert_eq!(indexes(counted), [None, Some(0), None, Some(1), Some(1), Some(1), Some(1)]);
        let counted_pairs = Keys::Counted { count_at: 1, also: 0, step: 2 };
        assert_eq!(indexes(counted_pairs), [None, None, Some(0), None, Some(0), None, Some(0)]);
    }
}
