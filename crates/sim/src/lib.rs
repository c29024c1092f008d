//! The simulated outside world: development only.
//!
//! [`SimDisk`] is a disk in memory that remembers every operation, can be cut off at any of them, and fails
//! when told to. [`SimClock`] is a clock that moves when told to. Nothing here is random: choices that chance
//! would make take a seed, so the same run gives the same trace.
//!
//! Deliberately not here: workloads and oracles; they live with the tests that know what must hold.

mod clock;
mod crash;
mod disk;

pub use clock::SimClock;
pub use crash::{Cut, Loss};
pub use disk::{Fault, Op, SECTOR_BYTES, SimDisk};
