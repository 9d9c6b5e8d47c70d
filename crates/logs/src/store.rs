//! [`Store`]: the directory, its one writer and its many readers.
//!
//! Locks, in the order in which they may be taken: `compacting`, `sealing` (one seal at a time),
//! `deletions`, `state` (the
//! head and the list of parts), `catalog`. An append holds `state` while it writes to the log but
//! not while it waits for the disk, so that several share one `fdatasync`.

mod append;
mod compact;
mod delete;
mod maintain;
mod query;

pub use append::{Appended, Batch, Durability};
pub(crate) use delete::Doom;
pub(crate) use delete::read as read_deletes;
pub use delete::{Deletion, LineTest, LineText};
pub use query::StreamVolume;

use crate::catalog::Catalog;
use crate::head::{Head, row_hash};
use crate::part::Part;
use crate::planted::{self, Bug};
use crate::record;
use crate::{LogsError, Options};
use hashbrown::HashSet;
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vigie_disk::{Disk, Floor, SegmentId, Wal, WalOptions};
use vigie_model::LogBlock;

const PART_SUFFIX: &str = ".part";
const TMP_SUFFIX: &str = ".tmp";

/// The log store of one directory. Thread-safe; every method blocks.
///
/// Two stores over one directory would destroy each other's log: the owner holds a
/// `vigie_disk::DirLock` on the directory or one above.
pub struct Store {
    disk: Arc<dyn Disk>,
    parts_dir: PathBuf,
    options: Options,
    catalog: Arc<RwLock<Catalog>>,
    state: Mutex<State>,
    sealing: Mutex<maintain::Progress>,
    /// Held by who compacts.
    compacting: Mutex<()>,
    deletions: Mutex<delete::Deletions>,
    wal: Wal,
    floor: Floor,
    counters: Counters,
}

struct State {
    head: Head,
    /// What is being sealed, and the log segment before which the log goes when it is.
    frozen: Option<(Arc<Head>, SegmentId)>,
    /// By order of arrival.
    parts: Arc<Vec<Arc<Part>>>,
    /// Files that could not be opened as parts; they go when their day is over.
    broken: Vec<PathBuf>,
    /// Files of parts that retention took away and could not remove yet.
    leftover: Vec<PathBuf>,
    /// Parts that compaction could not read.
    spoilt: HashSet<u64>,
    /// Parts without a row that the deletes of the stamp take.
    clean: HashSet<(u64, u64)>,
    next_number: u64,
    /// Blocks that the search for duplicates read last.
    recent: Vec<RecentBlock>,
    /// Empty between two appends.
    record: record::RecordWriter,
    closed: bool,
}

/// A decoded block that the search for duplicates may need again.
struct RecentBlock {
    number: u64,
    block: usize,
    rows: Arc<dyn LogBlock>,
}

#[derive(Default)]
struct Counters {
    stored: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
}

/// What a store holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Streams that hold data.
    pub streams: usize,
    /// Lines in the head, which are in the log and in no part yet.
    pub head_rows: u64,
    /// What the head takes in memory.
    pub head_bytes: usize,
    /// Part files.
    pub parts: usize,
    /// Lines in parts.
    pub part_rows: u64,
    /// What the lines in parts take uncompressed.
    pub part_line_bytes: u64,
    /// What the parts take on disk.
    pub part_file_bytes: u64,
    /// What the write-ahead log takes on disk.
    pub wal_bytes: u64,
    /// The oldest line's instant, if there is a line.
    pub oldest_ns: Option<i64>,
    /// Lines stored since the store was opened.
    pub stored: u64,
    /// Lines not stored again since then.
    pub duplicates: u64,
    /// Lines refused since then.
    pub refused: u64,
    /// Part files that could not be opened and are not read.
    pub broken_parts: u64,
    /// Damaged places of the log and damaged files of delete requests, passed over when the store was
    /// opened.
    pub damaged: u64,
    /// Lines are refused because the disk is full; it ends by itself.
    pub is_paused: bool,
    /// What the disk had left when it was last looked at.
    pub free_bytes: Option<u64>,
}

