//! The arguments of one command: where they lie, and reading them.
//!
//! Deliberately not owners of argument bytes: [`Ranges`] only remembers places in the connection's receive buffer,
//! so a command is executed straight from the bytes the kernel delivered. The one exception is a command typed by
//! hand with quotes, whose unquoted arguments are kept in a side buffer.
//!
//! Invariants:
//! - every range lies inside the bytes it was parsed from: the command's own bytes, or the side buffer;
//! - ranges are relative to the first byte of the command, so the buffer may be moved between calls.

/// Ranges kept allocated between commands; a larger list is given back when the next command begins.
const RANGES_KEPT_COUNT_MAX: usize = 1024;
/// Bytes of the side buffer kept allocated between commands.
const INLINE_KEPT_BYTES_MAX: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArgRange {
    pub offset: usize,
    pub bytes: usize,
}

/// Where the arguments of one command lie. Filled by `RequestParser::parse` and reused from command to command.
///
/// # Cost
/// 16 bytes an argument, allocated as arguments arrive and never from a count a client merely announced.
#[derive(Debug, Default)]
pub struct Ranges {
    places: Vec<ArgRange>,
    /// Arguments of an inline command, unquoted, one after the other; empty for any other command.
    unquoted: Vec<u8>,
    is_inline: bool,
}

impl Ranges {
    /// An empty list; allocates nothing.
    pub fn new() -> Self {
        Ranges::default()
    }

    /// How many arguments the command has, its name included.
    #[inline]
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The arguments themselves. `command` starts at the first byte of the command, as it did for the parser, and
    /// holds at least the bytes that `Parsed::Command` named.
    ///
    /// # Panics
    /// On use of an argument that `command` is too short for.
    #[inline]
    pub fn args<'a>(&'a self, command: &'a [u8]) -> Args<'a> {
        let source = if self.is_inline { &self.unquoted[..] } else { command };
        Args { source, places: &self.places }
    }

    /// Begins a command whose arguments do not lie in a receive buffer: each is added by [`Ranges::add`] and kept here.
    /// They are read by `args` of any bytes.
    pub fn begin_own(&mut self) {
        self.begin();
        self.begin_inline();
    }

    /// Adds an argument after [`Ranges::begin_own`].
    pub fn add(&mut self, arg: &[u8]) {
        let offset = self.unquoted.len();
        self.unquoted.extend_from_slice(arg);
        self.push_inline(offset);
    }

    /// Begins a command whose arguments lie in bytes that its owner keeps: each is named by [`Ranges::place`].
    pub fn begin_placed(&mut self) {
        self.begin();
    }

    /// Adds the argument that lies in the owner's bytes from `offset` on, after [`Ranges::begin_placed`].
    pub fn place(&mut self, offset: usize, bytes: usize) {
        assert!(!self.is_inline, "a command's arguments lie in one place");
        self.push(offset, bytes);
    }

    /// Forgets the previous command.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.places.clear();
        if self.places.capacity() > RANGES_KEPT_COUNT_MAX {
            self.places.shrink_to(RANGES_KEPT_COUNT_MAX);
        }
        if self.is_inline {
            self.begin_after_inline();
        }
    }

    #[cold]
    fn begin_after_inline(&mut self) {
        self.is_inline = false;
        self.unquoted.clear();
        self.unquoted.shrink_to(INLINE_KEPT_BYTES_MAX);
    }

    #[inline]
    pub(crate) fn push(&mut self, offset: usize, bytes: usize) {
        self.places.push(ArgRange { offset, bytes });
    }

    /// From here on, up to the next `begin`, arguments lie in the side buffer.
    pub(crate) fn begin_inline(&mut self) -> &mut Vec<u8> {
        assert!(self.places.is_empty(), "an inline command starts without arguments");
        self.is_inline = true;
        &mut self.unquoted
    }

    /// Ends an argument that was appended to the side buffer from `offset` on.
    pub(crate) fn push_inline(&mut self, offset: usize) {
        assert!(self.is_inline);
        self.push(offset, self.unquoted.len() - offset);
    }

    pub(crate) fn unquoted(&mut self) -> &mut Vec<u8> {
        &mut self.unquoted
    }
}

