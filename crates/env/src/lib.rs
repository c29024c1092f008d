//! The outside world as traits, and the real world behind them. Only this crate touches the operating system.
//!
//! | trait | real | simulated (crate `sim`) |
//! |---|---|---|
//! | [`Disk`], [`File`] | [`RealDisk`] | `SimDisk` |
//! | [`Clock`] | [`RealClock`] | `SimClock` |
//! | [`Entropy`] | [`RealEntropy`] | |
//!
//! Deliberately not here: what the files mean, retries, caching, threads. Every method is one thing the
//! journal or a checkpoint needs, with the promise it relies on written beside it.

mod blocks;
mod clock;
mod counter;
mod descriptors;
mod disk;
mod entropy;
mod pages;
mod real;

pub use blocks::{BLOCK_ALIGN, give_back_block, resize_block, take_block};
pub use clock::{Clock, RealClock};
pub use counter::monotonic_ns;
pub use descriptors::{is_out_of_descriptors, take_descriptors};
pub use disk::{DirLock, Disk, File, LockError, ReadMode, write_whole};
pub use entropy::{Entropy, RealEntropy};
pub use pages::{give_back_pages, take_pages};
pub use real::RealDisk;
