//! Turns results into files: a Markdown page with what was measured, on what, how to repeat it; and its plots.

use std::fmt::{self, Write};
use std::fs;
use std::process::Command;

use crate::error::Error;
use crate::server::Contestant;
use crate::setup::Setup;
use crate::stats::{Spread, decimals};
use crate::svg::{Figure, Series};
use crate::workload::unix_ms;

/// A Markdown table.
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(heads: &[&str]) -> Self {
        Self { heads: heads.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// # Panics
    /// When the row has not as many cells as the head.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.heads.len(), "a row has a cell for every head");
        self.rows.push(cells);
    }
}

/// First column left, the others right.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.heads.join(" | "))?;
        writeln!(f, "|---|{}", "---:|".repeat(self.heads.len() - 1))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

/// The side of a bound that is good.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Smaller is better.
    AtMost(f64),
    /// Larger is better.
    AtLeast(f64),
}

/// A promise with what was measured.
pub struct Check {
    /// What is promised, without the number.
    pub claim: String,
    /// The figure; its median is judged.
    pub measured: Spread,
    /// The number.
    pub bound: Bound,
}

impl Check {
    /// Whether the promise is kept.
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(limit) => self.measured.median <= limit,
            Bound::AtLeast(limit) => limit <= self.measured.median,
        }
    }

    fn cells(&self) -> [String; 4] {
        let bound = match self.bound {
            Bound::AtMost(limit) => format!("at most {limit}"),
            Bound::AtLeast(limit) => format!("at least {limit}"),
        };
        let verdict = if self.holds() { "yes" } else { "**no**" };
        [self.claim.clone(), bound, self.measured.to_string(), verdict.into()]
    }
}

/// One page under construction.
pub struct Page {
    name: String,
    body: String,
    figures: Vec<(String, Figure)>,
}

impl Page {
    /// `name` becomes the file name, `title` the headline, `method` the paragraph under it.
    pub fn new(setup: &Setup, name: &str, title: &str, method: &str) -> Self {
        let mut body = format!("# {title}\n\n{method}\n\n{}", machine(setup));
        if setup.quick {
            body.push_str("\nThis is a quick run: its figures show that the bench works and little else.\n");
        }
        Self { name: name.to_owned(), body, figures: Vec::new() }
    }

    /// Appends a table under a heading, with a sentence about it.
    pub fn table(&mut self, heading: &str, about: &str, table: &Table) {
        let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
        let _ = write!(self.body, "\n## {heading}\n\n{about}{table}");
    }

    /// Appends the list of promises; nothing when there are none.
    pub fn checks(&mut self, checks: &[Check]) {
        if checks.is_empty() {
            return;
        }
        let mut table = Table::new(&["promise", "bound", "measured", "kept"]);
        for check in checks {
            table.row(check.cells());
        }
        self.table("What must hold", "Figures are medians with their range.", &table);
    }

    /// Appends a plot, kept in its own file `<page>-<suffix>.svg`, or `<page>.svg` without a suffix.
    pub fn figure(&mut self, suffix: &str, figure: Figure) {
        let separator = if suffix.is_empty() { "" } else { "-" };
        let file = format!("{}{separator}{suffix}.svg", self.name);
        let _ = write!(self.body, "\n![{}]({file})\n", figure.title);
        self.figures.push((file, figure));
    }

    /// Writes the page and its plots, and shows the page.
    pub fn write(self, setup: &Setup) -> Result<(), Error> {
        let dir = setup.out_dir();
        fs::create_dir_all(&dir).map_err(Error::io("create the directory of results"))?;
        for (file, figure) in &self.figures {
            fs::write(dir.join(file), figure.render()).map_err(Error::io("write a plot"))?;
        }
        let file = dir.join(format!("{}.md", self.name));
        fs::write(&file, &self.body).map_err(Error::io("write a page"))?;
        println!("{}\nwritten to {}", self.body, file.display());
        Ok(())
    }
}

/// The legend entry of a contestant.
pub fn series_of(contestant: Contestant) -> Series {
    let colour = match contestant {
        Contestant::Redis => "#c8553d",
        Contestant::Larder => "#2a7f62",
        Contestant::Floor => "#a9b4bd",
        Contestant::Nginx => "#e0a030",
    };
    Series { name: contestant.name().into(), colour }
}

/// Where, when and with what it was measured, and the command that does it again.
fn machine(setup: &Setup) -> String {
    let placing = if setup.no_pin {
        "not pinned".into()
    } else {
        format!("servers on core {}, load on core {}", setup.server_core, setup.load_core)
    };
    let facts = [
        ("date", date(unix_ms() / 1000)),
        ("machine", format!("{}, {placing}", cpu_model())),
        ("kernel", kernel()),
        ("larder", version(&setup.larder_command)),
        ("redis", version(&setup.redis_command)),
        ("rounds", setup.rounds().to_string()),
    ];
    let mut list = String::new();
    for (name, fact) in &facts {
        let _ = writeln!(list, "- {name}: {fact}");
    }
    let rerun = format!("cargo build --release -p server && cargo run --release -p bench -- {}", measuring_args());
    format!("{list}\nTo repeat it:\n\n```sh\n{rerun}\n```\n")
}

/// The flags that decide what is measured, without those that say where programs and files lie.
fn measuring_args() -> String {
    const PLACES: [&str; 6] =
        ["--larder-command", "--redis-command", "--nginx-command", "--wrk-command", "--out-dir", "--work-dir"];
    let mut kept: Vec<String> = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let name = arg.split('=').next().unwrap_or_default();
        if !PLACES.contains(&name) {
            kept.push(arg);
        } else if name == arg {
            args.next();
        }
    }
    kept.join(" ")
}

/// The kernel's version, without what its packager appended.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().split('-').next().filter(|version| !version.is_empty()).unwrap_or("unknown").into()
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = text.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(':')).map_or("unknown CPU", |(_, name)| name.trim());
    format!("{} × {model}", models.len())
}

/// The first line that the program prints about itself.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let line = output.ok().and_then(|output| String::from_utf8_lossy(&output.stdout).lines().next().map(String::from));
    line.unwrap_or_else(|| program.to_string())
}

/// `YYYY-MM-DD` in UTC. Days to civil date as in Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A number with three digits that matter.
pub fn number(value: f64) -> String {
    format!("{value:.*}", decimals(value))
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> String {
    number(bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_turn_over_where_the_calendar_does() {
        for (unix_s, text) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
        ] {
            assert_eq!(date(unix_s), text);
        }
    }

    #[test]
    fn a_bound_is_judged_by_the_median_and_from_its_side() {
        let check = |median, bound| Check { claim: String::new(), measured: Spread::of([median]), bound };
        assert!(check(0.6, Bound::AtMost(0.6)).holds());
        assert!(!check(0.61, Bound::AtMost(0.6)).holds());
        assert!(check(1.5, Bound::AtLeast(1.5)).holds());
        assert!(!check(1.49, Bound::AtLeast(1.5)).holds());
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["1".into(), "2".into()]);
        assert_eq!(table.to_string(), "| a | b |\n|---|---:|\n| 1 | 2 |\n");
    }
}
