//! The columns of a selection while they are held: the parts of a group, and how one is read.
//!
//! A part is the selected columns of one chunk, still encoded and each found by its index, or the
//! places of the columns of a section of a block. Nearly always the parts of a group follow one
//! another in time; then a column is read by decoding each part to where its rows stand, and nothing
//! is allocated. Late rows make chunks overlap; then parts are laid over one another, and the later
//! one is believed.

use crate::CHUNK_ROWS_MAX;
use crate::block::Block;
use crate::chunk::Held;
use crate::object;
use crate::row::OpenRow;
use crate::section::{self, Head, Slot};
use crate::strip::{self, Strip};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use vigie_disk::wire::Bad;
use vigie_disk::{DiskError, DiskFile};
use vigie_model::{ABSENT, Histogram, MetricGroup, ReadError, SeriesId, TimeRange, is_absent};

/// For a row of a part that is outside the range.
const OUTSIDE: u32 = u32::MAX;

/// The rows of a group's parts, on their way into one order.
pub(crate) struct Layout {
    range: TimeRange,
    timestamps_ms: Vec<i64>,
    /// Of each part: its rows, and those inside the range.
    parts: Vec<(usize, Range<usize>)>,
}

impl Layout {
    pub(crate) fn new(range: TimeRange) -> Layout {
        Layout { range, timestamps_ms: Vec::new(), parts: Vec::new() }
    }

    fn inside(&self, times: &[i64]) -> Range<usize> {
        let start = times.partition_point(|ts_ms| *ts_ms < self.range.start_ms);
        start..times.partition_point(|ts_ms| *ts_ms <= self.range.end_ms).max(start)
    }

    /// Whether one of the instants, ascending, is inside the range.
    pub(crate) fn wants(&self, times: &[i64]) -> bool {
        !self.inside(times).is_empty()
    }

    /// Takes in the instants of the next part.
    pub(crate) fn add(&mut self, times: &[i64]) {
        let inside = self.inside(times);
        self.timestamps_ms.extend_from_slice(&times[inside.clone()]);
        self.parts.push((times.len(), inside));
    }

    /// Gives the parts that were added their places. Returns all instants, those of the open rows
    /// too, and whether no row stands in two parts.
    pub(crate) fn finish(
        mut self,
        open: impl Iterator<Item = i64>,
        parts: &mut [Part],
    ) -> (Vec<i64>, bool) {
        assert_eq!(self.parts.len(), parts.len(), "a part has rows");
        self.timestamps_ms.extend(open);
        let (mut start, mut chunks) = (0, 0);
        for (part, (rows, inside)) in parts.iter_mut().zip(&self.parts) {
            part.rows = *rows;
            part.places = Places::Run { from: inside.clone(), at: start };
            start += inside.len();
            if let Origin::Chunk { number, .. } = &mut part.origin {
                *number = chunks;
                chunks += 1;
            }
        }
        if self.timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]) {
            return (self.timestamps_ms, true);
        }
        let mut sorted = self.timestamps_ms.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let mut start = 0;
        for (part, (rows, inside)) in parts.iter_mut().zip(&self.parts) {
            let mut places = vec![OUTSIDE; *rows];
            let times = &self.timestamps_ms[start..][..inside.len()];
            for (place, ts_ms) in places[inside.clone()].iter_mut().zip(times) {
                *place = sorted.binary_search(ts_ms).map_or(OUTSIDE, |at| at as u32);
            }
            start += inside.len();
            part.places = Places::Scattered(places);
        }
        (sorted, false)
    }
}

/// Where the rows of a part stand in the group.
enum Places {
    /// Some follow one another from `at` on.
    Run { from: Range<usize>, at: usize },
    /// Per row, or [`OUTSIDE`].
    Scattered(Vec<u32>),
}

impl Places {
    #[inline]
    fn of(&self, row: usize) -> Option<usize> {
        match self {
            Places::Run { from, at } => from.contains(&row).then(|| at + row - from.start),
            Places::Scattered(places) => {
                Some(places[row] as usize).filter(|p| *p as u32 != OUTSIDE)
            }
        }
    }

    /// The group's rows that a run fills.
    fn run(&self) -> Range<usize> {
        match self {
            Places::Run { from, at } => *at..at + from.len(),
            Places::Scattered(_) => 0..0,
        }
    }
}

/// The bytes of a body and where they stand in their file.
type Placed<'a> = (Cow<'a, [u8]>, u64);

