//! The structured metadata of a shredded block: each set once, and each row's number.

use super::{load, print_value};
use crate::numbers::Numbers;
use crate::part::{OpenPart, Rows};
use crate::shred::column::{Column, Values};
use crate::shred::shapes::{Columns, Head};
use hashbrown::HashMap;
use std::sync::Arc;
use vigie_model::{Labels, ReadError};

/// Most combinations of words that are numbered without printing them.
const COMBINATIONS_MAX: usize = 65_536;
/// A combination that no row has had yet.
const UNKNOWN: u32 = u32::MAX;

/// The distinct metadata sets of all rows, the empty one first, and each row's.
pub(super) fn sets(
    part: &OpenPart,
    block: usize,
    head: &Head,
    rows: &Rows,
) -> Result<(Numbers, Vec<Labels>), ReadError> {
    let mut sets = vec![Labels::default()];
    if head.metadata.is_empty() {
        return Ok((Numbers::Same(0), sets));
    }
    let mut shapes = Vec::with_capacity(head.metadata.len());
    for (names, columns) in &head.metadata {
        shapes.push(MetadataShape::load(part, block, names, columns)?);
    }
    if let (Numbers::Same(1), [only]) = (&rows.metadata, &mut shapes[..])
        && only.combinations == Some(1)
    {
        sets.push(only.print(0, rows.ts_ns[0]));
        return Ok((Numbers::Same(1), sets));
    }
    if let (Numbers::Same(1), [only]) = (&rows.metadata, &shapes[..])
        && let [(Values::Codes(codes), _)] = &only.values[..]
        && let [Column::Words { words, .. }] = &only.columns.slots[..]
    {
        // The common case, a set for each word: the number of a set is that of its word, and one.
        sets.extend(words.iter().map(|word| only.labels(word, &[word.len()])));
        return Ok((Numbers::Each(codes.iter().map(|&code| u32::from(code) + 1).collect()), sets));
    }
    let mut next_rank = vec![0; shapes.len()];
    let mut out = Vec::with_capacity(rows.ts_ns.len());
    for (row, &ts_ns) in rows.ts_ns.iter().enumerate() {
        let Some(shape) = (rows.metadata.at(row) as usize).checked_sub(1) else {
            out.push(0);
            continue;
        };
        let rank = next_rank[shape];
        next_rank[shape] += 1;
        out.push(shapes[shape].set(rank, ts_ns, &mut sets));
    }
    Ok((Numbers::Each(out), sets))
}

/// The columns of a metadata shape, all read, and the sets met so far.
struct MetadataShape<'a> {
    names: &'a [Arc<str>],
    columns: &'a Columns,
    values: Vec<(Values, Vec<Vec<u8>>)>,
    /// How many combinations of words there are, if all columns are words and there are not too many.
    combinations: Option<usize>,
    /// The set of each combination.
    dense: Vec<u32>,
    /// The set of values and of where they end.
    sparse: HashMap<Vec<u8>, u32>,
    key: Vec<u8>,
}

impl<'a> MetadataShape<'a> {
    fn load(
        part: &OpenPart,
        block: usize,
        names: &'a [Arc<str>],
        columns: &'a Columns,
    ) -> Result<MetadataShape<'a>, ReadError> {
        let mut values = Vec::with_capacity(columns.slots.len());
        let mut combinations = Some(1usize);
        for column in &columns.slots {
            let mut texts = Vec::new();
            if let Column::Texts { frames, .. } = column {
                for (_, frame) in frames {
                    texts.push(part.frame(block, frame)?);
                }
            }
            combinations = match column {
                Column::Words { words, .. } => combinations
                    .map(|count| count * words.len())
                    .filter(|count| *count <= COMBINATIONS_MAX),
                _ => None,
            };
            values.push((load(part, block, column, columns.rows)?, texts));
        }
        let dense = vec![UNKNOWN; combinations.unwrap_or(0)];
        let (sparse, key) = (HashMap::new(), Vec::new());
        Ok(MetadataShape { names, columns, values, combinations, dense, sparse, key })
    }

    /// The number of the set of a rank.
    fn set(&mut self, rank: usize, ts_ns: i64, sets: &mut Vec<Labels>) -> u32 {
        if self.combinations.is_some() {
            let combination = self.combination(rank);
            if self.dense[combination] == UNKNOWN {
                sets.push(self.print(rank, ts_ns));
                self.dense[combination] = sets.len() as u32 - 1;
            }
            return self.dense[combination];
        }
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let ends = self.append(rank, ts_ns, &mut key);
        ends.iter().for_each(|&end| key.extend_from_slice(&(end as u32).to_le_bytes()));
        let set = match self.sparse.get(&key[..]) {
            Some(&set) => set,
            None => {
                sets.push(self.labels(&key, &ends));
                self.sparse.insert(key.clone(), sets.len() as u32 - 1);
                sets.len() as u32 - 1
            }
        };
        self.key = key;
        set
    }

    fn combination(&self, rank: usize) -> usize {
        self.columns.slots.iter().zip(&self.values).fold(0, |number, (column, (values, _))| match (
            column, values,
        ) {
            (Column::Words { words, .. }, Values::Codes(codes)) if !codes.is_empty() => {
                number * words.len() + usize::from(codes[rank])
            }
            _ => number,
        })
    }

    /// The set of a rank.
    fn print(&self, rank: usize, ts_ns: i64) -> Labels {
        let mut texts = Vec::new();
        let ends = self.append(rank, ts_ns, &mut texts);
        self.labels(&texts, &ends)
    }

    fn labels(&self, texts: &[u8], ends: &[usize]) -> Labels {
        let starts = [0].into_iter().chain(ends.iter().copied());
        let values = starts
            .zip(ends)
            .map(|(start, &end)| String::from_utf8_lossy(&texts[start..end]).into_owned());
        Labels::from_pairs_with_empty(self.names.iter().cloned().zip(values))
    }

    /// Appends the values of a rank to `out`; where each ends.
    fn append(&self, rank: usize, ts_ns: i64, out: &mut Vec<u8>) -> Vec<usize> {
        let mut ends = Vec::with_capacity(self.columns.slots.len());
        for (column, (values, texts)) in self.columns.slots.iter().zip(&self.values) {
            match (column, values) {
                (Column::Texts { frames, .. }, Values::Texts(places)) => {
                    let mut start = 0;
                    for ((count, _), text) in frames.iter().zip(texts) {
                        if (start..start + count).contains(&rank) {
                            let (from, to) = places[rank];
                            out.extend_from_slice(&text[from as usize..to as usize]);
                        }
                        start += count;
                    }
                }
                _ => print_value(column, values, rank, ts_ns, out),
            }
            ends.push(out.len());
        }
        ends
    }
}
