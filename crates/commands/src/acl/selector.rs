//! One set of permissions: commands, keys, channels and databases that go together. A user has one, and any number
//! more in parentheses; a command runs if one of them allows all of it.

use super::command_rules::CommandRules;
use super::user::{Defaults, RuleError};
use crate::touches::KeyUse;
use base::glob::{Case, glob_matches};

/// Largest number of a database in a rule.
const DB_MAX: i64 = i32::MAX as i64;

/// Keys that match a pattern, and what may be done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    glob: Vec<u8>,
    reads: bool,
    writes: bool,
}

/// Everything, or what a list says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed<T> {
    All,
    Some(Vec<T>),
}

impl<T> Allowed<T> {
    fn list(&self) -> &[T] {
        match self {
            Allowed::All => &[],
            Allowed::Some(list) => list,
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Allowed::All)
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub commands: CommandRules,
    keys: Allowed<KeyPattern>,
    channels: Allowed<Vec<u8>>,
    /// Ascending.
    dbs: Allowed<u32>,
}

impl Selector {
    /// Nothing is allowed, but for every database and what the defaults say of channels.
    pub fn new(defaults: Defaults) -> Self {
        let channels = if defaults.all_channels { Allowed::All } else { Allowed::Some(Vec::new()) };
        Selector { commands: CommandRules::none(), keys: Allowed::Some(Vec::new()), channels, dbs: Allowed::All }
    }

    /// Whether everything is allowed.
    pub fn is_unlimited(&self) -> bool {
        self.commands.is_all() && self.keys.is_all() && self.channels.is_all() && self.dbs.is_all()
    }