/// Where a selected column of a section is.
enum Body {
    /// In `bodies`, from here to there.
    Held(u32, u32),
    /// In the block, at this offset, so many bytes.
    Stored(u64, u32),
}

enum Origin {
    /// What is held of it has this number.
    Chunk {
        number: usize,
        file: Arc<dyn DiskFile>,
        offset: u64,
    },
    Section(Section),
}

struct Section {
    block: Arc<Block>,
    /// Per selected column that is there: its index and its body.
    slots: Vec<(u32, Body)>,
    bodies: Vec<u8>,
    /// The selected columns with objects, by index, ascending.
    object_columns: Vec<u32>,
}

/// The selected columns of one chunk or section, still encoded.
pub(crate) struct Part {
    rows: usize,
    places: Places,
    origin: Origin,
    /// Instants between which a column's samples are hidden.
    hidden: Vec<(u32, i64, i64)>,
}

impl Part {
    fn new(origin: Origin, hidden: Vec<(u32, i64, i64)>) -> Part {
        Part { rows: 0, places: Places::Scattered(Vec::new()), origin, hidden }
    }

    pub(crate) fn of_chunk(
        file: Arc<dyn DiskFile>,
        offset: u64,
        hidden: Vec<(u32, i64, i64)>,
    ) -> Part {
        Part::new(Origin::Chunk { number: 0, file, offset }, hidden)
    }

    /// `None` when the section has none of the columns.
    pub(crate) fn of_section(
        block: &Arc<Block>,
        head: &Head,
        columns: &[u32],
        hidden: Vec<(u32, i64, i64)>,
    ) -> Option<Part> {
        let (mut slots, mut bodies, mut object_columns) = (Vec::new(), Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            if head.has_objects(*column) {
                object_columns.push(at as u32);
            }
            let body = match head.slot(*column) {
                Some(Slot::Inline(from, to)) => {
                    let start = bodies.len() as u32;
                    bodies.extend_from_slice(&head.payload[from as usize..to as usize]);
                    Body::Held(start, bodies.len() as u32)
                }
                Some(Slot::Stored(offset, bytes)) => Body::Stored(offset, bytes),
                None => continue,
            };
            slots.push((at as u32, body));
        }
        let is_there = !slots.is_empty();
        let section = Section { block: block.clone(), slots, bodies, object_columns };
        is_there.then(|| Part::new(Origin::Section(section), hidden))
    }

