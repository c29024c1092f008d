//! Where the walk through all tables is that looks for values to spill when samples find none.
//!
//! Deliberately not here: locks, tables, spilling; see `memory.rs`.
//!
//! A round goes through every database of every partition. One that won nothing proves that only values newer than
//! it can be spilled, so the sweep rests until memory has grown: keys alone over the limit cost no walking.

use base::DB_COUNT;

/// How much memory must grow before a sweep that found nothing starts again.
const GROWTH_BYTES: u64 = 256 << 10;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Sweep {
    partition: u16,
    db: u8,
    cursor: u64,
    round_bytes: u64,
    /// Memory in use when a whole round had won nothing, or less since then.
    rested_bytes: Option<u64>,
}

impl Sweep {
    /// The partition to walk in.
    pub fn partition(&self) -> u16 {
        self.partition
    }

    /// The database in it.
    pub fn db(&self) -> u8 {
        self.db
    }

    /// The table's cursor.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether there may be something to find while `used` bytes are in use.
    pub fn is_awake(&mut self, used: u64) -> bool {
        // What is deleted meanwhile makes room for new values below the mark.
        self.rested_bytes = self.rested_bytes.map(|rested| rested.min(used));
        self.rested_bytes.is_none_or(|rested| rested + GROWTH_BYTES <= used)
    }

    /// Goes on after a walk that won `won` bytes and ended at `cursor`; 0 is the end of the table.
    pub fn advance(&mut self, cursor: u64, won: u64, partition_count: u16, used: u64) {
        assert!(self.partition < partition_count, "the number of partitions is fixed");
        self.cursor = cursor;
        self.round_bytes += won;
        if cursor != 0 {
            return;
        }
        self.db = (self.db + 1) % DB_COUNT as u8;
        self.partition = (self.partition + u16::from(self.db == 0)) % partition_count;
        if (self.partition, self.db) == (0, 0) {
            self.rested_bytes = (self.round_bytes == 0).then_some(used);
            self.round_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks one round of two partitions, winning `won` bytes on the way.
    fn round(sweep: &mut Sweep, won: u64, used: u64) {
        sweep.advance(77, won, 2, used);
        assert_eq!((sweep.partition(), sweep.db(), sweep.cursor()), (0, 0, 77));
        for step in 1..=2 * DB_COUNT {
            sweep.advance(0, 0, 2, used);
            let expected = (step / DB_COUNT % 2, step % DB_COUNT);
            assert_eq!((usize::from(sweep.partition()), usize::from(sweep.db())), expected);
        }
    }

    #[test]
    fn it_rests_after_a_round_that_won_nothing_until_memory_grows() {
        let mut sweep = Sweep::default();
        round(&mut sweep, 1, 5 << 20);
        assert!(sweep.is_awake(5 << 20));
        round(&mut sweep, 0, 5 << 20);
        assert!(!sweep.is_awake(5 << 20));
        assert!(sweep.is_awake((5 << 20) + GROWTH_BYTES));
        assert!(!sweep.is_awake(4 << 20), "what was deleted moves the mark down");
        assert!(sweep.is_awake((4 << 20) + GROWTH_BYTES));
    }
}
