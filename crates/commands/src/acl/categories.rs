//! The categories of commands, computed from rows: what `+@hash` and `ACL CAT` mean.
//!
//! Source: `ACLCommandCategories` of Valkey 9.1 for names and order; `setImplicitACLCategories` for the rules.

use crate::spec::{Flags, Group, Spec};

const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A set of categories, one bit each in the order of the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

impl Categories {
    /// None.
    pub const NONE: Categories = Categories(0);
    /// `keyspace`.
    pub const KEYSPACE: Categories = Categories(1 << 0);
    /// `keyspace`, `read` and `write`.
    pub const OF_KEYS: Categories = Categories(0b111);
    /// `set`, `sortedset` and `list`.
    pub const OF_COLLECTIONS: Categories = Categories(0b111 << 3);
    /// `admin`, and so `dangerous`.
    pub const ADMIN: Categories = Categories(1 << 13 | 1 << 17);
    /// `connection`.
    pub const CONNECTION: Categories = Categories(1 << 18);

    /// Those of a row.
    pub fn of(spec: &Spec) -> Categories {
        let has = |flag: Flags| spec.flags.has(flag);
        let names = [
            (of_group(spec.group), true),
            ("write", has(Flags::WRITE)),
            ("read", has(Flags::READONLY) && spec.group != Group::Scripting),
            ("pubsub", has(Flags::PUBSUB)),
            ("admin", has(Flags::ADMIN)),
            ("dangerous", has(Flags::DANGEROUS) || has(Flags::ADMIN)),
            ("fast", has(Flags::FAST)),
            ("slow", !has(Flags::FAST)),
            ("blocking", has(Flags::BLOCKING)),
        ];
        let set = names.into_iter().filter(|(_, is_in)| *is_in);
        Categories(set.fold(spec.touches.categories.0, |bits, (name, _)| bits | bit(name)))
    }

    /// The category with this name, in any case.
    pub fn named(name: &[u8]) -> Option<Categories> {
        let index = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Categories(1 << index))
    }

    /// Every name, in Redis's order.
    pub fn all_names() -> &'static [&'static str] {
        &NAMES
    }

    /// The names of those in the set, in Redis's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        NAMES.into_iter().enumerate().filter(move |(index, _)| self.0 >> index & 1 == 1).map(|(_, name)| name)
    }

    /// Whether both sets have a category in common.
    pub fn overlap(self, other: Categories) -> bool {
        self.0 & other.0 != 0
    }
}

/// The bit of a name; 0 for no name.
fn bit(name: &str) -> u32 {
    NAMES.iter().position(|known| *known == name).map_or(0, |index| 1 << index)
}

fn of_group(group: Group) -> &'static str {
    match group {
        Group::Generic => "keyspace",
        Group::Server => "",
        Group::Transactions => "transaction",
        Group::SortedSet => "sortedset",
        group => group.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn names_of(command: &str) -> Vec<&'static str> {
        let number = table::number_of_name(command.as_bytes()).expect("a command of the table");
        Categories::of(table::by_number(number)).names().collect()
    }

    #[test]
    fn categories_follow_from_group_and_flags() {
        assert_eq!(names_of("get"), ["read", "string", "fast"]);
        assert_eq!(names_of("lpush"), ["write", "list", "fast"]);
        assert_eq!(names_of("keys"), ["keyspace", "read", "slow", "dangerous"]);
        assert_eq!(names_of("config|set"), ["admin", "slow", "dangerous"]);
        assert_eq!(names_of("eval_ro"), ["slow", "scripting"]);
        assert_eq!(names_of("multi"), ["fast", "transaction"]);
    }

    #[test]
    fn constants_are_what_they_are_called() {
        let names = |categories: Categories| categories.names().collect::<Vec<_>>();
        assert_eq!(names(Categories::KEYSPACE), ["keyspace"]);
        assert_eq!(names(Categories::OF_KEYS), ["keyspace", "read", "write"]);
        assert_eq!(names(Categories::OF_COLLECTIONS), ["set", "sortedset", "list"]);
        assert_eq!(names(Categories::ADMIN), ["admin", "dangerous"]);
        assert_eq!(names(Categories::CONNECTION), ["connection"]);
        assert_eq!(names_of("flushall"), ["keyspace", "write", "slow", "dangerous"]);
    }

    #[test]
    fn every_group_but_the_servers_is_a_category() {
        for spec in table::all() {
            assert_eq!(bit(of_group(spec.group)) == 0, spec.group == Group::Server, "{}", spec.name);
        }
        assert_eq!(Categories::named(b"SortedSet").map(|found| found.names().collect()), Some(vec!["sortedset"]));
        assert_eq!(Categories::named(b"all"), None);
    }
}
