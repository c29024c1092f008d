//! Randomness that an adversary cannot predict: seeds and salts, drawn rarely.
//!
//! Deliberately not a generator: whoever needs many numbers seeds their own, so that a run can be replayed.

use std::io;

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Eight random bytes as a number.
    fn random_u64(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// The random source of the kernel.
pub struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let filled = match rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) {
                Ok(filled) => filled,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            bytes = &mut bytes[filled..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_filled() {
        let mut seen = [false; 300];
        // 64 draws leave a byte at zero by chance with probability 300 / 2^512.
        for _ in 0..64 {
            let mut bytes = [0; 300];
            RealEntropy.fill(&mut bytes).unwrap();
            seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte != 0);
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
