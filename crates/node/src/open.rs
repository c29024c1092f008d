//! From a data directory to live state: lock, manifest, checkpoints, journal.
//!
//! ```text
//! LOCK  MANIFEST  checkpoints/0000.ckpt …  journal/00000001.seg …
//! ```
//!
//! Each partition starts from its checkpoint (or empty) and replays the journal from where that checkpoint began.
//! Cost: the keys, and the journal's tail; never the data before it.
//!
//! Invariants: nothing is served before everything was verified; damage is reported with file and offset, and
//! nothing is changed; every home points into a segment that exists.

use crate::inspect::SALVAGED_PATH;
use crate::manifest::{MANIFEST_PATH, Manifest, Refusal};
use base::{PartitionId, TimeMs, Version};
use env::{Clock, DirLock, Disk, Entropy, LockError, ReadMode};
use journal::{Journal, Offline, Position, Record, RecordKind, Replay, SegmentId};
use keyspace::checkpoint::{self, Header, Loaded};
use keyspace::partition::{Partition, Stamp};
use keyspace::spilled::{self, Image};
use keyspace::{Home, Keyspace};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where checkpoints are kept.
pub const CHECKPOINT_DIR: &str = "checkpoints";
/// The file whose lock says that the directory is in use.
pub(crate) const LOCK_PATH: &str = "LOCK";

/// The file of a partition's checkpoint.
pub fn checkpoint_path(id: PartitionId) -> String {
    format!("{CHECKPOINT_DIR}/{:04}.ckpt", id.0)
}

/// The file that a partition's checkpoint is written to before it is whole.
pub(crate) fn draft_path(id: PartitionId) -> String {
    format!("{}.tmp", checkpoint_path(id))
}

/// Why a data directory could not be opened. Nothing was changed.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it, or it cannot be locked.
    Lock(LockError),
    /// Bytes are not as they were written.
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A later release wrote it.
    Format {
        /// The file.
        file: String,
        /// The format it has.
        format: u32,
    },
    /// There is nothing that a node wrote: no manifest, no journal, no checkpoint. Never from opening, which begins there.
    NoData {
        /// The directory.
        dir: PathBuf,
    },
    /// The journal could not be opened.
    Journal(journal::Error),
    /// The operating system refused.
    Io {
        /// What was attempted.
        op: &'static str,
        /// On which file.
        file: String,
        /// Its reason.
        source: std::io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Lock(error) => error.fmt(f),
            OpenError::Corrupt { file, offset, what } => write!(f, "{file} is damaged at byte {offset}: {what}"),
            OpenError::Format { file, format } => {
                write!(f, "{file} has format {format}, which a later release of Larder wrote")
            }
            OpenError::NoData { dir } => write!(f, "{} holds no data of Larder", dir.display()),
            OpenError::Journal(error) => error.fmt(f),
            OpenError::Io { op, file, source } => write!(f, "cannot {op} {file}: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Lock(error) => Some(error),
            OpenError::Journal(error) => Some(error),
            OpenError::Io { source, .. } => Some(source),
            OpenError::Corrupt { .. } | OpenError::Format { .. } | OpenError::NoData { .. } => None,
        }
    }
}

impl From<journal::Error> for OpenError {
    fn from(error: journal::Error) -> Self {
        OpenError::Journal(error)
    }
}

/// Told how opening gets on: a large directory takes a while.
pub trait Progress: Sync {
    /// `done` of `total` checkpoints are loaded.
    fn checkpoints(&self, _done: u64, _total: u64) {}
    /// `done` of `total` bytes of the journal are replayed.
    fn journal(&self, _done_bytes: u64, _total_bytes: u64) {}
}

/// Nobody is told.
impl Progress for () {}

/// What opening came to.
pub struct Opened {
    /// Held for as long as the directory is in use.
    pub lock: DirLock,
    /// What the directory says of itself.
    pub manifest: Manifest,
    /// The operator gave something up, and no complete checkpoint was written since.
    pub is_salvaged: bool,
    /// The live state.
    pub keyspace: Keyspace,
    /// The journal, ready for appending.
    pub journal: Arc<Journal>,
    /// What was found.
    pub recovered: journal::Recovered,
    /// Where each partition's checkpoint begins, if it has one.
    pub headers: Vec<Option<Header>>,
    /// Segments that each partition's checkpoint may point into.
    pub pinned: Vec<Vec<u32>>,
    /// Entries in all checkpoints.
    pub checkpoint_entries: u64,
}

