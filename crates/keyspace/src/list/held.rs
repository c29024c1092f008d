//! A chunk as a long list holds it: plain, or compressed as a block of LZ4.
//!
//! ```text
//! block   LZ4 of: data of 0, 1, 2 … | heads … of 2, 1, 0
//! ```
//!
//! How many elements there are, and how many bytes their data is, stand beside the block, so that walking past it
//! costs nothing. Whoever reads elements has the block expanded into a scratch chunk, or the chunk made plain.
//!
//! Deliberately not here: which chunks are held in which form (`long.rs`). Chunks of one element beyond
//! `CHUNK_BYTES_MAX` stay plain: reading one would cost as much as copying it many times.
//!
//! Invariants: a block is smaller than what it expands to by at least one part in `SAVED_FRACTION_MIN`; it expands to
//! exactly what was compressed, or the process stops.

use super::chunk::{CHUNK_BYTES_MAX, Chunk};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// A block that saves less than this part of the chunk is not worth expanding it.
const SAVED_FRACTION_MIN: usize = 8;

const BLOCK_BYTES_MAX: usize = get_maximum_output_size(CHUNK_BYTES_MAX);

/// See the module's text.
pub(super) enum Held {
    /// As it is.
    Plain {
        chunk: Chunk,
        /// Whether compressing these elements was given up.
        is_tried: bool,
    },
    /// Compressed.
    Compressed(Compressed),
}

/// See the module's text.
pub(super) struct Compressed {
    block: Box<[u8]>,
    data_bytes: u16,
    count: u16,
}

const _: () = assert!(size_of::<Held>() == 32, "a chunk costs its list so much beside its room");

impl From<Chunk> for Held {
    fn from(chunk: Chunk) -> Held {
        Held::Plain { chunk, is_tried: false }
    }
}

impl Compressed {
    /// The chunk's elements, if they are worth it.
    fn of(chunk: &Chunk) -> Option<Compressed> {
        if CHUNK_BYTES_MAX < chunk.used_bytes() {
            return None;
        }
        let (mut elements, mut block) = ([0; CHUNK_BYTES_MAX], [0; BLOCK_BYTES_MAX]);
        let used = chunk.copy_to(&mut elements);
        let bytes = compress_into(&elements[..used], &mut block).expect("the block has room for any chunk");
        (bytes <= used - used / SAVED_FRACTION_MIN).then(|| Compressed {
            block: block[..bytes].into(),
            data_bytes: chunk.data_bytes() as u16,
            count: chunk.len() as u16,
        })
    }

    /// Makes `chunk` one of the same elements.
    fn expand(&self, chunk: &mut Chunk) {
        chunk.refill(usize::from(self.data_bytes), usize::from(self.count), |elements| {
            let bytes = decompress_into(&self.block, elements).expect("a list's own block expands");
            assert_eq!(bytes, elements.len(), "a list's block expands to what was compressed");
        });
    }
}

impl Held {
    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Held::Plain { chunk, .. } => chunk.len(),
            Held::Compressed(compressed) => usize::from(compressed.count),
        }
    }

    /// Whether it is compressed.
    #[inline]
    pub fn is_compressed(&self) -> bool {
        matches!(self, Held::Compressed(_))
    }

    /// Bytes of what the chunk was given on the heap.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Held::Plain { chunk, .. } => chunk.room_bytes(),
            Held::Compressed(compressed) => compressed.block.len(),
        }
    }

    /// Bytes of heads and data, when plain.
    pub fn used_bytes(&self) -> usize {
        match self {
            Held::Plain { chunk, .. } => chunk.used_bytes(),
            Held::Compressed(compressed) => usize::from(compressed.data_bytes) + usize::from(compressed.count),
        }
    }

    /// The chunk, which is `scratch` if it is compressed.
    ///
    /// # Cost
    /// That of expanding it: 1 to 2 µs.
    #[inline]
    pub fn open<'a>(&'a self, scratch: &'a mut Chunk) -> &'a Chunk {
        match self {
            Held::Plain { chunk, .. } => chunk,
            Held::Compressed(compressed) => {
                compressed.expand(scratch);
                scratch
            }
        }
    }

    /// The chunk, if it is plain.
    #[inline]
    pub fn plain(&self) -> Option<&Chunk> {
        match self {
            Held::Plain { chunk, .. } => Some(chunk),
            Held::Compressed(_) => None,
        }
    }

    /// The chunk itself, plain from now on.
    #[inline]
    pub fn make_plain(&mut self) -> &mut Chunk {
        if let Held::Compressed(compressed) = self {
            let mut chunk = Chunk::default();
            compressed.expand(&mut chunk);
            *self = Held::from(chunk);
        }
        let Held::Plain { chunk, .. } = self else { unreachable!("it was made plain") };
        chunk
    }

    /// The chunk.
    pub fn into_plain(mut self) -> Chunk {
        std::mem::take(self.make_plain())
    }

    /// Whether the chunk is plain, and compressing it was not tried since it got these elements.
    #[inline]
    pub fn is_untried(&self) -> bool {
        matches!(self, Held::Plain { is_tried: false, .. })
    }

    /// Forgets that it was tried: the elements are others now.
    pub fn set_untried(&mut self) {
        if let Held::Plain { is_tried, .. } = self {
            *is_tried = false;
        }
    }

    /// Compresses the chunk if it is worth it; otherwise that was tried. Returns whether it is compressed.
    ///
    /// # Cost
    /// 2 to 10 µs, the former where nothing repeats.
    pub fn compress(&mut self) -> bool {
        if let Held::Plain { chunk, is_tried } = self {
            *is_tried = true;
            if let Some(compressed) = Compressed::of(chunk) {
                *self = Held::Compressed(compressed);
            }
        }
        matches!(self, Held::Compressed(_))
    }
}
