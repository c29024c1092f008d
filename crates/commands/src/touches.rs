//! What a command touches beyond saying whether it writes: what it does with each of its keys, which of its arguments
//! are channels, which databases it reaches; and categories of ACL that follow from nothing else. COMMAND and access control are told from here.
//!
//! Deliberately not here: where keys stand (`spec.rs`), and who may touch what (`acl`).
//!
//! Source: key specifications of Redis 7.2, whose words `RO`, `ACCESS` and the like are.

use crate::acl::Categories;
use wire::args::Args;

/// What a command does with a key, as Redis's key specifications tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse(u8);

const ACCESS: u8 = 1;
const UPDATE: u8 = 1 << 1;
const INSERT: u8 = 1 << 2;
const DELETE: u8 = 1 << 3;
const RO: u8 = 1 << 4;
const RW: u8 = 1 << 5;
const OW: u8 = 1 << 6;
const RM: u8 = 1 << 7;

impl KeyUse {
    /// Reads only what is known of the value: its existence, type or size.
    pub const RO: KeyUse = KeyUse(RO);
    /// Reads the value.
    pub const RO_ACCESS: KeyUse = KeyUse(RO | ACCESS);
    /// Changes something about the key and tells what its value is.
    pub const RW_ACCESS: KeyUse = KeyUse(RW | ACCESS);
    /// Changes the value without telling what it was.
    pub const RW_UPDATE: KeyUse = KeyUse(RW | UPDATE);
    /// Adds to the value.
    pub const RW_INSERT: KeyUse = KeyUse(RW | INSERT);
    /// Takes from the value without telling what.
    pub const RW_DELETE: KeyUse = KeyUse(RW | DELETE);
    /// Changes the value and tells of it.
    pub const RW_ACCESS_UPDATE: KeyUse = KeyUse(RW | ACCESS | UPDATE);
    /// Takes from the value and tells what.
    pub const RW_ACCESS_DELETE: KeyUse = KeyUse(RW | ACCESS | DELETE);
    /// Adds to the value and tells of it.
    pub const RW_ACCESS_INSERT: KeyUse = KeyUse(RW | ACCESS | INSERT);
    /// Puts another value in its place.
    pub const OW_UPDATE: KeyUse = KeyUse(OW | UPDATE);
    /// Puts a value where there is none.
    pub const OW_INSERT: KeyUse = KeyUse(OW | INSERT);
    /// Removes the key.
    pub const RM_DELETE: KeyUse = KeyUse(RM | DELETE);

    /// Whether it tells of the value.
    pub fn reads(self) -> bool {
        self.0 & ACCESS != 0
    }

    /// Whether it changes the value.
    pub fn writes(self) -> bool {
        self.0 & (UPDATE | INSERT | DELETE) != 0
    }

    /// Redis's words for it.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        const NAMES: [(u8, &str); 8] = [
            (RO, "RO"),
            (RW, "RW"),
            (OW, "OW"),
            (RM, "RM"),
            (ACCESS, "access"),
            (UPDATE, "update"),
            (INSERT, "insert"),
            (DELETE, "delete"),
        ];
        NAMES.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }
}

/// What is done with each key.
#[derive(Clone, Copy, Debug)]
pub enum KeyUses {
    /// A command that only reads accesses all of them, any other one accesses and updates them.
    ByFlags,
    /// The first key, the second, and so on; the last of these for all that follow.
    InOrder(&'static [KeyUse]),
    /// All the same, as the arguments say.
    Varying(fn(&Args<'_>) -> KeyUse),
}

/// Which arguments are channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelArgs {
    /// None.
    None,
    /// The first.
    First,
    /// All.
    All,
    /// All, and they are patterns.
    Patterns,
}

/// Which databases a command reaches.
#[derive(Clone, Copy, Debug)]
pub enum Dbs {
    /// The selected one, if it touches keys at all.
    Selected,
    /// All.
    All,
    /// Those whose numbers are these arguments, and the selected one if it has keys.
    At(&'static [u8]),
    /// Those whose numbers stand behind this word (in upper case), from this argument on, and the selected one.
    Behind {
        /// The word.
        word: &'static str,
        /// The first argument that may be it.
        from: u8,
    },
}

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Touches {
    /// What it does with its keys.
    pub keys: KeyUses,
    /// Its channels.
    pub channels: ChannelArgs,
    /// Its databases.
    pub dbs: Dbs,
    /// Categories that neither its group nor its flags tell of.
    pub categories: Categories,
}

impl Touches {
    /// What the flags of the row say.
    pub const BY_FLAGS: Touches = Touches {
        keys: KeyUses::ByFlags,
        channels: ChannelArgs::None,
        dbs: Dbs::Selected,
        categories: Categories::NONE,
    };

    /// Keys used in this order; see [`KeyUses::InOrder`].
    pub const fn keys(uses: &'static [KeyUse]) -> Touches {
        assert!(!uses.is_empty(), "every key is used somehow");
        Touches { keys: KeyUses::InOrder(uses), ..Touches::BY_FLAGS }
    }

    /// Keys used as the arguments say.
    pub const fn varying(of: fn(&Args<'_>) -> KeyUse) -> Touches {
        Touches { keys: KeyUses::Varying(of), ..Touches::BY_FLAGS }
    }

    /// Arguments that are channels.
    pub const fn channels(channels: ChannelArgs) -> Touches {
        Touches { channels, ..Touches::BY_FLAGS }
    }

    /// The same, in these categories as well.
    #[must_use]
    pub const fn also_in(self, categories: Categories) -> Touches {
        Touches { categories, ..self }
    }

    /// The same, reaching these databases.
    #[must_use]
    pub const fn reaching(self, dbs: Dbs) -> Touches {
        Touches { dbs, ..self }
    }
}

impl KeyUses {
    /// What is done with key number `ordinal`, counted from 0 in the order of `Keys::each`; `by_flags` where only
    /// the flags of the row say.
    pub fn of_key(self, ordinal: usize, args: &Args<'_>, by_flags: KeyUse) -> KeyUse {
        match self {
            KeyUses::ByFlags => by_flags,
            KeyUses::InOrder(uses) => uses[ordinal.min(uses.len() - 1)],
            KeyUses::Varying(of) => of(args),
        }
    }
}
