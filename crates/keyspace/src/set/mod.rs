//! The set data type: members, each once, in no order that means anything.
//!
//! Three forms, one behaviour. A set of integers is `ints`, sorted and as narrow as they allow; a small set of anything
//! is `packed`, walked; a larger one is `large`, a table. The bytes of the first two share one vector, whose first byte
//! says which it is, so that a set is no larger than a vector.
//!
//! Invariants: members are unique; `bytes` counts what the heap gave.
//!
//! Not done, and why: a form never goes back to a smaller one as members go, because a set that hovers at a limit would
//! be rebuilt each time (its image gives the smallest form when it is next read).

mod image;
mod ints;
mod large;
mod packed;
mod slot;
#[cfg(test)]
mod tests;

use crate::value::{Within, as_integer};
use base::number::{NumberText, format_i64};
use ints::Ints;
use large::Large;
use std::fmt;
use std::ops::Deref;

/// Most members of a set of integers in its sorted form.
pub const INTS_COUNT_MAX: usize = 512;
/// Most members of a packed set.
pub const PACKED_COUNT_MAX: usize = 128;
/// Longest member of a packed set.
pub const MEMBER_PACKED_BYTES_MAX: usize = 64;

/// A set. See the module's text.
pub struct Set {
    form: Form,
}

enum Form {
    /// `ints`, or `packed` if it begins with its mark; without bytes a set of no integers.
    Small(Vec<u8>),
    Large(Box<Large>),
}

const _: () = assert!(size_of::<Set>() == size_of::<Vec<u8>>(), "a set must be no larger than a string");

/// The form of a set, as OBJECT ENCODING asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetForm {
    /// Sorted integers.
    Ints,
    /// Members side by side.
    Packed,
    /// A table.
    Large,
}

/// A member as it lies in its set: reads as its bytes.
pub enum Member<'a> {
    /// Somewhere in memory.
    Bytes(&'a [u8]),
    /// Stored as a number; this is its text.
    Number(NumberText),
    /// The first bytes of a word, and how many of them.
    Short([u8; 8], u8),
}

impl Deref for Member<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Member::Bytes(bytes) => bytes,
            Member::Number(text) => text.as_bytes(),
            Member::Short(bytes, count) => &bytes[..usize::from(*count)],
        }
    }
}

enum View<'a> {
    Ints(Ints<'a>),
    Packed(&'a [u8]),
    Large(&'a Large),
}

fn is_packed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&packed::MARK)
}

