//! Looking at a store: what takes how much room, and whether every byte is what was written.

use crate::bitmap::Bitmap;
use crate::block::{Block, Place};
use crate::chunk::Chunk;
use crate::head::NO_SERIES;
use crate::section::{self, Head, Slot};
use crate::segment::{ChunkMeta, read_chunk};
use crate::store::Store;
use crate::strip::is_number;
use crate::{CHUNK_ROWS_MAX, MetricsError};
use std::collections::BTreeMap;
use std::sync::Arc;
use vigie_disk::{DiskError, DiskFile};
use vigie_model::{ABSENT, is_absent};

/// A file of the store in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileStats {
    /// Its path.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// The oldest instant in it, in milliseconds.
    pub min_ms: i64,
    /// The newest instant in it, in milliseconds.
    pub max_ms: i64,
    /// Series that have a sample in it.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Sections of a block, chunks of a segment.
    pub parts: u64,
}

/// A metric in numbers, over all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricStats {
    /// Its name; empty for series without one.
    pub metric: String,
    /// Its series that the store knows.
    pub series: u64,
    /// Samples in blocks and segments.
    pub samples: u64,
    /// Bytes of its columns; timestamps and directories are shared and not in it.
    pub bytes: u64,
}

/// What takes the room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// Blocks and segments, oldest first.
    pub files: Vec<FileStats>,
    /// Metrics, those with the most bytes first.
    pub metrics: Vec<MetricStats>,
    /// Series that the store knows and that have no sample left: they are forgotten within hours.
    pub dead: u64,
}

/// What a verification went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blocks and segments.
    pub files: u64,
    /// Columns decoded.
    pub columns: u64,
    /// Samples decoded.
    pub samples: u64,
    /// Places that are damaged.
    pub damaged: u64,
}

/// Told of every column: its series, its samples and its bytes; or of damage.
type Visit<'a> = dyn FnMut(Result<Seen, DiskError>) + 'a;

/// A column that was decoded.
struct Seen {
    series: u32,
    samples: u64,
    bytes: u64,
}

