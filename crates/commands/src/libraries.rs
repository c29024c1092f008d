//! The libraries of functions as FCALL finds them: what each registered, by name.
//!
//! ```text
//! FUNCTION LOAD ─► code runs once, registers ─► catalog changed ─► code stored (Tx::put_library) ─► … ─► record
//! start         ─► stored code ─► catalog
//! ```
//!
//! The stored codes are the data (`keyspace::library`), the catalog is derived from them. It changes only while the
//! partition of libraries is locked, so that both change in one order; it is read without that lock.
//!
//! Deliberately not here: commands (`functions.rs`), and Lua states, of which each thread has its own.
//!
//! Invariants: a function name, in whatever case, belongs to one library; the catalog has what is stored, but for libraries that a release
//! cannot load any more.

use crate::error::Error;
use crate::host::Host;
use crate::refuse;
use crate::script_cache::{Habit, next_stamp};
use crate::script_run::load_library;
use journal::{Journal, Position};
use keyspace::spilled::ReadError;
use keyspace::{Keyspace, LIBRARY_PARTITION, library};
use script::{LibraryFunction, library_header};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// A function and what is known of it.
#[derive(Debug)]
pub struct Function {
    /// As it was registered.
    pub declared: LibraryFunction,
    /// Which keys it touches.
    pub habit: Habit,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// Its code, first line included.
    pub code: Box<[u8]>,
    /// Tells this code from any other that had the name.
    pub stamp: u64,
    /// At least one, in the order in which they were registered.
    pub functions: Vec<Function>,
}

/// A function that was found by its name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its library.
    pub library: Arc<Library>,
    index: usize,
}

impl Found {
    /// The function.
    pub fn function(&self) -> &Function {
        &self.library.functions[self.index]
    }
}

/// Libraries that belong together, and their functions.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    libraries: BTreeMap<Vec<u8>, Arc<Library>>,
    /// By their names in lower case.
    functions: HashMap<Vec<u8>, Found, foldhash::fast::RandomState>,
}

impl Catalog {
    /// The function of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Found> {
        if name.iter().any(u8::is_ascii_uppercase) {
            return self.functions.get(&name.to_ascii_lowercase());
        }
        self.functions.get(name)
    }

    /// The library of this name.
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.libraries.get(name)
    }

    /// All libraries, by name.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    /// How many functions there are.
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of codes and of what is kept about functions.
    pub fn bytes(&self) -> usize {
        let codes: usize = self.libraries.values().map(|library| library.code.len() + size_of::<Library>()).sum();
        codes + self.functions.len() * (size_of::<Function>() + size_of::<Found>())
    }

    /// Adds a library, in place of the one of its name if there is one.
    ///
    /// # Errors
    /// Another library has a function of the same name; nothing was changed.
    pub fn put(&mut self, library: Arc<Library>) -> Result<(), Error> {
        let is_taken = |function: &&Function| {
            self.find(&function.declared.name).is_some_and(|found| found.library.name != library.name)
        };
        if let Some(taken) = library.functions.iter().find(is_taken) {
            let name = String::from_utf8_lossy(&taken.declared.name).into_owned();
            return Err(refuse!("ERR Function {name} already exists"));
        }
        self.remove(&library.name);
        for (index, function) in library.functions.iter().enumerate() {
            let found = Found { library: Arc::clone(&library), index };
            self.functions.insert(function.declared.name.to_ascii_lowercase(), found);
        }
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }

    /// Removes a library. Returns whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        for function in &library.functions {
            self.functions.remove(&function.declared.name.to_ascii_lowercase());
        }
        true
    }
}

#[derive(Debug, Default)]
struct Shared {
    catalog: Catalog,
    /// How far the journal must have got for the catalog; unknown until whoever changed it has let go of the
    /// libraries' partition.
    revealed: OnceLock<Position>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Libraries(RwLock<Shared>);

impl Libraries {
    fn shared(&self) -> RwLockReadGuard<'_, Shared> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what there is.
    pub fn read<R>(&self, look: impl FnOnce(&Catalog) -> R) -> R {
        look(&self.shared().catalog)
    }

    /// The function of this name, and what a reply that tells of it reveals: that is `None` while the last change of
    /// libraries may not be in the journal.
    pub fn find(&self, name: &[u8], keyspace: &Keyspace) -> (Option<Found>, Option<Position>) {
        let shared = self.shared();
        let revealed = shared.revealed.get().copied().or_else(|| {
            let revealed = keyspace.try_lock(LIBRARY_PARTITION)?.revealed;
            Some(*shared.revealed.get_or_init(|| revealed))
        });
        (shared.catalog.find(name).cloned(), revealed)
    }