    /// What is held beside the columns of chunks.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Part>()
            + match &self.origin {
                Origin::Chunk { .. } => 0,
                Origin::Section(section) => {
                    section.bodies.len() + size_of::<(u32, Body)>() * section.slots.len()
                }
            }
    }

    /// Fills the rows of a part that follow one another with a column.
    #[inline]
    fn read_run(&self, group: &Group, column: usize, out: &mut [f64]) -> Result<(), DiskError> {
        let run = self.places.run();
        let out = &mut out[run.clone()];
        match &self.origin {
            Origin::Chunk { number, .. } => {
                let Some(strip) = group.strip(*number, column) else {
                    out.fill(ABSENT);
                    return Ok(());
                };
                self.decode_run(strip, out).map_err(|what| self.corrupt(what))?;
            }
            Origin::Section(section) => {
                out.fill(ABSENT);
                self.each_page(section, column, &mut |place, value| {
                    out[place - run.start] = value
                })?;
            }
        }
        for (_, min_ms, max_ms) in self.hidden.iter().filter(|one| one.0 as usize == column) {
            for (value, ts_ms) in out.iter_mut().zip(&group.timestamps_ms[run.clone()]) {
                if (*min_ms..=*max_ms).contains(ts_ms) {
                    *value = ABSENT;
                }
            }
        }
        Ok(())
    }

    fn corrupt(&self, what: Bad) -> DiskError {
        match &self.origin {
            Origin::Chunk { file, offset, .. } => DiskError::corrupt(file.path(), *offset, what),
            Origin::Section(section) => section.block.corrupt(0, what),
        }
    }

    #[inline]
    fn decode_run(&self, strip: Strip<'_>, out: &mut [f64]) -> Result<(), Bad> {
        if out.len() == self.rows {
            return strip.decode(out);
        }
        let mut values = [ABSENT; CHUNK_ROWS_MAX];
        strip.decode(&mut values[..self.rows])?;
        if let Places::Run { from, .. } = &self.places {
            out.copy_from_slice(&values[from.clone()]);
        }
        Ok(())
    }

    /// Lays a column over what is there already.
    fn read_over(&self, group: &Group, column: usize, out: &mut [f64]) -> Result<(), DiskError> {
        let mut lay = |place: usize, value: f64| {
            if !self.is_hidden(column, group.timestamps_ms[place]) {
                out[place] = value;
            }
        };
        match &self.origin {
            Origin::Chunk { number, .. } => {
                let Some(strip) = group.strip(*number, column) else { return Ok(()) };
                let mut values = [ABSENT; CHUNK_ROWS_MAX];
                let values = &mut values[..self.rows];
                strip.decode(values).map_err(|what| self.corrupt(what))?;
                for (row, value) in values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                    if let Some(place) = self.places.of(row) {
                        lay(place, *value);
                    }
                }
                Ok(())
            }
            Origin::Section(section) => self.each_page(section, column, &mut lay),
        }
    }

    /// Hands over the samples of a section's column, each with its row in the group.
    fn each_page(
        &self,
        section: &Section,
        column: usize,
        take: &mut dyn FnMut(usize, f64),
    ) -> Result<(), DiskError> {
        let Some((bytes, offset)) = section.bytes_of(column)? else { return Ok(()) };
        let mut spread = |first: usize, values: &[f64]| {
            for (row, value) in values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                if let Some(place) = self.places.of(first + row) {
                    take(place, *value);
                }
            }
        };
        section::each_page(&bytes, self.rows, &|rows| self.is_wanted(rows), &mut spread)
            .map_err(|what| section.block.corrupt(offset, what))
    }

    fn has_objects(&self, group: &Group, column: usize) -> bool {
        match &self.origin {
            Origin::Chunk { number, .. } => {
                group.strip(*number, column).is_some_and(|strip| strip.has_objects())
            }
            Origin::Section(section) => {
                section.object_columns.binary_search(&(column as u32)).is_ok()
            }
        }
    }

    /// Whether every row inside the range certainly has a number of the column.
    fn is_plain(&self, group: &Group, column: usize) -> bool {
        match &self.origin {
            Origin::Chunk { number, .. } => {
                let is_hidden = || self.hidden.iter().any(|hidden| hidden.0 as usize == column);
                let strip = group.strip(*number, column);
                strip.is_some_and(|strip| strip.is_plain()) && !is_hidden()
            }
            Origin::Section(_) => false,
        }
    }

    /// Hands over the objects of a column with their rows in the group.
    fn each_object(
        &self,
        group: &Group,
        column: usize,
        out: &mut dyn FnMut(usize, Arc<Histogram>),
    ) -> Result<(), DiskError> {
        let take = &mut |row: usize, histogram| {
            let is_shown = |place: &usize| !self.is_hidden(column, group.timestamps_ms[*place]);
            if let Some(place) = self.places.of(row).filter(is_shown) {
                out(place, histogram);
            }
        };
        match &self.origin {
            Origin::Chunk { number, .. } => {
                let Some(strip) = group.strip(*number, column) else { return Ok(()) };
                strip.decode_objects(self.rows, take).map_err(|what| self.corrupt(what))
            }
            Origin::Section(section) => {
                let Some((bytes, offset)) = section.bytes_of(column)? else { return Ok(()) };
                section::each_object(&bytes, self.rows, &|rows| self.is_wanted(rows), take)
                    .map_err(|what| section.block.corrupt(offset, what))
            }
        }
    }

    fn is_wanted(&self, rows: Range<usize>) -> bool {
        match &self.places {
            Places::Run { from, .. } => rows.start < from.end && from.start < rows.end,
            Places::Scattered(places) => places[rows].iter().any(|place| *place != OUTSIDE),
        }
    }

    fn is_hidden(&self, column: usize, ts_ms: i64) -> bool {
        let mut of_column = self.hidden.iter().filter(|hidden| hidden.0 as usize == column);
        of_column.any(|(_, min_ms, max_ms)| (*min_ms..=*max_ms).contains(&ts_ms))
    }
}

