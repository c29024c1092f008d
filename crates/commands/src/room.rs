//! What still fits the record that a transaction becomes: looked at before a command changes anything.
//!
//! Deliberately not here: room on the device (`Journal::ensure_room`).
//!
//! Invariant: no batch grows past what a record holds. A command's changes are at most its arguments, its keys twice,
//! and what its handler has asked [`Call::ensure_room`] for; those that do not ask add less than
//! [`journal::BODY_BYTES_MAX`] − [`BATCH_BYTES_MAX`].

use crate::call::Call;
use crate::error::Error;
use crate::refuse;
use crate::spec::{Flags, Spec};
use keyspace::STRING_BYTES_MAX;
use wire::args::Args;

/// Bytes of changes after which a batch takes no further command that may write.
pub const BATCH_BYTES_MAX: usize = 512 << 20;
/// Bytes that the changes of one batch may come to; what is left of a record is for what frames them.
pub const CHANGED_BYTES_MAX: usize = 1 << 30;
/// Bytes that an effect may take for an argument besides its own.
const ARG_FRAME_BYTES: usize = 16;

const _: () = assert!(CHANGED_BYTES_MAX + (32 << 20) <= journal::BODY_BYTES_MAX as usize, "changes must fit a record");
const _: () = assert!(BATCH_BYTES_MAX < CHANGED_BYTES_MAX, "a batch is full before it is too large");

/// The bounds that are kept; tests lower them.
#[expect(clippy::struct_field_names, reason = "a name ends with its unit")]
struct Bounds {
    key_bytes_max: usize,
    batch_bytes_max: usize,
    changed_bytes_max: usize,
}

const BOUNDS: Bounds =
    Bounds { key_bytes_max: STRING_BYTES_MAX, batch_bytes_max: BATCH_BYTES_MAX, changed_bytes_max: CHANGED_BYTES_MAX };

impl Bounds {
    fn ensure(&self, spec: &Spec, args: &Args<'_>, changed_bytes: usize) -> Result<(), Error> {
        if self.batch_bytes_max < changed_bytes {
            let max = self.batch_bytes_max;
            return Err(refuse!("ERR the transaction has changed {max} bytes, which is all that one may"));
        }
        let (mut key_bytes, mut longest) = (0, 0);
        spec.keys.each(args, |index| {
            key_bytes += args.at(index).len();
            longest = longest.max(args.at(index).len());
        });
        if self.key_bytes_max < longest {
            return Err(refuse!("ERR a key may not be longer than {} bytes", self.key_bytes_max));
        }
        let args_bytes: usize = args.iter().map(|arg| arg.len() + ARG_FRAME_BYTES).sum();
        self.ensure_sum(changed_bytes, key_bytes + args_bytes)
    }

    fn ensure_sum(&self, changed_bytes: usize, more_bytes: usize) -> Result<(), Error> {
        if self.changed_bytes_max.saturating_sub(changed_bytes) < more_bytes {
            let max = self.changed_bytes_max;
            return Err(refuse!("ERR a command or transaction may not change more than {max} bytes at once"));
        }
        Ok(())
    }
}

/// Whether the changes of a command that may write fit a record in which there are `changed_bytes` already.
///
/// # Cost
/// Nothing worth mentioning, unless the arguments or the changes are large.
///
/// # Errors
/// What does not fit, in words.
#[inline]
pub fn ensure_args_fit(spec: &Spec, args: &Args<'_>, changed_bytes: usize) -> Result<(), Error> {
    // Whatever they are made of, so few arguments and bytes fit.
    const SURE_BYTES: usize = 16 << 20;
    if changed_bytes <= SURE_BYTES && args.source_bytes() <= SURE_BYTES && args.count() <= SURE_BYTES / ARG_FRAME_BYTES
    {
        return Ok(());
    }
    ensure_large_args_fit(spec, args, changed_bytes)
}

#[cold]
fn ensure_large_args_fit(spec: &Spec, args: &Args<'_>, changed_bytes: usize) -> Result<(), Error> {
    if spec.flags.has(Flags::WRITE) { BOUNDS.ensure(spec, args, changed_bytes) } else { Ok(()) }
}

impl Call<'_> {
    /// Whether a handler may change so many bytes: key, value and all. To be asked before the first change, by
    /// commands whose changes are larger than their arguments.
    ///
    /// # Errors
    /// It may not, in words.
    pub fn ensure_room(&self, more_bytes: usize) -> Result<(), Error> {
        BOUNDS.ensure_sum(self.tx.changed_bytes(), more_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::resolve;
    use wire::args::ArgsQueue;

    const SMALL: Bounds = Bounds { key_bytes_max: 10, batch_bytes_max: 100, changed_bytes_max: 200 };

    fn refusal(command: &[&[u8]], changed_bytes: usize) -> Option<String> {
        let mut queue = ArgsQueue::default();
        queue.push(command.iter().copied());
        let args = queue.args(0);
        let spec = resolve(&args).expect("a command there is").spec;
        SMALL.ensure(spec, &args, changed_bytes).err().map(|error| error.reply().to_owned())
    }

    #[test]
    fn a_command_fits_as_long_as_its_arguments_do_behind_what_was_changed() {
        let too_much = Some("ERR a command or transaction may not change more than 200 bytes at once".to_owned());
        // Frames take 48 bytes, names and the key twice 5.
        assert_eq!(refusal(&[b"set", b"k", &[b'v'; 147]], 0), None);
        assert_eq!(refusal(&[b"set", b"k", &[b'v'; 148]], 0), too_much);
        assert_eq!(refusal(&[b"set", b"k", &[b'v'; 47]], 100), None);
        assert_eq!(refusal(&[b"set", b"k", &[b'v'; 48]], 100), too_much);
        assert_eq!(refusal(&[b"mset", b"a", &[b'v'; 60], b"b", &[b'v'; 60]], 0), too_much);
    }

    #[test]
    fn a_full_batch_takes_nothing_more_and_a_key_may_not_be_too_long() {
        let full = Some("ERR the transaction has changed 100 bytes, which is all that one may".to_owned());
        assert_eq!(refusal(&[b"del", b"k"], 101), full);
        assert_eq!(refusal(&[b"set", &[b'k'; 10], b"v"], 0), None);
        let long = Some("ERR a key may not be longer than 10 bytes".to_owned());
        assert_eq!(refusal(&[b"set", &[b'k'; 11], b"v"], 0), long);
        assert_eq!(refusal(&[b"mset", b"k", b"v", &[b'k'; 11], b"v"], 0), long);
    }

    #[test]
    fn what_a_handler_asks_for_is_added_to_what_was_changed() {
        assert!(SMALL.ensure_sum(90, 110).is_ok());
        assert!(SMALL.ensure_sum(90, 111).is_err());
        assert!(SMALL.ensure_sum(usize::MAX, 1).is_err());
        assert!(BOUNDS.ensure_sum(500 << 20, 800 << 20).is_err(), "a copied list behind a copied string");
    }
}
