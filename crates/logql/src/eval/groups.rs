//! Rows of a block that a query cannot tell apart but by the values in their slots: those of one
//! shape, stream and metadata set.
//!
//! A block of 50,000 rows has a handful of such groups, or one. What a query makes of a group's names
//! is found once ([`super::columns::Plan`]), and so a row costs no more than a look at its columns.

use super::columns::{Parsed, Plan};
use crate::pipeline::Pipeline;
use crate::pipeline::labels::LineLabels;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use vigie_model::Labels;
use vigie_model::blocks::{Codes, Keys, LogBlock, ShapeKind, Shapes, StreamId};

/// Fewer combinations are all taken for groups, whether they have rows or not.
const COMBINATIONS_MAX: usize = 64;
/// More combinations are found by hash.
const DENSE_MAX: usize = 1 << 20;
/// A combination that no row has had yet.
const UNKNOWN: u32 = u32::MAX;

/// What the rows of a group have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// 0 in a block without shapes.
    pub(super) shape: usize,
    stream: usize,
    set: usize,
}

/// The groups of a block.
pub(super) struct Groups<'b> {
    pub(super) keys: Keys<'b>,
    pub(super) shapes: Option<Shapes<'b>>,
    pub(super) all: Vec<Group>,
    /// Each number, how many there are of it, and whether all combinations are groups.
    numbers: [(Codes<'b>, usize); 3],
    of_row: OnceCell<Vec<u32>>,
}

impl<'b> Groups<'b> {
    /// `None` for a block that can only be asked row by row.
    pub(super) fn of(block: &'b dyn LogBlock) -> Option<Groups<'b>> {
        let keys = block.keys()?;
        let shapes = block.shapes();
        let of_shape =
            shapes.map_or((Codes::Same(0), 1), |shapes| (shapes.of_row, shapes.shapes.len()));
        let numbers = [
            of_shape,
            (keys.stream_of_row, keys.streams.len()),
            (keys.set_of_row, keys.sets.len()),
        ];
        let groups = Groups { keys, shapes, all: Vec::new(), numbers, of_row: OnceCell::new() };
        Some(groups.found(block.timestamps_ns().len()))
    }

    /// How many combinations there are of the numbers that differ from row to row.
    fn combinations(&self) -> usize {
        let varies = |(codes, count): &(Codes<'_>, usize)| match codes {
            Codes::Same(_) => 1,
            _ => (*count).max(1),
        };
        self.numbers.iter().map(varies).fold(1, usize::saturating_mul)
    }

    fn found(mut self, rows: usize) -> Groups<'b> {
        let combinations = self.combinations();
        if combinations <= COMBINATIONS_MAX {
            self.all = (0..combinations).map(|number| self.group(number as u64)).collect();
            return self;
        }
        let numbers = self.row_combinations(rows);
        let mut of_row = Vec::with_capacity(rows);
        let (mut dense, mut sparse) = (Vec::new(), HashMap::new());
        if combinations <= DENSE_MAX {
            dense.resize(combinations, UNKNOWN);
        }
        for number in numbers {
            let known = match dense.get_mut(number as usize) {
                Some(known) => known,
                None => sparse.entry(number).or_insert(UNKNOWN),
            };
            if *known == UNKNOWN {
                *known = self.all.len() as u32;
                self.all.push(self.group(number));
            }
            of_row.push(*known);
        }
        self.of_row = OnceCell::from(of_row);
        self
    }

    /// Each row's combination.
    fn row_combinations(&self, rows: usize) -> Vec<u64> {
        let mut out = vec![0; rows];
        for (codes, count) in &self.numbers {
            if let Codes::Each(codes) = codes {
                let next = |(number, code): (&mut u64, &u32)| {
                    *number = *number * *count as u64 + u64::from(*code);
                };
                out.iter_mut().zip(*codes).for_each(next);
            }
        }
        out
    }

    fn group(&self, mut number: u64) -> Group {
        let mut parts = [0; 3];
        for (part, (codes, count)) in parts.iter_mut().zip(&self.numbers).rev() {
            *part = match codes {
                Codes::Same(code) => *code as usize,
                _ => {
                    let code = number % *count as u64;
                    number /= *count as u64;
                    code as usize
                }
            };
        }
        let [shape, stream, set] = parts;
        Group { shape, stream, set }
    }

    /// The group of each row.
    pub(super) fn of_row(&self, rows: usize) -> &[u32] {
        let varying = self.numbers.iter().filter_map(|(codes, _)| match codes {
            Codes::Each(codes) => Some(*codes),
            _ => None,
        });
        let mut varying = varying.collect::<Vec<&'b [u32]>>();
        if let (Some(only), true, None) = (varying.pop(), varying.is_empty(), self.of_row.get())
            && self.all.len() <= COMBINATIONS_MAX
        {
            return only;
        }
        self.of_row.get_or_init(|| {
            self.row_combinations(rows).into_iter().map(|number| number as u32).collect()
        })
    }

    /// Whether all rows are of one shape, and then the rank of the first; those of the others follow.
    pub(super) fn first_rank(&self) -> Option<usize> {
        match self.shapes? {
            Shapes { of_row: Codes::Same(_), ranks: Codes::From(first), .. } => {
                Some(first as usize)
            }
            _ => None,
        }
    }

    /// The rank of a row; without shapes its number.
    pub(super) fn rank(&self, row: usize) -> usize {
        self.shapes.map_or(row, |shapes| shapes.ranks.at(row) as usize)
    }

    /// The group's metadata.
    pub(super) fn metadata(&self, group: &Group) -> &'b Labels {
        &self.keys.sets[group.set]
    }

    /// What the parser of `pipeline`, which reads lines of this kind, finds in the rows of each group;
    /// `None` where only a line tells.
    pub(super) fn plans(
        &self,
        kind: Option<ShapeKind>,
        pipeline: &Pipeline,
        labels_of: &mut dyn FnMut(StreamId) -> Labels,
        labels: &mut LineLabels,
    ) -> Vec<Option<Plan>> {
        let mut streams: Vec<Option<Labels>> = vec![None; self.keys.streams.len()];
        let mut parsed: HashMap<(usize, Names, Names), Option<Rc<Parsed>>> = HashMap::new();
        let mut plans = Vec::with_capacity(self.all.len());
        for group in &self.all {
            let stream = streams[group.stream]
                .get_or_insert_with(|| labels_of(self.keys.streams[group.stream]))
                .clone();
            let metadata = self.metadata(group);
            labels.start(&stream, metadata);
            let before = labels.all();
            let Some(kind) = kind else {
                plans.push(Some(Plan::new(None, before)));
                continue;
            };
            let shape = self.shapes.map(|shapes| &shapes.shapes[group.shape]);
            let Some(shape) = shape.filter(|shape| shape.kind == kind) else {
                plans.push(None);
                continue;
            };
            // What a parser makes of names depends on the names that there are, not on their values.
            let key = (group.shape, names(&stream), names(metadata));
            let parsed = parsed
                .entry(key)
                .or_insert_with(|| {
                    Parsed::of(pipeline, shape, &stream, metadata, labels).map(Rc::new)
                })
                .clone();
            plans.push(parsed.map(|parsed| Plan::new(Some(parsed), before)));
        }
        plans
    }
}

type Names = Vec<Arc<str>>;

fn names(labels: &Labels) -> Names {
    labels.iter().map(|label| label.name.clone()).collect()
}
