//! `series.log`: the labels and places of all series that the write-ahead log no longer has.
//!
//! Written at checkpoints only, before the write-ahead log is cut; so what is lost at its end in a
//! crash still stands in the write-ahead log. The bytes stand in `docs/formats/metrics-log.md`.

use crate::record::{self, Definition};
use crate::wire::Bytes;
use std::path::Path;
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::{Disk, DiskError, DiskFile, record as framed};

const KIND: FrameKind = FrameKind { magic: *b"VIGIESER", version: 1 };
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64;
const LOG_BYTES_MAX: u64 = 4 << 30;
/// Definitions are written in records of about this size.
const RECORD_BYTES: usize = 64 * 1024;

pub(crate) struct SeriesLog {
    file: Arc<dyn DiskFile>,
    /// The length of the good part.
    bytes: u64,
    /// Something unfinished may stand behind it.
    ragged: bool,
}

impl SeriesLog {
    /// Opens the log or makes it, and hands over every series in the order written.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        take: &mut dyn FnMut(Definition) -> Result<(), &'static str>,
    ) -> Result<SeriesLog, DiskError> {
        if !disk.exists(path) {
            vigie_disk::write_atomic(disk, path, &frame::encode(KIND, &[]))?;
        }
        let bytes = disk.read(path, LOG_BYTES_MAX)?;
        let header = &bytes[..bytes.len().min(frame::HEADER_BYTES)];
        frame::decode(KIND, header, path)?;
        let mut at = header.len();
        while let Ok(payload) = framed::decode(&bytes[at..]) {
            let corrupt = |what| DiskError::corrupt(path, at as u64, what);
            let mut input = Bytes::new(payload);
            for definition in record::definitions(&mut input).map_err(corrupt)? {
                take(definition).map_err(corrupt)?;
            }
            at += framed::HEADER_BYTES + payload.len();
        }
        let file = disk.append(path)?.into();
        Ok(SeriesLog { file, bytes: at as u64, ragged: at < bytes.len() })
    }

    /// Writes series and makes them durable.
    pub(crate) fn append(&mut self, definitions: &[Definition]) -> Result<(), DiskError> {
        let (mut one, mut batch, mut count) = (Vec::new(), Vec::new(), 0u64);
        let mut records = Vec::new();
        let mut flush = |batch: &mut Vec<u8>, count: &mut u64| {
            let mut payload = Vec::with_capacity(batch.len() + 4);
            crate::wire::put_uint(&mut payload, *count);
            payload.append(batch);
            framed::encode(&payload, &mut records);
            *count = 0;
        };
        for definition in definitions {
            one.clear();
            record::put_definition(&mut one, definition);
            batch.append(&mut one);
            count += 1;
            if batch.len() >= RECORD_BYTES {
                flush(&mut batch, &mut count);
            }
        }
        if count > 0 {
            flush(&mut batch, &mut count);
        }
        if records.is_empty() {
            return Ok(());
        }
        if self.ragged {
            self.file.truncate(self.bytes)?;
        }
        self.ragged = true;
        self.file.append(&records)?;
        self.file.sync()?;
        self.ragged = false;
        self.bytes += records.len() as u64;
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fails if the log is shorter than it was when it was last synced.
    pub(crate) fn check(&self, synced_bytes: u64) -> Result<(), DiskError> {
        assert!(self.bytes >= HEADER_BYTES);
        if self.bytes >= synced_bytes {
            return Ok(());
        }
        let what = format!("the list of series is damaged here; {synced_bytes} bytes were good");
        Err(DiskError::corrupt(self.file.path(), self.bytes, what))
    }
}
