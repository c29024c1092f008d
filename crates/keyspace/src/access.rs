//! How recently or how often a key was used, in the few bits an entry has for it.
//!
//! Two readings of the same 19 bits, chosen by the eviction policy: seconds since an epoch (LRU, and OBJECT
//! IDLETIME), or 11 bits of minutes above an 8-bit logarithmic counter (LFU, and OBJECT FREQ). The counter's
//! growth and decay are Redis's (`lfu-log-factor`, `lfu-decay-time`; redis.conf, "LRU/LFU").

use crate::entry::ACCESS_BITS;

const SECONDS_MASK: u32 = (1 << ACCESS_BITS) - 1;
const MINUTES_MASK: u32 = (1 << (ACCESS_BITS - 8)) - 1;
/// Counter of a key just created, so that it is not evicted before it has had a chance.
pub const FREQUENCY_INITIAL: u8 = 5;

/// The access clock at one moment, with the policy's parameters.
#[derive(Clone, Copy, Debug)]
pub struct AccessClock {
    /// Seconds since the epoch.
    pub seconds: u64,
    /// Count uses rather than time, and how.
    pub frequency: Option<Frequency>,
    /// Entropy for the probabilistic counter.
    pub random: u64,
}

/// Parameters of the logarithmic use counter.
#[derive(Clone, Copy, Debug)]
pub struct Frequency {
    /// `lfu-log-factor`: the higher, the more uses a count takes.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes per lost count; 0 never decays.
    pub decay_minutes: u32,
}

impl AccessClock {
    /// Clock of a key that comes to be now.
    #[inline]
    pub fn fresh(&self) -> u32 {
        match self.frequency {
            None => self.seconds as u32 & SECONDS_MASK,
            Some(_) => self.minutes() << 8 | u32::from(FREQUENCY_INITIAL),
        }
    }

    /// Clock of a key that is used now and had `access` before.
    #[inline]
    pub fn touched(&self, access: u32) -> u32 {
        match self.frequency {
            None => self.seconds as u32 & SECONDS_MASK,
            Some(frequency) => self.minutes() << 8 | u32::from(self.incremented(access, frequency)),
        }
    }

    fn minutes(&self) -> u32 {
        (self.seconds / 60) as u32 & MINUTES_MASK
    }

    fn incremented(&self, access: u32, frequency: Frequency) -> u8 {
        let counter = self.frequency_of(access);
        if counter == u8::MAX {
            return counter;
        }
        let above = u64::from(counter.saturating_sub(FREQUENCY_INITIAL));
        let odds = above * u64::from(frequency.log_factor) + 1;
        // The counter and the clock differ between keys, so mixing them in decorrelates keys of one command.
        let dice = (self.random ^ u64::from(access)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        counter + u8::from(dice.is_multiple_of(odds))
    }

    /// Seconds since the last use, under time-based policies.
    pub fn idle_seconds(&self, access: u32) -> u64 {
        u64::from((self.seconds as u32).wrapping_sub(access) & SECONDS_MASK)
    }

    /// The decayed use counter, under frequency-based policies.
    pub fn frequency_of(&self, access: u32) -> u8 {
        let counter = access as u8;
        let Some(Frequency { decay_minutes: decay @ 1.., .. }) = self.frequency else { return counter };
        let passed = self.minutes().wrapping_sub(access >> 8) & MINUTES_MASK;
        counter.saturating_sub((passed / decay).min(255) as u8)
    }

    /// The clock of a key last used `idle_seconds` ago (RESTORE … IDLETIME).
    pub fn idle_since(&self, idle_seconds: u64) -> u32 {
        self.seconds.wrapping_sub(idle_seconds.min(u64::from(SECONDS_MASK))) as u32 & SECONDS_MASK
    }

    /// The clock of a key with this use counter (RESTORE … FREQ).
    pub fn with_frequency(&self, counter: u8) -> u32 {
        self.minutes() << 8 | u32::from(counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_wrap_of_the_clock() {
        let then = AccessClock { seconds: (1 << ACCESS_BITS) - 2, frequency: None, random: 0 };
        let now = AccessClock { seconds: (1 << ACCESS_BITS) + 3, ..then };
        assert_eq!(now.idle_seconds(then.fresh()), 5);
        assert_eq!(now.idle_seconds(now.idle_since(1_000)), 1_000);
    }

    #[test]
    fn counters_grow_logarithmically_and_decay() {
        let frequency = Some(Frequency { log_factor: 10, decay_minutes: 1 });
        let mut clock = AccessClock { seconds: 6_000, frequency, random: 1 };
        let mut access = clock.fresh();
        for _ in 0..1_000 {
            clock.random = clock.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            access = clock.touched(access);
        }
        let counter = clock.frequency_of(access);
        assert!((10..60).contains(&counter), "{counter}"); // redis.conf's table: 18 after 1000 hits at factor 10
        clock.seconds += 60 * 7;
        assert_eq!(clock.frequency_of(access), counter - 7);
    }
}
