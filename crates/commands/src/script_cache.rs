//! The scripts a node knows, and those that run on it.
//!
//! Deliberately not here: what a script does (`script_run.rs`), and libraries of functions, which are data
//! (`libraries.rs`). Scripts are no data: a restart forgets them, as Redis does.
//!
//! Invariants: scripts that came by EVAL are at most [`EVAL_SCRIPTS_COUNT_MAX`]; a script that has written is not killed.

use crate::error::Error;
use crate::libraries::Libraries;
use script::{Digest, Kind, ScriptFlags, Stop};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Scripts that came by EVAL and are kept; past it the least recently used goes. Those of SCRIPT LOAD stay.
pub const EVAL_SCRIPTS_COUNT_MAX: usize = 500;

/// Debugging sessions at a time, each of which has a thread.
pub const DEBUGGED_COUNT_MAX: usize = 8;

/// Milliseconds after which the thread of a slow script steps aside once more, since nobody may have been there to take
/// over.
const ASIDE_EVERY_MS: u64 = 100;
const BUSY_EVAL: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const BUSY_FUNCTION: &str = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
    either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

/// What scripts need of the process.
pub trait Surroundings: Send + Sync {
    /// Milliseconds of a clock that never goes back.
    fn monotonic_ms(&self) -> u64;

    /// Milliseconds after which a script is slow (`busy-reply-threshold`); 0 is never.
    fn slow_after_ms(&self) -> u64;

    /// A script that runs on this thread is slow: whatever else the thread was to do is better done by another. Called
    /// again from time to time.
    fn step_aside(&self);

    /// Whether commands that would have to wait for a partition are turned away.
    fn turn_away(&self, turns_away: bool);
}

/// Which keys a script has been seen to touch.
#[derive(Debug, Default)]
pub struct Habit(AtomicU8);

impl Habit {
    const KEEPS: u8 = 1;
    const STRAYS: u8 = 2;

    /// Whether it has only ever touched partitions of the keys it was given.
    pub fn keeps(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::KEEPS
    }

    /// Notes how a run went. Who strayed once is not trusted again.
    pub fn note(&self, strayed: bool) {
        self.0.fetch_max(if strayed { Self::STRAYS } else { Self::KEEPS }, Ordering::Relaxed);
    }
}

/// One script.
#[derive(Debug)]
pub struct Script {
    /// Its name.
    pub sha: Digest,
    /// Its text.
    pub body: Box<[u8]>,
    /// What it declares.
    pub flags: ScriptFlags,
    /// Which keys it touches.
    pub habit: Habit,
    /// Came by SCRIPT LOAD.
    is_loaded: AtomicBool,
    used: AtomicU64,
    /// It was evicted, or forgotten with all others.
    is_gone: AtomicBool,
    /// The number of whose script it is.
    of: u64,
}

#[derive(Default)]
struct Known {
    scripts: HashMap<Digest, Arc<Script>, foldhash::fast::RandomState>,
    eval_count: usize,
    evicted_count: u64,
    bytes: usize,
}

/// See the module's text.
pub struct Scripts {
    known: Mutex<Known>,
    /// Counts uses of scripts.
    clock: AtomicU64,
    /// Tells them from those of another node in this process.
    number: u64,
    generation: AtomicU64,
    functions_generation: AtomicU64,
    libraries: Libraries,
    running: Mutex<Vec<Weak<Running>>>,
    slow_count: AtomicU32,
    /// Bytes of the Lua states of all threads.
    states: Mutex<Vec<(Kind, Weak<AtomicUsize>)>>,
    surroundings: OnceLock<Box<dyn Surroundings>>,
    /// See [`Scripts::stop`].
    stopping: AtomicBool,
    debugged_count: AtomicUsize,
}

/// A debugging session, as long as it is there.
pub struct UnderDebugger(Arc<Scripts>);

