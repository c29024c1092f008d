//! Golden scripts: `golden/*.txt`, a script above `---` and its effects below.
//!
//! | line | meaning |
//! |---|---|
//! | `append TEXT` | one batch; prints its place |
//! | `fill COUNT BYTES` | that many batches of that size |
//! | `write`, `sync`, `idle`, `close` | what the journal offers; `idle` is a flusher that finds nothing to do |
//! | `zero SEGMENT FROM TO`, `flip SEGMENT BYTE`, `lose SEGMENT` | damage |
//! | `kill`, `power SEED` | crash and reopen; without a seed everything unsynced is lost |
//! | `reopen [POSITION]` | open again, from a position |
//! | `report`, `salvage LOSS` | repair |
//!
//! `UPDATE_GOLDEN=1` rewrites what lies below the line; the difference is reviewed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sim::{Cut, Loss, SimDisk};

use super::{Rig, SyncMode};
use crate::repair::{GiveUp, report, salvage};
use crate::{Position, SegmentId, segment_path};

struct Script {
    rig: Option<Rig>,
    disk: SimDisk,
    out: String,
}

fn number(word: Option<&str>) -> usize {
    word.expect("a number is missing").parse().expect("not a number")
}

fn position(word: &str) -> Position {
    let (segment, offset) = word.split_once('@').expect("a position is SEGMENT@OFFSET");
    Position { segment: SegmentId(segment.parse().unwrap()), offset: offset.parse().unwrap() }
}

fn loss(words: &[&str]) -> GiveUp {
    match words {
        ["records", from, to] => GiveUp::Records { from: position(from), to: number(Some(to)) as u32 },
        ["segment-rest", from] => GiveUp::SegmentRest { from: position(from) },
        ["segment", id] => GiveUp::Segment { id: SegmentId(id.parse().unwrap()) },
        ["journal-rest", from] => GiveUp::JournalRest { from: position(from) },
        other => panic!("no such loss: {other:?}"),
    }
}

impl Script {
    fn run(script: &str) -> String {
        let disk = SimDisk::new();
        let rig = Some(Rig::open(&disk));
        let mut running = Script { rig, disk, out: String::new() };
        script.lines().filter(|line| !line.is_empty()).for_each(|line| running.line(line));
        running.out
    }

    fn say(&mut self, text: &str) {
        writeln!(self.out, "{text}").unwrap();
    }

    fn rig(&self) -> &Rig {
        self.rig.as_ref().expect("the journal is not open")
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split(' ');
        match words.next() {
            Some("append") => {
                let text = line.strip_prefix("append ").unwrap_or_default();
                let at = self.rig().append(text.as_bytes());
                self.say(&format!("{} to {}: {text}", at.start, at.end));
            }
            Some("fill") => {
                let (count, bytes) = (number(words.next()), number(words.next()));
                for index in 0..count {
                    self.rig().append(&vec![index as u8; bytes]);
                }
                let tail = self.rig().journal.tail();
                self.say(&format!("tail {tail}"));
            }
            Some("write") => self.rig().journal.write_through(self.rig().journal.tail()).unwrap(),
            Some("sync") => self.rig().journal.sync().unwrap(),
            Some("idle") => self.rig().idle(),
            Some("close") => self.rig().journal.close().unwrap(),
            Some("flip") => {
                let path = segment_path(SegmentId(number(words.next()) as u32));
                self.disk.flip_bit(&path, number(words.next()) * 8);
            }
            Some("zero") => {
                let path = segment_path(SegmentId(number(words.next()) as u32));
                let (from, to) = (number(words.next()), number(words.next()));
                let mut content = self.disk.content();
                content.get_mut(&path).unwrap()[from..to].fill(0);
                self.disk = SimDisk::holding(content);
            }
            Some("lose") => {
                let mut content = self.disk.content();
                content.remove(&segment_path(SegmentId(number(words.next()) as u32))).unwrap();
                self.disk = SimDisk::holding(content);
            }
            Some("kill") => self.crash(Loss::Nothing),
            Some("power") => self.crash(words.next().map_or(Loss::Unsynced, |seed| Loss::Some(seed.parse().unwrap()))),
            Some("reopen") => self.reopen(words.next().map(position)),
            Some("report") => self.report(),
            Some("salvage") => {
                let give_up = loss(&words.collect::<Vec<_>>());
                match salvage(&self.disk, None, &[give_up], 0x5eed) {
                    Ok(()) => self.say("salvaged"),
                    Err(error) => self.say(&format!("refused: {error}")),
                }
            }
            other => panic!("no such line: {other:?}"),
        }
    }

    fn crash(&mut self, loss: Loss) {
        self.disk = self.disk.crash(Cut { ops: self.disk.trace_count(), bytes: 0 }, loss);
        self.reopen(None);
    }

    fn reopen(&mut self, start: Option<Position>) {
        match Rig::open_at(&self.disk, SyncMode::EverySec, start) {
            Ok(rig) => {
                for (at, body) in &rig.replayed {
                    let text = if body.len() < 50 {
                        String::from_utf8_lossy(body)
                    } else {
                        format!("{} bytes", body.len()).into()
                    };
                    writeln!(self.out, "  {at} {text}").unwrap();
                }
                self.say(&format!("opened: {} records, tail {}", rig.recovered.records, rig.recovered.tail));
                if let Some(torn) = rig.recovered.torn {
                    self.say(&format!("torn at {}: {} bytes, {} valid records", torn.at, torn.bytes, torn.records));
                }
                self.rig = Some(rig);
            }
            Err(error) => self.say(&format!("refused: {error}")),
        }
    }

    fn report(&mut self) {
        let report = report(&self.disk, None).unwrap();
        self.say(report.to_string().trim_end());
    }
}

#[test]
fn every_golden_script_has_its_effects() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (script, wanted) = text.split_once("---\n").expect("a line --- parts script and effects");
        let got = Script::run(script);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, format!("{script}---\n{got}")).unwrap();
        } else {
            assert_eq!(got, wanted, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 8, "the scripts must be found");
}
