//! How far an import got, on stderr: a bar that is drawn anew on a terminal, a line every few seconds elsewhere.
//!
//! Deliberately not here: what is counted but bytes of the source.

use super::parts::Part;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write as _};
use std::time::{Duration, Instant};

const REDRAWN_EVERY: Duration = Duration::from_millis(100);
const TOLD_EVERY: Duration = Duration::from_secs(5);
const BAR_CELLS: u64 = 30;

/// See the module's text. Ends its line when dropped.
pub(super) struct Progress {
    what: &'static str,
    total_bytes: u64,
    done_bytes: Cell<u64>,
    started: Instant,
    told: Cell<Instant>,
    is_drawn: Cell<bool>,
    is_terminal: bool,
}

impl Progress {
    /// Of doing `what` with these files.
    pub(super) fn new(what: &'static str, parts: &[Part]) -> Self {
        let now = Instant::now();
        Progress {
            what,
            total_bytes: parts.iter().map(|part| part.bytes).sum(),
            done_bytes: Cell::new(0),
            started: now,
            told: Cell::new(now),
            is_drawn: Cell::new(false),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    fn add(&self, bytes: u64) {
        self.done_bytes.set(self.done_bytes.get() + bytes);
        let interval = if self.is_terminal { REDRAWN_EVERY } else { TOLD_EVERY };
        if self.told.get().elapsed() >= interval {
            self.told.set(Instant::now());
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        let line = line(self.what, self.done_bytes.get(), self.total_bytes, self.started.elapsed());
        let mut err = std::io::stderr().lock();
        // Whoever closed stderr does not want to know.
        if self.is_terminal {
            self.is_drawn.set(true);
            let _ = write!(err, "\r\x1b[K{line}");
        } else {
            let _ = writeln!(err, "larder: {line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn.get() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done_bytes: u64, total_bytes: u64, elapsed: Duration) -> String {
    let share = |of: u64| of * done_bytes.min(total_bytes) / total_bytes.max(1);
    let mut line = format!("{what} [");
    line.extend((0..BAR_CELLS).map(|cell| if cell < share(BAR_CELLS) { '#' } else { '.' }));
    let _ = write!(line, "] {:3}%  {} of {}", share(100), mib(done_bytes), mib(total_bytes));
    let rate = done_bytes as f64 / elapsed.as_secs_f64().max(0.001);
    if 1.0 <= rate {
        let left_seconds = total_bytes.saturating_sub(done_bytes) as f64 / rate;
        let _ = write!(line, ", {}/s, {left_seconds:.0} s left", mib(rate as u64));
    }
    line
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A file whose bytes count as they are read.
pub(super) struct Counted<'p, R> {
    inner: R,
    progress: &'p Progress,
}

impl<'p, R> Counted<'p, R> {
    /// Bytes read of `inner` are told to `progress`.
    pub(super) fn new(inner: R, progress: &'p Progress) -> Self {
        Counted { inner, progress }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let text = line("importing", 512 << 20, 2 << 30, Duration::from_secs(4));
        assert_eq!(
            text,
            "importing [#######.......................]  25%  512.0 MiB of 2048.0 MiB, 128.0 MiB/s, 12 s left"
        );
        assert_eq!(
            line("checking", 0, 0, Duration::ZERO),
            "checking [..............................]   0%  0.0 MiB of 0.0 MiB"
        );
    }
}