/// The arguments of one command, the command's name first. A cheap copyable view.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    source: &'a [u8],
    places: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// How many arguments there are, the command's name included.
    #[inline]
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The argument at `index`, counted from 0 (the command's name), or `None` past the end.
    #[inline]
    pub fn nth(&self, index: usize) -> Option<&'a [u8]> {
        self.places.get(index).map(|range| self.bytes_of(*range))
    }

    /// The argument at `index`, where the command's arity says there is one.
    ///
    /// # Panics
    /// Past the end.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.bytes_of(self.places[index])
    }

    /// Bytes up to where the last argument ends: what they have together, roughly. A body over HTTP lies before the other
    /// arguments, which are not counted where it comes last.
    #[inline]
    pub fn source_bytes(&self) -> usize {
        self.places.last().map_or(0, |last| last.offset + last.bytes)
    }

    /// Bytes of all that the arguments lie in: no fewer than they have together, as none lies in another.
    #[inline]
    pub fn within_bytes(&self) -> usize {
        self.source.len()
    }

    /// The arguments from `index` on; none when there are fewer.
    #[inline]
    #[must_use]
    pub fn skip(&self, index: usize) -> Args<'a> {
        Args { source: self.source, places: self.places.get(index..).unwrap_or_default() }
    }

    /// All arguments in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone + use<'a> {
        let args = *self;
        self.places.iter().map(move |range| args.bytes_of(*range))
    }

    #[inline]
    fn bytes_of(&self, range: ArgRange) -> &'a [u8] {
        &self.source[range.offset..range.offset + range.bytes]
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Copies of the arguments of several commands, one after the other, for commands that run later than they arrive.
///
/// # Cost
/// Two allocations for all commands together; 16 bytes an argument and 8 a command beside the bytes.
#[derive(Clone, Debug, Default)]
pub struct ArgsQueue {
    bytes: Vec<u8>,
    places: Vec<ArgRange>,
    /// Where the places of each command end.
    ends: Vec<usize>,
}

impl ArgsQueue {
    /// Adds the arguments of one more command.
    pub fn push<'a>(&mut self, args: impl IntoIterator<Item = &'a [u8]>) {
        for arg in args {
            self.places.push(ArgRange { offset: self.bytes.len(), bytes: arg.len() });
            self.bytes.extend_from_slice(arg);
        }
        self.ends.push(self.places.len());
    }

    /// How many commands there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The arguments of command `index`, counted from 0.
    ///
    /// # Panics
    /// Past the end.
    pub fn args(&self, index: usize) -> Args<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Args { source: &self.bytes, places: &self.places[start..self.ends[index]] }
    }

    /// Bytes of memory that the copies take.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<ArgRange>() + self.ends.len() * size_of::<usize>()
    }

    /// Forgets all commands and gives their memory back.
    pub fn clear(&mut self) {
        *self = ArgsQueue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_arguments_are_those_that_were_pushed() {
        let mut queue = ArgsQueue::default();
        let commands: [&[&[u8]]; 4] = [&[b"set", b"k", b""], &[b"ping"], &[], &[b"get", b"k"]];
        for command in commands {
            queue.push(command.iter().copied());
        }
        assert_eq!(queue.count(), 4);
        for (index, command) in commands.iter().enumerate() {
            assert_eq!(queue.args(index).iter().collect::<Vec<_>>(), *command);
        }
        assert_eq!(queue.bytes(), 12 + 6 * 16 + 4 * 8);
        queue.clear();
        assert_eq!((queue.count(), queue.bytes()), (0, 0));
    }

    #[test]
    fn arguments_are_read_from_the_command_bytes() {
        let mut ranges = Ranges::new();
        ranges.push(2, 3);
        ranges.push(0, 0);
        let args = ranges.args(b"..get");
        assert_eq!(args.count(), 2);
        assert_eq!(args.nth(0), Some(&b"get"[..]));
        assert_eq!(args.at(1), b"");
        assert_eq!(args.nth(2), None);
        assert_eq!(args.skip(1).iter().collect::<Vec<_>>(), [b""]);
        assert_eq!(args.skip(9).count(), 0);
        assert_eq!(format!("{args:?}"), r#"["get", ""]"#);
    }

    #[test]
    fn arguments_can_be_given_one_by_one() {
        let mut ranges = Ranges::new();
        for round in 0..2 {
            ranges.begin_own();
            ranges.add(b"get");
            ranges.add(b"");
            ranges.add(&[b'0' + round]);
            assert_eq!(ranges.args(&[]).iter().collect::<Vec<_>>(), [&b"get"[..], b"", &[b'0' + round]]);
        }
    }

    #[test]
    fn a_huge_list_is_given_back_when_the_next_command_begins() {
        let mut ranges = Ranges::new();
        for _ in 0..RANGES_KEPT_COUNT_MAX * 4 {
            ranges.push(0, 0);
        }
        ranges.begin();
        assert_eq!(ranges.count(), 0);
        assert!(ranges.places.capacity() <= RANGES_KEPT_COUNT_MAX);
        ranges.begin_inline().resize(INLINE_KEPT_BYTES_MAX * 4, b'x');
        ranges.begin();
        assert!(ranges.unquoted.capacity() <= INLINE_KEPT_BYTES_MAX);
    }
}