impl Drop for UnderDebugger {
    fn drop(&mut self) {
        self.0.debugged_count.fetch_sub(1, Ordering::Release);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that tell generations and libraries of any node of this process apart.
pub(crate) fn next_stamp() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Default for Scripts {
    fn default() -> Self {
        Scripts {
            known: Mutex::default(),
            clock: AtomicU64::new(0),
            number: next_stamp(),
            generation: AtomicU64::new(next_stamp()),
            functions_generation: AtomicU64::new(next_stamp()),
            libraries: Libraries::default(),
            running: Mutex::default(),
            slow_count: AtomicU32::new(0),
            states: Mutex::default(),
            surroundings: OnceLock::new(),
            stopping: AtomicBool::new(false),
            debugged_count: AtomicUsize::new(0),
        }
    }
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptFigures {
    /// Scripts known.
    pub count: usize,
    /// Bytes of their texts and of what is kept about them.
    pub bytes: usize,
    /// Scripts of EVAL that had to go.
    pub evicted_count: u64,
    /// Bytes of Lua states that run scripts.
    pub lua_bytes: usize,
    /// Bytes of Lua states that run functions.
    pub functions_lua_bytes: usize,
}

impl Scripts {
    /// Connects the scripts to the process; until then none is ever slow.
    pub fn surround(&self, surroundings: Box<dyn Surroundings>) {
        assert!(self.surroundings.set(surroundings).is_ok(), "there is one process");
    }

    /// Changes when Lua states that have run scripts, or functions, must no longer be used.
    pub fn generation(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Script => self.generation.load(Ordering::Acquire),
            Kind::Function => self.functions_generation.load(Ordering::Acquire),
        }
    }

    /// The libraries of functions.
    pub fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// The script of this name.
    pub fn find(&self, sha: &Digest) -> Option<Arc<Script>> {
        let script = Arc::clone(held(&self.known).scripts.get(sha)?);
        self.note_use(&script);
        Some(script)
    }

    /// Takes a use of a script down, if it is still known.
    pub(crate) fn is_used_again(&self, script: &Script) -> bool {
        let is_known = script.of == self.number && !script.is_gone.load(Ordering::Relaxed);
        if is_known {
            self.note_use(script);
        }
        is_known
    }

    fn note_use(&self, script: &Script) {
        script.used.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Whether there is a script of this name, which is not a use of it.
    pub fn is_known(&self, sha: &Digest) -> bool {
        held(&self.known).scripts.contains_key(sha)
    }

    /// Adds a script that compiles, if it is new; `is_loaded` keeps it until SCRIPT FLUSH.
    ///
    /// # Cost
    /// A walk over all scripts where one of them has to go.
    pub fn add(&self, sha: &Digest, body: &[u8], flags: ScriptFlags, is_loaded: bool) -> Arc<Script> {
        let known = &mut *held(&self.known);
        if let Some(script) = known.scripts.get(sha) {
            if is_loaded && !script.is_loaded.swap(true, Ordering::Relaxed) {
                known.eval_count -= 1;
            }
            return Arc::clone(script);
        }
        if !is_loaded {
            if known.eval_count >= EVAL_SCRIPTS_COUNT_MAX {
                known.evict();
            }
            known.eval_count += 1;
        }
        let script = Arc::new(Script {
            sha: *sha,
            body: body.into(),
            flags,
            habit: Habit::default(),
            is_loaded: AtomicBool::new(is_loaded),
            used: AtomicU64::new(0),
            is_gone: AtomicBool::new(false),
            of: self.number,
        });
        self.note_use(&script);
        known.bytes += script_bytes(&script);
        known.scripts.insert(*sha, Arc::clone(&script));
        script
    }

    /// Forgets all scripts (SCRIPT FLUSH), and the Lua states they ran in.
    pub fn flush(&self) {
        let known = &mut *held(&self.known);
        known.scripts.drain().for_each(|(_, script)| script.is_gone.store(true, Ordering::Relaxed));
        (known.eval_count, known.bytes) = (0, 0);
        self.generation.store(next_stamp(), Ordering::Release);
    }

    /// Has all Lua states made anew.
    pub fn renew(&self) {
        self.generation.store(next_stamp(), Ordering::Release);
        self.renew_functions();
    }

    /// Has the Lua states that run functions made anew. Those there are go when their threads next run a function, and
    /// do not count any more.
    pub fn renew_functions(&self) {
        self.functions_generation.store(next_stamp(), Ordering::Release);
        held(&self.states).retain(|(kind, _)| *kind != Kind::Function);
    }

    /// Figures for INFO.
    pub fn figures(&self) -> ScriptFigures {
        let bytes_of = |kind: Kind| -> usize {
            let states = held(&self.states);
            let of_kind = states.iter().filter(|(of, _)| *of == kind);
            of_kind.filter_map(|(_, state)| state.upgrade()).map(|bytes| bytes.load(Ordering::Relaxed)).sum()
        };
        let (lua_bytes, functions_lua_bytes) = (bytes_of(Kind::Script), bytes_of(Kind::Function));
        let known = held(&self.known);
        let (count, bytes, evicted_count) = (known.scripts.len(), known.bytes, known.evicted_count);
        ScriptFigures { count, bytes, evicted_count, lua_bytes, functions_lua_bytes }
    }

    /// Where a Lua state says how much memory it takes, as long as it exists.
    pub(crate) fn new_state(&self, kind: Kind) -> Arc<AtomicUsize> {
        let bytes = Arc::new(AtomicUsize::new(0));
        let states = &mut *held(&self.states);
        states.retain(|(_, state)| state.strong_count() > 0);
        states.push((kind, Arc::downgrade(&bytes)));
        bytes
    }

    /// Forgets how many scripts had to go (CONFIG RESETSTAT).
    pub fn reset_statistics(&self) {
        held(&self.known).evicted_count = 0;
    }

    /// Whether a script has been running for so long that others are turned away.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.slow_count.load(Ordering::Relaxed) > 0
    }

    /// What others are told while a script is slow.
    pub fn busy_error(&self) -> Option<Error> {
        let slow = self.running().into_iter().find(|running| running.is_slow())?;
        Some(Error::text(if slow.about.is_eval { BUSY_EVAL } else { BUSY_FUNCTION }))
    }

    /// What runs and has been running for a moment.
    pub fn running(&self) -> Vec<Arc<Running>> {
        held(&self.running).iter().filter_map(Weak::upgrade).collect()
    }

    /// Stops the slow scripts, or the slow functions, that have not written (SCRIPT KILL, FUNCTION KILL).
    pub fn kill(&self, eval: bool) -> Result<(), Error> {
        let slow: Vec<_> = self.running().into_iter().filter(|running| running.is_slow()).collect();
        let Some(first) = slow.first() else { return Err(Error::text(NOT_BUSY)) };
        if slow.iter().all(|running| running.about.is_eval != eval) {
            return Err(Error::text(if first.about.is_eval { BUSY_EVAL } else { BUSY_FUNCTION }));
        }
        let of_kind = || slow.iter().filter(|running| running.about.is_eval == eval);
        if of_kind().all(|running| running.has_written.load(Ordering::Relaxed)) {
            return Err(Error::text(UNKILLABLE));
        }
        of_kind().for_each(|running| running.is_killed.store(true, Ordering::Relaxed));
        Ok(())
    }

    /// The process is about to end: stops every script and function that has not written, now and from here on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Counts a debugging session; `None` when there are too many.
    pub fn begin_debugging(self: &Arc<Self>) -> Option<UnderDebugger> {
        let session = UnderDebugger(Arc::clone(self));
        // Whoever finds too many takes itself out again.
        (self.debugged_count.fetch_add(1, Ordering::Acquire) < DEBUGGED_COUNT_MAX).then_some(session)
    }

    /// Scripts that are debugged now.
    pub fn debugged_count(&self) -> usize {
        self.debugged_count.load(Ordering::Acquire)
    }

    /// Milliseconds after which a script is slow; 0 is never.
    pub(crate) fn slow_after_ms(&self) -> u64 {
        self.surroundings.get().map_or(0, |surroundings| surroundings.slow_after_ms())
    }

    /// Milliseconds of a clock that never goes back.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.surroundings.get().map_or(0, |surroundings| surroundings.monotonic_ms())
    }

    /// Lists a run that has taken its time.
    pub fn watch(self: &Arc<Self>, about: About) -> Arc<Running> {
        let running = Arc::new(Running {
            scripts: Arc::clone(self),
            started_ms: self.monotonic_ms().saturating_sub(about.elapsed_ms),
            is_slow: AtomicBool::new(false),
            aside_at_ms: AtomicU64::new(0),
            is_killed: AtomicBool::new(false),
            has_written: AtomicBool::new(about.has_written),
            about,
        });
        held(&self.running).push(Arc::downgrade(&running));
        running
    }
}

impl Known {
    fn evict(&mut self) {
        let evictable = self.scripts.values().filter(|script| !script.is_loaded.load(Ordering::Relaxed));
        let oldest = evictable.min_by_key(|script| script.used.load(Ordering::Relaxed)).map(|script| script.sha);
        if let Some(script) = oldest.and_then(|sha| self.scripts.remove(&sha)) {
            script.is_gone.store(true, Ordering::Relaxed);
            self.bytes -= script_bytes(&script);
            self.eval_count -= 1;
            self.evicted_count += 1;
        }
    }
}

fn script_bytes(script: &Script) -> usize {
    script.body.len() + size_of::<Script>() + size_of::<(Digest, Arc<Script>)>()
}

/// What is known of a run when it is first looked at.
#[derive(Debug, Default)]
pub struct About {
    /// The script's or the function's name.
    pub name: Vec<u8>,
    /// Of EVAL, not of FCALL.
    pub is_eval: bool,
    /// The command that runs it.
    pub command: Vec<Vec<u8>>,
    /// How long it has been running, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether it has called a command that may write.
    pub has_written: bool,
}

/// One run of a script or a function that has lasted for a moment.
pub struct Running {
    scripts: Arc<Scripts>,
    /// What it is.
    pub about: About,
    started_ms: u64,
    is_slow: AtomicBool,
    /// After how many milliseconds its thread is to step aside, again.
    aside_at_ms: AtomicU64,
    is_killed: AtomicBool,
    has_written: AtomicBool,
}

impl Running {
    /// A command that may write is about to run.
    #[inline]
    pub fn writes(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// How long it has been running, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.scripts.monotonic_ms().saturating_sub(self.started_ms)
    }