fn io_error(op: &'static str, file: &str, source: std::io::Error) -> OpenError {
    OpenError::Io { op, file: file.to_owned(), source }
}

/// Opens the data directory, creating it when it is new.
///
/// `partition_count` is for a new directory; an existing one keeps its own.
///
/// # Durability
/// Everything replayed is durable on return.
///
/// # Errors
/// See [`OpenError`]; nothing was changed, but for the files of a directory that was being created.
pub fn open(
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    partition_count: u16,
    journal_options: journal::Options,
    progress: &dyn Progress,
) -> Result<Opened, OpenError> {
    let lock = disk.lock(LOCK_PATH).map_err(OpenError::Lock)?;
    let manifest = read_or_create_manifest(&**disk, clock, entropy, partition_count)?;
    let keyspace = Keyspace::new(manifest.partition_count);
    let loaded = load_checkpoints(disk, &keyspace, progress)?;
    let headers: Vec<Option<Header>> = loaded.iter().map(|loaded| loaded.map(|loaded| loaded.header)).collect();
    let checkpoint_entries = loaded.iter().flatten().map(|loaded| loaded.entry_count).sum();
    verify_checkpoints(&**disk, &headers)?;
    let pinned = keyspace.ids().map(|id| live_segments(&keyspace.lock(id))).collect();
    let start = headers.iter().map(|header| header.map_or(Position::ZERO, |header| header.start)).min();
    let start = start.filter(|start| *start != Position::ZERO);
    let durable_known = loaded.iter().flatten().map(|loaded| loaded.end).max().unwrap_or(Position::ZERO);
    let is_salvaged = read_file(&**disk, SALVAGED_PATH)?.is_some();
    let mut replayer = Replayer {
        keyspace: &keyspace,
        offline: Offline::new(Arc::clone(disk)),
        start_versions: headers.iter().map(|header| header.map_or(Version(0), |header| header.start_version)).collect(),
        durable_known: if is_salvaged { Position::ZERO } else { durable_known },
        is_salvaged,
        progress,
    };
    let (journal, recovered) = Journal::open(Arc::clone(disk), journal_options, start, &mut replayer)?;
    for id in keyspace.ids() {
        let mut partition = keyspace.lock(id);
        if partition.has_records() {
            keyspace.follow_records();
        }
        partition.revealed = recovered.tail;
        let settled_at = partition.settle();
        if is_salvaged {
            outrun_entries(&mut partition, settled_at);
        }
    }
    verify_homes(&keyspace, &journal)?;
    Ok(Opened { lock, manifest, is_salvaged, keyspace, journal, recovered, headers, pinned, checkpoint_entries })
}

/// A checkpoint may know versions of batches that were given up, `settled_at` among them: the next batch must not repeat
/// them.
fn outrun_entries(partition: &mut Partition, settled_at: Version) {
    let mut newest = settled_at.max(partition.version());
    for db in 0..keyspace::PHYSICAL_DB_COUNT {
        partition.index(db).each(|entry| newest = newest.max(entry.version()));
    }
    partition.set_version(newest);
}

fn read_or_create_manifest(
    disk: &dyn Disk,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    partition_count: u16,
) -> Result<Manifest, OpenError> {
    match read_file(disk, MANIFEST_PATH)? {
        Some(bytes) => Manifest::decode(&bytes).map_err(|refusal| match refusal {
            Refusal::Format(format) => OpenError::Format { file: MANIFEST_PATH.to_owned(), format },
            Refusal::Damaged => corrupt(MANIFEST_PATH, 0, "the manifest is not as it was written"),
        }),
        None => create_manifest(disk, clock, entropy, partition_count),
    }
}

