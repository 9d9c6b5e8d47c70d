//! `series.log`: the labels and places of all series that the write-ahead log no longer has.
//!
//! Written at checkpoints only, before the write-ahead log is cut; so what is lost at its end in a
//! crash still stands in the write-ahead log. The bytes stand in `docs/formats/metrics-log.md`.

use crate::batch::{self, Batch};
use crate::record::{self, Definition};
use std::path::Path;
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record::{self as framed, Records};
use vigie_disk::wire::{Bad, Bytes};
use vigie_disk::{Disk, DiskError, DiskFile, Meter, Tell};

const KIND: FrameKind = FrameKind { magic: *b"VIGIESER", version: 2 };
/// The version whose records are definitions. Batches may stand behind them.
const KIND_1: FrameKind = FrameKind { version: 1, ..KIND };
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64;
/// The first byte of a batch's payload, where a list of definitions says how many there are.
const BATCH: u8 = 0;

/// What a record says.
pub(crate) enum Said {
    /// In version 1.
    Definitions(Vec<Definition>),
    /// Since.
    Batch(Batch),
}

pub(crate) struct SeriesLog {
    file: Arc<dyn DiskFile>,
    /// The length of the good part.
    bytes: u64,
    /// Something unfinished may stand behind it.
    ragged: bool,
}

impl SeriesLog {
    /// Opens the log or makes it, and hands over all series in the order written.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        tell: &Tell<'_>,
        take: &mut dyn FnMut(Said) -> Result<(), &'static str>,
    ) -> Result<SeriesLog, DiskError> {
        if !disk.exists(path) {
            vigie_disk::write_atomic(disk, path, &frame::encode(KIND, &[]))?;
        }
        // A process that died may have renamed it and not synced the name.
        disk.sync_dir(path.parent().expect("the log lies in the store's directory"))?;
        let file: Arc<dyn DiskFile> = disk.append(path)?.into();
        let len = file.len()?;
        let mut header = [0; frame::HEADER_BYTES];
        file.read_at(0, &mut header)?;
        if frame::decode(KIND_1, &header, path).is_err() {
            frame::decode(KIND, &header, path)?;
        }
        let mut records = Records::new(&*file, HEADER_BYTES, len);
        let mut meter = Meter::start(tell, "the list of series", len);
        loop {
            let offset = records.offset();
            match records.next_payload() {
                Ok(None) => break,
                Ok(Some(payload)) => {
                    let corrupt = |what| DiskError::corrupt(path, offset, what);
                    said(payload).and_then(&mut *take).map_err(corrupt)?;
                    meter.add(payload.len() as u64);
                }
                Err(e) if !e.is_corrupt() => return Err(e),
                Err(e) => {
                    // With a good record behind it, it is not the end of an unfinished write.
                    if records.skip()? {
                        return Err(e);
                    }
                    break;
                }
            }
        }
        let bytes = records.offset();
        // Series read from here are not written here again, so they must be durable.
        file.sync()?;
        Ok(SeriesLog { file: file.clone(), bytes, ragged: bytes < len })
    }

    /// Writes batches and makes them durable.
    pub(crate) fn append(&mut self, batches: &[Vec<u8>]) -> Result<(), DiskError> {
        let mut records = Vec::new();
        for batch in batches {
            let mut payload = Vec::with_capacity(1 + batch.len());
            payload.push(BATCH);
            payload.extend_from_slice(batch);
            framed::encode(&payload, &mut records);
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

fn said(payload: &[u8]) -> Result<Said, Bad> {
    match payload.split_first() {
        Some((&BATCH, batch)) => batch::decode(batch).map(Said::Batch),
        _ => record::definitions(&mut Bytes::new(payload)).map(Said::Definitions),
    }
}