    /// Applies one rule.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => self.keys = Allowed::All,
            b"resetkeys" => self.keys = Allowed::Some(Vec::new()),
            b"allchannels" | b"&*" => self.channels = Allowed::All,
            b"resetchannels" => self.channels = Allowed::Some(Vec::new()),
            b"alldbs" => self.dbs = Allowed::All,
            b"resetdbs" => self.dbs = Allowed::Some(Vec::new()),
            b"allcommands" => self.commands.set_all(true),
            b"nocommands" => self.commands.set_all(false),
            _ => return self.apply_with_argument(rule, &lower),
        }
        Ok(())
    }

    fn apply_with_argument(&mut self, rule: &[u8], lower: &[u8]) -> Result<(), RuleError> {
        if let Some(list) = lower.strip_prefix(b"db=") {
            self.dbs = Allowed::Some(parse_dbs(list)?);
            return Ok(());
        }
        match rule {
            [b'~', glob @ ..] => self.add_keys(glob, true, true),
            [b'%', rest @ ..] => {
                let (reads, writes, glob) = parse_key_permission(rest)?;
                self.add_keys(glob, reads, writes)
            }
            [b'&', glob @ ..] => self.add_channels(glob),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => self.commands.change_category(name, *sign == b'+'),
            [sign @ (b'+' | b'-'), name @ ..] => self.commands.change_command(name, *sign == b'+'),
            _ => Err(RuleError::Syntax),
        }
    }

    fn add_keys(&mut self, glob: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        let Allowed::Some(patterns) = &mut self.keys else { return Err(RuleError::KeysAfterAll) };
        ensure_without_spaces(glob)?;
        match patterns.iter_mut().find(|pattern| pattern.glob == glob) {
            Some(pattern) => {
                pattern.reads |= reads;
                pattern.writes |= writes;
            }
            None => patterns.push(KeyPattern { glob: glob.to_vec(), reads, writes }),
        }
        Ok(())
    }

    fn add_channels(&mut self, glob: &[u8]) -> Result<(), RuleError> {
        let Allowed::Some(globs) = &mut self.channels else { return Err(RuleError::ChannelsAfterAll) };
        ensure_without_spaces(glob)?;
        if globs.iter().all(|other| other != glob) {
            globs.push(glob.to_vec());
        }
        Ok(())
    }

    /// Whether this may be done with a key.
    pub fn allows_key(&self, key: &[u8], key_use: KeyUse) -> bool {
        let may = |pattern: &KeyPattern| (pattern.reads || !key_use.reads()) && (pattern.writes || !key_use.writes());
        let is_matched = |pattern: &KeyPattern| may(pattern) && glob_matches(&pattern.glob, key, Case::Sensitive);
        self.keys.is_all() || self.keys.list().iter().any(is_matched)
    }

    /// Whether any key may be read.
    pub fn allows_reading_all(&self) -> bool {
        self.keys.is_all() || self.keys.list().iter().any(|pattern| pattern.reads && pattern.glob == b"*")
    }

    /// Whether every key may be used in any way.
    pub fn allows_all_keys(&self) -> bool {
        self.keys.is_all()
    }

    /// Whether a channel, or a pattern of them, may be used. A pattern must be among the allowed ones as it is.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.is_all() || is_in_channels(self.channels.list(), channel, is_pattern)
    }

    /// Whether every channel may be used.
    pub fn allows_all_channels(&self) -> bool {
        self.channels.is_all()
    }

    /// The allowed channels, where these are not all.
    pub fn channel_list(&self) -> &[Vec<u8>] {
        self.channels.list()
    }

    /// Whether a database may be used.
    pub fn allows_db(&self, db: u32) -> bool {
        self.dbs.is_all() || self.dbs.list().binary_search(&db).is_ok()
    }

    /// Whether every database may be used.
    pub fn allows_all_dbs(&self) -> bool {
        self.dbs.is_all()
    }

    /// The patterns of keys, as rules.
    pub fn describe_keys(&self) -> Vec<u8> {
        let described = self.keys.list().iter().map(|pattern| {
            let sign: &[u8] = match (pattern.reads, pattern.writes) {
                (true, true) => b"~",
                (true, false) => b"%R~",
                (false, _) => b"%W~",
            };
            [sign, &pattern.glob].concat()
        });
        if self.keys.is_all() { b"~*".to_vec() } else { described.collect::<Vec<_>>().join(&b' ') }
    }

    /// The patterns of channels, as rules.
    pub fn describe_channels(&self) -> Vec<u8> {
        let described = self.channels.list().iter().map(|glob| [b"&", &glob[..]].concat());
        if self.channels.is_all() { b"&*".to_vec() } else { described.collect::<Vec<_>>().join(&b' ') }
    }

    /// The databases, as a rule; empty for none.
    pub fn describe_dbs(&self) -> String {
        let numbers: Vec<String> = self.dbs.list().iter().map(u32::to_string).collect();
        match self.dbs {
            Allowed::All => "alldbs".to_owned(),
            Allowed::Some(_) if numbers.is_empty() => String::new(),
            Allowed::Some(_) => format!("db={}", numbers.join(",")),
        }
    }

    /// All of it as rules, which make a new selector the same whatever its defaults are.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let mut add = |rule: &[u8]| {
            out.extend_from_slice(rule);
            if !rule.is_empty() {
                out.push(b' ');
            }
        };
        add(&self.describe_keys());
        if !self.channels.is_all() {
            add(b"resetchannels");
        }
        add(&self.describe_channels());
        match &self.dbs {
            Allowed::All => {}
            Allowed::Some(dbs) if dbs.is_empty() => add(b"resetdbs"),
            Allowed::Some(_) => add(self.describe_dbs().as_bytes()),
        }
        out.extend_from_slice(self.commands.describe().as_bytes());
    }
}

/// Whether a channel, or a pattern as it is, is among these.
pub(crate) fn is_in_channels<G: AsRef<[u8]>>(globs: &[G], channel: &[u8], is_pattern: bool) -> bool {
    globs
        .iter()
        .map(AsRef::as_ref)
        .any(|glob| if is_pattern { glob == channel } else { glob_matches(glob, channel, Case::Sensitive) })
}

fn ensure_without_spaces(glob: &[u8]) -> Result<(), RuleError> {
    let is_bad = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || *byte == 0x0b;
    if glob.iter().any(is_bad) { Err(RuleError::Syntax) } else { Ok(()) }
}

