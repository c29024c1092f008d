//! LATENCY: spikes and distributions.
//!
//! Deliberately not here: deciding what is a spike, and counting, which the server does.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::host::LatencyEvent;
use crate::refuse;
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Spec};
use crate::table;

/// Columns of a graph: the newest samples.
const GRAPH_COLUMNS: usize = 80;
/// Lines of a graph.
const GRAPH_ROWS: u64 = 4;

/// The row of LATENCY.
pub const LATENCY: Spec = Spec {
    name: "latency",
    arity: Arity::AtLeast(2),
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about latency.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            arity: Arity::Exactly(2),
            name: "doctor",
            summary: "Says what took long.",
            handler: doctor,
            ..SUBCOMMAND
        },
        Spec {
            arity: Arity::Exactly(3),
            name: "graph",
            summary: "Draws the samples of an event.",
            syntax: "event",
            handler: graph,
            ..SUBCOMMAND
        },
        HELP,
        Spec {
            arity: Arity::AtLeast(2),
            name: "histogram",
            since: "7.0.0",
            summary: "Returns how long calls of commands took.",
            syntax: "[command [command ...]]",
            handler: histogram,
            ..SUBCOMMAND
        },
        Spec {
            arity: Arity::Exactly(3),
            name: "history",
            summary: "Returns the samples of an event: timestamps and milliseconds.",
            syntax: "event",
            handler: history,
            ..SUBCOMMAND
        },
        Spec {
            arity: Arity::Exactly(2),
            name: "latest",
            summary: "Returns the latest sample of every event, the longest, all added up and their number.",
            handler: latest,
            ..SUBCOMMAND
        },
        Spec {
            arity: Arity::AtLeast(2),
            name: "reset",
            summary: "Forgets events, or all of them.",
            syntax: "[event [event ...]]",
            handler: reset,
            ..SUBCOMMAND
        },
    ],
    ..ROW
};

const SUBCOMMAND: Spec = Spec { flags: ADMIN, since: "2.8.13", ..ROW };

fn history(call: &mut Call<'_>) -> Result<Flow, Error> {
    let samples = call.host.latency().history(call.arg(2));
    call.reply.array(samples.len());
    for (time_seconds, duration_ms) in samples {
        call.reply.array(2);
        call.reply.integer(time_seconds);
        call.reply.integer(duration_ms as i64);
    }
    Ok(Flow::Done)
}

fn latest(call: &mut Call<'_>) -> Result<Flow, Error> {
    let events = call.host.latency().events();
    call.reply.array(events.len());
    for LatencyEvent { name, time_seconds, last_ms, max_ms, sum_ms, count } in events {
        call.reply.array(6);
        call.reply.bulk(name.as_bytes());
        call.reply.integer(time_seconds);
        for figure in [last_ms, max_ms, sum_ms, count] {
            call.reply.integer(figure as i64);
        }
    }
    Ok(Flow::Done)
}

fn reset(call: &mut Call<'_>) -> Result<Flow, Error> {
    let latency = call.host.latency();
    let count = match call.arg_count() {
        2 => latency.reset(None),
        _ => call.args.skip(2).iter().map(|event| latency.reset(Some(event))).sum(),
    };
    call.reply.count(count);
    Ok(Flow::Done)
}

/// The numbers of the commands that a name means: with a container's name, its subcommands'.
fn numbers_of(name: &[u8]) -> Vec<u16> {
    let Some(number) = table::number_of_name(name) else { return Vec::new() };
    match table::by_number(number).subcommands.len() as u16 {
        0 => vec![number],
        count => (number..=number + count).collect(),
    }
}

