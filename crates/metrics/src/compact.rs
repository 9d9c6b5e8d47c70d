//! Compaction: closed segments become blocks of two hours, and a day's blocks one block.
//!
//! [`Store::compact`] does one such step, from immutable files to new files, without a lock while
//! it reads, encodes and writes. The steps of an installation are the proof that nothing is lost
//! and nothing appears twice: the new blocks are durable under their names; the manifest names them
//! and no longer their inputs; memory follows, under the lock that readers take; the inputs are
//! removed. A crash in between leaves files that the manifest does not name, which the next start
//! removes.
//!
//! What is hidden by a tombstone is left out. What is damaged is left out too, reported, and its
//! file is kept aside.

use crate::block::{self, Block, Place, Writer};
use crate::chunk::Chunk;
use crate::manifest::{BlockEntry, Manifest};
use crate::merge::{Body, Piece, merge};
use crate::planted::{self, Bug};
use crate::section::Head;
use crate::segment::{ChunkMeta, read_chunk};
use crate::store::Store;
use crate::tombstone::{self, Source, Tombstone};
use crate::{MetricsError, manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use vigie_disk::{DiskError, DiskFile, put_aside};

/// What a block of the second level spans.
pub(crate) const DAY_MS: i64 = 24 * 3600 * 1000;
/// A day's blocks are joined when the day has been over for so long: late rows have come in.
const DAY_REST_MS: i64 = 3 * 3600 * 1000;
/// Segments of one step together have at most this.
const STEP_BYTES_MAX: u64 = 256 << 20;
/// Data of more days than this becomes one block, not one a day.
const DAYS_MAX: i64 = 32;
/// The small blocks of a day are joined with its large one when they have an eighth of it together,
/// or are more than this.
const SMALL_BLOCKS_MAX: usize = 6;

/// What a step reads and may write.
struct Job {
    /// Segments below this number, when the inputs are segments.
    segment_end: Option<u32>,
    segments: Vec<u32>,
    blocks: Vec<Arc<Block>>,
    tombstones: Vec<Arc<Tombstone>>,
    /// The first and the last instant of each output block.
    windows: Vec<(i64, i64)>,
    /// The number of the first output block.
    id: u32,
}

/// What a step wrote.
#[derive(Default)]
struct Output {
    entries: Vec<BlockEntry>,
    /// Files of which something could not be read.
    damaged: BTreeSet<PathBuf>,
    cancelled: bool,
}

/// Told how many bytes were just read or written; may wait, and ends the step by saying `false`.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Store {
    /// Does one step of compaction, if there is one to do. `Ok(true)`: there may be more.
    ///
    /// Takes minutes at most and holds no lock for long; one caller at a time does the work.
    /// `pace` is called with the bytes just read or written and may sleep.
    pub fn compact(&self, now_ms: i64, pace: Pace<'_>) -> Result<bool, MetricsError> {
        let _one = self.compaction.lock();
        self.forget_lost()?;
        let Some(job) = self.plan(now_ms) else { return Ok(false) };
        Ok(self.perform(job, pace)?)
    }

    /// Compacts everything that tombstones hide something of, until none is left.
    ///
    /// What is hidden in rows that arrived since the last seal was sealed by the deletion.
    pub fn clean_tombstones(&self, pace: Pace<'_>) -> Result<(), MetricsError> {
        let _one = self.compaction.lock();
        self.forget_lost()?;
        while let Some(job) = self.plan_cleaning() {
            if !self.perform(job, pace)? {
                break;
            }
        }
        self.drop_tombstones()?;
        Ok(())
    }

    /// Cuts a log that mentions a chunk which a power cut took, before its segment goes.
    fn forget_lost(&self) -> Result<(), DiskError> {
        if self.heads.lock().log_mentions_lost && !planted::is(Bug::LogSpeaksOfLost) {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn perform(&self, job: Job, pace: Pace<'_>) -> Result<bool, DiskError> {
        let started = std::time::Instant::now();
        let output = self.write_blocks(&job, pace)?;
        if output.cancelled {
            return Ok(false);
        }
        let (blocks, segments) = (job.blocks.len(), job.segments.len());
        let installed = self.install(job, &output)?;
        tracing::debug!(
            segments,
            blocks,
            written = output.entries.len(),
            bytes = output.entries.iter().map(|entry| entry.bytes).sum::<u64>(),
            elapsed_ms = started.elapsed().as_millis() as u64,
            "metrics were compacted"
        );
        Ok(installed)
    }

    /// The next step: closed segments first, then the oldest day that can be joined.
    fn plan(&self, now_ms: i64) -> Option<Job> {
        let mut manifest = self.manifest.lock();
        let heads = self.heads.lock();
        let closed = heads.segments.closed_prefix(STEP_BYTES_MAX);
        if let Some(last) = closed.last() {
            let span = closed.iter().map(|segment| (segment.min_ms, segment.max_ms));
            let mut job = Job::new(&mut manifest, span, Vec::new());
            job.segment_end = Some(last.id + 1);
            job.segments = closed.iter().map(|segment| segment.id).collect();
            return Some(job);
        }
        let blocks = joinable(&heads.blocks, now_ms)?;
        let span = blocks.iter().map(|block| block.span()).collect::<Vec<_>>();
        Some(Job::new(&mut manifest, span.into_iter(), blocks))
    }

    /// One block of which a tombstone hides something, or the segments.
    fn plan_cleaning(&self) -> Option<Job> {
        let mut manifest = self.manifest.lock();
        let heads = self.heads.lock();
        let touches = |source, span, series: &_| {
            manifest.tombstones.iter().any(|tombstone| tombstone.touches(source, span, series))
        };
        let closed = heads.segments.closed_prefix(STEP_BYTES_MAX);
        let is_hidden = closed.iter().any(|segment| {
            touches(Source::Segment(segment.id), (segment.min_ms, segment.max_ms), &segment.series)
        });
        if is_hidden {
            let span = closed.iter().map(|segment| (segment.min_ms, segment.max_ms));
            let mut job = Job::new(&mut manifest, span, Vec::new());
            job.segment_end = closed.last().map(|last| last.id + 1);
            job.segments = closed.iter().map(|segment| segment.id).collect();
            return Some(job);
        }
        let block = heads
            .blocks
            .iter()
            .find(|block| touches(Source::Block(block.entry.id), block.span(), &block.series))?;
        let block = block.clone();
        Some(Job::new(&mut manifest, std::iter::once(block.span()), vec![block]))
    }

    /// Reads the inputs group by group and writes a block per window that has something.
    fn write_blocks(&self, job: &Job, pace: Pace<'_>) -> Result<Output, DiskError> {
        let mut output = Output::default();
        let mut writers: BTreeMap<usize, Writer> = BTreeMap::new();
        let written = self.write_sections(job, &mut writers, &mut output, pace);
        let mut result = written;
        for (_, writer) in writers {
            if result.is_err() || output.cancelled {
                writer.abandon();
                continue;
            }
            match writer.finish() {
                Ok(entry) => output.entries.extend(entry),
                Err(e) => result = Err(e),
            }
        }
        output.cancelled |= result.is_ok() && !pace(0);
        if result.is_err() || output.cancelled {
            // They are not named by the manifest, and no start has to find them.
            output.entries.iter().for_each(|entry| {
                let _ = self.disk.remove(&self.block_path(entry.id));
            });
        }
        result.map(|()| output)
    }

    fn write_sections(
        &self,
        job: &Job,
        writers: &mut BTreeMap<usize, Writer>,
        output: &mut Output,
        pace: Pace<'_>,
    ) -> Result<(), DiskError> {
        let mut places: BTreeMap<u32, Vec<(usize, Place)>> = BTreeMap::new();
        for (at, block) in job.blocks.iter().enumerate() {
            match block.all_places() {
                Ok(all) => all.into_iter().for_each(|place| {
                    places.entry(place.group).or_default().push((at, place));
                }),
                Err(error) => output.note(error)?,
            }
        }
        let groups = self.heads.lock().groups.len() as u32;
        for group in 0..groups {
            let places = places.remove(&group).unwrap_or_default();
            let input = self.gather(job, group, &places, output)?;
            if input.is_empty() {
                continue;
            }
            let mut bytes = input.bytes;
            self.write_group(job, group, &input, writers, output, &mut bytes)?;
            if !pace(bytes) {
                output.cancelled = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the encoded bytes of a group's inputs.
    fn gather(
        &self,
        job: &Job,
        group: u32,
        places: &[(usize, Place)],
        output: &mut Output,
    ) -> Result<Input, DiskError> {
        let mut input = Input::default();
        if !job.segments.is_empty() {
            let heads = self.heads.lock();
            let ours = heads.groups[group as usize].chunks.iter();
            for meta in ours.filter(|meta| job.segments.binary_search(&meta.segment).is_ok()) {
                let segment = heads.segments.get(meta.segment).expect("a planned segment is there");
                input.files.push((*meta, segment.file.clone()));
            }
        }
        for (meta, file) in &input.files {
            match read_chunk(&**file, meta) {
                Ok(payload) => input.chunks.push(Some(payload)),
                Err(error) => {
                    output.note(error)?;
                    input.chunks.push(None);
                }
            }
            input.bytes += u64::from(meta.bytes);
        }
        for (at, place) in places {
            match job.blocks[*at].head(place) {
                Ok(head) => input.heads.push((*at, head)),
                Err(error) => output.note(error)?,
            }
            input.bytes += u64::from(place.head_bytes);
        }
        if !input.is_empty() {
            input.series = self.heads.lock().groups[group as usize].series.clone();
        }
        Ok(input)
    }

    fn write_group(
        &self,
        job: &Job,
        group: u32,
        input: &Input,
        writers: &mut BTreeMap<usize, Writer>,
        output: &mut Output,
        bytes: &mut u64,
    ) -> Result<(), DiskError> {
        let mut chunks = Vec::with_capacity(input.files.len());
        for ((meta, file), payload) in input.files.iter().zip(&input.chunks) {
            let Some(payload) = payload else { continue };
            match Chunk::parse(payload) {
                Ok(chunk) => chunks.push((chunk, meta, file)),
                Err(what) => {
                    output.note(DiskError::corrupt(file.path(), u64::from(meta.offset), what))?;
                }
            }
        }
        if planted::is(Bug::LateLeftOut) {
            let mut newest_ms = i64::MIN;
            chunks.retain(|(_, meta, _)| {
                let is_late = meta.min_ms <= newest_ms;
                newest_ms = newest_ms.max(meta.max_ms);
                !is_late
            });
        }
        let pieces = pieces(job, input, &chunks);
        for (at, window) in job.windows.iter().enumerate() {
            if !pieces.iter().any(|piece| piece.has_rows(*window)) {
                continue;
            }
            if let std::collections::btree_map::Entry::Vacant(vacant) = writers.entry(at) {
                let id = job.id + at as u32;
                vacant.insert(Writer::create(self.disk.clone(), &self.blocks_dir(), id)?);
            }
            let writer = writers.get_mut(&at).expect("made above");
            let mut damage = |error: DiskError| output.note_corrupt(&error);
            *bytes += merge(group, &input.series, &pieces, *window, writer, &mut damage)?;
        }
        Ok(())
    }

    /// Makes the output take the place of the inputs.
    fn install(&self, job: Job, output: &Output) -> Result<bool, DiskError> {
        let mut opened = Vec::with_capacity(output.entries.len());
        for entry in &output.entries {
            let path = self.block_path(entry.id);
            let block = Block::open(&*self.disk, &path, entry.id, &mut |_| {})?;
            assert_eq!(block.entry, *entry, "a block is read back as it was written");
            opened.push(Arc::new(block));
        }
        let mut manifest = self.manifest.lock();
        if !job.is_current(&manifest) {
            // Retention took an input away meanwhile: the next step starts from what is left.
            drop(manifest);
            for entry in &output.entries {
                self.disk.remove(&self.block_path(entry.id))?;
            }
            return Ok(true);
        }
        for path in &output.damaged {
            put_aside(&*self.disk, path)?;
        }
        let is_input = |id: u32| job.blocks.iter().any(|block| block.entry.id == id);
        let mut next = manifest.clone();
        next.segment_min = job.segment_end.unwrap_or(next.segment_min);
        next.blocks.retain(|entry| !is_input(entry.id));
        next.blocks.extend(output.entries.iter().copied());
        next.blocks.sort_unstable_by_key(|entry| entry.id);
        if planted::is(Bug::InputsGoFirst) {
            self.remove_files(&job.segments, job.blocks.iter().map(|block| block.entry.id));
        }
        manifest::store(&*self.disk, &self.dir, &next)?;
        *manifest = next;
        {
            let mut heads = self.heads.lock();
            heads.blocks.retain(|block| !is_input(block.entry.id));
            heads.blocks.extend(opened);
            heads.blocks.sort_unstable_by_key(|block| block.entry.id);
            if let Some(end) = job.segment_end {
                heads.forget_segments_before(end);
            }
        }
        drop(manifest);
        self.remove_files(&job.segments, job.blocks.iter().map(|block| block.entry.id));
        Ok(true)
    }

    /// Removes what the manifest no longer names. What fails is tried at the next start.
    pub(crate) fn remove_files(&self, segments: &[u32], blocks: impl Iterator<Item = u32>) {
        let segment_files = segments.iter().flat_map(|id| self.segment_paths(*id));
        for path in segment_files.chain(blocks.map(|id| self.block_path(id))) {
            if self.disk.exists(&path)
                && let Err(error) = self.disk.remove(&path)
            {
                tracing::warn!(%error, "a file that is not needed any more stays for now");
            }
        }
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.dir.join("blocks")
    }

    pub(crate) fn block_path(&self, id: u32) -> PathBuf {
        self.blocks_dir().join(block::name(id))
    }
}

/// The encoded inputs of one group.
#[derive(Default)]
struct Input {
    files: Vec<(ChunkMeta, Arc<dyn DiskFile>)>,
    /// The payloads of `files`, but for the damaged ones.
    chunks: Vec<Option<Vec<u8>>>,
    /// Which block, and the head of a section of it.
    heads: Vec<(usize, Head)>,
    series: Vec<u32>,
    bytes: u64,
}

impl Input {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.heads.is_empty()
    }
}

/// All inputs of a group, blocks first: what stands in segments came later.
fn pieces<'a>(
    job: &'a Job,
    input: &'a Input,
    chunks: &'a [(Chunk<'a>, &'a ChunkMeta, &'a Arc<dyn DiskFile>)],
) -> Vec<Piece<'a>> {
    let sections = input.heads.iter().map(|(at, head)| {
        let block = &job.blocks[*at];
        let source = Source::Block(block.entry.id);
        let mut tombstones = tombstone::of(&job.tombstones, source, block.span());
        if planted::is(Bug::DeletedComesBack) {
            tombstones.clear();
        }
        Piece { body: Body::Section(block, head), tombstones, source }
    });
    let chunks = chunks.iter().map(|(chunk, meta, file)| {
        let source = Source::Segment(meta.segment);
        let tombstones = tombstone::of(&job.tombstones, source, (meta.min_ms, meta.max_ms));
        let body = Body::Chunk(chunk, file.path(), u64::from(meta.offset));
        Piece { body, tombstones, source }
    });
    sections.chain(chunks).collect()
}

