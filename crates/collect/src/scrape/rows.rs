//! From a body to rows in the store, for one target.
//!
//! One scrape is one row: its samples, stale markers, `up` and companions share the timestamp.
//! Samples that bring their own time form rows of their own.

use super::cache::Cache;
use super::said::{FAMILIES_MAX, Said};
use crate::MetricSink;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use vigie_codec::exposition::protobuf::{Page, Wants};
use vigie_codec::exposition::{Created, Entry, Format, MetricKind, Sample, parse, unescape_help};
use vigie_model::limits::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX};
use vigie_model::relabel::{self, Rule};
use vigie_model::{ABSENT, Exemplar, Histogram, Labels, METRIC_NAME, Row, STALE_NAN, SeriesId};

/// Most comments of one page that are looked at: kind, help and unit of each family.
const SAID_MAX: usize = 3 * FAMILIES_MAX;

/// How far the clock may step back before rows are no longer moved behind the last one.
const CLOCK_STEP_MS_MAX: i64 = 1_000;

/// How the samples of a target are changed on their way in.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Whether the target's own labels win over ours.
    pub honor_labels: bool,
    /// Whether the target's own timestamps are kept.
    pub honor_timestamps: bool,
    /// `metric_relabel_configs`.
    pub metric_relabel: Vec<Rule>,
    /// Most samples after relabelling; 0 for no limit.
    pub sample_limit: usize,
    /// Which histograms of a protobuf page are taken. Whether start timestamps are, the sink knows.
    pub wants: Wants,
}

/// What a fetch brought.
pub(super) struct Fetched<'a> {
    /// When the scrape was due.
    pub ts_ms: i64,
    /// How long it took.
    pub duration_s: f64,
    /// The body, if there is one. A built-in collector may bring one and an error.
    pub body: Option<(&'a [u8], Format)>,
    /// Why the target counts as down.
    pub error: Option<String>,
}

/// Series and own time of a sample.
type Cell = (SeriesId, Option<i64>);

/// The samples of one scrape before they are written.
#[derive(Default)]
struct Batch {
    ids: Vec<SeriesId>,
    values: Vec<f64>,
    own_ts: BTreeMap<i64, (Vec<SeriesId>, Vec<f64>)>,
    /// Native histograms, with their own time if they have one.
    natives: Vec<(SeriesId, Option<i64>, Histogram)>,
    /// Those without a time of their own have 0 until the row's is known.
    exemplars: Vec<(SeriesId, Exemplar)>,
    /// When samples began to count. Those without a time of their own have the row's.
    starts: Vec<(SeriesId, Option<i64>, i64)>,
    scraped: usize,
    kept: usize,
    added: usize,
}

/// A target's memory between scrapes.
pub(super) struct TargetRows {
    labels: Labels,
    rules: Rules,
    cache: Cache,
    report_ids: Option<[SeriesId; 5]>,
    said: Arc<Said>,
    last_ts_ms: i64,
    /// Whether the last body named a series twice, after relabelling.
    has_repeats: bool,
    sink: Arc<dyn MetricSink>,
}