fn create_manifest(
    disk: &dyn Disk,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    partition_count: u16,
) -> Result<Manifest, OpenError> {
    if holds_records(disk)? {
        return Err(corrupt(MANIFEST_PATH, 0, "the manifest is missing, but there is data"));
    }
    disk.create_dir(CHECKPOINT_DIR).map_err(|error| io_error("create", CHECKPOINT_DIR, error))?;
    let mut node_id = [0; 16];
    entropy.fill(&mut node_id).map_err(|error| io_error("name", MANIFEST_PATH, error))?;
    let manifest = Manifest { partition_count, node_id, created: clock.wall_ms() };
    env::write_whole(disk, MANIFEST_PATH, &manifest.encode())
        .map_err(|error| io_error("write", MANIFEST_PATH, error))?;
    Ok(manifest)
}

/// Whether there are segments or checkpoints, with a manifest or without.
pub(crate) fn holds_records(disk: &dyn Disk) -> Result<bool, OpenError> {
    for dir in [journal::JOURNAL_DIR, CHECKPOINT_DIR] {
        match disk.list(dir) {
            Ok(names) if names.is_empty() => {}
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("list", dir, error)),
        }
    }
    Ok(false)
}

/// A file's bytes; `None` when there is none.
pub(crate) fn read_file(disk: &dyn Disk, path: &str) -> Result<Option<Vec<u8>>, OpenError> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path, error)),
    };
    let size = file.size_bytes().map_err(|error| io_error("measure", path, error))?;
    let mut bytes = vec![0; size as usize];
    let read = file.read_at(0, &mut bytes, ReadMode::Wait).map_err(|error| io_error("read", path, error))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn corrupt(file: &str, offset: u64, what: &str) -> OpenError {
    OpenError::Corrupt { file: file.to_owned(), offset, what: what.to_owned() }
}

/// Loads all checkpoints, on as many threads as there are processors: nothing else can be done meanwhile.
fn load_checkpoints(
    disk: &Arc<dyn Disk>,
    keyspace: &Keyspace,
    progress: &dyn Progress,
) -> Result<Vec<Option<Loaded>>, OpenError> {
    let ids: Vec<PartitionId> = keyspace.ids().collect();
    let total = ids.len() as u64;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let loaded = parking_lot::Mutex::new(vec![None; ids.len()]);
    let failure = parking_lot::Mutex::new(None);
    let load = || {
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(id) = ids.get(index) else { return };
            match load_checkpoint(&**disk, keyspace, *id) {
                Ok(found) => loaded.lock()[index] = found,
                Err(error) => {
                    failure.lock().get_or_insert(error);
                    return;
                }
            }
            progress.checkpoints(index as u64 + 1, total);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(ids.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(load);
        }
    });
    match failure.into_inner() {
        Some(error) => Err(error),
        None => Ok(loaded.into_inner()),
    }
}

fn load_checkpoint(disk: &dyn Disk, keyspace: &Keyspace, id: PartitionId) -> Result<Option<Loaded>, OpenError> {
    let path = checkpoint_path(id);
    let Some(bytes) = read_file(disk, &path)? else { return Ok(None) };
    let loaded = checkpoint::load(&bytes, &mut keyspace.lock(id));
    loaded.map(Some).map_err(|refusal| match refusal {
        checkpoint::Refusal::Damaged(damage) => corrupt(&path, damage.offset, damage.what),
        checkpoint::Refusal::Format(format) => OpenError::Format { file: path, format },
    })
}

/// A partition without a checkpoint needs the journal from its very beginning.
fn verify_checkpoints(disk: &dyn Disk, headers: &[Option<Header>]) -> Result<(), OpenError> {
    let Some(missing) = headers.iter().position(Option::is_none) else { return Ok(()) };
    let first = journal::segment_path(SegmentId::FIRST);
    let has_any = disk.list(journal::JOURNAL_DIR).is_ok_and(|names| !names.is_empty());
    match disk.open(&first) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("open", &first, error)),
        Err(_) if has_any || headers.iter().any(Option::is_some) => {
            let file = checkpoint_path(PartitionId(missing as u16));
            Err(corrupt(&file, 0, "the checkpoint is missing, and the journal no longer reaches back to the beginning"))
        }
        _ => Ok(()),
    }
}

