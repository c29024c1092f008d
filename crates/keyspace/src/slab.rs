//! Where the blocks of entries come from: slabs of equal blocks, owned by one index and cut from a pool that all
//! indexes share. Tables take slabs from it whole.
//!
//! A general allocator keeps a block that another thread frees until the thread that made it allocates again.
//! Entries are made by connections and spilled by a timer, so that memory would come back late or never. Here
//! blocks are made and freed under their partition's lock only, so nothing needs an atomic, no block has a header,
//! and a slab whose last block is freed goes to the pool at once, for any index and any size.
//!
//! ```text
//! region   4 MiB of pages, so aligned, cut into slabs, never given back as a whole
//! slab     8 KiB, aligned to its size: the slab of a block is its address with the low bits cleared
//!   head   previous:ptr | next:ptr | free:u16 | fresh:u16 | used_count:u16 | class:u16 | 0:u64
//!   blocks equal, of the class's size
//! free     offset of the first freed block, 0 for none; a freed block starts with the offset of the next
//! fresh    offset of the first block that was never handed out: pages behind it are untouched
//! ```
//!
//! Classes are multiples of 8 up to 256 bytes; above, whatever lets 30, 29 … 4 blocks fill a slab. Larger blocks go
//! to the global allocator.
//!
//! Blocks freed at random leave slabs half empty. The owner can have one emptied: it learns which blocks are in use
//! there and moves them, since only it knows who points at them.
//!
//! Deliberately not here: what lies in a block, locks but the pool's, when slabs are emptied.
//!
//! Invariants: a slab is in exactly one list, `partial` of its class while it has room, else, or while it is emptied,
//! `full`; a slab without a used block is in neither, but in the pool. Slabs of equal blocks found by address:
//! Bonwick, "The Slab Allocator", USENIX 1994; Leijen et al., "Mimalloc", 2019.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use parking_lot::Mutex;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a slab, and what its address is a multiple of.
pub const SLAB_BYTES: usize = 8 << 10;
const REGION_BYTES: usize = 4 << 20;
const HEAD_BYTES: usize = size_of::<Head>();
const ROOM_BYTES: usize = SLAB_BYTES - HEAD_BYTES;
const WORD_BYTES: usize = 8;
/// Largest block of the classes that are multiples of a word.
const STEPPED_BYTES_MAX: usize = 256;
const STEPPED_COUNT: usize = STEPPED_BYTES_MAX / WORD_BYTES;
/// Blocks per slab in the first and the last of the other classes.
const DIVIDED_BLOCKS_MAX: usize = 30;
const DIVIDED_BLOCKS_MIN: usize = 4;
/// Largest block that comes from a slab.
const BLOCK_BYTES_MAX: usize = divided_bytes(DIVIDED_BLOCKS_MIN);
/// Slabs of a class among which one to be emptied is chosen.
const EMPTIED_CHOICE_MAX: usize = 32;
/// Free slabs that keep their pages, for the next one who needs a slab.
const WARM_COUNT_MAX: usize = 8;

const _: () = assert!(HEAD_BYTES == 32, "blocks of 32 bytes must not straddle cache lines");
const _: () = assert!(SLAB_BYTES <= 1 << 16, "offsets have 16 bits");
const _: () = assert!(REGION_BYTES.is_multiple_of(SLAB_BYTES), "a region is cut into whole slabs");
const _: () = assert!(STEPPED_BYTES_MAX < divided_bytes(DIVIDED_BLOCKS_MAX), "classes must grow");

const fn divided_bytes(blocks: usize) -> usize {
    ROOM_BYTES / blocks / WORD_BYTES * WORD_BYTES
}

/// The class of blocks of this size, `None` when no slab holds them.
#[inline]
fn class_of(block_bytes: usize) -> Option<usize> {
    assert!(block_bytes > 0, "an empty block has no address");
    if block_bytes <= STEPPED_BYTES_MAX {
        return Some((block_bytes - 1) / WORD_BYTES);
    }
    if BLOCK_BYTES_MAX < block_bytes {
        return None;
    }
    let blocks = (ROOM_BYTES / block_bytes.next_multiple_of(WORD_BYTES)).min(DIVIDED_BLOCKS_MAX);
    Some(STEPPED_COUNT + DIVIDED_BLOCKS_MAX - blocks)
}

