//! The records of the write-ahead log: the entries that one append added, before they are sealed.

use crate::LABELS_MAX;
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_labels, put_uint};
use vigie_model::limits::PUSH_DECODED_BYTES_MAX;
use vigie_model::{Labels, LogEntry};

const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Shorter bodies are not worth a compressor's while.
const COMPRESS_FROM_BYTES: usize = 2048;
/// A level below zstd's first, at twice its speed: the record lives until the next seal.
const LEVEL: i32 = -3;
/// Largest body that is decompressed.
const BODY_BYTES_MAX: usize = 2 * PUSH_DECODED_BYTES_MAX;

/// Collects entries, stream by stream, and makes a record of them.
#[derive(Default)]
pub(crate) struct RecordWriter {
    body: Vec<u8>,
    streams: u64,
    entries: Vec<u8>,
    entry_count: u64,
    previous_ns: i64,
    labels: Option<Labels>,
}

impl RecordWriter {
    pub(crate) fn add(&mut self, labels: &Labels, entry: &LogEntry) {
        if self.labels.as_ref() != Some(labels) {
            self.end_stream();
            self.labels = Some(labels.clone());
        }
        put_int(&mut self.entries, entry.ts_ns.wrapping_sub(self.previous_ns));
        put_bytes(&mut self.entries, &entry.line);
        put_labels(&mut self.entries, &entry.metadata);
        self.previous_ns = entry.ts_ns;
        self.entry_count += 1;
    }

    fn end_stream(&mut self) {
        let Some(labels) = self.labels.take() else { return };
        put_labels(&mut self.body, &labels);
        put_uint(&mut self.body, self.entry_count);
        self.body.append(&mut self.entries);
        self.streams += 1;
        (self.entry_count, self.previous_ns) = (0, 0);
    }

    /// The record, or `None` when nothing was added.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.end_stream();
        if self.streams == 0 {
            return None;
        }
        let mut body = Vec::with_capacity(self.body.len() + 11);
        put_uint(&mut body, self.streams);
        body.append(&mut self.body);
        let mut record = vec![RAW];
        if body.len() >= COMPRESS_FROM_BYTES
            && let Ok(small) = zstd::bulk::compress(&body, LEVEL)
            && small.len() < body.len()
        {
            record[0] = ZSTD;
            put_uint(&mut record, body.len() as u64);
            body = small;
        }
        record.append(&mut body);
        Some(record)
    }
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
        for line_bytes in [0, 10, 10_000] {
            let mut writer = RecordWriter::default();
            let mut wanted = Vec::new();
            for (n, ts_ns) in [5, 3, i64::MIN, i64::MAX, -1].into_iter().enumerate() {
                let metadata = Labels::from_pairs([("n", n.to_string())]);
                let entry = LogEntry { ts_ns, line: vec![n as u8; line_bytes], metadata };
                writer.add(&labels[n / 3], &entry);
                wanted.push((labels[n / 3].clone(), entry));
            }
            let record = writer.finish().unwrap();
            let mut got = Vec::new();
            let mut each = |labels: &Labels, entry| got.push((labels.clone(), entry));
            replay(&record, &mut each).unwrap();
            assert_eq!(got, wanted);
            for end in 0..record.len() {
                assert!(replay(&record[..end], &mut |_, _| {}).is_err());
            }
        }
        assert!(RecordWriter::default().finish().is_none());
    }
}
