//! What a library registers.
//!
//! Deliberately not: checking it. `sandbox.lua` did, while the library was loaded.

use crate::convert::lossy;
use crate::native;
use crate::shebang::ScriptFlags;
use mlua::{Result as LuaResult, Table, Value};

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryFunction {
    /// Its name.
    pub name: Vec<u8>,
    /// What it does, if the library says.
    pub description: Option<Vec<u8>>,
    /// What it declares.
    pub flags: ScriptFlags,
}

/// The functions of a library, in the order they were registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// At least one.
    pub functions: Vec<LibraryFunction>,
}

/// Reads the list that `register_function` filled.
pub(crate) fn declared(registered: &Table) -> LuaResult<Declared> {
    let mut functions = Vec::new();
    for entry in registered.sequence_values::<Table>() {
        let entry = entry?;
        let description: Value = entry.raw_get("description")?;
        let mut flags = ScriptFlags::NONE;
        for name in entry.raw_get::<Table>("flags")?.sequence_values::<Value>() {
            let name = lossy(&name?);
            flags = flags | ScriptFlags::named(name.as_bytes()).expect("flags were checked when they were registered");
        }
        functions.push(LibraryFunction {
            name: native::bytes_of_value(&entry.raw_get("name")?),
            description: (!description.is_nil()).then(|| native::bytes_of_value(&description)),
            flags,
        });
    }
    Ok(Declared { functions })
}
