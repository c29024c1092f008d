//! Publish and subscribe: channels, patterns of their names, channels of shards.
//!
//! A subscription is answered by one push per name, in RESP2 by an array of the same elements. Messages are told as
//! events are, when the transaction is committed, and come in one order with them.
//!
//! Deliberately not here: who has subscribed (`channels.rs`), delivery (the server).
//!
//! Source: behaviour of Valkey 9.1 `pubsub.c`.

use crate::acl;
use crate::call::{Call, Flow};
use crate::channels::{Counts, Kind};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{ChannelArgs, Touches};
use keyspace::events::Message;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(1),
    flags: Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::SUBSCRIBER),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Pubsub,
    since: "2.0.0",
    complexity: "O(N) where N is the number of names",
    summary: "",
    syntax: "",
    handler: subscribe,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const PUBLISH: Spec = Spec {
    touches: Touches::channels(ChannelArgs::First),
    arity: Arity::Exactly(3),
    flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::MAY_REPLICATE),
    complexity: "O(N+M) where N is the number of subscribers of the channel and M the number of patterns",
    syntax: "channel message",
    ..ROW
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "psubscribe",
        touches: Touches::channels(ChannelArgs::Patterns),
        arity: Arity::AtLeast(2),
        summary: "Subscribes to all channels whose names fit patterns.",
        syntax: "pattern [pattern ...]",
        handler: psubscribe,
        ..ROW
    },
    Spec {
        name: "publish",
        summary: "Sends a message to a channel and returns how many it is handed to.",
        handler: publish,
        ..PUBLISH
    },
    Spec {
        name: "pubsub",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "A container for commands about subscriptions.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: SUBCOMMANDS,
        ..ROW
    },
    Spec {
        name: "punsubscribe",
        summary: "Ends subscriptions to patterns, or all of them.",
        syntax: "[pattern [pattern ...]]",
        handler: punsubscribe,
        ..ROW
    },
    Spec {
        name: "spublish",
        since: "7.0.0",
        complexity: "O(N) where N is the number of subscribers of the channel",
        summary: "Sends a message to a channel of a shard and returns how many it is handed to.",
        syntax: "shardchannel message",
        handler: spublish,
        ..PUBLISH
    },
    Spec {
        name: "ssubscribe",
        touches: Touches::channels(ChannelArgs::All),
        arity: Arity::AtLeast(2),
        since: "7.0.0",
        summary: "Subscribes to channels of shards.",
        syntax: "shardchannel [shardchannel ...]",
        handler: ssubscribe,
        ..ROW
    },
    Spec {
        name: "subscribe",
        touches: Touches::channels(ChannelArgs::All),
        arity: Arity::AtLeast(2),
        summary: "Subscribes to channels.",
        syntax: "channel [channel ...]",
        ..ROW
    },
    Spec {
        name: "sunsubscribe",
        since: "7.0.0",
        summary: "Ends subscriptions to channels of shards, or all of them.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: sunsubscribe,
        ..ROW
    },
    Spec {
        name: "unsubscribe",
        summary: "Ends subscriptions to channels, or all of them.",
        syntax: "[channel [channel ...]]",
        handler: unsubscribe,
        ..ROW
    },
];

const SUBCOMMAND: Spec = Spec {
    arity: Arity::AtLeast(2),
    flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
    since: "2.8.0",
    complexity: "O(N) where N is the number of channels with subscribers",
    ..ROW
};

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "channels",
        summary: "Returns the channels that have subscribers, patterns not counted.",
        syntax: "[pattern]",
        handler: |call| names(call, Kind::Channel),
        ..SUBCOMMAND
    },
    HELP,
    Spec {
        name: "numpat",
        arity: Arity::Exactly(2),
        complexity: "O(1)",
        summary: "Returns the number of different patterns that have subscribers.",
        handler: number_of_patterns,
        ..SUBCOMMAND
    },
    Spec {
        name: "numsub",
        complexity: "O(N) for N channels",
        summary: "Returns how many subscribers channels have, patterns not counted.",
        syntax: "[channel [channel ...]]",
        handler: |call| number_of_subscribers(call, Kind::Channel),
        ..SUBCOMMAND
    },
    Spec {
        name: "shardchannels",
        since: "7.0.0",
        summary: "Returns the channels of shards that have subscribers.",
        syntax: "[pattern]",
        handler: |call| names(call, Kind::Shard),
        ..SUBCOMMAND
    },
    Spec {
        name: "shardnumsub",
        since: "7.0.0",
        complexity: "O(N) for N channels",
        summary: "Returns how many subscribers channels of shards have.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: |call| number_of_subscribers(call, Kind::Shard),
        ..SUBCOMMAND
    },
];