impl Store {
    /// Opens the store in `dir`, making it when it is not there, and takes up what the log holds.
    ///
    /// A part that is damaged is logged, counted in [`Stats::broken_parts`] and left where it is
    /// until its day is too old. A damaged place in the log is logged with file and offset, counted
    /// in [`Stats::damaged`] and passed over: each record speaks for itself.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl AsRef<Path>,
        options: Options,
    ) -> Result<Store, LogsError> {
        let dir = dir.as_ref();
        let parts_dir = dir.join("parts");
        disk.create_dir_all(&parts_dir)?;
        let counters = Counters::default();
        let mut catalog = Catalog::default();
        let deletions = delete::Deletions::open(&*disk, &delete::deletes_path(&parts_dir))?;
        let Listed { parts, broken, leftover, next_number } =
            open_parts(&*disk, &parts_dir, &mut catalog)?;
        let mut state = State {
            head: Head::default(),
            frozen: None,
            next_number,
            parts: Arc::new(parts),
            broken,
            leftover,
            spoilt: HashSet::new(),
            clean: HashSet::new(),
            recent: Vec::new(),
            record: record::RecordWriter::default(),
            closed: false,
        };
        let now_ms = options.clock.now_ms();
        let wal_dir = dir.join("wal");
        let mut replay = |record: &[u8]| {
            record::replay(record, &mut |labels, entry| {
                let id = catalog.intern(labels, usize::MAX).expect("no limit, fewer than 2^32");
                state.take_up(&*disk, &catalog, id, &entry, now_ms);
                if planted::is(Bug::ReplayedTwice) {
                    state.head.push(row_hash(id, &entry), id, &entry, now_ms);
                }
            })?;
            Ok(())
        };
        let wal = Wal::open(disk.clone(), &wal_dir, WalOptions::default(), &mut replay)?;
        state.recent = Vec::new();
        let floor = Floor::new(dir, options.free_bytes_min);
        floor.look(&*disk)?;
        let store = Store {
            disk,
            parts_dir,
            options,
            catalog: Arc::new(RwLock::new(catalog)),
            state: Mutex::new(state),
            sealing: Mutex::default(),
            compacting: Mutex::default(),
            deletions: Mutex::new(deletions),
            wal,
            floor,
            counters,
        };
        if store.state.lock().head.bytes() >= store.options.head_bytes_max
            && let Err(error) = store.seal()
        {
            // A full disk must not keep the store closed; the next tick tries again.
            tracing::warn!(%error, "the lines of the log are not sealed yet");
        }
        Ok(store)
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        let wal_bytes = self.wal.bytes();
        let damaged = self.wal.damage().len() as u64 + self.deletions.lock().damaged;
        let state = self.state.lock();
        let heads = || std::iter::once(&state.head).chain(state.frozen.iter().map(|f| &*f.0));
        let parts = || state.parts.iter();
        let oldest_head = heads().flat_map(|head| head.rows()).map(|row| row.ts_ns).min();
        let oldest_part = parts().map(|part| part.span.min_ns).min();
        Stats {
            streams: self.catalog.read().live_count(),
            head_rows: heads().map(|head| head.rows().len() as u64).sum(),
            head_bytes: heads().map(Head::bytes).sum(),
            parts: state.parts.len(),
            part_rows: parts().map(|part| part.span.rows).sum(),
            part_line_bytes: parts().map(|part| part.span.line_bytes).sum(),
            part_file_bytes: parts().map(|part| part.file_bytes).sum(),
            wal_bytes,
            oldest_ns: oldest_head.into_iter().chain(oldest_part).min(),
            stored: self.counters.stored.load(Ordering::Relaxed),
            duplicates: self.counters.duplicates.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
            broken_parts: state.broken.len() as u64,
            damaged,
            is_paused: self.floor.is_low(),
            free_bytes: self.floor.free_bytes(),
        }
    }

    /// Makes everything durable and takes nothing more. What is in the head stays in the log,
    /// where the next opening finds it.
    pub fn close(&self) -> Result<(), LogsError> {
        self.state.lock().closed = true;
        Ok(self.wal.sync_all()?)
    }
}

/// What a directory of parts holds.
struct Listed {
    parts: Vec<Arc<Part>>,
    /// Files that are no readable parts.
    broken: Vec<PathBuf>,
    /// Files of parts that others have taken the place of.
    leftover: Vec<PathBuf>,
    /// The first number that no file has.
    next_number: u64,
}

/// Opens what the directory lists and removes what a crash left unfinished.
fn open_parts(disk: &dyn Disk, dir: &Path, catalog: &mut Catalog) -> Result<Listed, LogsError> {
    // A process that died may have synced none of the names; what they took the place of goes soon.
    disk.sync_dir(dir)?;
    let (mut parts, mut broken) = (Vec::new(), Vec::new());
    let mut next_number = 1;
    for name in disk.list(dir)? {
        let path = dir.join(&name);
        if name.ends_with(TMP_SUFFIX) {
            disk.remove(&path)?;
            continue;
        }
        let Some(number) = part_number(&name) else { continue };
        next_number = next_number.max(number + 1);
        let mut intern = |labels: &_| {
            catalog.intern(labels, usize::MAX).expect("no limit, fewer than 2^32 streams")
        };
        match Part::open(disk, &path, number, &mut intern) {
            Ok(part) => {
                raise_sealed(catalog, &part);
                parts.push(Arc::new(part));
            }
            Err(error) => {
                broken.push(path);
                tracing::error!(%error, "a part of the log store cannot be read and is left out");
            }
        }
    }
    let replaced: HashSet<u64> =
        parts.iter().flat_map(|p: &Arc<Part>| p.replaces.clone()).collect();
    let is_old =
        |part: &Arc<Part>| replaced.contains(&part.number) && !planted::is(Bug::ReplacedAreRead);
    let old = parts.extract_if(.., |part| is_old(part));
    let leftover = old.map(|part| part.path.clone()).collect();
    parts.sort_unstable_by_key(|part| part.order);
    Ok(Listed { parts, broken, leftover, next_number })
}

fn raise_sealed(catalog: &mut Catalog, part: &Part) {
    for (id, span) in part.streams() {
        catalog.raise_sealed_max(*id, span.max_ns);
    }
}

/// The number in `2026-11-26-0000000042.part`.
fn part_number(name: &str) -> Option<u64> {
    name.strip_suffix(PART_SUFFIX)?.rsplit('-').next()?.parse().ok()
}