/// `R`, `W` or both, and the pattern behind `~`. A missing `~` is taken for one, with nothing behind it.
fn parse_key_permission(text: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut reads, mut writes) = (false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !reads => reads = true,
            b'W' if !writes => writes = true,
            b'~' if reads || writes => return Ok((reads, writes, &text[index + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    if reads || writes { Ok((reads, writes, b"")) } else { Err(RuleError::Syntax) }
}

/// Numbers with commas between them.
fn parse_dbs(list: &[u8]) -> Result<Vec<u32>, RuleError> {
    let parse = |word: &[u8]| {
        let digits = word.strip_prefix(b"-").unwrap_or(word);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(RuleError::Syntax);
        }
        let number = base::number::parse_i64(word).filter(|number| (0..=DB_MAX).contains(number));
        number.map(|number| number as u32).ok_or(RuleError::DbOutOfRange)
    };
    let mut dbs = list.split(|byte| *byte == b',').map(parse).collect::<Result<Vec<u32>, _>>()?;
    dbs.sort_unstable();
    dbs.dedup();
    Ok(dbs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(rules: &str) -> Selector {
        let mut selector = Selector::new(Defaults { all_channels: false });
        rules.split(' ').for_each(|rule| selector.apply(rule.as_bytes()).expect("a rule of a test"));
        selector
    }

    fn refused(rules: &str) -> RuleError {
        let mut selector = Selector::new(Defaults { all_channels: false });
        rules.split(' ').find_map(|rule| selector.apply(rule.as_bytes()).err()).expect("an error")
    }

    fn described(rules: &str) -> String {
        let mut out = Vec::new();
        selector(rules).describe(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn reading_and_writing_are_allowed_by_themselves() {
        let some = selector("%R~read* %W~write* %RW~both*");
        for (key, key_use, is_allowed) in [
            ("read1", KeyUse::RO_ACCESS, true),
            ("read1", KeyUse::RO, true),
            ("read1", KeyUse::RW_UPDATE, false),
            ("write1", KeyUse::RW_INSERT, true),
            ("write1", KeyUse::RW_ACCESS_DELETE, false),
            ("write1", KeyUse::RO, true),
            ("both1", KeyUse::RW_ACCESS_UPDATE, true),
            ("neither", KeyUse::RO, false),
        ] {
            assert_eq!(some.allows_key(key.as_bytes(), key_use), is_allowed, "{key}");
        }
        assert_eq!(selector("%R~foo %W~foo %RW~bar").describe_keys(), b"~foo ~bar");
        assert!(selector("%RW").allows_key(b"", KeyUse::RW_UPDATE));
    }

    #[test]
    fn a_description_gives_the_same_selector() {
        for rules in
            ["~* &* +@all", "resetkeys -@all", "%R~a %W~b ~c &d &e* db=2,0,1,1 +@all -get", "resetdbs +get", "db=3"]
        {
            let text = described(rules);
            assert_eq!(selector(&text), selector(rules), "{text}");
        }
        assert_eq!(described("%R~a ~b &c db=1,0 +get"), "%R~a ~b resetchannels &c db=0,1 -@all +get");
    }

    #[test]
    fn patterns_of_channels_are_taken_by_the_letter() {
        let some = selector("&foo:1 &bar:*");
        assert!(some.allows_channel(b"bar:2", false) && !some.allows_channel(b"zap", false));
        assert!(some.allows_channel(b"bar:*", true) && !some.allows_channel(b"bar:2", true));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (rules, error) in [
            ("~* ~a", RuleError::KeysAfterAll),
            ("&* &a", RuleError::ChannelsAfterAll),
            ("% ~a", RuleError::Syntax),
            ("%~a", RuleError::Syntax),
            ("%RR~a", RuleError::Syntax),
            ("db=", RuleError::Syntax),
            ("db=,1", RuleError::Syntax),
            ("db=1,,2", RuleError::Syntax),
            ("db=a", RuleError::Syntax),
            ("db=-1", RuleError::DbOutOfRange),
            ("db=12345678987654321", RuleError::DbOutOfRange),
            ("nonsense", RuleError::Syntax),
        ] {
            assert_eq!(refused(rules), error, "{rules}");
        }
    }
}