fn histogram(call: &mut Call<'_>) -> Result<Flow, Error> {
    let numbers: Vec<u16> = match call.arg_count() {
        2 => (0..table::number_count() as u16).collect(),
        _ => call.args.skip(2).iter().flat_map(numbers_of).collect(),
    };
    let mark = call.reply.mark();
    let mut count = 0;
    for number in numbers {
        let Some(histogram) = call.host.latency().histogram(number) else { continue };
        count += 1;
        let reply = &mut call.reply;
        reply.bulk(table::full_name(number).as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(histogram.call_count as i64);
        reply.bulk(b"histogram_usec");
        reply.map(histogram.cumulative.len());
        for (upto_us, calls) in histogram.cumulative {
            reply.integer(upto_us as i64);
            reply.integer(calls as i64);
        }
    }
    call.reply.map_since(mark, count);
    Ok(Flow::Done)
}

fn doctor(call: &mut Call<'_>) -> Result<Flow, Error> {
    let events = call.host.latency().events();
    let is_off = call.host.setting("latency-monitor-threshold").is_none_or(|threshold| threshold == "0");
    call.reply.verbatim(*b"txt", report(&events, is_off).as_bytes());
    Ok(Flow::Done)
}

fn report(events: &[LatencyEvent], is_off: bool) -> String {
    if events.is_empty() {
        return if is_off {
            "Latency is not monitored. CONFIG SET latency-monitor-threshold <milliseconds> begins it.\n".to_owned()
        } else {
            "Nothing took longer than latency-monitor-threshold.\n".to_owned()
        };
    }
    let line = |event: &LatencyEvent| {
        let average_ms = event.sum_ms / event.count.max(1);
        let LatencyEvent { name, count, max_ms, .. } = event;
        format!("* {name}: {count} times, on average {average_ms} ms, at worst {max_ms} ms\n")
    };
    let lines: String = events.iter().map(line).collect();
    format!(
        "These took longer than latency-monitor-threshold:\n\n{lines}\nSLOWLOG GET shows which commands were slow.\n"
    )
}

fn graph(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2);
    let samples = call.host.latency().history(name);
    let event = call.host.latency().events().into_iter().find(|event| event.name.as_bytes() == name);
    let Some(event) = event else {
        return Err(refuse!("ERR No samples available for event '{}'", String::from_utf8_lossy(name)));
    };
    let now_seconds = call.host.wall_us() / 1_000_000;
    call.reply.verbatim(*b"txt", draw(&event, &samples, now_seconds).as_bytes());
    Ok(Flow::Done)
}

/// How long ago, in two or three characters.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// A column per sample, and under it how long ago it was, read downwards.
fn draw(event: &LatencyEvent, samples: &[(i64, u64)], now_seconds: i64) -> String {
    let shown = &samples[samples.len().saturating_sub(GRAPH_COLUMNS)..];
    let durations = || shown.iter().map(|(_, duration_ms)| *duration_ms);
    let (high, low) = (durations().max().unwrap_or(0), durations().min().unwrap_or(0));
    let mut text = format!("{} - high {high} ms, low {low} ms (all time high {} ms)\n", event.name, event.max_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    let level = |duration_ms: u64| 1 + (duration_ms - low) * (GRAPH_ROWS - 1) / (high - low).max(1);
    for row in (1..=GRAPH_ROWS).rev() {
        let cell = |duration_ms: u64| match level(duration_ms) {
            level if level == row => '#',
            level if row < level => '|',
            _ => ' ',
        };
        text.extend(durations().map(cell));
        text.push('\n');
    }
    let labels: Vec<String> = shown.iter().map(|(time_seconds, _)| ago(now_seconds - time_seconds)).collect();
    for place in 0..labels.iter().map(String::len).max().unwrap_or(0) {
        text.extend(labels.iter().map(|label| label.as_bytes().get(place).map_or(' ', |byte| char::from(*byte))));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> LatencyEvent {
        LatencyEvent { name: "command", time_seconds: 100, last_ms: 500, max_ms: 900, sum_ms: 1200, count: 3 }
    }

    #[test]
    fn a_graph_draws_the_longest_highest_with_its_age_below() {
        let drawn = draw(&event(), &[(40, 300), (80, 400), (100, 500)], 100);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "command - high 500 ms, low 300 ms (all time high 900 ms)");
        assert_eq!(lines[2..], ["  #", "  |", " #|", "#||", "120", "m0s", " s "].map(|line| line));
    }

    #[test]
    fn a_report_tells_apart_off_quiet_and_slow() {
        assert!(report(&[], true).contains("not monitored"));
        assert!(report(&[], false).contains("Nothing"));
        assert!(report(&[event()], false).contains("* command: 3 times, on average 400 ms, at worst 900 ms"));
    }
}
