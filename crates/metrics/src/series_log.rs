//! `series.log`: the labels and places of all series that the write-ahead log no longer has.
//!
//! Written at checkpoints only, before the write-ahead log is cut; so what is lost at its end in a
//! crash still stands in the write-ahead log. The bytes stand in `docs/formats/metrics-log.md`.

use crate::record::{self, Definition};
use std::path::Path;
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record::{self as framed, Records};
use vigie_disk::wire::Bytes;
use vigie_disk::{Disk, DiskError, DiskFile};

const KIND: FrameKind = FrameKind { magic: *b"VIGIESER", version: 1 };
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64;
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
        // A process that died may have renamed it and not synced the name.
        disk.sync_dir(path.parent().expect("the log lies in the store's directory"))?;
        let file: Arc<dyn DiskFile> = disk.append(path)?.into();
        let len = file.len()?;
        let mut header = [0; frame::HEADER_BYTES];
        file.read_at(0, &mut header)?;
        frame::decode(KIND, &header, path)?;
        let mut records = Records::new(&*file, HEADER_BYTES, len);
        loop {
            let offset = records.offset();
            match records.next_payload() {
                Ok(None) => break,
                Ok(Some(payload)) => {
                    let corrupt = |what| DiskError::corrupt(path, offset, what);
                    let mut input = Bytes::new(payload);
                    for definition in record::definitions(&mut input).map_err(corrupt)? {
                        take(definition).map_err(corrupt)?;
                    }
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

    /// Writes series and makes them durable.
    pub(crate) fn append(&mut self, definitions: &[Definition]) -> Result<(), DiskError> {
        let (mut one, mut batch, mut count) = (Vec::new(), Vec::new(), 0u64);
        let mut records = Vec::new();
        let mut flush = |batch: &mut Vec<u8>, count: &mut u64| {
            let mut payload = Vec::with_capacity(batch.len() + 4);
            vigie_disk::wire::put_uint(&mut payload, *count);
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
