//! Time as commands need it, who read it once each and twice more for a batch of them: from the processor's time stamp
//! counter where the kernel itself relies on that, 9 ns a reading where one of the kernel's clocks costs 25 to 40 (2 × AMD
//! EPYC).
//!
//! ```text
//! nanoseconds = first ns + (ticks − first ticks) × ratio            ratio: measured against the kernel's clock
//! wall time   = nanoseconds + offset                                offset: measured against the kernel's clock
//! ```
//!
//! Ratio and offset are measured anew when the wall clock is read and [`REST_NS`] have passed since the last time: a wall
//! clock that is set is followed within that time. The first ratio is there when the process has run for [`SPAN_NS_MIN`] and
//! a little. Until then, and wherever the kernel does not use the counter (it is asked once), the kernel's clocks are read.
//!
//! Deliberately not here: what may wait or is written down once in a while; see [`Clock`](crate::Clock).
//!
//! Invariant: a reading is off the kernel's clock by no more than that clock was slewed since the last measurement, usually
//! a millionth part of the time since. What compares readings must bear that one is earlier than another that was taken
//! before it, by as much.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "reading the counter is an intrinsic"))]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// For so long ratio and offset are good.
const REST_NS: u64 = 5_000_000;
/// The shortest time over which a ratio is measured.
const SPAN_NS_MIN: u64 = 10_000_000;
/// A prediction that is off by more than one part in this many of the time since the last measurement, and by more than
/// [`TRUST_NS`], means that the counter is not to be relied on: clocks are slewed by a twelfth part at most.
const TRUST_PART: u64 = 8;
/// What a measurement may be off, when whoever takes it is interrupted each time.
const TRUST_NS: u64 = 2_000_000;
/// Attempts to read two clocks without being interrupted in between.
const TRIES_MAX: usize = 5;
/// Two clocks read within so much count as read at once.
const AT_ONCE_NS: u64 = 2_000;
/// Ratios are nanoseconds per tick in units of 1/2^this.
const RATIO_BITS: u32 = 62;
/// Not measured yet.
const RATIO_NONE: u64 = 0;
/// Not to be measured any more.
const RATIO_NEVER: u64 = u64::MAX;

static COUNTER: LazyLock<Counter> = LazyLock::new(Counter::new);
/// What is added to nanoseconds to give those since the Unix epoch.
static OFFSET_NS: AtomicI64 = AtomicI64::new(0);
/// When that was measured; at first so that it is to be.
static OFFSET_AT_NS: AtomicU64 = AtomicU64::new(1 << 63);

/// Nanoseconds since this process first asked.
#[inline]
pub fn monotonic_ns() -> u64 {
    COUNTER.now_ns()
}

/// Milliseconds since the Unix epoch.
#[inline]
pub(crate) fn wall_ms() -> i64 {
    let mut now_ns = monotonic_ns();
    if REST_NS < now_ns.wrapping_sub(OFFSET_AT_NS.load(Ordering::Acquire)) {
        now_ns = measure();
    }
    if !COUNTER.is_used() {
        return kernel_wall_ns().div_euclid(1_000_000);
    }
    (now_ns as i64).wrapping_add(OFFSET_NS.load(Ordering::Relaxed)).div_euclid(1_000_000)
}

#[cold]
fn measure() -> u64 {
    COUNTER.measure_ratio();
    let (now_ns, wall_ns) = at_once(monotonic_ns, kernel_wall_ns);
    OFFSET_NS.store(wall_ns.wrapping_sub(now_ns as i64), Ordering::Relaxed);
    OFFSET_AT_NS.store(now_ns, Ordering::Release);
    now_ns
}

/// Reads two clocks at one moment, or as near to it as it can be had. The unit of the first is at most a few nanoseconds.
fn at_once<T>(first: impl Fn() -> u64, second: impl Fn() -> T) -> (u64, T) {
    let read = || {
        let before = first();
        let other = second();
        let apart = first().saturating_sub(before);
        (apart, before + apart / 2, other)
    };
    let mut best = read();
    for _ in 1..TRIES_MAX {
        if best.0 <= AT_ONCE_NS {
            break;
        }
        let next = read();
        if next.0 < best.0 {
            best = next;
        }
    }
    (best.1, best.2)
}

/// Nanoseconds by the kernel's monotonic clock since this process first asked.
fn kernel_ns() -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    ORIGIN.elapsed().as_nanos() as u64
}

/// Nanoseconds since the Unix epoch by the kernel's wall clock.
fn kernel_wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the instruction, and it touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    0
}

/// Whether the kernel has found the counters of all processors to run alike, at one speed, and never to stop.
fn kernel_relies_on_it() -> bool {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64") && std::fs::read(SOURCE).is_ok_and(|name| name.trim_ascii() == b"tsc")
}

struct Counter {
    first_ticks: u64,
    first_ns: u64,
    ratio: AtomicU64,
    /// When that was measured.
    measured_ns: AtomicU64,
}

impl Counter {
    fn new() -> Counter {
        let ratio = if kernel_relies_on_it() { RATIO_NONE } else { RATIO_NEVER };
        let (first_ticks, first_ns) = at_once(ticks, kernel_ns);
        Counter { first_ticks, first_ns, ratio: AtomicU64::new(ratio), measured_ns: AtomicU64::new(first_ns) }
    }

