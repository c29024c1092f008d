//! How many files this process may have open, and how a refusal for want of them looks.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Has the system let this process open `wanted` files at a time, if it may be asked to. Returns how many it may open.
pub fn take_descriptors(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = wanted.min(hard);
    if raised <= soft || setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_err() {
        return soft;
    }
    raised
}

/// Whether the system refused because this process, or the machine, has as many files open as it may: nothing was
/// tried, and trying again later can succeed.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_never_lowered_and_never_past_what_is_allowed() {
        let before = take_descriptors(0);
        assert!(0 < before);
        let most = take_descriptors(u64::MAX);
        assert_eq!(most, getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).max(before));
        assert_eq!(take_descriptors(before), most);
    }

    #[test]
    fn only_want_of_descriptors_is_taken_for_it() {
        for (errno, expected) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::IO, false), (Errno::NOSPC, false)]
        {
            assert_eq!(is_out_of_descriptors(&errno.into()), expected, "{errno}");
        }
        assert!(!is_out_of_descriptors(&io::ErrorKind::StorageFull.into()));
    }
}
