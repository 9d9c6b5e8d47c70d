//! What an owner of a store may decide.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use vigie_model::Matcher;
use vigie_model::limits::LOG_STREAMS_MAX;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Milliseconds since the epoch, from whoever keeps the time.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// Now.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How long the lines of some streams are kept.
#[derive(Clone, Debug)]
pub struct StreamRetention {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// Their lines older than this go.
    pub retention_ms: i64,
}

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines older than this go, a part at a time.
    pub retention_ms: i64,
    /// Streams whose lines are kept for a shorter time; the first that matches a stream counts.
    /// Their lines go when compaction comes by.
    pub retention_streams: Vec<StreamRetention>,
    /// A delete request waits so long before compaction takes its lines from disk, and can be
    /// taken back meanwhile (Loki's `delete_request_cancel_period`).
    pub delete_delay_ms: i64,
    /// Parts go, oldest first, while they take more than this. `None`: only time counts.
    pub disk_bytes_max: Option<u64>,
    /// New entries are refused while the disk has less than this left.
    pub free_bytes_min: u64,
    /// Entries older than this are refused (Loki's `reject_old_samples_max_age`). `None`: none are.
    pub reject_older_ms: Option<i64>,
    /// Entries further in the future are refused (Loki's `creation_grace_period`).
    pub future_grace_ms: i64,
    /// Most streams that hold data at one time.
    pub streams_max: usize,
    /// The head is sealed when its lines, metadata and row overhead reach this.
    pub head_bytes_max: usize,
    /// The head is sealed when its oldest line has been in it for this long.
    pub head_age_max_ms: i64,
    /// A head of at least `head_idle_bytes_min` is sealed when no line has come for this long: lines in
    /// parts are answered from columns, those in the head one by one.
    pub head_idle_max_ms: i64,
    /// A smaller head waits for more, so that a slow stream does not make a part of every line.
    pub head_idle_bytes_min: usize,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            retention_ms: 7 * DAY_MS,
            retention_streams: Vec::new(),
            delete_delay_ms: DAY_MS,
            disk_bytes_max: None,
            free_bytes_min: 512 * 1024 * 1024,
            reject_older_ms: Some(7 * DAY_MS),
            future_grace_ms: 10 * MINUTE_MS,
            streams_max: LOG_STREAMS_MAX,
            head_bytes_max: 4 * 1024 * 1024,
            head_age_max_ms: 60 * MINUTE_MS,
            head_idle_max_ms: 5_000,
            head_idle_bytes_min: 512 * 1024,
            clock: Clock::system(),
        }
    }
}
