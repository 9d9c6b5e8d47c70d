//! Function calls: which argument is what, and which part of the crate does the work.

use super::kernels::{Window, kernel};
use super::math::{go_max, go_min};
use super::native_kernels::NativeWindow;
use super::notes::Note;
use super::scan::{self, OverTime};
use super::select::{Reading, WindowColumn, Windows, equal_name};
use super::value::{
    Histograms, Metric, Out, Point, Row, Series, Steps, Vector, Visit, absent, put,
};
use super::{Eval, Result, dates, execution, math};
use crate::native::FloatHistogram;
use crate::syntax::{Call, Extended, Node, NodeKind, Span, ValueType};
use vigie_model::{ABSENT, Labels, is_absent};

impl Eval<'_> {
    /// Evaluates a call.
    pub(super) fn call(&mut self, call: &Call, node: &Node, steps: Steps) -> Result<Out> {
        let (name, args) = (call.function.name, &call.args[..]);
        if args.iter().any(|arg| arg.value_type() == ValueType::Matrix) {
            return self.over_time(call, steps).map(Out::Vector);
        }
        if call.function.returns == ValueType::Scalar {
            return self.scalar_call(name, args, steps).map(Out::Scalar);
        }
        if let Some(f) = math::function(name) {
            let vector = self.vector(&args[0], steps)?;
            return self.mapped(vector, |_, value| f(value)).map(Out::Vector);
        }
        if let Some(f) = dates::function(name) {
            return self.date(f, args, steps).map(Out::Vector);
        }
        self.vector_call(name, args, node, steps).map(Out::Vector)
    }

    fn scalar_call(&mut self, name: &str, args: &[Node], steps: Steps) -> Result<Vec<f64>> {
        let query = self.query;
        let constant = |value: f64| Ok(vec![value; steps.count]);
        match name {
            "time" => Ok(steps.times().map(|ts_ms| ts_ms as f64 / 1000.0).collect()),
            "pi" => constant(std::f64::consts::PI),
            "start" => constant(query.start_ms as f64 / 1000.0),
            "end" => constant(query.end_ms as f64 / 1000.0),
            "range" => constant(query.end_ms.saturating_sub(query.start_ms) as f64 / 1000.0),
            "step" if query.start_ms == query.end_ms => constant(0.0),
            "step" => constant(query.step_ms as f64 / 1000.0),
            "max_of" | "min_of" => {
                let (left, right) = (self.scalar(&args[0], steps)?, self.scalar(&args[1], steps)?);
                let f = if name == "max_of" { go_max } else { go_min };
                Ok(left.iter().zip(&right).map(|(left, right)| f(*left, *right)).collect())
            }
            _ => {
                let vector = self.vector(&args[0], steps)?;
                Ok((0..steps.count).map(|step| only_value(&vector, step)).collect())
            }
        }
    }

    fn vector_call(
        &mut self,
        name: &str,
        args: &[Node],
        node: &Node,
        steps: Steps,
    ) -> Result<Vector> {
        match name {
            "vector" => Ok(Vector::lone(Labels::default(), self.scalar(&args[0], steps)?)),
            "round" | "clamp" | "clamp_min" | "clamp_max" => self.bounded(name, args, steps),
            "timestamp" => self.timestamp(&args[0], Reading::Timestamp, steps),
            "absent" => self.absent(&args[0], steps),
            "label_replace" => self.label_replace(args, steps),
            "label_join" => self.label_join(args, steps),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                if self.query.start_ms != self.query.end_ms {
                    self.notes.sort_in_range(node.span);
                }
                self.sorted(name, args, steps)
            }
            "histogram_quantile" => self.histogram_quantile(args, steps),
            "histogram_quantiles" => self.histogram_quantiles(args, steps),
            "histogram_fraction" => self.histogram_fraction(args, steps),
            "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
            | "histogram_stdvar" => self.of_histograms(name, &args[0], steps),
            "info" => self.info(args, steps),
            "start_timestamp" => self.timestamp(&args[0], Reading::Start, steps),
            _ => {
                let position = node.span.line_column(self.expr.text());
                Err(execution(format!("{position}: function \"{name}\" is not supported")))
            }
        }
    }

    fn date(&mut self, f: fn(f64) -> f64, args: &[Node], steps: Steps) -> Result<Vector> {
        let Some(arg) = args.first() else {
            let values = steps.times().map(|ts_ms| f(ts_ms.div_euclid(1000) as f64)).collect();
            return Ok(Vector::lone(Labels::default(), values));
        };
        let vector = self.vector(arg, steps)?;
        self.mapped(vector, |_, value| f(value))
    }

    fn bounded(&mut self, name: &str, args: &[Node], steps: Steps) -> Result<Vector> {
        let vector = self.vector(&args[0], steps)?;
        let mut scalars = Vec::new();
        for arg in &args[1..] {
            scalars.push(self.scalar(arg, steps)?);
        }
        match name {
            "round" => self.mapped(vector, |step, value| {
                let inverse = 1.0 / scalars.first().map_or(1.0, |nearest| nearest[step]);
                (value * inverse + 0.5).floor() / inverse
            }),
            "clamp_min" => self.mapped(vector, |step, value| go_max(scalars[0][step], value)),
            "clamp_max" => self.mapped(vector, |step, value| go_min(scalars[0][step], value)),
            _ => {
                let mut vector = vector;
                for series in &mut vector.series {
                    series.drop_histograms();
                    for (step, value) in series.values.iter_mut().enumerate() {
                        if scalars[1][step] < scalars[0][step] {
                            *value = ABSENT;
                        }
                    }
                }
                self.mapped(vector, |step, value| {
                    go_max(scalars[0][step], go_min(scalars[1][step], value))
                })
            }
        }
    }

    fn timestamp(&mut self, arg: &Node, reading: Reading, steps: Steps) -> Result<Vector> {
        if let NodeKind::Vector(selector) = &arg.unparenthesised().kind {
            let vector = self.selector(selector, steps, reading)?;
            return self.nameless(vector);
        }
        let mut vector = self.vector(arg, steps)?;
        if reading == Reading::Start {
            // Only stored samples know when their counter began.
            return Ok(Vector::default());
        }
        vector.series.iter_mut().for_each(|series| series.histograms.clear());
        self.mapped(vector, |step, _| steps.at(step) as f64 / 1000.0)
    }

    fn absent(&mut self, arg: &Node, steps: Steps) -> Result<Vector> {
        let mut values = vec![1.0; steps.count];
        self.stream(arg, steps, Reading::Presence, &mut |_, _, _, row| {
            take_away(&mut values, row);
            Ok(())
        })?;
        Ok(Vector::lone(super::labels::of_absent(arg), values))
    }

    /// A function over windows.
    fn over_time(&mut self, call: &Call, steps: Steps) -> Result<Vector> {
        let arg = range_argument(call);
        if call.function.name == "absent_over_time" {
            let mut values = vec![1.0; steps.count];
            self.stream_over_time(call, steps, &mut |_, _, _, row| {
                take_away(&mut values, row);
                Ok(())
            })?;
            return Ok(Vector::lone(super::labels::of_absent(arg), values));
        }
        let mut series: Vec<Series> = Vec::new();
        self.stream_over_time(call, steps, &mut |eval, metric, drop_name, row| {
            eval.room_for_rows(series.len() + 1, steps.count)?;
            let (values, histograms) = (row.values.to_vec(), row.histograms.to_vec());
            series.push(Series { metric, drop_name, values, histograms });
            Ok(())
        })?;
        let vector = Vector { series, one_name: known_name(arg).is_some() };
        let apart = self.options.delayed_name_removal || vector.one_name;
        if apart || keeps_name(call) { Ok(vector) } else { vector.merged() }
    }

    /// Whether the series of a call may be handed on one by one, because none can meet another.
    pub(super) fn can_stream(&self, call: &Call) -> bool {
        let Some(arg) = call.args.iter().find(|arg| arg.value_type() == ValueType::Matrix) else {
            return false;
        };
        let apart = self.options.delayed_name_removal || known_name(arg).is_some();
        call.function.name != "absent_over_time" && (apart || keeps_name(call))
    }

    /// Evaluates a function over windows, series by series.
    pub(super) fn stream_over_time(
        &mut self,
        call: &Call,
        steps: Steps,
        visit: Visit<'_>,
    ) -> Result<()> {
        let (name, arg) = (call.function.name, range_argument(call));
        let Some(kernel) = kernel(name) else {
            return Err(execution(format!("function \"{name}\" is not supported")));
        };
        let mut scalars = Vec::new();
        for scalar in call.args.iter().filter(|arg| arg.value_type() == ValueType::Scalar) {
            scalars.push(self.scalar(scalar, steps)?);
        }
        check_factors(name, &scalars)?;
        let (delayed, keeps_name) = (self.options.delayed_name_removal, keeps_name(call));
        let first_span = call.args[0].span;
        let function = OverTime { name, kernel, scalars: &scalars, first_span };
        let known = known_name(arg);
        let mut any = false;
        self.windowed(&function, arg, steps, &mut |eval, mut metric, drop_name, row| {
            let is_told = any && known.is_some() && !eval.options.features.type_and_unit_labels;
            if function.is_counter() && !is_told && row.has_floats() {
                eval.note_no_counter(known, &metric, arg);
            }
            any = true;
            let drop_name = drop_name || !keeps_name;
            if drop_name && !delayed {
                metric.drop_name();
            }
            visit(eval, metric, drop_name, row)
        })?;
        if name == "quantile_over_time" && any {
            for q in scalars[0].iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                self.notes.invalid_quantile(*q, call.args[0].span);
            }
        }
        Ok(())
    }

    fn windowed(
        &mut self,
        function: &OverTime<'_>,
        arg: &Node,
        steps: Steps,
        visit: Visit<'_>,
    ) -> Result<()> {
        let windows = self.windows(arg, steps)?;
        super::extended::check(windows.extended, function.name)?;
        let mut one = OneByOne {
            function,
            windows: &windows,
            span: arg.span,
            values: absent(steps.count),
            histograms: Histograms::new(),
        };
        if let NodeKind::Matrix { selector, .. } = &arg.unparenthesised().kind
            && steps.count > 0
        {
            let selection = self.selected(selector, &windows)?;
            let plain = windows.extended == Extended::No && !self.options.features.start_timestamps;
            if plain && scan::is_plain(&selection) {
                return self.scan_windows(&selection, &windows, function, steps, visit);
            }
            return self.stored_columns(&selection, &windows, |eval, column| {
                eval.one_by_one(&mut one, steps, &column, visit)
            });
        }
        self.each_column(arg, &windows, steps, |eval, column| {
            eval.one_by_one(&mut one, steps, &column, visit)
        })
    }

    /// Evaluates a function over the windows of one series.
    fn one_by_one(
        &mut self,
        one: &mut OneByOne<'_>,
        steps: Steps,
        column: &WindowColumn<'_>,
        visit: Visit<'_>,
    ) -> Result<()> {
        let (function, windows) = (one.function, one.windows);
        let (scalars, ends_ms) = (function.scalars, &windows.ends_ms[..]);
        if let Some(account) = self.counting() {
            let counts = column.bounds.iter().map(|(low, high)| (high - low) as u64);
            account.add_steps(&counts.collect::<Vec<_>>());
        }
        // With `@` all windows are the same one, and so are the results.
        let fixed = scalars.is_empty() && ends_ms.first() == ends_ms.last();
        one.values.fill(ABSENT);
        one.histograms.clear();
        let is_odd = windows.extended != Extended::No
            || !column.histograms.is_empty()
            || !column.starts_ms.is_empty();
        let ascending = function.is_counter()
            && !is_odd
            && column.values.windows(2).all(|pair| pair[0] <= pair[1]);
        let (mut any, mut work) = (false, 0);
        for (step, (low, high)) in column.bounds.iter().enumerate() {
            work += 1 + high - low;
            if work > WORK_PER_LOOK {
                self.tick()?;
                work = 0;
            }
            if low == high {
                continue;
            }
            let argument = |at: usize| scalars.get(at).map_or(0.0, |scalar| scalar[step]);
            let window = Window {
                ascending,
                args: [argument(0), argument(1)],
                ..function.window(column, windows, steps, step)
            };
            let result = match is_odd {
                true => self.odd_window(one, column, step, window),
                false => (function.kernel)(&window).map(Point::Float),
            };
            any |= result.is_some();
            let filled = if fixed { 0..steps.count } else { step..step + 1 };
            for at in filled {
                put(&mut one.values, &mut one.histograms, at, result.clone());
            }
            if fixed {
                break;
            }
        }
        if !any {
            return Ok(());
        }
        let row = Row { values: &one.values, histograms: &one.histograms };
        visit(self, column.metric.clone(), column.drop_name, row)
    }

    /// A window that is extended or in whose column there are histograms or start timestamps.
    fn odd_window(
        &mut self,
        one: &OneByOne<'_>,
        column: &WindowColumn<'_>,
        step: usize,
        window: Window<'_>,
    ) -> Option<Point> {
        let (function, extended, span) = (one.function, one.windows.extended, one.span);
        let (low, high) = column.bounds[step];
        let labels = column.metric.labels();
        let metric = labels.metric_name().unwrap_or("");
        let histograms = column.histograms.get(low..high).unwrap_or(&[]);
        let native = NativeWindow { base: window, histograms, metric, span };
        if extended == Extended::No {
            return self.plain_window(function, native);
        }
        self.extended_kernel(function.name, extended, &native, |eval, window| {
            eval.plain_window(function, window)
        })
    }

    fn plain_window(&mut self, function: &OverTime<'_>, w: NativeWindow<'_>) -> Option<Point> {
        if w.histograms.iter().any(Option::is_some) {
            return self.native_kernel(function.name, function.kernel, &w);
        }
        let overlaps = |at: usize| match w.base.starts_ms.get(at..at + 2) {
            Some(&[before, now]) => math::starts_overlap(before, w.base.timestamps_ms[at], now),
            _ => false,
        };
        if function.is_counter() && (1..w.base.values.len()).any(|at| overlaps(at - 1)) {
            self.notes.starts_overlap(w.metric, w.span);
        }
        (function.kernel)(&w.base).map(Point::Float)
    }

    fn note_no_counter(&mut self, known: Option<&str>, metric: &Metric, arg: &Node) {
        let labelled = self.options.features.type_and_unit_labels;
        let labels = match known.is_none() || labelled {
            true => metric.labels(),
            false => Labels::default(),
        };
        let name = known.or(labels.metric_name()).unwrap_or("");
        if labelled {
            let kind = labels.value_or_empty("__type__");
            if !name.is_empty() && kind != "counter" && kind != "histogram" {
                let (metric, kind) = (name.to_owned(), kind.to_owned());
                self.notes.told(&Note::NoCounterLabel { metric, kind }, arg.span);
            }
            return;
        }
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !name.is_empty() && !suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            self.notes.maybe_no_counter(name, arg.span);
        }
    }

    /// The functions that tell one number of each histogram and pass floats over.
    fn of_histograms(&mut self, name: &str, arg: &Node, steps: Steps) -> Result<Vector> {
        let mut vector = self.vector(arg, steps)?;
        let f: fn(&FloatHistogram) -> f64 = match name {
            "histogram_avg" => |histogram| histogram.sum / histogram.count,
            "histogram_count" => |histogram| histogram.count,
            "histogram_sum" => |histogram| histogram.sum,
            "histogram_stddev" => |histogram| histogram.variance().sqrt(),
            _ => FloatHistogram::variance,
        };
        vector.series.retain(|series| series.histograms.iter().any(Option::is_some));
        for series in &mut vector.series {
            let histograms = std::mem::take(&mut series.histograms);
            for (value, histogram) in series.values.iter_mut().zip(histograms) {
                *value = histogram.map_or(ABSENT, |histogram| f(&histogram));
            }
        }
        self.nameless(vector)
    }
}

