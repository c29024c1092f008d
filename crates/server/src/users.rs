//! The users that a server starts with: from the file of `aclfile`, or from the setting `users`.
//!
//! Deliberately not here: what users may do (`commands::acl`). Deliberately strict: a file that cannot be read whole is
//! no reason to let fewer rules hold, so that the server does not start.

use crate::config::{SettingId, Settings};
use commands::acl::{Defaults, NamedUser, Users, parse_users};
use std::io::ErrorKind;

const ACLFILE: SettingId = SettingId::of("aclfile");
const USERS: SettingId = SettingId::of("users");

/// Everybody that the settings name.
///
/// # Errors
/// A sentence that names the line that is wrong.
pub fn load(settings: &Settings) -> Result<Users, String> {
    let password = settings.password().unwrap_or_default();
    let users = Users::new(password.as_bytes());
    if let Some(named) = named_users(settings)? {
        users.begin_with(named, password.as_bytes());
    }
    match settings.exposed_address() {
        Some(address) if users.default_is_open() => Err(format!(
            "refusing to serve {address} while the user `default` needs no password: other machines can reach it; \
             give it one or turn it off, or say --allow-unprotected if the network itself keeps strangers out"
        )),
        _ => Ok(users),
    }
}

fn named_users(settings: &Settings) -> Result<Option<Vec<NamedUser>>, String> {
    let defaults = Defaults { all_channels: settings.text(SettingId::of("acl-pubsub-default")) == "allchannels" };
    let (file, lines) = (settings.text(ACLFILE), settings.text(USERS));
    match (file.is_empty(), lines.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Err("name users in the file of `aclfile` or in `users`, not in both".to_owned()),
        (false, true) => parse_users(&file, &read(&file)?, defaults).map(Some),
        (true, false) => parse_users("users", &as_file(&lines), defaults).map(Some),
    }
}

/// The text of the file at `path`.
pub fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| {
        let hint = if error.kind() == ErrorKind::NotFound { "; an empty one is enough to begin with" } else { "" };
        format!("Error loading ACLs, opening file '{path}': {error}{hint}")
    })
}

/// Lines of the setting, `name rule …`, as lines of a file.
fn as_file(lines: &str) -> String {
    lines.lines().flat_map(|line| ["user ", line, "\n"]).collect()
}

/// Checks the setting `users`: a line for each user, `name rule …`.
pub fn check(text: &str, _current: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines = lines.join("\n");
    parse_users("users", &as_file(&lines), Defaults { all_channels: false })?;
    Ok(lines)
}

/// Users as the setting has them. The default user is left out while it is what `password` makes it.
pub fn as_setting(users: &Users, password: &str) -> String {
    let plain = commands::acl::User::unlimited(password.as_bytes());
    let named = users.all().into_iter().filter(|(name, user)| name != b"default" || **user != plain);
    let lines = named.map(|(name, user)| [&name[..], b" ", &user.describe()].concat());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load as load_settings};

    fn with_flags(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(name, text)| (SettingId::of(name), (*text).to_owned())).collect();
        load_settings(Inputs { flags, ..Inputs::default() }).expect("settings of a test").settings
    }

    fn refused(flags: &[(&str, &str)]) -> String {
        load(&with_flags(flags)).expect_err("an error")
    }

    #[test]
    fn users_come_from_the_setting_and_go_back_into_it() {
        let users = load(&with_flags(&[("users", "bob on >pw +get ~a\n\n alice off"), ("requirepass", "x")]));
        let users = users.expect("good users");
        assert!(users.log_in(b"bob", b"pw").is_some() && users.log_in(b"default", b"x").is_some());
        let text = as_setting(&users, "x");
        assert!(text.starts_with("alice off resetchannels -@all\nbob on #"), "{text}");
        let again = load(&with_flags(&[("users", &text)])).expect("what was printed");
        assert_eq!(as_setting(&again, ""), text);
        assert!(as_setting(&users, "y").contains("default on #"), "a default user with rules of its own is kept");
    }

    #[test]
    fn a_bad_file_is_refused_by_its_line() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("users.acl");
        let path = path.to_str().expect("UTF-8");
        assert!(refused(&[("aclfile", path)]).contains("opening file"));
        std::fs::write(path, "user a on\nuser b +nosuch\n").expect("a file");
        let problem = refused(&[("aclfile", path)]);
        assert!(
            problem.ends_with(
                "users.acl:2: Error in applying operation '+nosuch': Unknown command or category name in ACL"
            ),
            "{problem}"
        );
        std::fs::write(path, "user a on >x\n").expect("a file");
        let users = load(&with_flags(&[("aclfile", path)])).expect("a good file");
        assert!(users.default_is_open() && users.log_in(b"a", b"x").is_some());
        assert!(refused(&[("aclfile", path), ("users", "b on")]).contains("not in both"));
    }

    #[test]
    fn strangers_are_kept_out_by_rules_as_well_as_by_a_password() {
        assert!(refused(&[("bind", "*"), ("users", "bob on >pw +@all")]).contains("needs no password"));
        assert!(load(&with_flags(&[("bind", "*"), ("users", "default off")])).is_ok());
    }
}