    #[inline]
    fn is_used(&self) -> bool {
        !matches!(self.ratio.load(Ordering::Relaxed), RATIO_NONE | RATIO_NEVER)
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        match self.ratio.load(Ordering::Relaxed) {
            RATIO_NONE | RATIO_NEVER => kernel_ns(),
            ratio => self.ns_at(ticks(), ratio),
        }
    }

    #[inline]
    fn ns_at(&self, ticks: u64, ratio: u64) -> u64 {
        let spanned = u128::from(ticks.saturating_sub(self.first_ticks)) * u128::from(ratio);
        self.first_ns.wrapping_add((spanned >> RATIO_BITS) as u64)
    }

    fn measure_ratio(&self) {
        let before = self.ratio.load(Ordering::Relaxed);
        if before != RATIO_NEVER {
            let (ticks, ns) = at_once(ticks, kernel_ns);
            let ratio = self.ratio_after(before, ticks, ns);
            // Whoever was faster has measured as well.
            if self.ratio.compare_exchange(before, ratio, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.measured_ns.store(ns, Ordering::Relaxed);
            }
        }
    }

    /// What the ratio, which is measured, is from now on, when both clocks read this.
    fn ratio_after(&self, before: u64, ticks: u64, ns: u64) -> u64 {
        let spanned_ns = ns.saturating_sub(self.first_ns);
        if spanned_ns < SPAN_NS_MIN {
            return before;
        }
        let since_ns = ns.saturating_sub(self.measured_ns.load(Ordering::Relaxed));
        let slack_ns = TRUST_NS + since_ns / TRUST_PART;
        let is_trusted = before == RATIO_NONE || self.ns_at(ticks, before).abs_diff(ns) <= slack_ns;
        let spanned_ticks = u128::from(ticks.saturating_sub(self.first_ticks));
        let ratio = (u128::from(spanned_ns) << RATIO_BITS).checked_div(spanned_ticks);
        match ratio.map(u64::try_from) {
            Some(Ok(ratio)) if is_trusted && ratio != RATIO_NONE => ratio,
            _ => RATIO_NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Two gigahertz and a half, from a moment when neither clock is at zero.
    static COUNTED: Counter = Counter {
        first_ticks: 1_000_000,
        first_ns: 77_000_000_000,
        ratio: AtomicU64::new(RATIO_NONE),
        measured_ns: AtomicU64::new(77_000_000_000),
    };

    fn after(ns: u64) -> (u64, u64) {
        (COUNTED.first_ticks + ns * 5 / 2, COUNTED.first_ns + ns)
    }

    #[test]
    fn readings_are_those_of_the_kernel_whether_or_not_they_come_from_the_counter() {
        for _ in 0..4 {
            let before_ns = kernel_ns();
            let now_ns = monotonic_ns();
            let after_ns = kernel_ns();
            let slack_ns = 1_000_000;
            assert!(before_ns <= now_ns + slack_ns && now_ns <= after_ns + slack_ns, "{before_ns} {now_ns} {after_ns}");
            let (before_ms, now_ms) = (kernel_wall_ns() / 1_000_000, wall_ms());
            let after_ms = kernel_wall_ns() / 1_000_000;
            assert!(before_ms <= now_ms + 1 && now_ms <= after_ms + 1, "{before_ms} {now_ms} {after_ms}");
            std::thread::sleep(Duration::from_millis(60));
        }
        assert_eq!(COUNTER.is_used(), kernel_relies_on_it());
    }

    #[test]
    fn nanoseconds_of_a_hundred_years_are_exact() {
        let (ticks, ns) = after(SPAN_NS_MIN);
        let ratio = COUNTED.ratio_after(RATIO_NONE, ticks, ns);
        let (ticks, ns) = after(100 * 365 * 86_400_000_000_000);
        assert!(COUNTED.ns_at(ticks, ratio).abs_diff(ns) <= 2);
    }

    #[test]
    fn too_short_a_time_gives_no_ratio() {
        let (ticks, ns) = after(SPAN_NS_MIN - 1);
        assert_eq!(COUNTED.ratio_after(RATIO_NONE, ticks, ns), RATIO_NONE);
    }

    #[test]
    fn a_ratio_that_was_a_little_off_is_mended_and_a_counter_that_stood_still_is_not_used_again() {
        let (ticks, ns) = after(SPAN_NS_MIN);
        let rough = COUNTED.ratio_after(RATIO_NONE, ticks + 100, ns);
        let (ticks, ns) = after(100 * SPAN_NS_MIN);
        let mended = COUNTED.ratio_after(rough, ticks, ns);
        assert_eq!(COUNTED.ns_at(ticks, mended).abs_diff(ns).min(1), COUNTED.ns_at(ticks, mended).abs_diff(ns));
        assert_eq!(COUNTED.ratio_after(mended, ticks, ns + 100 * SPAN_NS_MIN), RATIO_NEVER);
        assert_eq!(COUNTED.ratio_after(RATIO_NONE, COUNTED.first_ticks, ns), RATIO_NEVER);
    }
}