/// What a function over windows keeps from series to series.
struct OneByOne<'a> {
    function: &'a OverTime<'a>,
    windows: &'a Windows,
    /// Where the range stands.
    span: Span,
    values: Vec<f64>,
    histograms: Histograms,
}

impl OverTime<'_> {
    fn is_counter(&self) -> bool {
        matches!(self.name, "rate" | "increase")
    }

    /// The window of one step, without its arguments.
    fn window<'c>(
        &self,
        column: &WindowColumn<'c>,
        windows: &Windows,
        steps: Steps,
        step: usize,
    ) -> Window<'c> {
        let (low, high) = column.bounds[step];
        Window {
            timestamps_ms: &column.timestamps_ms[low..high],
            values: &column.values[low..high],
            starts_ms: column.starts_ms.get(low..high).unwrap_or(&[]),
            start_ms: windows.ends_ms[step].saturating_sub(windows.length_ms),
            end_ms: windows.ends_ms[step],
            now_ms: steps.at(step),
            ascending: false,
            args: [0.0; 2],
            first_span: self.first_span,
            counts_changes: self.name == "changes",
        }
    }
}

/// Samples looked at between two looks at the clock.
const WORK_PER_LOOK: usize = 1 << 16;

/// Leaves values only where a row has none.
fn take_away(values: &mut [f64], row: Row<'_>) {
    for (value, other) in values.iter_mut().zip(row.values) {
        if !is_absent(*other) {
            *value = ABSENT;
        }
    }
}