/// The segments that a partition's entries have homes in.
pub(crate) fn live_segments(partition: &Partition) -> Vec<u32> {
    let mut segments = Vec::new();
    partition.each_live(|segment, _| segments.push(segment));
    segments.sort_unstable();
    segments.dedup();
    segments
}

fn verify_homes(keyspace: &Keyspace, journal: &Journal) -> Result<(), OpenError> {
    let present: std::collections::BTreeSet<u32> = journal.segments().iter().map(|segment| segment.id.0).collect();
    for id in keyspace.ids() {
        if let Some(missing) = live_segments(&keyspace.lock(id)).into_iter().find(|id| !present.contains(id)) {
            let file = journal::segment_path(SegmentId(missing));
            return Err(corrupt(&file, 0, "the segment is missing, but keys have their values in it"));
        }
    }
    Ok(())
}

struct Replayer<'r> {
    keyspace: &'r Keyspace,
    offline: Offline,
    start_versions: Vec<Version>,
    /// Checkpoints speak of everything before this.
    durable_known: Position,
    /// The operator gave records up: versions may skip.
    is_salvaged: bool,
    progress: &'r dyn Progress,
}

/// A record whose place in its partition's history is wrong.
#[derive(Debug)]
struct OutOfOrder {
    partition: u16,
    version: u64,
    expected: u64,
}

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutOfOrder { partition, version, expected } = self;
        write!(f, "partition {partition} has a batch of version {version} where {expected} should follow")
    }
}

impl std::error::Error for OutOfOrder {}

#[derive(Debug)]
struct NotABatch;

impl fmt::Display for NotABatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record's checksums hold, but its body is not what its kind says")
    }
}

impl std::error::Error for NotABatch {}

impl Replay for Replayer<'_> {
    fn record(&mut self, at: Position, record: &Record<'_>) -> Result<(), journal::BoxError> {
        if record.head.kind == RecordKind::Image {
            return self.image(at, record);
        }
        let mut failure: Option<journal::BoxError> = None;
        spilled::each_section(&record.head, record.body, |id, version, effects| {
            if failure.is_none() {
                failure = self.section(at, record, id, version, effects).err();
            }
        })
        .map_err(|_| NotABatch)?;
        failure.map_or(Ok(()), Err)
    }

    fn durable_known(&self) -> Position {
        self.durable_known
    }

    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        self.progress.journal(done_bytes, total_bytes);
    }
}

impl Replayer<'_> {
    fn section(
        &self,
        at: Position,
        record: &Record<'_>,
        id: PartitionId,
        version: Version,
        effects: &[u8],
    ) -> Result<(), journal::BoxError> {
        let Some(start_version) = self.start_versions.get(id.index()) else { return Err(NotABatch.into()) };
        if version <= *start_version {
            return Ok(());
        }
        let mut partition = self.keyspace.lock(id);
        let expected = partition.version().next();
        if version < expected || (version != expected && !self.is_salvaged) {
            return Err(OutOfOrder { partition: id.0, version: version.0, expected: expected.0 }.into());
        }
        // Whether a record of several effects may be a home is decided as it was when it was written, closely
        // enough: by its size.
        let home = spilled::home_in(Home(at.pack()), record.body.len(), 2);
        let access = (record.head.time.0 / 1000) as u32 & ((1 << keyspace::entry::ACCESS_BITS) - 1);
        let stamp = Stamp { version, time: record.head.time, home, access };
        partition.replay(effects, &stamp, &mut |wanted| spilled::read_offline(&self.offline, wanted))?;
        drop(partition.take_garbage());
        Ok(())
    }

    fn image(&self, at: Position, record: &Record<'_>) -> Result<(), journal::BoxError> {
        let mut reader = base::Reader::new(record.body);
        let id = record.head.partition;
        if id.index() >= self.start_versions.len() {
            return Err(NotABatch.into());
        }
        let mut partition = self.keyspace.lock(id);
        while !reader.is_empty() {
            let image = Image::decode(&mut reader).map_err(|_| NotABatch)?;
            partition.rehome(&image, Home(at.pack()));
        }
        Ok(())
    }
}

/// The latest time the directory knows of: a clock that was set back must not run before it.
pub fn time_floor(recovered: &journal::Recovered) -> TimeMs {
    recovered.time_last
}
