//! Lines go out, and what is known of the streams without reading a line.

use super::Store;
use crate::head::Span;
use crate::select::{Cursor, HEAD_NUMBER, Wanted};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use vigie_model::{Direction, Labels, LogBlocks, LogRange, Matcher, Needle, ReadError, StreamId};

/// How much of a stream lies in a range, about: a part that the range only touches counts whole
/// (Loki's index answers as roughly).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamVolume {
    /// The stream.
    pub labels: Labels,
    /// Its lines.
    pub entries: u64,
    /// The bytes of its lines.
    pub bytes: u64,
    /// How many parts it stands in; the head counts as one.
    pub chunks: u64,
}

impl Store {
    /// The blocks of the streams that fulfil all `matchers`, with rows in `range`, in the order
    /// that `vigie_model::blocks` promises. Blocks whose text lacks one of the `needles` may be
    /// left out. It is a snapshot: what is appended later does not appear.
    pub fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError> {
        let streams = self.catalog.read().matching(matchers);
        let (parts, heads) = {
            let state = self.state.lock();
            let frozen = state.frozen.as_ref().map(|(frozen, _)| &**frozen);
            let heads = [(HEAD_NUMBER, Some(&state.head)), (HEAD_NUMBER - 1, frozen)];
            let blocks = heads
                .into_iter()
                .filter_map(|(number, head)| Some((number, head?.block(&streams, range)?)));
            (state.parts.clone(), blocks.collect())
        };
        let hidden = self.hidden();
        let wanted = Wanted { streams, range, direction, needles: needles.to_vec(), hidden };
        let (disk, catalog) = (self.disk.clone(), self.catalog.clone());
        Ok(Box::new(Cursor::new(disk, catalog, wanted, &parts, heads)))
    }

    /// The names of the labels of the streams that [`Store::series`] would answer, sorted.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        for (labels, ..) in self.spans(matchers, range) {
            names.extend(labels.iter().map(|label| label.name.clone()));
        }
        Ok(names.iter().map(|name| name.to_string()).collect())
    }

    /// The values of one label of those streams, sorted.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, ReadError> {
        let spans = self.spans(matchers, range);
        let values: BTreeSet<&str> =
            spans.iter().filter_map(|(labels, ..)| labels.get(name)).collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    /// The streams that fulfil all `matchers` and have lines around `range` (between the oldest
    /// and the newest line of a part or the head), sorted.
    pub fn series(&self, matchers: &[Matcher], range: LogRange) -> Result<Vec<Labels>, ReadError> {
        let mut series: Vec<Labels> =
            self.spans(matchers, range).into_iter().map(|(labels, ..)| labels).collect();
        series.sort_unstable();
        Ok(series)
    }

    /// How much of each of those streams lies in the range, sorted by labels.
    pub fn volumes(
        &self,
        matchers: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<StreamVolume>, ReadError> {
        let volume = |(labels, span, chunks): (Labels, Span, u64)| StreamVolume {
            labels,
            entries: span.rows,
            bytes: span.line_bytes,
            chunks,
        };
        let mut volumes: Vec<_> = self.spans(matchers, range).into_iter().map(volume).collect();
        volumes.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(volumes)
    }

    /// The matching streams, their sums over the parts and heads that touch the range, and how
    /// many of these there are.
    fn spans(&self, matchers: &[Matcher], range: LogRange) -> Vec<(Labels, Span, u64)> {
        let streams = self.catalog.read().matching(matchers);
        let (parts, heads) = {
            let state = self.state.lock();
            let mut heads = vec![state.head.spans()];
            heads.extend(state.frozen.iter().map(|(frozen, _)| frozen.spans()));
            (state.parts.clone(), heads)
        };
        let in_parts = parts.iter().flat_map(|part| part.streams().iter().copied());
        let in_heads = heads.into_iter().flatten();
        let mut sums: HashMap<StreamId, (Span, u64)> = HashMap::new();
        for (id, span) in in_parts.chain(in_heads) {
            if span.touches(range) && streams.contains(id) {
                let (sum, chunks) = sums.entry(id).or_insert((Span::NOTHING, 0));
                sum.rows += span.rows;
                sum.line_bytes += span.line_bytes;
                *chunks += 1;
            }
        }
        let catalog = self.catalog.read();
        let labels = |id: StreamId| catalog.labels(id).clone();
        sums.into_iter().map(|(id, (sum, chunks))| (labels(id), sum, chunks)).collect()
    }
}