#[inline]
fn class_bytes(class: usize) -> usize {
    if class < STEPPED_COUNT {
        (class + 1) * WORD_BYTES
    } else {
        divided_bytes(DIVIDED_BLOCKS_MAX - (class - STEPPED_COUNT))
    }
}

/// Bytes that a block of this size really takes.
#[inline]
pub fn taken_bytes(block_bytes: usize) -> usize {
    match class_of(block_bytes) {
        Some(class) => class_bytes(class),
        // Allocators round large blocks to an eighth of a power of two.
        None => block_bytes.next_multiple_of(block_bytes.next_power_of_two() / 8),
    }
}

/// Whether a block of this size is one that [`Slabs::drop`] does not free.
#[inline]
pub fn is_apart(block_bytes: usize) -> bool {
    BLOCK_BYTES_MAX < block_bytes
}

#[repr(C)]
struct Head {
    previous: Link,
    next: Link,
    free: u16,
    fresh: u16,
    used_count: u16,
    class: u16,
    unused: u64,
}

type Link = Option<Slab>;

/// A slab, by the address of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slab(NonNull<Head>);

// SAFETY: a slab belongs to one `Slabs` or to the pool, and its memory is tied to no thread.
unsafe impl Send for Slab {}

impl Slab {
    /// The slab that `block` lies in.
    #[inline]
    fn of(block: NonNull<u8>) -> Slab {
        let head = block.as_ptr().map_addr(|address| address & !(SLAB_BYTES - 1));
        // SAFETY: slabs start at no address below SLAB_BYTES, so the result is not null.
        Slab(unsafe { NonNull::new_unchecked(head.cast()) })
    }

    #[inline]
    fn block(self, offset: u16) -> NonNull<u8> {
        // SAFETY: offsets lie within the slab.
        unsafe { self.0.cast::<u8>().add(usize::from(offset)) }
    }

    /// Its head.
    ///
    /// # Safety
    /// The caller owns the slab, and holds no other reference to its head.
    #[inline]
    unsafe fn head<'a>(self) -> &'a mut Head {
        // SAFETY: the caller vouches; `Pool::cut` aligned it and `init` wrote it.
        unsafe { &mut *self.0.as_ptr() }
    }

    /// Makes an empty slab of `class` of memory fresh from the pool.
    fn init(self, class: usize) {
        let fresh = HEAD_BYTES as u16;
        let head = Head { previous: None, next: None, free: 0, fresh, used_count: 0, class: class as u16, unused: 0 };
        // SAFETY: the pool gave the slab to its caller alone, SLAB_BYTES long and so aligned.
        unsafe { self.0.as_ptr().write(head) }
    }
}

/// Free slabs, of all indexes.
struct Pool {
    /// With pages.
    warm: Vec<Slab>,
    /// Whose pages the operating system has.
    cold: Vec<Slab>,
    /// What of the newest region was not cut yet.
    uncut: Option<Slab>,
    uncut_count: usize,
}

/// The pool of the process.
static POOL: Mutex<Pool> = Pool::empty();

impl Pool {
    const fn empty() -> Mutex<Pool> {
        Mutex::new(Pool { warm: Vec::new(), cold: Vec::new(), uncut: None, uncut_count: 0 })
    }

    fn take(&mut self) -> Slab {
        self.warm.pop().or_else(|| self.cold.pop()).unwrap_or_else(|| self.cut())
    }

    fn cut(&mut self) -> Slab {
        let slab = match self.uncut {
            Some(slab) if self.uncut_count > 0 => slab,
            _ => {
                let layout = Layout::from_size_align(REGION_BYTES, REGION_BYTES).expect("powers of two");
                let region = env::take_pages(layout).unwrap_or_else(|| handle_alloc_error(layout));
                self.uncut_count = REGION_BYTES / SLAB_BYTES;
                Slab(region.cast())
            }
        };
        self.uncut_count -= 1;
        // SAFETY: the region holds `uncut_count` more slabs; one past its end is not used.
        self.uncut = Some(Slab(unsafe { slab.0.cast::<u8>().add(SLAB_BYTES) }.cast()));
        slab
    }
}

