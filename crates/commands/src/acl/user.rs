//! A user: passwords, whether it may log in, and selectors.
//!
//! Invariant: rules that are applied one after the other are applied all or none by [`User::changed`].

use super::selector::{Selector, is_in_channels};
use super::text::{hexadecimal, join_parentheses, words_of};
use sha2::{Digest, Sha256};

/// Bytes of a password as it is kept.
const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// What rules say nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// New selectors allow every channel (`acl-pubsub-default allchannels`).
    pub all_channels: bool,
}

/// Why a rule was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No command or category has this name.
    CommandUnknown,
    /// It is no rule.
    Syntax,
    /// A pattern of keys after all keys were allowed.
    KeysAfterAll,
    /// A channel after all channels were allowed.
    ChannelsAfterAll,
    /// A password to be removed is not there.
    PasswordAbsent,
    /// A hash is not 64 lower-case hexadecimal digits.
    HashMalformed,
    /// `+config|get|argument`.
    ArgumentOfSubcommand,
    /// The number of a database is out of range.
    DbOutOfRange,
}

impl RuleError {
    /// Redis's words for it.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::CommandUnknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::PasswordAbsent => "The password you are trying to remove from the user does not exist",
            RuleError::HashMalformed => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::ArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            RuleError::DbOutOfRange => "The provided database ID is out of range",
        }
    }
}

/// Why a list of rules was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeError {
    /// This parenthesis is not closed.
    Unmatched(Vec<u8>),
    /// This rule.
    Rule(Vec<u8>, RuleError),
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    is_enabled: bool,
    /// Any password will do.
    is_open: bool,
    passwords: Vec<Hash>,
    root: Selector,
    /// Those in parentheses.
    more: Vec<Selector>,
}

impl User {
    /// A user that may not log in, and do nothing.
    pub fn new(defaults: Defaults) -> Self {
        let root = Selector::new(defaults);
        User { is_enabled: false, is_open: false, passwords: Vec::new(), root, more: Vec::new() }
    }

    /// A user that may do everything, with this password; with any if it is empty.
    pub fn unlimited(password: &[u8]) -> Self {
        let mut root = Selector::new(Defaults { all_channels: true });
        root.commands.set_all(true);
        for rule in [&b"allkeys"[..], b"allchannels", b"alldbs"] {
            root.apply(rule).expect("these rules need nothing");
        }
        let mut user = User { is_enabled: true, is_open: true, passwords: Vec::new(), root, more: Vec::new() };
        user.set_password(password);
        user
    }

    /// Makes this the only password; if it is empty, any will do.
    pub fn set_password(&mut self, password: &[u8]) {
        self.is_open = password.is_empty();
        self.passwords = if password.is_empty() { Vec::new() } else { vec![hash(password)] };
    }

    /// Whether everything is allowed.
    pub fn is_unlimited(&self) -> bool {
        self.selectors().any(Selector::is_unlimited)
    }

    /// Whether it may log in.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Whether it may log in with any password.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether it may log in with this password.
    ///
    /// # Cost
    /// One SHA-256 and a comparison with each password; how long it takes tells nothing of them.
    pub fn may_log_in(&self, password: &[u8]) -> bool {
        let given = hash(password);
        let is_known = self.passwords.iter().fold(false, |is_known, known| is_known | is_same(known, &given));
        self.is_enabled && (self.is_open || is_known)
    }

    /// The passwords as they are kept, in hexadecimal digits.
    pub fn password_hashes(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        self.passwords.iter().map(|hash| hexadecimal(hash))
    }

    /// `on`, `off`, `nopass`: those that hold.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> + Clone {
        let flags = [("on", self.is_enabled), ("off", !self.is_enabled), ("nopass", self.is_open)];
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// The selector that every user has.
    pub(crate) fn root(&self) -> &Selector {
        &self.root
    }

    /// The others.
    pub(crate) fn more(&self) -> &[Selector] {
        &self.more
    }

    /// All of them.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.more)
    }

    /// This user after these rules.
    pub(crate) fn changed<R: AsRef<[u8]>>(&self, rules: &[R], defaults: Defaults) -> Result<User, ChangeError> {
        let mut user = self.clone();
        for rule in join_parentheses(rules).map_err(ChangeError::Unmatched)? {
            user.apply(&rule, defaults).map_err(|error| ChangeError::Rule(rule, error))?;
        }
        Ok(user)
    }

    fn apply(&mut self, rule: &[u8], defaults: Defaults) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_enabled = true,
            b"off" => self.is_enabled = false,
            // Payloads of RESTORE are always checked here.
            b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"nopass" => (self.is_open, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.is_open, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.more.clear(),
            b"reset" => *self = User::new(defaults),
            _ => return self.apply_with_argument(rule, defaults),
        }
        Ok(())
    }

    fn apply_with_argument(&mut self, rule: &[u8], defaults: Defaults) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', digits @ ..] => self.add_password(parse_hash(digits)?),
            [b'<', password @ ..] => return self.remove_password(&hash(password)),
            [b'!', digits @ ..] => return self.remove_password(&parse_hash(digits)?),
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(defaults);
                words_of(rules).try_for_each(|rule| selector.apply(rule))?;
                self.more.push(selector);
            }
            _ => return self.root.apply(rule),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.is_open = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash).ok_or(RuleError::PasswordAbsent)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// The channels that are left to subscribers, if this user may use fewer than `before`; `None` if no less.
    pub(crate) fn channels_left(&self, before: &User) -> Option<Vec<Vec<u8>>> {
        if self.selectors().any(Selector::allows_all_channels) {
            return None;
        }
        let left: Vec<Vec<u8>> = self.selectors().flat_map(Selector::channel_list).cloned().collect();
        let keeps = |selector: &Selector| {
            !selector.allows_all_channels() && selector.channel_list().iter().all(|glob| left.contains(glob))
        };
        if before.selectors().all(keeps) { None } else { Some(left) }
    }

    /// The user as rules, as ACL LIST shows it and a file keeps it.
    pub fn describe(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for flag in self.flags() {
            out.extend_from_slice(flag.as_bytes());
            out.push(b' ');
        }
        for hash in self.password_hashes() {
            out.extend_from_slice(format!("#{hash} ").as_bytes());
        }
        self.root.describe(&mut out);
        for selector in &self.more {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }
}

