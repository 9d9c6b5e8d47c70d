//! The functions of PromQL: names, argument types, results.

use super::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function's signature.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// The types of its arguments; the last one repeats when it is variadic.
    pub args: &'static [ValueType],
    /// How many arguments more than `args.len() - 1` may be given: 0 none, -1 any number.
    pub variadic: i32,
    /// What it answers.
    pub returns: ValueType,
}

/// The function of that name; names are case-sensitive.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

/// All functions, by name.
pub fn functions() -> &'static [Function] {
    &FUNCTIONS
}

const fn of(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns }
}

const fn varargs(name: &'static str, args: &'static [ValueType], variadic: i32) -> Function {
    Function { name, args, variadic, returns: Vector }
}

/// Sorted by name.
static FUNCTIONS: [Function; 90] = [
    of("abs", &[Vector], Vector),
    of("absent", &[Vector], Vector),
    of("absent_over_time", &[Matrix], Vector),
    of("acos", &[Vector], Vector),
    of("acosh", &[Vector], Vector),
    of("asin", &[Vector], Vector),
    of("asinh", &[Vector], Vector),
    of("atan", &[Vector], Vector),
    of("atanh", &[Vector], Vector),
    of("avg_over_time", &[Matrix], Vector),
    of("ceil", &[Vector], Vector),
    of("changes", &[Matrix], Vector),
    of("clamp", &[Vector, Scalar, Scalar], Vector),
    of("clamp_max", &[Vector, Scalar], Vector),
    of("clamp_min", &[Vector, Scalar], Vector),
    of("cos", &[Vector], Vector),
    of("cosh", &[Vector], Vector),
    of("count_over_time", &[Matrix], Vector),
    varargs("day_of_month", &[Vector], 1),
    varargs("day_of_week", &[Vector], 1),
    varargs("day_of_year", &[Vector], 1),
    varargs("days_in_month", &[Vector], 1),
    of("deg", &[Vector], Vector),
    of("delta", &[Matrix], Vector),
    of("deriv", &[Matrix], Vector),
    of("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    of("end", &[], Scalar),
    of("exp", &[Vector], Vector),
    of("first_over_time", &[Matrix], Vector),
    of("floor", &[Vector], Vector),
    of("histogram_avg", &[Vector], Vector),
    of("histogram_count", &[Vector], Vector),
    of("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    of("histogram_quantile", &[Scalar, Vector], Vector),
    varargs("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9),
    of("histogram_stddev", &[Vector], Vector),
    of("histogram_stdvar", &[Vector], Vector),
    of("histogram_sum", &[Vector], Vector),
    varargs("hour", &[Vector], 1),
    of("idelta", &[Matrix], Vector),
    of("increase", &[Matrix], Vector),
    varargs("info", &[Vector, Vector], 1),
    of("irate", &[Matrix], Vector),
    varargs("label_join", &[Vector, String, String, String], -1),
    of("label_replace", &[Vector, String, String, String, String], Vector),
    of("last_over_time", &[Matrix], Vector),
    of("ln", &[Vector], Vector),
    of("log10", &[Vector], Vector),
    of("log2", &[Vector], Vector),
    of("mad_over_time", &[Matrix], Vector),
    of("max_of", &[Scalar, Scalar], Scalar),
    of("max_over_time", &[Matrix], Vector),
    of("min_of", &[Scalar, Scalar], Scalar),
    of("min_over_time", &[Matrix], Vector),
    varargs("minute", &[Vector], 1),
    varargs("month", &[Vector], 1),
    of("pi", &[], Scalar),
    of("predict_linear", &[Matrix, Scalar], Vector),
    of("present_over_time", &[Matrix], Vector),
    of("quantile_over_time", &[Scalar, Matrix], Vector),
    of("rad", &[Vector], Vector),
    of("range", &[], Scalar),
    of("rate", &[Matrix], Vector),
    of("resets", &[Matrix], Vector),
    varargs("round", &[Vector, Scalar], 1),
    of("scalar", &[Vector], Scalar),
    of("sgn", &[Vector], Vector),
    of("sin", &[Vector], Vector),
    of("sinh", &[Vector], Vector),
    of("sort", &[Vector], Vector),
    varargs("sort_by_label", &[Vector, String], -1),
    varargs("sort_by_label_desc", &[Vector, String], -1),
    of("sort_desc", &[Vector], Vector),
    of("sqrt", &[Vector], Vector),
    of("start", &[], Scalar),
    of("start_timestamp", &[Vector], Vector),
    of("stddev_over_time", &[Matrix], Vector),
    of("stdvar_over_time", &[Matrix], Vector),
    of("step", &[], Scalar),
    of("sum_over_time", &[Matrix], Vector),
    of("tan", &[Vector], Vector),
    of("tanh", &[Vector], Vector),
    of("time", &[], Scalar),
    of("timestamp", &[Vector], Vector),
    of("ts_of_first_over_time", &[Matrix], Vector),
    of("ts_of_last_over_time", &[Matrix], Vector),
    of("ts_of_max_over_time", &[Matrix], Vector),
    of("ts_of_min_over_time", &[Matrix], Vector),
    of("vector", &[Scalar], Vector),
    varargs("year", &[Vector], 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(function("rate").map(|f| f.returns), Some(Vector));
        assert_eq!(function("Rate"), None);
    }
}
