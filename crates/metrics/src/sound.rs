//! Rows as the store can take them: every histogram valid, and not more of them than a record holds.
//!
//! Rows of floats, nearly all there are, pass as they are.

use crate::{Appended, CELLS_PER_RECORD_MAX, object};
use vigie_model::{Histogram, Row, SeriesId};

/// A row that had to be made anew.
struct Made<'a> {
    ts_ms: i64,
    series: Vec<SeriesId>,
    values: Vec<f64>,
    histograms: Vec<(usize, &'a Histogram)>,
}

/// Hands over rows without the histograms that are not valid, which are counted, and with a row of
/// very large histograms cut into several of the same instant.
pub(crate) fn with_sound_rows<T>(
    rows: &[Row<'_>],
    counts: &mut Appended,
    take: impl FnOnce(&[Row<'_>], &mut Appended) -> T,
) -> T {
    let is_sound = |row: &Row<'_>| {
        row.histograms.iter().all(|(_, histogram)| object::check(histogram).is_ok())
            && weight(row) <= CELLS_PER_RECORD_MAX
    };
    if rows.iter().all(|row| row.histograms.is_empty() || is_sound(row)) {
        return take(rows, counts);
    }
    let made: Vec<Vec<Made<'_>>> = rows.iter().map(|row| make(row, counts)).collect();
    let views = made.iter().flatten().map(|made| Row {
        ts_ms: made.ts_ms,
        series: &made.series,
        values: &made.values,
        histograms: &made.histograms,
    });
    take(&views.collect::<Vec<_>>(), counts)
}

/// Numbers that a row has to write.
pub(crate) fn weight(row: &Row<'_>) -> usize {
    let objects = row.histograms.iter().map(|(_, histogram)| object::weight(histogram));
    row.series.len() + objects.sum::<usize>()
}

fn make<'a>(row: &Row<'a>, counts: &mut Appended) -> Vec<Made<'a>> {
    let new = || Made { ts_ms: row.ts_ms, series: vec![], values: vec![], histograms: vec![] };
    let mut made = vec![new()];
    let mut left = CELLS_PER_RECORD_MAX;
    let mut histograms = row.histograms.iter().peekable();
    for (at, (series, value)) in row.series.iter().zip(row.values).enumerate() {
        let histogram = histograms.next_if(|(index, _)| *index == at).map(|(_, h)| *h);
        if histogram.is_some_and(|histogram| object::check(histogram).is_err()) {
            counts.invalid += 1;
            continue;
        }
        let cost = 1 + histogram.map_or(0, object::weight);
        if cost > left {
            made.push(new());
            left = CELLS_PER_RECORD_MAX;
        }
        left = left.saturating_sub(cost);
        let last = made.last_mut().expect("it starts with one");
        if let Some(histogram) = histogram {
            last.histograms.push((last.series.len(), histogram));
        }
        last.series.push(*series);
        last.values.push(*value);
    }
    made
}

/// Why histograms are refused: the first reasons.
pub(crate) fn reasons<'a>(
    histograms: impl Iterator<Item = &'a Histogram>,
    reasons_max: usize,
) -> Vec<String> {
    let refused = histograms.filter_map(|histogram| object::check(histogram).err());
    refused.take(reasons_max).collect()
}