/// Gives a slab without used blocks to whoever needs one next.
fn release(pool: &Mutex<Pool>, slab: Slab) {
    let mut locked = pool.lock();
    if locked.warm.len() < WARM_COUNT_MAX {
        locked.warm.push(slab);
        return;
    }
    drop(locked); // Nobody should wait for the system call.
    // SAFETY: the slab is in no list, so nobody else knows it, and `init` writes its head before anyone reads it.
    unsafe { env::give_back_pages(slab.0.cast(), SLAB_BYTES) };
    pool.lock().cold.push(slab);
}

/// A slab that is used whole, without head and blocks. Dropping it gives it to the pool, whatever is in it.
pub struct Whole(Slab);

impl Whole {
    /// A slab with nothing defined in it. Cost: the pool's lock; a page fault for each page when it is first written.
    pub fn take() -> Whole {
        Whole(POOL.lock().take())
    }

    /// Its [`SLAB_BYTES`] bytes, aligned to as many, which live as long as this does.
    #[inline(always)]
    pub fn start(&self) -> NonNull<u8> {
        self.0.0.cast()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        release(&POOL, self.0);
    }
}

/// The slabs of one index. Dropping it gives all of them to the pool, with whatever is in their blocks.
pub struct Slabs {
    pool: &'static Mutex<Pool>,
    /// Per class, as far as classes were used: slabs with room.
    partial: Vec<Link>,
    full: Link,
    slab_count: usize,
    used_bytes: usize,
}

impl Default for Slabs {
    fn default() -> Self {
        Slabs::of(&POOL)
    }
}

impl Slabs {
    fn of(pool: &'static Mutex<Pool>) -> Self {
        Slabs { pool, partial: Vec::new(), full: None, slab_count: 0, used_bytes: 0 }
    }

    /// A block of at least `block_bytes` bytes, aligned to 8, with nothing in it.
    ///
    /// # Cost
    /// No lock, but for one block in dozens, which needs another slab.
    #[inline]
    pub fn alloc(&mut self, block_bytes: usize) -> NonNull<u8> {
        let Some(class) = class_of(block_bytes) else { return alloc_apart(block_bytes) };
        let slab = match self.partial.get(class) {
            Some(Some(slab)) => *slab,
            _ => self.grow(class),
        };
        // SAFETY: slabs in the lists are ours, and no other reference to this head is alive.
        let head = unsafe { slab.head() };
        let bytes = class_bytes(class) as u16;
        let offset = if head.free == 0 {
            head.fresh += bytes;
            head.fresh - bytes
        } else {
            head.free
        };
        let block = slab.block(offset);
        if head.free != 0 {
            // SAFETY: a freed block starts with the offset of the next, written by `free`.
            head.free = unsafe { block.cast::<u16>().read() };
        }
        head.used_count += 1;
        self.used_bytes += usize::from(bytes);
        if head.free == 0 && SLAB_BYTES < usize::from(head.fresh + bytes) {
            self.unlink(slab);
            self.link_full(slab);
        }
        block
    }