impl Set {
    /// Where its members lie.
    #[inline]
    pub(crate) fn within(&self) -> Within<'_> {
        match &self.form {
            Form::Small(bytes) => Within::Bytes(bytes),
            Form::Large(large) => Within::Table(large.table()),
        }
    }

    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Set { form: Form::Small(Vec::new()) }
    }

    #[inline]
    fn view(&self) -> View<'_> {
        match &self.form {
            Form::Small(bytes) if is_packed(bytes) => View::Packed(bytes),
            Form::Small(bytes) => View::Ints(Ints::new(bytes)),
            Form::Large(large) => View::Large(large),
        }
    }

    /// The form it has now.
    pub fn form(&self) -> SetForm {
        match self.view() {
            View::Ints(_) => SetForm::Ints,
            View::Packed(_) => SetForm::Packed,
            View::Large(_) => SetForm::Large,
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self.view() {
            View::Ints(ints) => ints.len(),
            View::Packed(bytes) => packed::len(bytes),
            View::Large(large) => large.len(),
        }
    }

    /// Whether there are no members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, the allocator's own overhead left out.
    ///
    /// # Cost
    /// Constant: kept up to date by each change. A large set's is exact but for its table (within a thousandth of its
    /// entries).
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Small(bytes) => bytes.capacity(),
            Form::Large(large) => large.bytes(),
        }
    }

    /// Whether `member` is in the set.
    ///
    /// # Cost
    /// Nine comparisons of integers, a walk over at most 128 members, or two to three cache lines. No allocation.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.view() {
            View::Ints(ints) => as_integer(member).is_some_and(|number| ints.rank(number).is_ok()),
            View::Packed(bytes) => packed::contains(bytes, member),
            View::Large(large) => large.contains(member),
        }
    }

    /// Adds a member and says whether it is new.
    ///
    /// # Cost
    /// As [`Set::contains`], and an allocation if the room does not fit. The call that crosses a limit of a form moves
    /// the members, 512 at most.
    ///
    /// # Panics
    /// When the member is 4 GiB or longer, which no door lets in.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match &mut self.form {
            Form::Small(bytes) if is_packed(bytes) => {
                if packed::contains(bytes, member) {
                    return false;
                }
                if packed::push(bytes, member) {
                    return true;
                }
            }
            Form::Small(bytes) => match as_integer(member) {
                Some(number) => {
                    if let Some(is_new) = ints::insert(bytes, number) {
                        return is_new;
                    }
                }
                None => {
                    if pack(bytes, member) {
                        return true;
                    }
                }
            },
            Form::Large(large) => return large.add(member),
        }
        self.enlarge().add(member)
    }

    /// The large form, which the set takes if it has not yet.
    fn enlarge(&mut self) -> &mut Large {
        if let Form::Small(_) = self.form {
            let mut large = Box::<Large>::default();
            for member in self.iter() {
                let is_new = large.add(&member);
                assert!(is_new, "members are unique in a small set");
            }
            self.form = Form::Large(large);
        }
        match &mut self.form {
            Form::Large(large) => large,
            Form::Small(_) => unreachable!("the form was just made large"),
        }
    }

    /// Removes a member and says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.form {
            Form::Small(bytes) if is_packed(bytes) => packed::remove(bytes, member),
            Form::Small(bytes) => as_integer(member).is_some_and(|number| ints::remove(bytes, number)),
            Form::Large(large) => large.remove(member),
        }
    }

    /// All members: ascending, in the order they came to be, or in no order, by form.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        match self.view() {
            View::Ints(ints) => Members::Ints(ints, 0),
            View::Packed(bytes) => Members::Packed(packed::members(bytes)),
            View::Large(large) => Members::Large(large.members()),
        }
    }

    /// One step of a scan: calls `each` with some `count` members and returns the next cursor. 0 starts, 0 ends.
    ///
    /// A member that is there from the first call to the last is seen at least once. A small set is seen whole in one
    /// step, whatever the cursor, so that guarantee outlives a change of form.
    pub fn scan(&self, cursor: u64, count: usize, each: impl FnMut(Member<'_>)) -> u64 {
        match self.view() {
            View::Ints(_) | View::Packed(_) => {
                self.iter().for_each(each);
                0
            }
            View::Large(large) => large.scan(cursor, count, each),
        }
    }

    /// A member picked by `random`, each equally likely; `None` only of an empty set.
    pub fn sample(&self, random: u64) -> Option<Member<'_>> {
        match self.view() {
            View::Large(large) => large.sample(random),
            View::Ints(ints) => {
                let index = (random >> 8).checked_rem(ints.len() as u64)?;
                Some(Member::Number(format_i64(ints.get(index as usize))))
            }
            View::Packed(bytes) => {
                let index = (random >> 8).checked_rem(packed::len(bytes) as u64)?;
                packed::members(bytes).nth(index as usize).map(Member::Bytes)
            }
        }
    }
}

/// Makes the bytes of a set of integers a packed set with `member` added, which is none; changes nothing and says so
/// when there is no room.
fn pack(bytes: &mut Vec<u8>, member: &[u8]) -> bool {
    let ints = Ints::new(bytes);
    if PACKED_COUNT_MAX <= ints.len() || MEMBER_PACKED_BYTES_MAX < member.len() {
        return false;
    }
    let mut packed = packed::empty();
    let all_fit = ints.iter().all(|number| packed::push(&mut packed, &format_i64(number)));
    assert!(packed::push(&mut packed, member) && all_fit, "an integer is shorter than the limit");
    *bytes = packed;
    true
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

enum Members<'a> {
    Ints(Ints<'a>, usize),
    Packed(packed::Members<'a>),
    Large(large::Members<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match self {
            Members::Ints(ints, index) => {
                if *index == ints.len() {
                    return None;
                }
                *index += 1;
                Some(Member::Number(format_i64(ints.get(*index - 1))))
            }
            Members::Packed(members) => members.next().map(Member::Bytes),
            Members::Large(members) => members.next(),
        }
    }
}

/// Equal members, whatever the form and the order.
impl PartialEq for Set {
    fn eq(&self, other: &Set) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }
}

impl Eq for Set {}

/// The members in their order as bytes, so that two equal sets print alike.
impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members: Vec<String> = self.iter().map(|member| member.escape_ascii().to_string()).collect();
        members.sort_unstable();
        f.debug_set().entries(members).finish()
    }
}
