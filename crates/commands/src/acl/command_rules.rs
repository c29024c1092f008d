//! Which commands a selector allows: a bit per row of the table, and the rules that led to them, in order.
//!
//! Rules are kept as text beside the bits, because what `+@all -@hash` means of commands that a later release adds
//! cannot be told from bits. A rule replaces earlier ones about the same command or category; `+@all` and `-@all`
//! replace all of them.
//!
//! Invariant: applying [`CommandRules::describe`] to new rules gives the same bits.

use super::categories::Categories;
use super::user::RuleError;
use crate::table;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandRules {
    /// `+@all` rather than `-@all` is what the rules start from.
    starts_with_all: bool,
    /// Nothing was taken away since `+@all`.
    is_all: bool,
    bits: Vec<u64>,
    /// Commands allowed with one first argument only: `+select|0`.
    first_args: Vec<(u16, Vec<u8>)>,
    /// `+get`, `-@hash`, …
    rules: Vec<String>,
}

impl CommandRules {
    /// No command.
    pub fn none() -> Self {
        let words = table::number_count().div_ceil(64);
        CommandRules {
            starts_with_all: false,
            is_all: false,
            bits: vec![0; words],
            first_args: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// `+@all` or `-@all`.
    pub fn set_all(&mut self, allowed: bool) {
        let bits = vec![if allowed { u64::MAX } else { 0 }; self.bits.len()];
        *self = CommandRules { starts_with_all: allowed, is_all: allowed, bits, first_args: vec![], rules: vec![] };
    }

    /// Whether every command is allowed.
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// Whether the row with this number may run; `first_arg` is the argument behind the command's name.
    pub fn allow(&self, number: u16, first_arg: Option<&[u8]>) -> bool {
        let is_set = self.bits[usize::from(number) / 64] >> (number % 64) & 1 == 1;
        is_set || first_arg.is_some_and(|arg| self.allow_first_arg(number, arg))
    }

    fn allow_first_arg(&self, number: u16, arg: &[u8]) -> bool {
        self.first_args.iter().any(|(of, allowed)| *of == number && allowed.eq_ignore_ascii_case(arg))
    }

    /// Applies `+name`, `-name`, `+name|subcommand` or `+name|argument`; `name` without its sign.
    pub fn change_command(&mut self, name: &[u8], allowed: bool) -> Result<(), RuleError> {
        let subcommand = name.iter().rposition(|byte| *byte == b'|').filter(|_| allowed);
        match subcommand {
            Some(at) if takes_first_args(&name[..at], name)? => self.add_first_arg(&name[..at], &name[at + 1..])?,
            _ => self.change(table::number_of_name(name).ok_or(RuleError::CommandUnknown)?, allowed),
        }
        self.add_rule(&name.to_ascii_lowercase(), allowed);
        Ok(())
    }

    fn add_first_arg(&mut self, parent: &[u8], arg: &[u8]) -> Result<(), RuleError> {
        let number = table::number_of_name(parent).ok_or(RuleError::CommandUnknown)?;
        if arg.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !self.allow_first_arg(number, arg) {
            self.first_args.push((number, arg.to_vec()));
        }
        Ok(())
    }

    /// Applies `+@name` or `-@name`; `name` without either sign.
    pub fn change_category(&mut self, name: &[u8], allowed: bool) -> Result<(), RuleError> {
        if name.eq_ignore_ascii_case(b"all") {
            self.set_all(allowed);
            return Ok(());
        }
        let wanted = Categories::named(name).ok_or(RuleError::CommandUnknown)?;
        for number in 0..table::number_count() as u16 {
            if Categories::of(table::by_number(number)).overlap(wanted) {
                self.change(number, allowed);
            }
        }
        self.add_rule(&[b"@", &name.to_ascii_lowercase()[..]].concat(), allowed);
        Ok(())
    }

    /// A command and all of its subcommands.
    fn change(&mut self, number: u16, allowed: bool) {
        let subcommand_count = table::by_number(number).subcommands.len() as u16;
        for number in number..=number + subcommand_count {
            let (word, bit) = (&mut self.bits[usize::from(number) / 64], 1 << (number % 64));
            if allowed {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
        self.first_args.retain(|(of, _)| *of != number);
        self.is_all &= allowed;
    }

    /// Notes a rule in the place of those it makes void: the same one, and those about its subcommands.
    fn add_rule(&mut self, name: &[u8], allowed: bool) {
        let name = String::from_utf8_lossy(name);
        self.rules.retain(|rule| {
            let rest = rule[1..].strip_prefix(&*name);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.rules.push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    /// The rules as ACL LIST shows them.
    pub fn describe(&self) -> String {
        let start = if self.starts_with_all { "+@all" } else { "-@all" };
        let rules = self.rules.iter().map(String::as_str);
        std::iter::once(start).chain(rules).collect::<Vec<_>>().join(" ")
    }
}

/// Whether what follows the name of `parent` in a rule about `name` is an argument rather than a subcommand.
fn takes_first_args(parent: &[u8], name: &[u8]) -> Result<bool, RuleError> {
    let number = table::number_of_name(parent).ok_or(RuleError::CommandUnknown)?;
    if parent.contains(&b'|') {
        return Err(RuleError::ArgumentOfSubcommand);
    }
    let spec = table::by_number(number);
    // DEBUG of Redis has arguments where ours has subcommands. Files with rules about others of them can be read.
    let is_foreign = spec.name == "debug" && table::number_of_name(name).is_none();
    Ok(spec.subcommands.is_empty() || is_foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rules: &mut CommandRules, text: &str) -> Result<(), RuleError> {
        for rule in text.split(' ') {
            let (allowed, name) = (rule.starts_with('+'), &rule.as_bytes()[1..]);
            match name.strip_prefix(b"@") {
                Some(category) => rules.change_category(category, allowed)?,
                None => rules.change_command(name, allowed)?,
            }
        }
        Ok(())
    }

    fn rules(text: &str) -> CommandRules {
        let mut rules = CommandRules::none();
        apply(&mut rules, text).expect("rules of a test");
        rules
    }

    fn allows(rules: &CommandRules, name: &str, first_arg: Option<&str>) -> bool {
        rules.allow(table::number_of_name(name.as_bytes()).expect("a command"), first_arg.map(str::as_bytes))
    }

    #[test]
    fn rules_are_compacted_without_loss() {
        for (given, shown) in [
            ("+@all -@hash -@slow +hget -@hash", "+@all -@slow +hget -@hash"),
            ("-@all +@HASH +@hash +@HaSh", "-@all +@hash"),
            ("-@all +HGET +hget +hGeT", "-@all +hget"),
            ("-@all +hget -hset +hset -hget", "-@all +hset -hget"),
            ("-@all +client|list +client|list +config|get +config +acl|list -acl", "-@all +client|list +config -acl"),
            ("-@all +select|0 +select|0", "-@all +select|0"),
            ("-@all +select|0 +debug|segfault +debug", "-@all +select|0 +debug"),
            ("-@all -@dangerous", "-@all -@dangerous"),
            ("-@string -@slow +@all", "+@all"),
            ("-@all +config +config|get -config|set +config", "-@all +config"),
        ] {
            let rules = rules(given);
            assert_eq!(rules.describe(), shown);
            assert_eq!(super::tests::rules(&rules.describe()), rules, "{given}");
        }
    }

    #[test]
    fn a_command_takes_its_subcommands_along() {
        let some = rules("+@all -client +client|id");
        assert!(allows(&some, "client|id", None) && !allows(&some, "client|list", None));
        let most = rules("+config -config|set");
        assert!(allows(&most, "config|get", None) && !allows(&most, "config|set", None));
        assert!(!allows(&most, "get", None));
    }

    #[test]
    fn a_first_argument_is_allowed_until_the_command_is_decided_upon() {
        let mut select = rules("-@all +select|0");
        assert!(allows(&select, "select", Some("0")) && !allows(&select, "select", Some("1")));
        assert!(!allows(&select, "select", None));
        apply(&mut select, "-select").expect("a rule");
        assert!(!allows(&select, "select", Some("0")));
    }

    #[test]
    fn only_nothing_taken_away_is_all() {
        assert!(rules("+@all").is_all());
        assert!(rules("+@all +get").is_all());
        assert!(!rules("+@all -get +get").is_all());
        assert!(!rules("-@all +@read").is_all());
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        let refused = |text: &str| apply(&mut CommandRules::none(), text).expect_err("an error");
        assert_eq!(refused("+nosuch"), RuleError::CommandUnknown);
        assert_eq!(refused("-@nosuch"), RuleError::CommandUnknown);
        assert_eq!(refused("+config|nosuch"), RuleError::CommandUnknown);
        assert_eq!(refused("-config|nosuch"), RuleError::CommandUnknown);
        assert_eq!(refused("+get|a|b"), RuleError::CommandUnknown);
        assert_eq!(refused("+config|get|a"), RuleError::ArgumentOfSubcommand);
        assert_eq!(refused("+select|"), RuleError::Syntax);
    }
}