    /// Frees a block.
    ///
    /// # Safety
    /// `block` came from [`Slabs::alloc`] of this very object for `block_bytes`, or for a size of which
    /// [`taken_bytes`] is the same; it was not freed before and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>, block_bytes: usize) {
        let Some(class) = class_of(block_bytes) else {
            // SAFETY: larger blocks came from `alloc_apart`, by the same test; the caller vouches for the rest.
            return unsafe { free_apart(block, block_bytes) };
        };
        let slab = Slab::of(block);
        // SAFETY: the block is ours, so its slab is; no other reference to this head is alive.
        let head = unsafe { slab.head() };
        assert!(usize::from(head.class) == class, "a block must be freed by the size it was allocated for");
        assert!(0 < head.used_count, "a slab with a block in use must count it");
        let was_full = head.free == 0 && SLAB_BYTES < usize::from(head.fresh) + class_bytes(class);
        // SAFETY: nobody uses the block any more, and it is at least a word long.
        unsafe { block.cast::<u16>().write(head.free) };
        head.free = (block.as_ptr().addr() & (SLAB_BYTES - 1)) as u16;
        head.used_count -= 1;
        self.used_bytes -= class_bytes(class);
        if head.used_count == 0 {
            self.unlink(slab);
            self.slab_count -= 1;
            release(self.pool, slab);
        } else if was_full {
            self.unlink(slab);
            self.link_partial(slab, class);
        }
    }

    /// Memory held, used or not, larger blocks not counted.
    pub fn held_bytes(&self) -> usize {
        self.slab_count * SLAB_BYTES
    }

    /// Memory held in slabs of which no block uses it.
    pub fn idle_bytes(&self) -> usize {
        self.held_bytes() - self.used_bytes
    }

    /// Picks a slab at most three quarters used whose blocks fit into others, and lists them. [`Slabs::alloc`] takes nothing
    /// from it any more: the caller must move every block and free the old one, which gives the slab to the pool.
    ///
    /// # Cost
    /// A look at [`EMPTIED_CHOICE_MAX`] slabs of each class at most, and at each block of the one that is picked.
    pub fn empty_one(&mut self) -> Option<Vec<NonNull<u8>>> {
        let (class, slab) = (0..self.partial.len()).find_map(|class| Some((class, self.sparsest(class)?)))?;
        self.unlink(slab);
        self.link_full(slab); // Blocks are never taken from there.
        // SAFETY: the slab is ours, and no other reference to its head is alive.
        let head = unsafe { slab.head() };
        let mut offsets: Vec<u16> = (HEAD_BYTES as u16..head.fresh).step_by(class_bytes(class)).collect();
        let mut free = head.free;
        let mut freed = Vec::with_capacity(offsets.len() - usize::from(head.used_count));
        while free != 0 {
            freed.push(free);
            // SAFETY: a freed block starts with the offset of the next, written by `free`.
            free = unsafe { slab.block(free).cast::<u16>().read() };
        }
        freed.sort_unstable();
        offsets.retain(|offset| freed.binary_search(offset).is_err());
        assert!(offsets.len() == usize::from(head.used_count), "each block is used or free");
        Some(offsets.into_iter().map(|offset| slab.block(offset)).collect())
    }

    /// Of the slabs of `class` that have room and are looked at, the one with the fewest blocks in use, if it is worth
    /// emptying and the others have room for its blocks.
    fn sparsest(&self, class: usize) -> Option<Slab> {
        let capacity = ROOM_BYTES / class_bytes(class);
        let (mut following, mut sparsest, mut room) = (self.partial[class], None, 0);
        for _ in 0..EMPTIED_CHOICE_MAX {
            let Some(slab) = following else { break };
            // SAFETY: slabs in the lists are ours, and no other reference to this head is alive.
            let head = unsafe { slab.head() };
            let used_count = usize::from(head.used_count);
            room += capacity - used_count;
            if sparsest.is_none_or(|(_, least)| used_count < least) {
                sparsest = Some((slab, used_count));
            }
            following = head.next;
        }
        let (slab, used_count) = sparsest?;
        // `room` has the free blocks of the slab itself in it.
        (used_count * 4 <= capacity * 3 && capacity <= room).then_some(slab)
    }

    #[cold]
    fn grow(&mut self, class: usize) -> Slab {
        if self.partial.len() <= class {
            self.partial.reserve_exact(class + 1 - self.partial.len());
            self.partial.resize(class + 1, None);
        }
        let slab = self.pool.lock().take();
        slab.init(class);
        self.slab_count += 1;
        self.link_partial(slab, class);
        slab
    }

    fn link_partial(&mut self, slab: Slab, class: usize) {
        link(&mut self.partial[class], slab);
    }

    fn link_full(&mut self, slab: Slab) {
        link(&mut self.full, slab);
    }

    /// Takes `slab` out of its list.
    fn unlink(&mut self, slab: Slab) {
        // SAFETY: the slab and its neighbours are ours and are three; each head is borrowed by itself.
        let (previous, next, class) = unsafe {
            let head = slab.head();
            (head.previous.take(), head.next.take(), usize::from(head.class))
        };
        if let Some(next) = next {
            // SAFETY: as above.
            unsafe { next.head() }.previous = previous;
        }
        match previous {
            // SAFETY: as above.
            Some(previous) => unsafe { previous.head() }.next = next,
            None if self.full == Some(slab) => self.full = next,
            None => {
                assert!(self.partial[class] == Some(slab), "a slab must be in a list");
                self.partial[class] = next;
            }
        }
    }
}

