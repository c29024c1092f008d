//! The first line of a script: `#!lua name=library flags=no-writes,allow-oom`.
//!
//! Deliberately not: the rest of the script, and whether the named engine exists.

use std::ops::BitOr;

/// What a script declares about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptFlags(pub u8);

impl ScriptFlags {
    /// Declares nothing.
    pub const NONE: ScriptFlags = ScriptFlags(0);
    /// Changes nothing.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// May run, and write, when memory is used up.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(1 << 1);
    /// May run on a replica with stale data.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(1 << 2);
    /// Must not run in a cluster.
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(1 << 3);
    /// May touch keys of several slots.
    pub const ALLOW_CROSS_SLOT: ScriptFlags = ScriptFlags(1 << 4);
    /// Has no first line of this kind: it is held to what its commands do, as scripts were before there were flags.
    pub const COMPATIBLE: ScriptFlags = ScriptFlags(1 << 5);

    const NAMES: [(ScriptFlags, &str); 5] = [
        (ScriptFlags::NO_WRITES, "no-writes"),
        (ScriptFlags::ALLOW_OOM, "allow-oom"),
        (ScriptFlags::ALLOW_STALE, "allow-stale"),
        (ScriptFlags::NO_CLUSTER, "no-cluster"),
        (ScriptFlags::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// Whether all of `other` are declared.
    pub fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flag of this name.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        Self::NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(flag, _)| *flag)
    }

    /// The names of those declared.
    pub fn names(self) -> impl ExactSizeIterator<Item = &'static str> {
        let names: Vec<_> = Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        names.into_iter()
    }
}

impl BitOr for ScriptFlags {
    type Output = ScriptFlags;

    fn bitor(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }
}

/// What a first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The engine it names.
    pub engine: String,
    /// What it declares.
    pub flags: ScriptFlags,
    /// `name=` of a library; empty for a script.
    pub name: Vec<u8>,
    /// Bytes of the first line, without its end.
    pub bytes: usize,
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Reads the first line of a script. One without such a line is Lua's, and compatible.
///
/// # Errors
/// Redis's text, without its code.
pub fn script_header(body: &[u8]) -> Result<Header, String> {
    if !body.starts_with(b"#!") {
        return Ok(Header { engine: "lua".into(), flags: ScriptFlags::COMPATIBLE, name: Vec::new(), bytes: 0 });
    }
    let bytes = body.iter().position(|byte| *byte == b'\n').ok_or("Invalid script shebang")?;
    let mut words = words(&body[..bytes]);
    let engine = lossy(words.next().and_then(|word| word.get(2..)).ok_or("Invalid engine in script shebang")?);
    let mut flags = ScriptFlags::NONE;
    for word in words {
        let listed =
            word.strip_prefix(b"flags=").ok_or_else(|| format!("Unknown lua shebang option: {}", lossy(word)))?;
        for name in listed.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
            let flag = ScriptFlags::named(name);
            flags = flags | flag.ok_or_else(|| format!("Unexpected flag in script shebang: {}", lossy(name)))?;
        }
    }
    Ok(Header { engine, flags, name: Vec::new(), bytes })
}

/// Reads the first line of a library, which must have one, with a name.
///
/// # Errors
/// Redis's text, without its code.
pub fn library_header(body: &[u8]) -> Result<Header, String> {
    if !body.starts_with(b"#!") {
        return Err("Missing library metadata".into());
    }
    let bytes = body.iter().position(|byte| *byte == b'\n').ok_or("Invalid library metadata")?;
    let mut words = words(&body[..bytes]);
    let engine = lossy(words.next().and_then(|word| word.get(2..)).ok_or("Invalid library metadata")?);
    let mut name = None;
    for word in words {
        let given = strip_name(word).ok_or_else(|| format!("Invalid metadata value given: {}", lossy(word)))?;
        if name.replace(given).is_some() {
            return Err("Invalid metadata value, name argument was given multiple times".into());
        }
    }
    let name = name.ok_or("Library name was not given")?.to_vec();
    Ok(Header { engine, flags: ScriptFlags::NONE, name, bytes })
}

fn strip_name(word: &[u8]) -> Option<&[u8]> {
    let (key, given) = word.split_at_checked(5)?;
    if !key.eq_ignore_ascii_case(b"name=") {
        return None;
    }
    Some(given.strip_prefix(b"\"").and_then(|given| given.strip_suffix(b"\"")).unwrap_or(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_may_declare_flags() {
        let header = script_header(b"#!lua flags=no-writes,allow-oom\nreturn 1").expect("as it should be");
        assert_eq!(header.flags, ScriptFlags::NO_WRITES | ScriptFlags::ALLOW_OOM);
        assert_eq!(header.flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!((header.engine.as_str(), header.bytes), ("lua", 31));
        assert_eq!(script_header(b"#!lua flags=\n").map(|header| header.flags), Ok(ScriptFlags::NONE));
        assert_eq!(script_header(b"return 1").map(|header| header.flags), Ok(ScriptFlags::COMPATIBLE));
        assert_eq!(script_header(b"#!lua a=b\n"), Err("Unknown lua shebang option: a=b".into()));
        assert_eq!(script_header(b"#!lua flags=x\n"), Err("Unexpected flag in script shebang: x".into()));
        assert_eq!(script_header(b"#!lua"), Err("Invalid script shebang".into()));
    }

    #[test]
    fn libraries_must_be_named_once() {
        assert_eq!(library_header(b"#!LUA name=a_1\n").map(|header| header.name), Ok(b"a_1".to_vec()));
        assert_eq!(library_header(b"#!lua name=\"a\"\n").map(|header| header.name), Ok(b"a".to_vec()));
        for (body, text) in [
            (&b"return 1"[..], "Missing library metadata"),
            (b"#!lua name=a", "Invalid library metadata"),
            (b"#!lua\n", "Library name was not given"),
            (b"#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            (b"#!lua name=a foo=bar\n", "Invalid metadata value given: foo=bar"),
        ] {
            assert_eq!(library_header(body), Err(text.into()));
        }
        assert_eq!(library_header(b"#! name=a\n").map(|header| header.engine), Ok(String::new()));
    }
}