fn subscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    subscribe_all(call, Kind::Channel, b"subscribe")
}

fn psubscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    subscribe_all(call, Kind::Pattern, b"psubscribe")
}

fn ssubscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    subscribe_all(call, Kind::Shard, b"ssubscribe")
}

fn subscribe_all(call: &mut Call<'_>, kind: Kind, word: &[u8]) -> Result<Flow, Error> {
    let Some(receiver) = call.host.receiver(call.session.id) else { return Ok(Flow::Close) };
    for name in call.args.skip(1).iter() {
        let counts = call.host.channels().subscribe(call.session.id, kind, name, &receiver);
        answer(call, word, Some(name), kind, counts);
    }
    call.host.clients().update(call.session);
    // Rules may have changed since this was permitted. Who changed them closed the subscribers there were then, and
    // whoever is one only now sees the new rules.
    Ok(if acl::is_permitted(call) { Flow::Subscribed } else { Flow::Close })
}

fn unsubscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    unsubscribe_all(call, Kind::Channel, b"unsubscribe")
}

fn punsubscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    unsubscribe_all(call, Kind::Pattern, b"punsubscribe")
}

fn sunsubscribe(call: &mut Call<'_>) -> Result<Flow, Error> {
    unsubscribe_all(call, Kind::Shard, b"sunsubscribe")
}

fn unsubscribe_all(call: &mut Call<'_>, kind: Kind, word: &[u8]) -> Result<Flow, Error> {
    let (channels, id) = (call.host.channels(), call.session.id);
    let mut is_answered = false;
    let mut end = |call: &mut Call<'_>, name: &[u8]| {
        let counts = channels.unsubscribe(id, kind, name);
        answer(call, word, Some(name), kind, counts);
        is_answered = true;
    };
    if call.arg_count() == 1 {
        channels.names_of(id, kind).iter().for_each(|name| end(call, name));
    } else {
        call.args.skip(1).iter().for_each(|name| end(call, name));
    }
    if !is_answered {
        answer(call, word, None, kind, channels.counts(id));
    }
    call.host.clients().update(call.session);
    Ok(Flow::Unsubscribed)
}

/// Answers for one name, and notes how many the connection then has.
fn answer(call: &mut Call<'_>, word: &[u8], name: Option<&[u8]>, kind: Kind, counts: Counts) {
    call.session.subscription_count = counts.total();
    call.reply.push(3);
    call.reply.bulk(word);
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.count(counts.shown(kind));
}

fn publish(call: &mut Call<'_>) -> Result<Flow, Error> {
    publish_to(call, Kind::Channel)
}

fn spublish(call: &mut Call<'_>) -> Result<Flow, Error> {
    publish_to(call, Kind::Shard)
}

fn publish_to(call: &mut Call<'_>, kind: Kind) -> Result<Flow, Error> {
    let (channel, message) = (call.arg(1), call.arg(2));
    let receiver_count = call.host.channels().receiver_count(kind, channel);
    if receiver_count > 0 {
        // The message may tell of whatever this connection knows.
        call.tx.reveal(call.session.revealed);
        call.tx.publish(Message { is_shard: kind == Kind::Shard, channel: channel.into(), message: message.into() });
    }
    call.reply.count(receiver_count);
    Ok(Flow::Done)
}

fn names(call: &mut Call<'_>, kind: Kind) -> Result<Flow, Error> {
    if call.arg_count() > 3 {
        return Err(wrong_subcommand(call));
    }
    let names = call.host.channels().names(kind, call.args.nth(2));
    call.reply.array(names.len());
    for name in &names {
        call.reply.bulk(name);
    }
    Ok(Flow::Done)
}

fn wrong_subcommand(call: &Call<'_>) -> Error {
    let shown = String::from_utf8_lossy(call.arg(1));
    crate::refuse!("ERR unknown subcommand or wrong number of arguments for '{shown}'. Try PUBSUB HELP.")
}

fn number_of_patterns(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.count(call.host.channels().name_count(Kind::Pattern));
    Ok(Flow::Done)
}

fn number_of_subscribers(call: &mut Call<'_>, kind: Kind) -> Result<Flow, Error> {
    let names = call.args.skip(2);
    call.reply.array(2 * names.count());
    for name in names.iter() {
        call.reply.bulk(name);
        call.reply.count(call.host.channels().subscribers_of(kind, name));
    }
    Ok(Flow::Done)
}