/// Puts `slab`, which is in no list, first in the list that starts at `first`.
fn link(first: &mut Link, slab: Slab) {
    // SAFETY: both slabs belong to the owner of the list and are two; each head is borrowed by itself.
    unsafe {
        slab.head().next = *first;
        if let Some(second) = *first {
            second.head().previous = Some(slab);
        }
    }
    *first = Some(slab);
}

impl Drop for Slabs {
    fn drop(&mut self) {
        for first in self.partial.drain(..).chain([self.full.take()]) {
            let mut following = first;
            while let Some(slab) = following {
                // SAFETY: the slab is ours until it is released.
                following = unsafe { slab.head() }.next;
                release(self.pool, slab);
            }
        }
    }
}

fn apart_layout(block_bytes: usize) -> Layout {
    Layout::from_size_align(block_bytes, WORD_BYTES).expect("a block's size is bounded by STRING_BYTES_MAX")
}

#[cold]
fn alloc_apart(block_bytes: usize) -> NonNull<u8> {
    let layout = apart_layout(block_bytes);
    // SAFETY: only blocks larger than BLOCK_BYTES_MAX come here.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
/// As for [`Slabs::free`].
#[cold]
unsafe fn free_apart(block: NonNull<u8>, block_bytes: usize) {
    // SAFETY: the caller vouches that the block came from `alloc_apart` for this size.
    unsafe { dealloc(block.as_ptr(), apart_layout(block_bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = *state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A block filled with its own number, so that an overlap shows.
    struct Filled {
        block: NonNull<u8>,
        bytes: usize,
        fill: u8,
    }

    fn fill(slabs: &mut Slabs, bytes: usize, fill: u8) -> Filled {
        let block = slabs.alloc(bytes);
        assert_eq!(block.as_ptr().addr() % WORD_BYTES, 0);
        // SAFETY: the block has that many bytes.
        unsafe { block.write_bytes(fill, bytes) };
        Filled { block, bytes, fill }
    }

    fn check_and_free(slabs: &mut Slabs, filled: Filled) {
        // SAFETY: the block was filled and not freed yet.
        unsafe {
            let bytes = std::slice::from_raw_parts(filled.block.as_ptr(), filled.bytes);
            assert!(bytes == vec![filled.fill; filled.bytes], "blocks must not overlap");
            slabs.free(filled.block, filled.bytes);
        }
    }

    #[test]
    fn every_size_fits_its_class_and_wastes_little() {
        let mut before = 0;
        for bytes in 1..=BLOCK_BYTES_MAX {
            let class = class_of(bytes).expect("a slab holds it");
            assert!(bytes <= class_bytes(class));
            assert!(class == before || class == before + 1, "classes must be in order, none left out");
            before = class;
            if class > 0 {
                assert!(class_bytes(class - 1) < bytes.next_multiple_of(WORD_BYTES), "the smallest class that fits");
            }
        }
        assert_eq!((before, class_of(BLOCK_BYTES_MAX + 1)), (58, None));
        assert_eq!([32, 96, 1_072].map(taken_bytes), [32, 96, 1_160]);
    }

    #[test]
    fn random_blocks_never_overlap_and_all_slabs_go_back() {
        let (rounds, sizes) = if cfg!(miri) { (1_000, 600) } else { (200_000, 2_500) };
        let (mut slabs, mut state) = (Slabs::default(), 11);
        let mut held: Vec<Filled> = Vec::new();
        for round in 0..rounds {
            // The share of allocations swings, so that slabs fill up and run empty.
            let is_growing = (round / (rounds / 8)) % 2 == 0;
            let random = next(&mut state);
            if held.is_empty() || random.is_multiple_of(4) != is_growing {
                let small = 1 + (random >> 8) as usize % sizes;
                held.push(fill(&mut slabs, small, random as u8));
            } else {
                let victim = (random >> 8) as usize % held.len();
                check_and_free(&mut slabs, held.swap_remove(victim));
            }
        }
        for filled in held.drain(..) {
            check_and_free(&mut slabs, filled);
        }
        assert_eq!((slabs.held_bytes(), slabs.full), (0, None));
        assert!(slabs.partial.iter().all(Option::is_none));
    }

    #[test]
    fn a_slab_holds_as_many_blocks_as_fit_and_goes_with_the_last() {
        for bytes in [8, 32, 96, 256, 257, 2_040] {
            let mut slabs = Slabs::default();
            let count = ROOM_BYTES / taken_bytes(bytes);
            let mut held: Vec<Filled> = (0..count).map(|number| fill(&mut slabs, bytes, number as u8)).collect();
            assert_eq!((slabs.held_bytes(), slabs.full.is_some()), (SLAB_BYTES, true));
            held.push(fill(&mut slabs, bytes, 0));
            assert_eq!(slabs.held_bytes(), 2 * SLAB_BYTES);
            for filled in held {
                check_and_free(&mut slabs, filled);
            }
            assert_eq!(slabs.held_bytes(), 0);
        }
    }

    #[test]
    fn sparse_slabs_are_emptied_until_little_is_idle() {
        let (mut slabs, mut state) = (Slabs::default(), 5);
        let mut held: Vec<Filled> = (0..5_000).map(|number| fill(&mut slabs, 96, number as u8)).collect();
        for left in (1_500..5_000).rev() {
            let victim = held.swap_remove(next(&mut state) as usize % (left + 1));
            check_and_free(&mut slabs, victim);
        }
        assert!(slabs.held_bytes() < 3 * slabs.idle_bytes(), "what is left is scattered");
        while let Some(blocks) = slabs.empty_one() {
            let before = slabs.held_bytes();
            for block in blocks {
                let at = held.iter().position(|filled| filled.block == block).expect("a block in use");
                let moved = fill(&mut slabs, 96, held[at].fill);
                check_and_free(&mut slabs, std::mem::replace(&mut held[at], moved));
            }
            assert_eq!(slabs.held_bytes(), before - SLAB_BYTES);
        }
        assert!(slabs.idle_bytes() * 8 < slabs.held_bytes(), "{} of {}", slabs.idle_bytes(), slabs.held_bytes());
        for filled in held {
            check_and_free(&mut slabs, filled);
        }
        assert_eq!((slabs.held_bytes(), slabs.idle_bytes()), (0, 0));
    }

    #[test]
    fn slabs_given_back_serve_another_owner_and_class() {
        static OWN: Mutex<Pool> = Pool::empty();
        let count = if cfg!(miri) { 2_000 } else { 20_000 };
        let mut first = Slabs::of(&OWN);
        for number in 0..count {
            fill(&mut first, 96, number as u8);
        }
        let slab_count = first.held_bytes() / SLAB_BYTES;
        assert!(WARM_COUNT_MAX < slab_count);
        let counts = || {
            let pool = OWN.lock();
            (pool.warm.len(), pool.cold.len(), pool.uncut_count)
        };
        let (.., uncut_count) = counts();
        drop(first);
        assert_eq!(counts(), (WARM_COUNT_MAX, slab_count - WARM_COUNT_MAX, uncut_count));
        let mut second = Slabs::of(&OWN);
        let blocks = slab_count * (ROOM_BYTES / taken_bytes(300));
        let held: Vec<Filled> = (0..blocks).map(|number| fill(&mut second, 300, number as u8)).collect();
        assert_eq!(counts(), (0, 0, uncut_count), "no fresh memory was needed");
        for filled in held {
            check_and_free(&mut second, filled);
        }
        assert_eq!(second.held_bytes(), 0);
    }
}
