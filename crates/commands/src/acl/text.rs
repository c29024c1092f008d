//! Users as text: rules joined by parentheses, and a file with a line for each user.
//!
//! ```text
//! user alice on #<sha256> ~cache:* resetchannels -@all +@read (%W~log:* -@all +append)
//! ```
//!
//! Deliberately not here: files themselves. Deliberately as Redis has it, so that its files can be read: no comments.

use super::user::{ChangeError, Defaults, User};

/// A user and its name.
pub type NamedUser = (Vec<u8>, User);

/// Whether a user may be called this.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0 || *byte == 0x0b)
}

/// Two digits for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Words with white space between them.
pub(crate) fn words_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Rules in which each selector, from its opening parenthesis to the closing one, is one rule.
///
/// # Errors
/// The rule that opens a parenthesis which none closes.
pub(crate) fn join_parentheses<R: AsRef<[u8]>>(rules: &[R]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut opened_by: Option<&[u8]> = None;
    for rule in rules.iter().map(AsRef::as_ref) {
        if let (Some(_), Some(open)) = (opened_by, joined.last_mut()) {
            open.push(b' ');
            open.extend_from_slice(rule);
        } else {
            joined.push(rule.to_vec());
            opened_by = rule.starts_with(b"(").then_some(rule);
        }
        if rule.ends_with(b")") {
            opened_by = None;
        }
    }
    match opened_by {
        None => Ok(joined),
        Some(rule) => Err(rule.to_vec()),
    }
}

/// Reads users, a line each: `user name rule …`; `source` is what errors call the text.
///
/// # Errors
/// Everything that is wrong, each with its line, counted from 1.
pub fn parse_users(source: &str, text: &str, defaults: Defaults) -> Result<Vec<NamedUser>, String> {
    let (mut users, mut problems): (Vec<NamedUser>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match parse_line(line, &users, defaults) {
            Ok(user) => users.push(user),
            Err(problem) => problems.push(format!("{source}:{}: {problem}", index + 1)),
        }
    }
    if problems.is_empty() { Ok(users) } else { Err(problems.join(". ")) }
}

fn parse_line(line: &str, before: &[NamedUser], defaults: Defaults) -> Result<NamedUser, String> {
    let mut words = words_of(line.as_bytes());
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        return Err("should start with user keyword followed by the username".to_owned());
    };
    let shown = String::from_utf8_lossy(name);
    if !is_name(name) {
        return Err(format!("username '{shown}' contains invalid characters"));
    }
    if before.iter().any(|(other, _)| other == name) {
        return Err(format!("Duplicate user '{shown}' found"));
    }
    let rules: Vec<&[u8]> = words.collect();
    match User::new(defaults).changed(&rules, defaults) {
        Ok(user) => Ok((name.to_vec(), user)),
        Err(ChangeError::Unmatched(_)) => Err("Unmatched parenthesis in selector definition".to_owned()),
        Err(ChangeError::Rule(rule, error)) => {
            Err(format!("Error in applying operation '{}': {}", String::from_utf8_lossy(&rule), error.text()))
        }
    }
}

/// Writes users as [`parse_users`] reads them.
pub fn print_users<'u>(users: impl Iterator<Item = (&'u [u8], &'u User)>) -> Vec<u8> {
    let lines = users.map(|(name, user)| [b"user ", name, b" ", &user.describe(), b"\n"].concat());
    lines.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Defaults = Defaults { all_channels: false };

    fn joined(text: &str) -> Result<Vec<String>, String> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let rules: Vec<&str> = text.split(' ').collect();
        join_parentheses(&rules).map(|rules| rules.into_iter().map(text_of).collect()).map_err(text_of)
    }

    #[test]
    fn a_selector_may_be_spread_over_several_arguments() {
        assert_eq!(joined("on (+get ~a) off"), Ok(vec!["on".into(), "(+get ~a)".into(), "off".into()]));
        assert_eq!(joined("( ~a )"), Ok(vec!["( ~a )".into()]));
        assert_eq!(joined("(~a)"), Ok(vec!["(~a)".into()]));
        assert_eq!(joined("() on"), Ok(vec!["()".into(), "on".into()]));
        assert_eq!(joined("(a (b (c ) )"), Ok(vec!["(a (b (c )".into(), ")".into()]));
        assert_eq!(joined("on (a (b"), Err("(a".into()));
        assert_eq!(joined("("), Err("(".into()));
    }

    #[test]
    fn what_was_written_is_read() {
        let text = "user default on nopass ~* &* +@all\r\n\n  user bob off ~a resetchannels -@all +get (%R~b resetchannels -@all)\n";
        let users = parse_users("users.acl", text, NONE).expect("a good file");
        let printed = print_users(users.iter().map(|(name, user)| (&name[..], user)));
        assert_eq!(parse_users("users.acl", std::str::from_utf8(&printed).expect("text"), NONE), Ok(users));
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = "user a on\nbob on\nuser a off\nuser c +nosuch\nuser d (+get";
        let problems = parse_users("f", text, NONE).expect_err("a bad file");
        assert_eq!(
            problems,
            "f:2: should start with user keyword followed by the username. \
             f:3: Duplicate user 'a' found. \
             f:4: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
             f:5: Unmatched parenthesis in selector definition"
        );
    }
}