    /// Looks at the clock: whether it is to stop.
    pub fn tick(&self) -> Option<Stop> {
        let surroundings = self.scripts.surroundings.get()?;
        let slow_after_ms = surroundings.slow_after_ms();
        let duration_ms = self.duration_ms();
        if slow_after_ms > 0 && slow_after_ms <= duration_ms {
            if !self.is_slow.swap(true, Ordering::Relaxed) {
                self.scripts.slow_count.fetch_add(1, Ordering::Relaxed);
                surroundings.turn_away(true);
            }
            if self.aside_at_ms.load(Ordering::Relaxed) <= duration_ms {
                self.aside_at_ms.store(duration_ms + ASIDE_EVERY_MS, Ordering::Relaxed);
                surroundings.step_aside();
            }
        }
        let is_stopped = self.scripts.stopping.load(Ordering::Relaxed) && !self.has_written.load(Ordering::Relaxed);
        (is_stopped || self.is_killed.load(Ordering::Relaxed)).then_some(Stop::Killed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_slow() {
            let was_last = self.scripts.slow_count.fetch_sub(1, Ordering::Relaxed) == 1;
            if let Some(surroundings) = self.scripts.surroundings.get().filter(|_| was_last) {
                surroundings.turn_away(false);
            }
        }
        held(&self.scripts.running).retain(|running| running.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use script::sha1_hex;

    fn add(scripts: &Scripts, number: usize, is_loaded: bool) -> Digest {
        let body = format!("return {number}").into_bytes();
        let sha = sha1_hex(&body);
        scripts.add(&sha, &body, ScriptFlags::COMPATIBLE, is_loaded);
        sha
    }

    #[test]
    fn scripts_of_eval_go_when_there_are_too_many_and_loaded_ones_stay() {
        let scripts = Scripts::default();
        let loaded = add(&scripts, 10_000, true);
        let promoted = add(&scripts, 10_001, false);
        add(&scripts, 10_001, true);
        let first = add(&scripts, 0, false);
        let second = add(&scripts, 1, false);
        for number in 2..EVAL_SCRIPTS_COUNT_MAX {
            add(&scripts, number, false);
        }
        assert!(scripts.find(&first).is_some(), "they just fit");
        add(&scripts, EVAL_SCRIPTS_COUNT_MAX, false);
        assert!(scripts.is_known(&first) && !scripts.is_known(&second), "the least recently used went");
        assert!(scripts.is_known(&loaded) && scripts.is_known(&promoted));
        let figures = scripts.figures();
        assert_eq!((figures.count, figures.evicted_count), (EVAL_SCRIPTS_COUNT_MAX + 2, 1));
        scripts.flush();
        assert_eq!(
            scripts.figures(),
            ScriptFigures { count: 0, bytes: 0, evicted_count: 1, lua_bytes: 0, functions_lua_bytes: 0 }
        );
    }

    #[test]
    fn who_strayed_once_is_not_trusted_again() {
        let habit = Habit::default();
        assert!(!habit.keeps());
        habit.note(false);
        assert!(habit.keeps());
        habit.note(true);
        habit.note(false);
        assert!(!habit.keeps());
    }

    #[test]
    fn a_stop_ends_scripts_that_have_not_written_whenever_they_began() {
        let scripts = Arc::new(Scripts::default());
        scripts.surround(Box::new(Clock(AtomicU64::new(0))));
        let [reads, writes] = [false, true].map(|has_written| scripts.watch(About { has_written, ..About::default() }));
        assert_eq!((reads.tick(), writes.tick()), (None, None));
        scripts.stop();
        assert_eq!((reads.tick(), writes.tick()), (Some(Stop::Killed), None));
        assert_eq!(scripts.watch(About::default()).tick(), Some(Stop::Killed), "one that begins later");
    }

    #[test]
    fn sessions_of_debuggers_are_bounded() {
        let scripts = Arc::new(Scripts::default());
        let sessions: Vec<_> = (0..DEBUGGED_COUNT_MAX).map_while(|_| scripts.begin_debugging()).collect();
        assert_eq!((sessions.len(), scripts.debugged_count()), (DEBUGGED_COUNT_MAX, DEBUGGED_COUNT_MAX));
        assert!(scripts.begin_debugging().is_none());
        drop(sessions);
        assert_eq!(scripts.debugged_count(), 0);
    }

    struct Clock(AtomicU64);

    impl Surroundings for Clock {
        fn monotonic_ms(&self) -> u64 {
            self.0.fetch_add(3, Ordering::Relaxed)
        }

        fn slow_after_ms(&self) -> u64 {
            5
        }

        fn step_aside(&self) {}

        fn turn_away(&self, _turns_away: bool) {}
    }

    #[test]
    fn only_slow_scripts_that_have_not_written_are_killed() {
        let scripts = Arc::new(Scripts::default());
        scripts.surround(Box::new(Clock(AtomicU64::new(0))));
        let running = scripts.watch(About { is_eval: true, ..About::default() });
        assert_eq!(running.tick(), None);
        assert_eq!(scripts.kill(true), Err(Error::text(NOT_BUSY)), "it runs, but is not slow");
        assert_eq!(running.tick(), None);
        assert!(scripts.is_busy());
        assert_eq!(scripts.busy_error(), Some(Error::text(BUSY_EVAL)));
        assert_eq!(scripts.kill(false), Err(Error::text(BUSY_EVAL)));
        running.writes();
        assert_eq!(scripts.kill(true), Err(Error::text(UNKILLABLE)));
        let other = scripts.watch(About { is_eval: true, ..About::default() });
        while !other.is_slow() {
            assert_eq!(other.tick(), None);
        }
        assert_eq!(scripts.kill(true), Ok(()));
        assert_eq!(other.tick(), Some(Stop::Killed));
        drop((running, other));
        assert!(!scripts.is_busy());
        assert_eq!(scripts.kill(true), Err(Error::text(NOT_BUSY)));
        assert!(scripts.running().is_empty());
    }
}
