//! XREAD: what was added to streams after the ids a client has seen; it can wait for that.
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::stream_ids::{parse_id, write_entries};
use crate::streams::READ;
use crate::waiting::Wait;
use keyspace::Kind;
use keyspace::stream::{Stream, StreamId};
use std::ops::Range;
use wire::args::Args;
use wire::reply::Protocol;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[Spec {
    name: "xread",
    keys: Keys::After { word: "STREAMS", from: 1, options: OPTIONS },
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    arity: Arity::AtLeast(4),
    summary: "Returns the entries of streams that are later than given ids; waits until there are some.",
    syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    handler: read,
    ..READ
}];

/// The options of a read, and how many arguments belong to each.
pub(crate) const OPTIONS: &[(&str, u8)] = &[("COUNT", 1), ("BLOCK", 1), ("GROUP", 2)];

/// The words of a read.
#[derive(Default)]
pub(crate) struct ReadOptions {
    /// Entries of each stream at most; 0 is no limit.
    pub(crate) count: usize,
    /// Milliseconds to wait while there are none, if it is to wait; 0 is for ever.
    pub(crate) block_ms: Option<u64>,
}

impl ReadOptions {
    /// Entries of each stream at most.
    pub(crate) fn most(&self) -> usize {
        if self.count == 0 { usize::MAX } else { self.count }
    }
}

/// Keys and ids, as many of each.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    args: Args<'a>,
    /// Where the first key stands among all arguments.
    start: usize,
    /// How many keys there are.
    pub(crate) count: usize,
}

impl<'a> Wanted<'a> {
    /// Takes the arguments from `start` on, behind STREAMS.
    pub(crate) fn parse(args: Args<'a>, start: usize, command: &str, symbol: char) -> Result<Wanted<'a>, Error> {
        let args = args.skip(start);
        if !args.count().is_multiple_of(2) {
            return Err(refuse!(
                "ERR Unbalanced '{command}' list of streams: for each stream key an ID or '{symbol}' must be specified."
            ));
        }
        Ok(Wanted { args, start, count: args.count() / 2 })
    }

    pub(crate) fn key(&self, index: usize) -> &'a [u8] {
        self.args.at(index)
    }

    pub(crate) fn id(&self, index: usize) -> &'a [u8] {
        self.args.at(self.count + index)
    }

    /// Where the keys stand among all arguments.
    pub(crate) fn keys(&self) -> Range<usize> {
        self.start..self.start + self.count
    }

    /// Where an id stands among all arguments.
    fn id_at(&self, index: usize) -> usize {
        self.start + self.count + index
    }
}

/// Parses the words up to STREAMS.
fn parse<'a>(call: &Call<'a>) -> Result<(ReadOptions, Wanted<'a>), Error> {
    let mut options = ReadOptions::default();
    let mut index = 1;
    while index + 1 < call.arg_count() {
        if call.is_word(index, "COUNT") {
            options.count = usize::try_from(call.integer(index + 1)?).unwrap_or(0);
            index += 2;
        } else if call.is_word(index, "BLOCK") {
            options.block_ms = Some(call.block_ms(index + 1)?);
            index += 2;
        } else if call.is_word(index, "STREAMS") {
            return Ok((options, Wanted::parse(call.args, index + 1, "xread", '$')?));
        } else if call.is_word(index, "GROUP") && index + 2 < call.arg_count() {
            return Err(Error::text("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."));
        } else if call.is_word(index, "NOACK") {
            return Err(Error::text("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."));
        } else {
            break;
        }
    }
    Err(Error::Syntax)
}

/// The id after which a client wants to read.
fn after(text: &[u8], stream: Option<&Stream>) -> Result<StreamId, Error> {
    match text {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.counters().last_id)),
        b"+" => {
            let last = stream.filter(|stream| !stream.is_empty()).map(|stream| stream.counters().last_id);
            Ok(last.and_then(StreamId::previous).unwrap_or_default())
        }
        b">" => Err(Error::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => parse_id(text, 0),
    }
}

fn read(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (options, wanted) = parse(call)?;
    let mut starts = Vec::with_capacity(wanted.count);
    for index in 0..wanted.count {
        starts.push(after(wanted.id(index), call.tx.stream(wanted.key(index))?)?);
    }
    let (mark, mut served_count) = (call.reply.mark(), 0);
    for (index, after) in starts.iter().copied().enumerate() {
        let key = wanted.key(index);
        let found = call.tx.stream(key)?.filter(|stream| stream.top_id().is_some_and(|top| after < top));
        let (Some(stream), Some(start)) = (found, after.next()) else { continue };
        if call.reply.protocol() == Protocol::Resp2 {
            call.reply.array(2);
        }
        call.reply.bulk(key);
        write_entries(&mut call.reply, stream.range(start, StreamId::MAX).take(options.most()));
        served_count += 1;
    }
    if let (0, Some(timeout_ms)) = (served_count, options.block_ms) {
        return Ok(wait(call, &wanted, &starts, timeout_ms));
    }
    match (served_count, call.reply.protocol()) {
        (0, _) => call.reply.null_array(),
        (_, Protocol::Resp2) => call.reply.array_since(mark, served_count),
        (_, Protocol::Resp3) => call.reply.map_since(mark, served_count),
    }
    Ok(Flow::Done)
}

/// Waits for entries later than these; what `$` was when the client asked, it stays.
fn wait(call: &mut Call<'_>, wanted: &Wanted<'_>, starts: &[StreamId], timeout_ms: u64) -> Flow {
    let lasts = starts.iter().enumerate().filter(|(index, _)| wanted.id(*index) == b"$");
    let texts: Vec<_> = lasts.map(|(index, id)| (wanted.id_at(index), id.text())).collect();
    let replaced: Vec<(usize, &[u8])> = texts.iter().map(|(at, text)| (*at, &**text)).collect();
    let kind = keyspace::waiting::Wanted { kind: Kind::Stream, or_gone: false };
    call.wait_for_keys(wanted.keys(), &Wait { wanted: kind, timeout_ms, replaced: &replaced })
}