impl Job {
    /// A step over a span of inputs; takes the numbers of its outputs.
    fn new(
        manifest: &mut Manifest,
        spans: impl Iterator<Item = (i64, i64)>,
        blocks: Vec<Arc<Block>>,
    ) -> Job {
        let (min_ms, max_ms) = spans
            .filter(|(min_ms, max_ms)| min_ms <= max_ms)
            .fold((i64::MAX, i64::MIN), |all, span| (all.0.min(span.0), all.1.max(span.1)));
        let windows = windows(min_ms, max_ms);
        let id = manifest.block_next;
        manifest.block_next += windows.len() as u32;
        Job {
            segment_end: None,
            segments: Vec::new(),
            blocks,
            tombstones: manifest.tombstones.clone(),
            windows,
            id,
        }
    }

    /// Whether the inputs are still what the store has.
    fn is_current(&self, manifest: &Manifest) -> bool {
        let named = |block: &Arc<Block>| manifest.blocks.contains(&block.entry);
        let segments = self.segments.first().is_none_or(|first| manifest.segment_min <= *first);
        segments && self.blocks.iter().all(named)
    }
}

/// Days, or everything in one when it is too many of them.
fn windows(min_ms: i64, max_ms: i64) -> Vec<(i64, i64)> {
    if min_ms > max_ms {
        return Vec::new();
    }
    let (first, last) = (min_ms.div_euclid(DAY_MS), max_ms.div_euclid(DAY_MS));
    if last - first >= DAYS_MAX {
        return vec![(min_ms, max_ms)];
    }
    let starts = (first..=last).map(|day| day.saturating_mul(DAY_MS));
    starts.map(|start| (start, start.saturating_add(DAY_MS - 1))).collect()
}

