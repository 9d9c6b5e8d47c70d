//! The named limits that more than one crate applies. Sizes are bytes, times milliseconds.

/// Exemplars kept when the configuration does not say how many.
pub const EXEMPLARS_MAX: usize = 10_000;
/// Most exemplars that a configuration may ask for: each takes about 200 bytes of memory.
pub const EXEMPLARS_MOST: usize = 1_000_000;
/// Longest label name accepted at any door.
pub const LABEL_NAME_BYTES_MAX: usize = 1024;
/// Longest label value accepted at any door.
pub const LABEL_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Most labels one series or stream may carry.
pub const LABELS_PER_SERIES_MAX: usize = 64;
/// Longest query text, in either language.
pub const QUERY_BYTES_MAX: usize = 128 * 1024;
/// Deepest nesting of a query expression.
pub const QUERY_DEPTH_MAX: usize = 128;
/// Most samples one query may hold at once (Prometheus' `query.max-samples`). One takes 8 bytes, and
/// about 50 more on its way into an answer; what that comes to is bounded by
/// [`QUERY_MEMORY_BYTES_MAX`], which on a small machine is reached first.
pub const QUERY_SAMPLES_MAX: u64 = 50_000_000;
/// Most regular expressions in one query; each may take megabytes once compiled.
pub const QUERY_REGEXES_MAX: usize = 64;
/// Most bytes of lines and labels that the answer to a log query may hold.
pub const LOG_ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Most points per series that a range query may answer (Prometheus' and Loki's 11,000).
pub const QUERY_POINTS_MAX: i64 = 11_000;
/// How far back an instant looks for a sample (Prometheus' `query.lookback-delta`).
pub const QUERY_LOOKBACK_MS: i64 = 300_000;
/// Queries evaluated at once, at least; with more cores as many as there are. (Prometheus'
/// `query.max-concurrency` is 20; a query here uses all cores that are free.)
pub const QUERIES_AT_ONCE_MIN: usize = 2;
/// A query's deadline when the caller names none (Prometheus' `query.timeout`).
pub const QUERY_TIMEOUT_MS: u64 = 120_000;
/// Largest body of a scrape, after decompression.
pub const SCRAPE_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest compressed body of a push.
pub const PUSH_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest push after decompression.
pub const PUSH_DECODED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Longest log line; longer ones are refused with Loki's words.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Most log lines one query may answer (Loki's `max_entries_limit_per_query`).
pub const LOG_ENTRIES_PER_QUERY_MAX: usize = 5_000;
/// Most active log streams.
pub const LOG_STREAMS_MAX: usize = 100_000;
/// Most series of one target.
pub const SERIES_PER_TARGET_MAX: usize = 500_000;
/// Most active series.
pub const SERIES_MAX: usize = 2_000_000;
/// Most bytes that one query may hold.
pub const QUERY_MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Most bytes that all queries together may hold.
pub const QUERIES_MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most queries that run or wait for their turn.
pub const QUERY_QUEUE_MAX: usize = 2048;
/// Most bytes of kept answers.
pub const QUERY_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most memory that a configuration may give to queries, in bytes.
pub const QUERY_MEMORY_BYTES_MOST: u64 = 1 << 40;
/// Least memory that it may give: with less no question of any use is answered.
pub const QUERY_MEMORY_BYTES_LEAST: u64 = 1 << 20;
/// Most queries at once that a configuration may ask for.
pub const QUERIES_AT_ONCE_MOST: usize = 1024;
/// Longest queue that a configuration may ask for.
pub const QUERY_QUEUE_MOST: usize = 65_536;

/// What questions may take, as a configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most bytes that one query may hold, its answer included.
    pub memory_bytes_max: u64,
    /// Most bytes that all queries together may hold.
    pub all_memory_bytes_max: u64,
    /// Most samples that one query may hold at once.
    pub samples_max: u64,
    /// Queries evaluated at once; `None`: as many as there are cores, but two at least.
    pub at_once_max: Option<usize>,
    /// Most queries that run or wait for their turn.
    pub queue_max: usize,
    /// A query's deadline when it names none, and the latest that it may name, in milliseconds.
    pub timeout_ms: u64,
    /// How far back an instant looks for a sample when the query does not say, in milliseconds.
    pub lookback_ms: i64,
    /// Most bytes of kept answers; 0 keeps none.
    pub cache_bytes_max: usize,
}

impl Default for QueryLimits {
    fn default() -> QueryLimits {
        QueryLimits {
            memory_bytes_max: QUERY_MEMORY_BYTES_MAX,
            all_memory_bytes_max: QUERIES_MEMORY_BYTES_MAX,
            samples_max: QUERY_SAMPLES_MAX,
            at_once_max: None,
            queue_max: QUERY_QUEUE_MAX,
            timeout_ms: QUERY_TIMEOUT_MS,
            lookback_ms: QUERY_LOOKBACK_MS,
            cache_bytes_max: QUERY_CACHE_BYTES_MAX,
        }
    }
}

impl QueryLimits {
    /// How many queries are evaluated at once on this machine.
    pub fn at_once(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.at_once_max.unwrap_or_else(|| cores().max(QUERIES_AT_ONCE_MIN))
    }
}

/// Most rule groups that clients may send.
pub const SENT_RULE_GROUPS_MAX: usize = 1_000;
/// Most rules of a group that a client sends.
pub const SENT_RULES_PER_GROUP_MAX: usize = 500;
/// Largest rule group that a client sends, in bytes.
pub const RULES_BODY_BYTES_MAX: usize = 1024 * 1024;