impl Store {
    /// Reads everything and adds it up. Damaged places are left out.
    pub fn analyze(&self) -> Result<Analysis, MetricsError> {
        let mut of_metric: BTreeMap<String, MetricStats> = BTreeMap::new();
        let mut companions = Bitmap::default();
        let names: Vec<String> = {
            let catalog = self.catalog.read();
            let ids = 0..catalog.len() as u32;
            ids.clone().filter(|id| catalog.is_companion(*id)).for_each(|id| companions.insert(id));
            ids.map(|id| catalog.labels(id).metric_name().unwrap_or("").to_owned()).collect()
        };
        let mut dead = self.dead_series();
        dead.subtract(&companions);
        let dead = dead.ids().len() as u64;
        let mut known = self.catalog.read().all_known();
        known.subtract(&companions);
        for id in known.ids() {
            // One that came after the names were read is counted the next time.
            if let Some(name) = names.get(id as usize) {
                of_metric.entry(name.clone()).or_default().series += 1;
            }
        }
        let mut files = Vec::new();
        self.each_file(&mut |mut file, walk| {
            file.samples = 0;
            walk(&mut |seen| {
                let Ok(seen) = seen else { return };
                let metric = of_metric.entry(names[seen.series as usize].clone()).or_default();
                // Start timestamps take room, and are no samples of the metric.
                metric.bytes += seen.bytes;
                if !companions.contains(seen.series) {
                    file.samples += seen.samples;
                    metric.samples += seen.samples;
                }
            })?;
            files.push(file);
            Ok(())
        })?;
        files.sort_by_key(|file| (file.min_ms, file.file.clone()));
        let mut metrics: Vec<MetricStats> =
            of_metric.into_iter().map(|(metric, stats)| MetricStats { metric, ..stats }).collect();
        metrics.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.metric.cmp(&b.metric)));
        Ok(Analysis { files, metrics, dead })
    }

    /// Checks every checksum and invariant of every file, and tells `report` of each damaged place:
    /// file, offset and what is wrong there. What the opening of the store found is in it.
    pub fn verify(&self, report: &mut dyn FnMut(&DiskError)) -> Result<Verified, MetricsError> {
        let mut verified = Verified::default();
        let at_the_start = {
            let heads = self.heads.lock();
            let found = self.wal.damage().iter().chain(&self.damage);
            found.chain(&heads.segments.damage).cloned().collect::<Vec<_>>()
        };
        for error in &at_the_start {
            report(error);
            verified.damaged += 1;
        }
        self.each_file(&mut |file, walk| {
            verified.files += 1;
            let mut samples = 0;
            let damaged = verified.damaged;
            walk(&mut |seen| match seen {
                Ok(seen) => {
                    verified.columns += 1;
                    samples += seen.samples;
                }
                Err(error) => {
                    report(&error);
                    verified.damaged += 1;
                }
            })?;
            verified.samples += samples;
            // A segment has no count of its own.
            if damaged == verified.damaged && file.samples > 0 && file.samples != samples {
                let what = format!("the footer says {} samples, there are {samples}", file.samples);
                report(&DiskError::corrupt(std::path::Path::new(&file.file), 0, what));
                verified.damaged += 1;
            }
            Ok(())
        })?;
        Ok(verified)
    }

    /// Calls `each` with every block and segment and a way to walk its columns.
    #[expect(clippy::type_complexity, reason = "a walk handed to a walk, used right here")]
    fn each_file(
        &self,
        each: &mut dyn FnMut(
            FileStats,
            &mut dyn FnMut(&mut Visit<'_>) -> Result<(), DiskError>,
        ) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let blocks = self.heads.lock().blocks.clone();
        for block in blocks {
            let file = FileStats {
                file: block.path().display().to_string(),
                bytes: block.entry.bytes,
                min_ms: block.entry.min_ms,
                max_ms: block.entry.max_ms,
                series: block.series.ids().len() as u64,
                samples: block.samples,
                parts: u64::from(block.sections),
            };
            each(file, &mut |visit| self.walk_block(&block, visit))?;
        }
        for (stats, file, chunks) in self.segments() {
            each(stats, &mut |visit| self.walk_segment(&*file, &chunks, visit))?;
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn segments(&self) -> Vec<(FileStats, Arc<dyn DiskFile>, Vec<(u32, ChunkMeta)>)> {
        let heads = self.heads.lock();
        let segments = heads.segments.list.iter().map(|segment| {
            let chunks = heads.chunks_of(segment.id);
            let stats = FileStats {
                file: segment.file.path().display().to_string(),
                bytes: segment.bytes,
                min_ms: segment.min_ms,
                max_ms: segment.max_ms,
                series: segment.series.ids().len() as u64,
                samples: 0,
                parts: chunks.len() as u64,
            };
            (stats, segment.file.clone(), chunks)
        });
        segments.filter(|(stats, ..)| stats.parts > 0).collect()
    }

    fn walk_block(&self, block: &Block, visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let mut end = vigie_disk::frame::HEADER_BYTES as u64;
        for place in block.all_places()? {
            let head = match block.head(&place) {
                Ok(head) => head,
                Err(error) if error.is_corrupt() => {
                    visit(Err(error));
                    end = place.head_offset + u64::from(place.head_bytes);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let start = first_byte(&head, &place);
            if start != end {
                visit(Err(block.corrupt(end, "bytes that no section has stand here")));
            }
            end = place.head_offset + u64::from(place.head_bytes);
            for (column, slot) in head.columns.iter().zip(&head.slots) {
                match self.walk_column(block, &head, *column, *slot) {
                    Ok(Some(seen)) => visit(Ok(seen)),
                    Ok(None) => {}
                    Err(error) if error.is_corrupt() => visit(Err(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn walk_column(
        &self,
        block: &Block,
        head: &Head,
        column: u32,
        slot: Slot,
    ) -> Result<Option<Seen>, DiskError> {
        let (offset, bytes) = match slot {
            Slot::Inline(from, to) => (0, to - from),
            Slot::Stored(offset, bytes) => (offset, bytes),
        };
        let Some(body) = block.body_in(head, slot)? else { return Ok(None) };
        let mut samples = 0;
        let take = &mut |_: usize, page: &[f64]| {
            samples += page.iter().filter(|value| !is_absent(**value)).count() as u64;
        };
        let rows = head.timestamps_ms.len();
        section::each_page(&body, rows, &|_| true, take)
            .map_err(|what| block.corrupt(offset, what))?;
        if head.has_objects(column) {
            section::each_object(&body, rows, &|_| true, &mut |_, _| samples += 1)
                .map_err(|what| block.corrupt(offset, what))?;
        }
        let heads = self.heads.lock();
        let series = heads.groups[head.group as usize].series.get(column as usize).copied();
        match series.filter(|id| block.series.contains(*id)) {
            Some(series) if samples > 0 => {
                Ok(Some(Seen { series, samples, bytes: u64::from(bytes) }))
            }
            Some(_) => Err(block.corrupt(offset, "a column has no sample")),
            None => Err(block.corrupt(offset, "a column is of a series that the block has not")),
        }
    }

    fn walk_segment(
        &self,
        file: &dyn DiskFile,
        chunks: &[(u32, ChunkMeta)],
        visit: &mut Visit<'_>,
    ) -> Result<(), DiskError> {
        for (group, meta) in chunks {
            let corrupt = |what| DiskError::corrupt(file.path(), u64::from(meta.offset), what);
            let payload = match read_chunk(file, meta) {
                Ok(payload) => payload,
                Err(error) if error.is_corrupt() => {
                    visit(Err(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let chunk = match Chunk::parse(&payload) {
                Ok(chunk) if chunk.group == *group => chunk,
                Ok(_) => {
                    visit(Err(corrupt("the chunk is of another group than the index says")));
                    continue;
                }
                Err(what) => {
                    visit(Err(corrupt(what)));
                    continue;
                }
            };
            let ids = self.heads.lock().groups[*group as usize].series.clone();
            for column in &chunk.columns {
                let strip = chunk.strip(*column).expect("a column of the chunk");
                let mut values = [ABSENT; CHUNK_ROWS_MAX];
                let values = &mut values[..chunk.timestamps_ms.len()];
                let mut objects = 0;
                let decoded = strip.decode(values).and_then(|()| {
                    if strip.is_plain() && !values.iter().all(|value| is_number(*value)) {
                        return Err("a column is not as plain as its form says");
                    }
                    strip.decode_objects(values.len(), &mut |_, _| objects += 1)
                });
                let floats = values.iter().filter(|value| !is_absent(**value)).count() as u64;
                let samples = floats + objects;
                let known = ids.get(*column as usize).filter(|id| **id != NO_SERIES);
                visit(match (decoded, known) {
                    (Ok(()), Some(series)) => {
                        Ok(Seen { series: *series, samples, bytes: strip.bytes.len() as u64 })
                    }
                    (Ok(()), None) => Err(corrupt("a column is of a series that is not known")),
                    (Err(what), _) => Err(corrupt(what)),
                });
            }
        }
        Ok(())
    }
}

/// Where a section starts.
fn first_byte(head: &Head, place: &Place) -> u64 {
    let stored = head.slots.iter().find_map(|slot| match slot {
        Slot::Stored(offset, _) => Some(*offset),
        Slot::Inline(..) => None,
    });
    stored.unwrap_or(place.head_offset)
}