/// The blocks of the oldest day that is over and worth joining.
fn joinable(blocks: &[Arc<Block>], now_ms: i64) -> Option<Vec<Arc<Block>>> {
    let mut days: BTreeMap<i64, Vec<Arc<Block>>> = BTreeMap::new();
    for block in blocks {
        let (min_ms, max_ms) = block.span();
        let day = min_ms.div_euclid(DAY_MS);
        let is_over = (day + 1).saturating_mul(DAY_MS).saturating_add(DAY_REST_MS) <= now_ms;
        if max_ms.div_euclid(DAY_MS) == day && is_over {
            days.entry(day).or_default().push(block.clone());
        }
    }
    days.into_values().find(|blocks| {
        let largest = blocks.iter().map(|block| block.entry.bytes).max().unwrap_or(0);
        let all: u64 = blocks.iter().map(|block| block.entry.bytes).sum();
        let small = blocks.len() - 1;
        small > 0 && (small > SMALL_BLOCKS_MAX || (all - largest) * 8 >= largest)
    })
}

impl Output {
    /// Notes damage; any other error ends the step.
    fn note(&mut self, error: DiskError) -> Result<(), DiskError> {
        if !error.is_corrupt() {
            return Err(error);
        }
        self.note_corrupt(&error);
        Ok(())
    }

    fn note_corrupt(&mut self, error: &DiskError) {
        tracing::error!(%error, "stored metrics are damaged: the compaction leaves them out");
        if let DiskError::Corrupt { file, .. } = error {
            self.damaged.insert(PathBuf::from(file));
        }
    }
}