/// The range argument of a function over windows.
fn range_argument(call: &Call) -> &Node {
    let range = call.args.iter().find(|arg| arg.value_type() == ValueType::Matrix);
    range.unwrap_or(&call.args[0])
}

/// The one metric name that a range selector can yield, if there is only one.
fn known_name(arg: &Node) -> Option<&str> {
    match &arg.unparenthesised().kind {
        NodeKind::Matrix { selector, .. } => equal_name(&selector.matchers),
        _ => None,
    }
}

/// The functions whose result is a sample of the series itself.
fn keeps_name(call: &Call) -> bool {
    matches!(call.function.name, "first_over_time" | "last_over_time")
}

/// The value of the only series that has one at `step`.
fn only_value(vector: &Vector, step: usize) -> f64 {
    let floats = vector.series.iter().filter(|series| series.histogram(step).is_none());
    let mut values = floats.map(|s| s.values[step]).filter(|v| !is_absent(*v));
    match (values.next(), values.next()) {
        (Some(value), None) => value,
        _ => f64::NAN,
    }
}

fn check_factors(name: &str, scalars: &[Vec<f64>]) -> Result<()> {
    if name != "double_exponential_smoothing" {
        return Ok(());
    }
    for (scalar, what, symbol) in [(0, "smoothing", "sf"), (1, "trend", "tf")] {
        if let Some(bad) = scalars[scalar].iter().find(|value| **value <= 0.0 || **value >= 1.0) {
            return Err(execution(format!(
                "invalid {what} factor. Expected: 0 < {symbol} < 1, got: {bad:.6}"
            )));
        }
    }
    Ok(())
}