/// Whether a subscription to a channel, or to a pattern, may stay when only these are left.
pub(crate) fn may_stay(left: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    is_in_channels(left, channel, is_pattern)
}

fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// Whether two hashes are the same, in a time that tells nothing of where they differ.
fn is_same(left: &Hash, right: &Hash) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (l, r)| difference | (l ^ r));
    std::hint::black_box(difference) == 0
}

fn parse_hash(digits: &[u8]) -> Result<Hash, RuleError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(RuleError::HashMalformed),
    };
    if digits.len() != 2 * HASH_BYTES {
        return Err(RuleError::HashMalformed);
    }
    let mut hash = [0; HASH_BYTES];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Defaults = Defaults { all_channels: false };

    fn user(rules: &str) -> User {
        let rules: Vec<&str> = rules.split(' ').filter(|rule| !rule.is_empty()).collect();
        User::new(NONE).changed(&rules, NONE).expect("rules of a test")
    }

    fn refused(rules: &str) -> ChangeError {
        let rules: Vec<&str> = rules.split(' ').collect();
        User::new(NONE).changed(&rules, NONE).expect_err("an error")
    }

    #[test]
    fn passwords_are_added_and_removed_as_text_and_as_hash() {
        let hash = "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6";
        let both = user(&format!("on >one #{hash}"));
        assert!(both.may_log_in(b"one") && both.may_log_in(b"passwd4") && !both.may_log_in(b"two"));
        let one = user(&format!("on >one #{hash} <one"));
        assert!(!one.may_log_in(b"one") && one.may_log_in(b"passwd4"));
        assert!(!user(&format!("on #{hash} !{hash}")).may_log_in(b"passwd4"));
        assert!(user("on nopass").may_log_in(b"whatever"));
        assert!(!user("on nopass >one").may_log_in(b"whatever"));
        assert!(!user("nopass").may_log_in(b"whatever"), "new users are off");
        for bad in ["#34", &format!("#{}Q", &hash[1..]), &format!("!{}", hash.to_uppercase())] {
            assert_eq!(refused(bad), ChangeError::Rule(bad.into(), RuleError::HashMalformed));
        }
        assert_eq!(refused("<one"), ChangeError::Rule("<one".into(), RuleError::PasswordAbsent));
    }

    #[test]
    fn a_description_gives_the_same_user() {
        for rules in ["", "on >a >b ~x* +@all", "nopass ~* &* +@all", "on +get ( ~b +set ) (%R~c &d db=1 -@all)"] {
            let text = String::from_utf8(user(rules).describe()).expect("text");
            assert_eq!(user(&text), user(rules), "{text}");
        }
        let text = String::from_utf8(user("+get ~a (+set &b)").describe()).expect("text");
        assert_eq!(text, "off ~a resetchannels -@all +get (resetchannels &b -@all +set)");
        let open = String::from_utf8(User::unlimited(b"").describe()).expect("text");
        assert_eq!(open, "on nopass ~* &* +@all");
    }

    #[test]
    fn a_user_is_unlimited_when_one_selector_is() {
        assert!(User::unlimited(b"x").is_unlimited());
        assert!(user("~* &* +@all").is_unlimited());
        assert!(user("( ~* &* +@all )").is_unlimited());
        for rules in ["~* +@all", "&* +@all", "~* &* +@read", "~* &* +@all -get", "~* &* db=0 +@all"] {
            assert!(!user(rules).is_unlimited(), "{rules}");
        }
    }

    #[test]
    fn rules_in_parentheses_are_refused_as_one() {
        assert_eq!(refused("(&* &a)"), ChangeError::Rule("(&* &a)".into(), RuleError::ChannelsAfterAll));
        assert_eq!(refused("on (+ping (+select"), ChangeError::Unmatched("(+ping".into()));
        assert_eq!(refused(")"), ChangeError::Rule(")".into(), RuleError::Syntax));
    }

    #[test]
    fn only_who_lost_a_channel_is_asked_to_go() {
        let before = user("&foo &bar:*");
        assert_eq!(user("&foo &bar:* &more").channels_left(&before), None);
        assert_eq!(user("&*").channels_left(&before), None);
        assert_eq!(user("&foo").channels_left(&before), Some(vec![b"foo".to_vec()]));
        assert_eq!(user("&foo").channels_left(&user("&*")), Some(vec![b"foo".to_vec()]));
        assert!(may_stay(&[b"bar:*".to_vec()], b"bar:1", false));
        assert!(!may_stay(&[b"bar:*".to_vec()], b"bar:1", true));
    }
}
