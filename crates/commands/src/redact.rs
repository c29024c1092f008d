//! Which arguments are secrets: no log may show them.

use wire::args::Args;

/// What stands in a secret's place.
pub const REPLACEMENT: &[u8] = b"(redacted)";

/// Settings whose values are secrets, under all their names.
const SECRET_SETTINGS: [&[u8]; 8] = [
    b"requirepass",
    b"users",
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"primaryuser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// Whether argument `index` of a command is a secret.
pub fn is_secret(args: &Args<'_>, index: usize) -> bool {
    let is = |at: usize, word: &[u8]| args.nth(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    if is(0, b"auth") {
        return 0 < index;
    }
    if is(0, b"acl") && is(1, b"setuser") {
        return 2 < index;
    }
    if is(0, b"hello") {
        return (2..index).any(|at| is(at, b"auth") && index <= at + 2);
    }
    let is_setting = |at: usize| SECRET_SETTINGS.iter().any(|name| is(at, name));
    is(0, b"config") && is(1, b"set") && 2 < index && !index.is_multiple_of(2) && is_setting(index - 1)
}