const REPORT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl TargetRows {
    pub(super) fn new(labels: Labels, rules: Rules, sink: Arc<dyn MetricSink>) -> TargetRows {
        TargetRows {
            labels,
            rules,
            cache: Cache::new(),
            report_ids: None,
            said: Arc::default(),
            last_ts_ms: i64::MIN,
            has_repeats: false,
            sink,
        }
    }

    /// What the last page said of its families.
    pub(super) fn said(&self) -> Arc<Said> {
        self.said.clone()
    }

    /// Takes new rules; the mapping from lines to series starts anew.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.cache.forget_mapping();
    }

    /// Whether `body` is a page of metrics, without writing anything.
    pub(super) fn is_readable(body: &[u8], format: Format) -> bool {
        let mut samples = 0;
        if format == Format::Protobuf {
            return Page::read(body, Wants::default()).is_ok_and(|page| !page.text.is_empty());
        }
        let parsed = parse(body, format, &mut |entry| {
            samples += usize::from(matches!(entry, Entry::Sample(_)));
        });
        parsed.is_ok() && samples > 0
    }

    /// Writes what a scrape brought. The result is the target's `lastError`.
    pub(super) fn ingest(&mut self, fetched: Fetched<'_>) -> Result<(), String> {
        let ts_ms = self.next_ts_ms(fetched.ts_ms);
        self.cache.begin();
        let mut batch = Batch::default();
        let read = match fetched.body {
            Some((body, Format::Protobuf)) => self.read_protobuf(body, &mut batch),
            Some((body, format)) => self.read(body, format, &mut batch),
            None => Err(String::new()),
        };
        let (read_ok, read_error) = match read {
            Ok(()) => (true, None),
            Err(what) => (false, Some(what).filter(|what| !what.is_empty())),
        };
        let gone = if read_ok {
            self.cache.vanished()
        } else {
            batch = Batch { scraped: batch.scraped, kept: batch.kept, ..Batch::default() };
            self.cache.failed()
        };
        let error = fetched.error.or(read_error);
        let stored = self.store(ts_ms, &mut batch, &gone, error.is_none(), fetched.duration_s);
        if stored.is_err() {
            // The markers were not written, so they are still owed. The store may have forgotten a
            // series that was away for long, and has told so: all are looked up again.
            self.cache.owe(gone);
            self.cache.forget_mapping();
            self.report_ids = None;
        }
        stored?;
        error.map_or(Ok(()), Err)
    }

    fn store(
        &mut self,
        ts_ms: i64,
        batch: &mut Batch,
        gone: &[SeriesId],
        up: bool,
        duration_s: f64,
    ) -> Result<(), String> {
        self.mark_stale(batch, gone)?;
        self.report(batch, up, duration_s)?;
        self.write(ts_ms, batch)
    }

    /// Adds a stale marker for each of `gone` that the row does not hold anyway.
    fn mark_stale(&mut self, batch: &mut Batch, gone: &[SeriesId]) -> Result<(), String> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut present: HashSet<SeriesId> = batch.ids.iter().copied().collect();
        present.extend(batch.natives.iter().map(|(id, _, _)| *id));
        present.extend(self.report_ids()?);
        for id in gone {
            if present.insert(*id) {
                batch.ids.push(*id);
                batch.values.push(STALE_NAN);
            }
        }
        Ok(())
    }

    /// Ends every series of the target: it is not scraped any more.
    pub(super) fn end(&mut self, now_ms: i64) -> Result<(), String> {
        let mut ids = self.cache.live_ids();
        ids.extend(self.report_ids.into_iter().flatten());
        ids.sort_unstable();
        ids.dedup();
        let values = vec![STALE_NAN; ids.len()];
        if ids.is_empty() {
            return Ok(());
        }
        let ts_ms = self.next_ts_ms(now_ms);
        self.sink.append(&[Row::floats(ts_ms, &ids, &values)])
    }

    /// `ts_ms`, moved behind the last row when the clock was set back a little. When it was set back
    /// further, rows would pile up at one instant; then the store decides what it takes.
    fn next_ts_ms(&mut self, ts_ms: i64) -> i64 {
        let behind_ms = self.last_ts_ms.saturating_sub(ts_ms);
        let moved = (0..CLOCK_STEP_MS_MAX).contains(&behind_ms);
        self.last_ts_ms = if moved { self.last_ts_ms + 1 } else { ts_ms };
        self.last_ts_ms
    }

    fn read(&mut self, body: &[u8], format: Format, batch: &mut Batch) -> Result<(), String> {
        let mut failed = None;
        let mut said: Vec<Entry<'_>> = Vec::new();
        let has_created = format == Format::OpenMetrics && self.sink.wants_starts();
        let mut created = has_created.then(Created::default);
        let parsed = parse(body, format, &mut |entry| {
            if let (Entry::Type { name, .. }, Some(created)) = (&entry, &mut created) {
                created.family(name);
            }
            match entry {
                Entry::Sample(sample) if failed.is_none() => {
                    failed = self.sample_or_start(sample, &mut created, batch).err();
                }
                Entry::Sample(_) => {}
                other if said.len() < SAID_MAX => said.push(other),
                _ => {}
            }
        });
        parsed.map_err(|error| error.to_string())?;
        if let Some(created) = created {
            let found = created.into_found().into_iter();
            batch.starts.extend(found.map(|((id, ts_ms), start_ms)| (id, ts_ms, start_ms)));
        }
        if let Some(what) = failed {
            return Err(what);
        }
        self.end_of_page(batch, &said)
    }

    /// A page in protobuf: its samples as text, and what text cannot say.
    fn read_protobuf(&mut self, body: &[u8], batch: &mut Batch) -> Result<(), String> {
        let wants = Wants { starts: self.sink.wants_starts(), ..self.rules.wants };
        let page = Page::read(body, wants).map_err(|error| error.to_string())?;
        let mut failed = None;
        let parsed = parse(&page.text, Format::Text, &mut |entry| {
            if let (Entry::Sample(sample), None) = (entry, &failed) {
                failed = self.sample(&sample, batch).err();
            }
        });
        parsed.map_err(|error| error.to_string())?;
        if let Some(what) = failed {
            return Err(what);
        }
        for native in page.natives {
            let ts_ms = native.ts_ms.filter(|_| self.rules.honor_timestamps);
            let kind = MetricKind::Histogram;
            if let Some(id) = self.identify(&native.series, kind, ts_ms, batch)? {
                batch.natives.push((id, ts_ms, native.histogram));
            }
        }
        for one in page.exemplars {
            if let Some(id) = self.cache.id_of(&one.series) {
                let (ts_ms, value, labels) = (one.ts_ms.unwrap_or(0), one.value, one.labels);
                batch.exemplars.push((id, Exemplar { ts_ms, value, labels }));
            }
        }
        for one in page.starts {
            if let Some(id) = self.cache.id_of(&one.series) {
                let ts_ms = one.ts_ms.filter(|_| self.rules.honor_timestamps);
                batch.starts.push((id, ts_ms, one.start_ms));
            }
        }
        let said: Vec<Entry<'_>> = page
            .families
            .iter()
            .flat_map(|family| {
                let name = family.name;
                [
                    Entry::Type { name, kind: family.kind },
                    Entry::Help { name, text: family.help },
                    Entry::Unit { name, unit: family.unit },
                ]
            })
            .take(SAID_MAX)
            .collect();
        self.end_of_page(batch, &said)
    }

    fn end_of_page(&mut self, batch: &mut Batch, said: &[Entry<'_>]) -> Result<(), String> {
        // The lines of a steady scrape are those of the last one, and so are their repetitions.
        let steady = self.cache.is_steady();
        if !steady || self.has_repeats {
            let reserved = self.report_ids()?;
            self.has_repeats = drop_repeated_ids(batch, &reserved);
        }
        if !steady {
            self.note_metadata(said);
        }
        Ok(())
    }

    /// A sample, or where start timestamps are wanted the line that has that of the samples above it.
    #[inline]
    fn sample_or_start(
        &mut self,
        sample: Sample<'_>,
        created: &mut Option<Created<Cell>>,
        batch: &mut Batch,
    ) -> Result<(), String> {
        let Some(created) = created else { return self.sample(&sample, batch).map(drop) };
        if !created.take(&sample)
            && let Some(cell) = self.sample(&sample, batch)?
        {
            created.note(&sample, cell);
        }
        Ok(())
    }

    /// Takes a sample in; `None` when relabelling drops it or it stood there before.
    #[inline]
    fn sample(&mut self, sample: &Sample<'_>, batch: &mut Batch) -> Result<Option<Cell>, String> {
        let ts_ms = sample.ts_ms.filter(|_| self.rules.honor_timestamps);
        let Some(id) = self.identify(sample.series, sample.kind, ts_ms, batch)? else {
            return Ok(None);
        };
        if let Some(raw) = sample.exemplar
            && let Ok(labels) = raw.labels()
        {
            let ts_ms = raw.ts_ms.or(ts_ms).unwrap_or(0);
            batch.exemplars.push((id, Exemplar { ts_ms, value: raw.value, labels }));
        }
        match ts_ms {
            None => {
                batch.ids.push(id);
                batch.values.push(vigie_model::value::canonical(sample.value));
            }
            Some(ts_ms) => {
                let (ids, values) = batch.own_ts.entry(ts_ms).or_default();
                ids.push(id);
                values.push(vigie_model::value::canonical(sample.value));
            }
        }
        Ok(Some((id, ts_ms)))
    }

    /// The series of a line, counted; `None` when relabelling drops it or it stood there before.
    #[inline]
    fn identify(
        &mut self,
        series: &[u8],
        kind: MetricKind,
        ts_ms: Option<i64>,
        batch: &mut Batch,
    ) -> Result<Option<SeriesId>, String> {
        batch.scraped += 1;
        let known = match self.cache.find(series, ts_ms.is_some()) {
            Some(known) => known,
            None => {
                let id = self.resolve(series, kind)?;
                self.cache.insert(series, id, ts_ms.is_some())
            }
        };
        let Some(id) = known.id else { return Ok(None) };
        if known.twice && ts_ms.is_none() {
            return Ok(None);
        }
        batch.kept += 1;
        batch.added += usize::from(known.added);
        if self.rules.sample_limit > 0 && batch.kept > self.rules.sample_limit {
            return Err("sample limit exceeded".to_owned());
        }
        Ok(Some(id))
    }

    /// The id of a line that the cache does not know; `None` when relabelling drops it.
    fn resolve(&self, series: &[u8], kind: MetricKind) -> Result<Option<SeriesId>, String> {
        let own = vigie_codec::exposition::labels(series, kind)?;
        let merged = if self.rules.honor_labels {
            honored(&own, &self.labels, series)
        } else {
            exported(&own, &self.labels)
        };
        let Some(labels) = relabel::relabel(&merged, &self.rules.metric_relabel) else {
            return Ok(None);
        };
        if labels.metric_name().is_none() {
            return Err("series missing metric name".to_owned());
        }
        for label in &labels {
            let (name, length) = (&label.name, label.value.len());
            if name.len() > LABEL_NAME_BYTES_MAX {
                return Err(format!(
                    "label_name_length_limit exceeded (label name: {name:.50}…, length: {}, limit: \
                     {LABEL_NAME_BYTES_MAX})",
                    name.len()
                ));
            }
            if length > LABEL_VALUE_BYTES_MAX {
                return Err(format!(
                    "label_value_length_limit exceeded (label name: {name:.50}, length: {length}, \
                     limit: {LABEL_VALUE_BYTES_MAX})"
                ));
            }
        }
        self.sink.intern(&labels).map(Some)
    }

    fn report(&mut self, batch: &mut Batch, up: bool, duration_s: f64) -> Result<(), String> {
        let ids = self.report_ids()?;
        let values = [
            f64::from(u8::from(up)),
            duration_s,
            batch.scraped as f64,
            batch.kept as f64,
            batch.added as f64,
        ];
        batch.ids.extend(ids);
        batch.values.extend(values);
        Ok(())
    }

    fn report_ids(&mut self) -> Result<[SeriesId; 5], String> {
        if let Some(ids) = self.report_ids {
            return Ok(ids);
        }
        let mut ids = [SeriesId(0); 5];
        for (id, name) in ids.iter_mut().zip(REPORT) {
            let mut labels = self.labels.to_builder();
            labels.set(METRIC_NAME, name);
            *id = self.sink.intern(&labels.build())?;
        }
        Ok(*self.report_ids.insert(ids))
    }

    fn write(&self, ts_ms: i64, batch: &mut Batch) -> Result<(), String> {
        let own =
            batch.own_ts.iter().map(|(ts_ms, (ids, values))| Row::floats(*ts_ms, ids, values));
        // Histograms of the scrape's time are cells of its row; one with its own time is a row.
        let (mut histograms, mut alone) = (Vec::new(), Vec::new());
        for (id, own_ms, histogram) in &batch.natives {
            match own_ms {
                Some(own_ms) if *own_ms != ts_ms => {
                    alone.push((*own_ms, [*id], [(0, histogram)]));
                }
                _ => {
                    histograms.push((batch.ids.len(), histogram));
                    batch.ids.push(*id);
                    batch.values.push(ABSENT);
                }
            }
        }
        let (series, values) = (&batch.ids, &batch.values);
        let main = Row { ts_ms, series, values, histograms: &histograms };
        let natives = alone.iter().map(|(ts_ms, series, histograms)| Row {
            ts_ms: *ts_ms,
            series,
            values: &[ABSENT],
            histograms,
        });
        let rows: Vec<Row<'_>> = own.chain(std::iter::once(main)).chain(natives).collect();
        self.sink.append(&rows)?;
        if !batch.starts.is_empty() {
            let starts = batch.starts.iter();
            let starts =
                starts.map(|(id, own_ms, start_ms)| (*id, own_ms.unwrap_or(ts_ms), *start_ms));
            self.sink.starts(&starts.collect::<Vec<_>>())?;
        }
        if batch.exemplars.is_empty() {
            return Ok(());
        }
        for (_, exemplar) in batch.exemplars.iter_mut().filter(|(_, one)| one.ts_ms == 0) {
            exemplar.ts_ms = ts_ms;
        }
        self.sink.exemplars(&batch.exemplars)
    }

    fn note_metadata(&mut self, said: &[Entry<'_>]) {
        let mut page: BTreeMap<&str, (MetricKind, &str, &str)> = BTreeMap::new();
        for entry in said {
            match entry {
                Entry::Type { name, kind } => page.entry(name).or_default().0 = *kind,
                Entry::Help { name, text } => page.entry(name).or_default().1 = text,
                Entry::Unit { name, unit } => page.entry(name).or_default().2 = unit,
                Entry::Sample(_) => {}
            }
        }
        self.said.take(&page, |name, kind, help, unit| {
            self.sink.metadata(name, kind, &unescape_help(help), unit);
        });
    }
}

/// Two lines may be one series after relabelling: the first counts, and none may be one of
/// `reserved`, which the scraper writes itself. Says whether anything was dropped.
fn drop_repeated_ids(batch: &mut Batch, reserved: &[SeriesId]) -> bool {
    let mut dropped = false;
    let rows = std::iter::once((&mut batch.ids, &mut batch.values))
        .chain(batch.own_ts.values_mut().map(|(ids, values)| (ids, values)));
    for (ids, values) in rows {
        let mut seen = HashSet::with_capacity(ids.len() + reserved.len());
        seen.extend(reserved);
        let (mut kept_ids, mut kept_values) = (Vec::new(), Vec::new());
        for (id, value) in ids.iter().zip(values.iter()) {
            if seen.insert(*id) {
                kept_ids.push(*id);
                kept_values.push(*value);
            }
        }
        if kept_ids.len() < ids.len() {
            dropped = true;
            (*ids, *values) = (kept_ids, kept_values);
        }
    }
    dropped
}

/// `honor_labels: true`: ours only where the sample says nothing, not even "empty".
fn honored(own: &Labels, target: &Labels, raw: &[u8]) -> Labels {
    let mut labels = own.to_builder();
    for label in target {
        let empty = format!("{}=\"\"", label.name);
        let says_empty = raw.windows(empty.len()).any(|window| window == empty.as_bytes());
        if own.get(&label.name).is_none() && !says_empty {
            labels.set(label.name.clone(), label.value.clone());
        }
    }
    labels.build()
}

/// `honor_labels: false`: ours win, and the sample's move to `exported_…`.
fn exported(own: &Labels, target: &Labels) -> Labels {
    let mut labels = own.to_builder();
    let mut conflicts = Vec::new();
    for label in target {
        if let Some(value) = own.get(&label.name) {
            conflicts.push((label.name.to_string(), value.to_owned()));
        }
        labels.set(label.name.clone(), label.value.clone());
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = format!("exported_{name}");
        while labels.get(&name).is_some() {
            name.insert_str(0, "exported_");
        }
        labels.set(name, value);
    }
    labels.build()
}

#[cfg(test)]
mod tests;