impl Section {
    /// The bytes of a column and where they stand; `None` when it is not there or set aside.
    fn bytes_of(&self, column: usize) -> Result<Option<Placed<'_>>, DiskError> {
        let Ok(slot) = self.slots.binary_search_by_key(&(column as u32), |slot| slot.0) else {
            return Ok(None);
        };
        match &self.slots[slot].1 {
            Body::Held(from, to) => {
                Ok(Some((Cow::Borrowed(&self.bodies[*from as usize..*to as usize]), 0)))
            }
            Body::Stored(offset, bytes) => {
                Ok(self.block.body(*offset, *bytes)?.map(|body| (Cow::Owned(body), *offset)))
            }
        }
    }
}

/// An open row of a selection and where it stands.
pub(crate) struct Open {
    pub(crate) at: usize,
    pub(crate) row: Arc<OpenRow>,
}

/// A group of a selection.
pub(crate) struct Group {
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) ids: Vec<SeriesId>,
    /// Of the selected series, ascending.
    pub(crate) columns: Vec<u32>,
    pub(crate) parts: Vec<Part>,
    /// The columns of those that are chunks.
    pub(crate) held: Held,
    pub(crate) rows: Vec<Open>,
    /// Open cells that are in no row: index of the series and of the instant, ascending, and value.
    pub(crate) loose: Vec<(u32, u32, f64)>,
    /// Every instant is of one part or one open row.
    pub(crate) is_laid: bool,
}

impl Group {
    #[inline]
    fn strip(&self, chunk: usize, column: usize) -> Option<Strip<'_>> {
        self.held.strip(chunk, column, self.columns.len())
    }

    fn loose_of(&self, column: usize) -> &[(u32, u32, f64)] {
        let start = self.loose.partition_point(|cell| (cell.0 as usize) < column);
        let count = self.loose[start..].partition_point(|cell| cell.0 as usize == column);
        &self.loose[start..start + count]
    }
}

impl MetricGroup for Group {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }

    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn held_bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.bytes() + 4 * part.rows).sum();
        parts
            + self.held.heap_bytes()
            + 8 * self.timestamps_ms.len()
            + 8 * self.ids.len()
            + size_of::<(u32, u32, f64)>() * self.loose.len()
    }

    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        if self.is_laid {
            // Every value is written below.
            out.resize(self.timestamps_ms.len(), ABSENT);
            for part in &self.parts {
                part.read_run(self, column, out)?;
            }
            for open in &self.rows {
                out[open.at] = open.row.value(self.columns[column]).unwrap_or(ABSENT);
            }
            if !self.loose.is_empty() {
                // Their instants are the last ones.
                let laid: usize = self.parts.iter().map(|part| part.places.run().len()).sum();
                out[laid + self.rows.len()..].fill(ABSENT);
            }
            for (_, at, value) in self.loose_of(column) {
                out[*at as usize] = *value;
            }
            return Ok(());
        }
        out.clear();
        out.resize(self.timestamps_ms.len(), ABSENT);
        for part in &self.parts {
            part.read_over(self, column, out)?;
        }
        for open in &self.rows {
            if let Some(value) = open.row.value(self.columns[column]) {
                out[open.at] = value;
            }
        }
        for (_, at, value) in self.loose_of(column) {
            out[*at as usize] = *value;
        }
        Ok(())
    }

    fn is_plain(&self, column: usize) -> bool {
        let has_number =
            |open: &Open| open.row.value(self.columns[column]).is_some_and(strip::is_number);
        self.is_laid
            && self.loose.is_empty()
            && self.parts.iter().all(|part| part.is_plain(self, column))
            && self.rows.iter().all(has_number)
    }

    fn may_have_histograms(&self, column: usize) -> bool {
        let has_object = |open: &Open| open.row.objects().get(self.columns[column]).is_some();
        self.parts.iter().any(|part| part.has_objects(self, column))
            || self.rows.iter().any(has_object)
    }

    fn read_histograms(
        &self,
        column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        for part in self.parts.iter().filter(|part| part.has_objects(self, column)) {
            part.each_object(self, column, &mut |at, histogram| {
                out.push((at, histogram));
            })?;
        }
        for open in &self.rows {
            if let Some(object) = open.row.objects().get(self.columns[column]) {
                let histogram = object::decode_alone(object);
                out.push((open.at, histogram.expect("open rows hold what was checked")));
            }
        }
        // Late rows make chunks overlap; of a cell that stands twice the later place is believed.
        if !out.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            out.reverse();
            out.sort_by_key(|(at, _)| *at);
            out.dedup_by_key(|(at, _)| *at);
        }
        Ok(())
    }
}
