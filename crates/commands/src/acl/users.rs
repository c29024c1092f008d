//! Everybody who may log in, what was refused to whom, and how often.
//!
//! ```text
//! connection ─► Account ─► rules: replaced as a whole, seen by the connection's next command
//! ```
//!
//! Invariants: there is always a user `default`, as which connections begin; an account that was removed or replaced
//! by a load stays with its connections, and lets them do nothing from then on unless the load kept it.

use super::check::Reason;
use super::log::Log;
use super::text::NamedUser;
use super::user::{ChangeError, Defaults, User};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// As whom connections begin.
pub(crate) const DEFAULT: &[u8] = b"default";

/// What a connection is logged in to.
#[derive(Debug)]
pub struct Account {
    name: Vec<u8>,
    /// It may not do everything: its commands must be checked.
    is_limited: AtomicBool,
    user: RwLock<Arc<User>>,
}

impl Account {
    fn new(name: &[u8], user: User) -> Arc<Self> {
        let is_limited = AtomicBool::new(!user.is_unlimited());
        Arc::new(Account { name: name.to_vec(), is_limited, user: RwLock::new(Arc::new(user)) })
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether its commands must be checked.
    ///
    /// # Cost
    /// One relaxed load of a flag that is written only when rules change.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Its rules as they are now.
    pub fn user(&self) -> Arc<User> {
        Arc::clone(&self.user.read())
    }

    fn set(&self, user: User) -> Arc<User> {
        let mut current = self.user.write();
        self.is_limited.store(!user.is_unlimited(), Ordering::Relaxed);
        std::mem::replace(&mut current, Arc::new(user))
    }

    fn close(&self) {
        self.set(User::new(Defaults { all_channels: false }));
    }
}

/// What was refused, since the start or the last CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Failed attempts to log in.
    pub auth: u64,
    /// Commands.
    pub command: u64,
    /// Keys.
    pub key: u64,
    /// Channels.
    pub channel: u64,
    /// Databases.
    pub database: u64,
}