    /// Changes what there is. The libraries' partition must be locked.
    pub fn change<R>(&self, change: impl FnOnce(&mut Catalog) -> R) -> R {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        shared.revealed = OnceLock::new();
        change(&mut shared.catalog)
    }
}

/// The name in the first line of a library's code.
///
/// # Errors
/// Redis's texts.
pub fn name_of(code: &[u8]) -> Result<Vec<u8>, Error> {
    let header = library_header(code).map_err(|text| refuse!("ERR {text}"))?;
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if header.name.is_empty() || !header.name.iter().all(is_name_byte) {
        return Err(Error::text(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    if !header.engine.eq_ignore_ascii_case("lua") {
        return Err(refuse!("ERR Engine '{}' not found", header.engine));
    }
    Ok(header.name)
}

/// Runs a library's code, to learn what it registers; `time_max_ms` is how long that may take.
///
/// # Errors
/// It does not compile, fails, or registers nothing: Redis's texts.
pub fn make(host: &dyn Host, name: Vec<u8>, code: &[u8], time_max_ms: Option<u64>) -> Result<Arc<Library>, Error> {
    let stamp = next_stamp();
    let declared = load_library(host, &name, stamp, code, time_max_ms)?;
    let function = |declared| Function { declared, habit: Habit::default() };
    let functions = declared.functions.into_iter().map(function).collect();
    Ok(Arc::new(Library { name, code: code.into(), stamp, functions }))
}

/// Makes the catalog of the libraries that are stored. `refused` is told of those that cannot be loaded any more: they
/// stay stored, and their functions are not to be found.
///
/// # Errors
/// The journal cannot be read.
pub fn open(
    keyspace: &Keyspace,
    journal: &Journal,
    host: &dyn Host,
    mut refused: impl FnMut(&[u8], &Error),
) -> Result<(), ReadError> {
    let mut stored = library::libraries(keyspace, journal)?;
    stored.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut catalog = Catalog::default();
    for library::StoredLibrary { name, code } in stored {
        let added = make(host, name.clone(), &code, None).and_then(|library| catalog.put(library));
        if let Err(error) = added {
            refused(&name, &error);
        }
    }
    host.scripts().libraries().change(|all| *all = catalog);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use script::ScriptFlags;

    fn library(name: &str, functions: &[&str]) -> Arc<Library> {
        let declared = |name: &&str| LibraryFunction {
            name: name.as_bytes().to_vec(),
            description: None,
            flags: ScriptFlags::NONE,
        };
        let function = |name| Function { declared: declared(name), habit: Habit::default() };
        let functions = functions.iter().map(function).collect();
        Arc::new(Library { name: name.into(), code: b"code"[..].into(), stamp: next_stamp(), functions })
    }

    #[test]
    fn a_function_belongs_to_one_library() {
        let mut catalog = Catalog::default();
        assert_eq!(catalog.put(library("one", &["f", "g"])), Ok(()));
        let refused = catalog.put(library("two", &["h", "g"]));
        assert_eq!(refused.map_err(|error| error.reply().to_string()), Err("ERR Function g already exists".into()));
        assert!(catalog.find(b"h").is_none(), "nothing of it was added");
        assert!(catalog.find(b"G").is_some());
        assert_eq!(catalog.find(b"g").map(|found| &found.function().declared.name[..]), Some(&b"g"[..]));
        assert_eq!(catalog.put(library("one", &["g", "i"])), Ok(()), "its own are no hindrance");
        assert!(catalog.find(b"f").is_none() && catalog.find(b"i").is_some());
        assert!(catalog.remove(b"one") && !catalog.remove(b"one"));
        assert_eq!((catalog.libraries().len(), catalog.function_count(), catalog.bytes()), (0, 0, 0));
    }

    #[test]
    fn what_a_catalog_reveals_is_known_once_its_partition_is_let_go_of() {
        let (keyspace, libraries) = (Keyspace::new(1), Libraries::default());
        let revealed = || libraries.find(b"f", &keyspace).1;
        let mut partition = keyspace.lock(LIBRARY_PARTITION);
        assert_eq!(libraries.change(|catalog| catalog.put(library("one", &["f"]))), Ok(()));
        assert_eq!(revealed(), None);
        let position = Position { offset: 9, ..Position::ZERO };
        partition.revealed = position;
        drop(partition);
        assert_eq!(revealed(), Some(position));
        let _held = keyspace.lock(LIBRARY_PARTITION);
        assert_eq!(revealed(), Some(position), "it was noted");
    }

    #[test]
    fn names_are_words() {
        assert_eq!(name_of(b"#!lua name=a_1\n").ok().as_deref(), Some(&b"a_1"[..]));
        for (code, text) in [
            (&b"#!lua name=a-b\n"[..], "ERR Library names can only contain"),
            (b"#!lua name=\n", "ERR Library names can only contain"),
            (b"#!python name=a\n", "ERR Engine 'python' not found"),
            (b"#!lua\n", "ERR Library name was not given"),
        ] {
            let error = name_of(code).map_err(|error| error.reply().to_string());
            assert!(error.as_ref().is_err_and(|error| error.starts_with(text)), "{error:?}");
        }
    }
}
