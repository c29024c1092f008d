//! Bugs planted on purpose, for the tests that must notice them. Outside of test builds there are none.

#[cfg(not(test))]
pub(crate) const fn skips_sync() -> bool {
    false
}

#[cfg(not(test))]
pub(crate) const fn ignores_frontiers() -> bool {
    false
}

#[cfg(test)]
pub(crate) use switches::{IGNORE_FRONTIERS, SKIP_SYNC, ignores_frontiers, skips_sync};

#[cfg(test)]
mod switches {
    use std::cell::Cell;

    thread_local! {
        /// A flusher that reports durable without having synced.
        pub(crate) static SKIP_SYNC: Cell<bool> = const { Cell::new(false) };
        /// A recovery that takes damage for a tear, as a log without frontiers must.
        pub(crate) static IGNORE_FRONTIERS: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn skips_sync() -> bool {
        SKIP_SYNC.get()
    }

    pub(crate) fn ignores_frontiers() -> bool {
        IGNORE_FRONTIERS.get()
    }
}