/// Users whose connections may have to go.
#[derive(Debug, Default)]
pub(crate) struct Affected {
    /// They are no more.
    pub removed: Vec<Vec<u8>>,
    /// They may use only these channels from now on.
    pub fewer_channels: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Affected {
    fn note(&mut self, name: &[u8], before: &User, after: &User) {
        if let Some(left) = after.channels_left(before) {
            self.fewer_channels.push((name.to_vec(), left));
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Users {
    accounts: RwLock<BTreeMap<Vec<u8>, Arc<Account>>>,
    default: Arc<Account>,
    log: Mutex<Log>,
    denied: [AtomicU64; Reason::COUNT],
}

impl Users {
    /// Only the default user, who may do everything, with this password; with any if it is empty.
    pub fn new(password: &[u8]) -> Self {
        let default = Account::new(DEFAULT, User::unlimited(password));
        let accounts = BTreeMap::from([(DEFAULT.to_vec(), Arc::clone(&default))]);
        Users { accounts: RwLock::new(accounts), default, log: Mutex::default(), denied: Default::default() }
    }

    /// As whom connections begin.
    pub fn default(&self) -> &Arc<Account> {
        &self.default
    }

    /// Whether connections begin logged in.
    pub fn default_is_open(&self) -> bool {
        let user = self.default.user();
        user.is_enabled() && user.is_open()
    }

    /// Sets the default user's password; any will do if it is empty.
    pub fn set_default_password(&self, password: &[u8]) {
        let _one_change_at_a_time = self.accounts.write();
        let mut user = (*self.default.user()).clone();
        user.set_password(password);
        self.default.set(user);
    }

    /// The account with this name.
    pub fn find(&self, name: &[u8]) -> Option<Arc<Account>> {
        self.accounts.read().get(name).cloned()
    }

    /// The account with this name, if it may log in with this password.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<Account>> {
        self.find(name).filter(|account| account.user().may_log_in(password))
    }

    /// Every user, by name.
    pub fn all(&self) -> Vec<(Vec<u8>, Arc<User>)> {
        self.accounts.read().iter().map(|(name, account)| (name.clone(), account.user())).collect()
    }

    /// Applies rules to a user, who comes to be if there is none with this name: all of them or none.
    pub(crate) fn change<R: AsRef<[u8]>>(
        &self,
        name: &[u8],
        rules: &[R],
        defaults: Defaults,
    ) -> Result<Affected, ChangeError> {
        let mut accounts = self.accounts.write();
        let mut affected = Affected::default();
        if let Some(account) = accounts.get(name) {
            let before = account.user();
            let after = before.changed(rules, defaults)?;
            affected.note(name, &before, &after);
            account.set(after);
        } else {
            let user = User::new(defaults).changed(rules, defaults)?;
            accounts.insert(name.to_vec(), Account::new(name, user));
        }
        Ok(affected)
    }

    /// Removes a user. Returns whether there was one. The default user stays.
    pub(crate) fn remove(&self, name: &[u8]) -> bool {
        if name == DEFAULT {
            return false;
        }
        let removed = self.accounts.write().remove(name);
        if let Some(account) = &removed {
            account.close();
        }
        removed.is_some()
    }

    /// Puts these users in the place of all others. The default user, if not among them, gets this password.
    pub(crate) fn replace(&self, users: Vec<NamedUser>, default_password: &[u8]) -> Affected {
        let mut accounts = self.accounts.write();
        let mut affected = Affected::default();
        let mut before = std::mem::take(&mut *accounts);
        before.remove(DEFAULT);
        if users.iter().all(|(name, _)| name != DEFAULT) {
            self.default.set(User::unlimited(default_password));
        }
        accounts.insert(DEFAULT.to_vec(), Arc::clone(&self.default));
        for (name, user) in users {
            let kept = if name == DEFAULT { Some(Arc::clone(&self.default)) } else { before.remove(&name) };
            let account = match kept {
                Some(account) => {
                    affected.note(&name, &account.user(), &user);
                    account.set(user);
                    account
                }
                None => Account::new(&name, user),
            };
            accounts.insert(name, account);
        }
        for (name, account) in before {
            account.close();
            affected.removed.push(name);
        }
        affected
    }

    /// As `replace` before anybody is connected.
    pub fn begin_with(&self, users: Vec<NamedUser>, default_password: &[u8]) {
        self.replace(users, default_password);
    }

    /// The log of what was refused.
    pub fn log(&self) -> &Mutex<Log> {
        &self.log
    }

    /// Counts something refused.
    pub(crate) fn count(&self, reason: Reason) {
        self.denied[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often what was refused.
    pub fn counts(&self) -> Counts {
        let of = |reason: Reason| self.denied[reason as usize].load(Ordering::Relaxed);
        Counts {
            auth: of(Reason::Auth),
            command: of(Reason::Command),
            key: of(Reason::Key),
            channel: of(Reason::Channel),
            database: of(Reason::Database),
        }
    }

    /// Starts counting anew (CONFIG RESETSTAT).
    pub fn reset_counts(&self) {
        self.denied.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Defaults = Defaults { all_channels: false };

    #[test]
    fn rules_reach_who_is_logged_in_and_nobody_keeps_what_was_taken() {
        let users = Users::new(b"");
        users.change(b"bob", &["on", ">pw", "~*", "&*", "+@all"], NONE).expect("rules");
        let bob = users.log_in(b"bob", b"pw").expect("his password");
        assert!(!bob.is_limited() && users.log_in(b"bob", b"other").is_none());
        users.change(b"bob", &["-get"], NONE).expect("a rule");
        assert!(bob.is_limited());
        assert!(users.change(b"bob", &["+get", "nonsense"], NONE).is_err());
        assert!(users.remove(b"bob") && !users.remove(b"bob"));
        assert!(bob.is_limited() && !bob.user().is_enabled());
        assert!(users.log_in(b"bob", b"pw").is_none());
    }

    #[test]
    fn the_default_user_is_always_there() {
        let users = Users::new(b"secret");
        assert!(!users.default_is_open() && users.log_in(DEFAULT, b"secret").is_some());
        assert!(!users.remove(DEFAULT));
        users.set_default_password(b"");
        assert!(users.default_is_open());
        users.change(DEFAULT, &["off"], NONE).expect("a rule");
        assert!(!users.default_is_open());
    }

    #[test]
    fn a_load_keeps_accounts_and_closes_those_it_does_not_name() {
        let users = Users::new(b"");
        for name in ["alice", "bob"] {
            users.change(name.as_bytes(), &["on", "nopass", "+@all", "&a"], NONE).expect("rules");
        }
        let [alice, bob] = ["alice", "bob"].map(|name| users.find(name.as_bytes()).expect("a user"));
        let loaded = super::super::parse_users("f", "user alice on nopass +@all &b", NONE).expect("a file");
        let affected = users.replace(loaded, b"pw");
        assert_eq!(affected.removed, [b"bob".to_vec()]);
        assert_eq!(affected.fewer_channels, [(b"alice".to_vec(), vec![b"b".to_vec()])]);
        assert!(Arc::ptr_eq(&alice, &users.find(b"alice").expect("still there")));
        assert!(!bob.user().is_enabled() && users.find(b"bob").is_none());
        assert!(users.log_in(DEFAULT, b"pw").is_some() && users.log_in(DEFAULT, b"").is_none());
    }
}
