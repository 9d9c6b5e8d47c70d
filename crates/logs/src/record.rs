//! The records of the write-ahead log: the entries that one append added, before they are sealed.

use crate::LABELS_MAX;
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_labels, put_uint};
use vigie_model::limits::PUSH_DECODED_BYTES_MAX;
use vigie_model::{Labels, LogEntry};

const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Shorter bodies are not worth a compressor's while.
const COMPRESS_FROM_BYTES: usize = 2048;
/// A level far below zstd's first, at several times its speed: the record lives until the next seal.
const LEVEL: i32 = -10;
/// Largest body that is decompressed.
const BODY_BYTES_MAX: usize = 2 * PUSH_DECODED_BYTES_MAX;

/// Bytes of a count that is written before it is known: a varint with zeros in front of its end.
const COUNT_BYTES: usize = 5;

/// Collects entries, stream by stream, and makes a record of them. Its memory serves the next record.
#[derive(Default)]
pub(crate) struct RecordWriter {
    body: Vec<u8>,
    streams: u64,
    /// Where the count of the stream's entries stands, and the count.
    count_at: usize,
    entry_count: u64,
    previous_ns: i64,
    labels: Option<Labels>,
    record: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl RecordWriter {
    pub(crate) fn add(&mut self, labels: &Labels, entry: &LogEntry) {
        if self.labels.as_ref() != Some(labels) {
            self.start_stream(labels);
        }
        put_int(&mut self.body, entry.ts_ns.wrapping_sub(self.previous_ns));
        put_bytes(&mut self.body, &entry.line);
        put_labels(&mut self.body, &entry.metadata);
        self.previous_ns = entry.ts_ns;
        self.entry_count += 1;
    }

    fn start_stream(&mut self, labels: &Labels) {
        self.end_stream();
        if self.body.is_empty() {
            self.body.resize(COUNT_BYTES, 0);
        }
        put_labels(&mut self.body, labels);
        self.labels = Some(labels.clone());
        self.count_at = self.body.len();
        self.body.resize(self.body.len() + COUNT_BYTES, 0);
        (self.entry_count, self.previous_ns) = (0, 0);
        self.streams += 1;
    }

    fn end_stream(&mut self) {
        if self.labels.take().is_some() {
            put_count(&mut self.body[self.count_at..], self.entry_count);
        }
    }

    /// The record, or `None` when nothing was added; the writer is empty then.
    pub(crate) fn finish(&mut self) -> Option<&[u8]> {
        self.end_stream();
        self.record.clear();
        if self.streams == 0 {
            return None;
        }
        put_count(&mut self.body, self.streams);
        if self.body.len() < COMPRESS_FROM_BYTES || !self.compress() {
            self.record.clear();
            self.record.push(RAW);
            self.record.extend_from_slice(&self.body);
        }
        self.clear();
        Some(&self.record)
    }

    /// Forgets what was added.
    pub(crate) fn clear(&mut self) {
        self.body.clear();
        (self.streams, self.labels) = (0, None);
    }

    /// Makes a compressed record of the body, if that is smaller.
    fn compress(&mut self) -> bool {
        let made = self.compressor.take().map_or_else(|| zstd::bulk::Compressor::new(LEVEL), Ok);
        let Ok(compressor) = made else { return false };
        self.record.push(ZSTD);
        put_uint(&mut self.record, self.body.len() as u64);
        let head = self.record.len();
        self.record.resize(head + zstd::zstd_safe::compress_bound(self.body.len()), 0);
        let compressor = self.compressor.insert(compressor);
        match compressor.compress_to_buffer(&self.body, &mut self.record[head..]) {
            Ok(bytes) if bytes < self.body.len() => {
                self.record.truncate(head + bytes);
                true
            }
            _ => false,
        }
    }
}

/// Writes a count over the bytes kept for it.
fn put_count(out: &mut [u8], mut count: u64) {
    for byte in &mut out[..COUNT_BYTES - 1] {
        *byte = count as u8 | 0x80;
        count >>= 7;
    }
    out[COUNT_BYTES - 1] = count as u8;
    assert!(count < 0x80, "a record has far fewer entries");
}

/// Hands every entry of a record to `each`.
pub(crate) fn replay(record: &[u8], each: &mut dyn FnMut(&Labels, LogEntry)) -> Result<(), Bad> {
    let mut input = Bytes::new(record);
    match input.byte()? {
        RAW => replay_body(input, each),
        ZSTD => {
            let len = input.count(BODY_BYTES_MAX)?;
            let body = zstd::bulk::decompress(input.rest, len)
                .map_err(|_| "a record of the log does not decompress")?;
            replay_body(Bytes::new(&body), each)
        }
        _ => Err("a record of the log is of an unknown kind"),
    }
}

fn replay_body(mut input: Bytes<'_>, each: &mut dyn FnMut(&Labels, LogEntry)) -> Result<(), Bad> {
    for _ in 0..input.count_here()? {
        let labels = input.labels(LABELS_MAX)?;
        let mut ts_ns = 0i64;
        for _ in 0..input.count_here()? {
            ts_ns = ts_ns.wrapping_add(input.int()?);
            let line = input.bytes()?.to_vec();
            let metadata = input.labels(LABELS_MAX)?;
            each(&labels, LogEntry { ts_ns, line, metadata });
        }
    }
    input.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_broken_ones_do_not() {
        let labels = [Labels::from_pairs([("a", "b")]), Labels::from_pairs([("c", "d")])];
        let mut writer = RecordWriter::default();
        for line_bytes in [0, 10, 10_000] {
            let mut wanted = Vec::new();
            for (n, ts_ns) in [5, 3, i64::MIN, i64::MAX, -1].into_iter().enumerate() {
                let metadata = Labels::from_pairs([("n", n.to_string())]);
                let entry = LogEntry { ts_ns, line: vec![n as u8; line_bytes], metadata };
                writer.add(&labels[n / 3], &entry);
                wanted.push((labels[n / 3].clone(), entry));
            }
            let record = writer.finish().unwrap().to_vec();
            let mut got = Vec::new();
            let mut each = |labels: &Labels, entry| got.push((labels.clone(), entry));
            replay(&record, &mut each).unwrap();
            assert_eq!(got, wanted);
            for end in 0..record.len() {
                assert!(replay(&record[..end], &mut |_, _| {}).is_err());
            }
        }
        assert!(writer.finish().is_none(), "its memory is all that stays");
    }
}
