//! What a metric query answers.

use crate::pipeline::labels::LabelSet;

/// One number of an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: LabelSet,
    /// The instant.
    pub ts_ns: i64,
    /// The number.
    pub value: f64,
}

/// The numbers of one series over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// The series.
    pub labels: LabelSet,
    /// Instants (nanoseconds) and numbers, ascending.
    pub points: Vec<(i64, f64)>,
}

/// The answer to a metric query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number without labels, from a query of literals.
    Scalar {
        /// The instant.
        ts_ns: i64,
        /// The number.
        value: f64,
    },
    /// The series of an instant; by label set unless the query sorts.
    Vector(Vec<VectorSample>),
    /// The series of a range, by label set.
    Matrix(Vec<MatrixSeries>),
}
