//! `larder check` and `larder repair`: what the node found in a data directory, for the operator to read.
//!
//! Deliberately not here: looking and giving up (`node::inspect`).

use crate::cli::{RepairRequest, Salvage};
use crate::data_dir::{self, shell_word};
use crate::exit::Exit;
use crate::serve::exit_of;
use env::{Entropy, RealEntropy};
use node::OpenError;
use node::inspect::{self, Report};
use std::io::Write;
use std::path::{Path, PathBuf};

fn tell(out: &mut dyn Write, lines: impl IntoIterator<Item = String>) -> Result<(), Exit> {
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).map_err(|_| Exit::Failed)
}

fn refused(error: &OpenError, data_dir: &Path) -> Exit {
    eprintln!("larder: {}", data_dir::told(error, data_dir));
    exit_of(error)
}

/// Reads a data directory from end to end and says what is wrong with it. Changes nothing.
pub fn check(data_dir: PathBuf, out: &mut dyn Write) -> Exit {
    let found = data_dir::existing(&data_dir).and_then(|disk| inspect::check(&disk));
    match found {
        Ok(report) => report_to(&report, &data_dir, out).err().unwrap_or(verdict(&report)),
        Err(error) => refused(&error, &data_dir),
    }
}

fn verdict(report: &Report) -> Exit {
    if report.problems.is_empty() { Exit::Success } else { Exit::DataCorrupt }
}

fn report_to(report: &Report, data_dir: &Path, out: &mut dyn Write) -> Result<(), Exit> {
    tell(out, report.facts.clone())?;
    tell(out, report.problems.iter().map(|problem| format!("PROBLEM {problem}")))?;
    let dir = data_dir.display();
    let end = match report.problems.len() {
        0 => format!("{dir}: no problem found"),
        count => {
            let problems = if count == 1 { "problem" } else { "problems" };
            let word = shell_word(data_dir);
            format!("{dir}: {count} {problems}; `larder repair --data-dir {word} --report` says what can be given up")
        }
    };
    tell(out, [end])
}

/// Says what can be given up, or gives it up.
pub fn repair(request: RepairRequest, out: &mut dyn Write) -> Exit {
    let RepairRequest { data_dir, salvage } = request;
    let done = data_dir::existing(&data_dir).and_then(|disk| match salvage {
        None => inspect::check(&disk).map(|report| proposal(&report)),
        Some(salvage) => inspect::repair(&disk, words_of(salvage), RealEntropy.random_u64().unwrap_or(1)),
    });
    match done {
        Ok(lines) if lines.is_empty() => written(tell(out, ["nothing is damaged, nothing was given up".to_owned()])),
        Ok(lines) => written(tell(out, lines)),
        Err(error) => refused(&error, &data_dir),
    }
}

fn written(told: Result<(), Exit>) -> Exit {
    told.err().unwrap_or(Exit::Success)
}

fn words_of(salvage: Salvage) -> inspect::Salvage {
    match salvage {
        Salvage::Records => inspect::Salvage::Records,
        Salvage::Tail => inspect::Salvage::Tail,
    }
}

fn proposal(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.problems.iter().map(|problem| format!("PROBLEM {problem}")).collect();
    let journal = report.losses.iter().map(|loss| format!("--salvage records would give up: {loss}"));
    lines.extend(journal);
    if let Some(first) = report.losses.first() {
        lines.push(format!("--salvage tail would give up: everything from {} on", first.from()));
    }
    if let Some(end) = report.ends_early {
        lines.push(format!("what followed {end} in the journal is gone; restore from a backup"));
    }
    for (id, replaceable) in &report.checkpoints {
        lines.push(match replaceable {
            true => format!("the checkpoint of partition {} would be rebuilt from the journal", id.0),
            false => format!("the checkpoint of partition {} cannot be rebuilt; restore from a backup", id.0),
        });
    }
    lines
}
