//! The `_created` lines of OpenMetrics: when what stands above them began to count.
//!
//! OpenMetrics 1.0 says the start of a counter, summary or histogram in a line of its own, behind the
//! lines of the same labels:
//!
//! ```text
//! # TYPE hits counter
//! hits_total{path="/"} 17
//! hits_created{path="/"} 1.5e9
//! ```
//! [`Created`] joins them as Prometheus' parser does (`model/textparse/openmetricsparse.go`,
//! `StartTimestamp`): a line of a family of these kinds whose name ends in `_created` is not a sample
//! and belongs to the lines since the last such one that are of its family and have its labels, `le`
//! and `quantile` left aside. Labels are compared in the order in which they
//! are written. What stands behind its own
//! `_created` line has no start.

use super::series::pairs;
use super::{MetricKind, Sample};
use vigie_model::METRIC_NAME;

/// How the name of such a line ends.
const SUFFIX: &str = "_created";
/// A byte that no text holds.
const END: u8 = 0xff;

/// What a page has said so far. `T` is how the caller names a sample.
pub struct Created<T> {
    family: String,
    /// The samples of the family since the last `_created` line, each with the end of its labels in
    /// `labels`.
    open: Vec<(T, usize)>,
    labels: Vec<u8>,
    /// Samples and the milliseconds at which they began.
    found: Vec<(T, i64)>,
}

impl<T> Default for Created<T> {
    fn default() -> Created<T> {
        let (family, labels) = (String::new(), Vec::new());
        Created { family, open: Vec::new(), labels, found: Vec::new() }
    }
}

impl<T> Created<T> {
    /// A `# TYPE` line: another family begins.
    pub fn family(&mut self, name: &str) {
        self.family.clear();
        self.family.push_str(name);
        self.end_group();
    }

    /// Whether a line is a `_created` line, which is no sample: then its start is noted.
    pub fn take(&mut self, sample: &Sample<'_>) -> bool {
        if !has_start(sample.kind) {
            return false;
        }
        let first = self.labels.len();
        let name = put_labels(sample.series, &mut self.labels);
        let Some(stem) = name.strip_suffix(SUFFIX) else {
            self.labels.truncate(first);
            return false;
        };
        // A fraction of a millisecond is cut off, as upstream does.
        let start_ms = (sample.value * 1000.0) as i64;
        let (known, own) = self.labels.split_at(first);
        let mut from = 0;
        for (at, end) in self.open.drain(..) {
            if stem == self.family && known[from..end] == *own {
                self.found.push((at, start_ms));
            }
            from = end;
        }
        self.labels.clear();
        true
    }

    /// A sample that was taken in: it may be followed by its `_created` line.
    pub fn note(&mut self, sample: &Sample<'_>, at: T) {
        if has_start(sample.kind) {
            put_labels(sample.series, &mut self.labels);
            self.open.push((at, self.labels.len()));
        }
    }

    /// All that was found.
    pub fn into_found(self) -> Vec<(T, i64)> {
        self.found
    }

    fn end_group(&mut self) {
        self.open.clear();
        self.labels.clear();
    }
}

fn has_start(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Counter | MetricKind::Summary | MetricKind::Histogram)
}

/// Adds the labels of a line to `out`, `le` and `quantile` left aside, and returns the name.
fn put_labels(series: &[u8], out: &mut Vec<u8>) -> String {
    let mut metric = String::new();
    // What is no text is refused where its labels are built.
    for (name, value) in pairs(str::from_utf8(series).unwrap_or("")) {
        match &*name {
            METRIC_NAME => metric = value.into_owned(),
            "le" | "quantile" => {}
            name => {
                for text in [name, &*value] {
                    out.extend_from_slice(text.as_bytes());
                    out.push(END);
                }
            }
        }
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Format, parse};
    use super::*;

    /// Which lines begin when, and which lines are samples.
    fn read(page: &str) -> (Vec<(String, i64)>, Vec<String>) {
        let (mut created, mut samples) = (Created::default(), Vec::new());
        parse(page.as_bytes(), Format::OpenMetrics, &mut |entry| match entry {
            Entry::Type { name, .. } => created.family(name),
            Entry::Sample(sample) if !created.take(&sample) => {
                let series = String::from_utf8(sample.series.to_vec()).unwrap();
                created.note(&sample, series.clone());
                samples.push(series);
            }
            _ => {}
        })
        .unwrap();
        (created.into_found(), samples)
    }

    #[test]
    fn a_created_line_belongs_to_the_lines_above_it_that_have_its_labels() {
        for (page, found, samples) in [
            ("# TYPE a counter\na_total 1\na_created 1.5\n# EOF\n", "a_total=1500", 1),
            (
                "# TYPE a counter\na_total{x=\"1\"} 1\na_created{x=\"1\"} 1\na_total{x=\"2\"} 1\na_created{x=\"2\"} 2\n# EOF\n",
                "a_total{x=\"1\"}=1000 a_total{x=\"2\"}=2000",
                2,
            ),
            (
                "# TYPE h histogram\nh_bucket{a=\"b\",le=\"1\"} 1\nh_bucket{le=\"+Inf\",a=\"b\"} 1\nh_count{a=\"b\"} 1\nh_sum{a=\"b\"} 1\nh_created{a=\"b\"} 3\n# EOF\n",
                "h_bucket{a=\"b\",le=\"1\"}=3000 h_bucket{le=\"+Inf\",a=\"b\"}=3000 h_count{a=\"b\"}=3000 h_sum{a=\"b\"}=3000",
                4,
            ),
            (
                "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 1\ns_created 1\n# EOF\n",
                "s{quantile=\"0.5\"}=1000 s_count=1000",
                2,
            ),
            // Of other labels, of another family, behind it, and of a kind that has no start.
            ("# TYPE a counter\na_total{x=\"1\"} 1\na_created{x=\"2\"} 1\n# EOF\n", "", 1),
            ("# TYPE a counter\na_total 1\n# TYPE b counter\nb_created 1\n# EOF\n", "", 1),
            ("# TYPE a counter\na_created 1\na_total 1\n# EOF\n", "", 1),
            ("# TYPE a gauge\na 1\na_created 1\n# EOF\n", "", 2),
            (
                "# TYPE \"a.b\" counter\n{\"a.b_total\",x=\"1\"} 1\n{\"a.b_created\",x=\"1\"} 1\n# EOF\n",
                "{\"a.b_total\",x=\"1\"}=1000",
                1,
            ),
        ] {
            let (got, lines) = read(page);
            let got: Vec<_> = got.iter().map(|(line, ms)| format!("{line}={ms}")).collect();
            assert_eq!((got.join(" "), lines.len()), (found.to_owned(), samples), "{page}");
        }
    }
}
