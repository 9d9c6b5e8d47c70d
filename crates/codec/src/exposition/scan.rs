//! The scanner: one pass over the bytes, no allocation, no labels.
//!
//! It recognises the same language as Prometheus' generated lexers and parsers, by hand: a table
//! classifies the bytes of names, `memchr` finds the ends of lines and values. When something is out
//! of place, [`super::explain`] looks again, slowly, and words the error.

use super::explain::{self, Expecting};
use super::number::{parse_float, quote};
use super::{Entry, Exemplar, Format, MetricKind, ParseError, Sample};
use memchr::{memchr, memchr2};
use std::ops::Range;

/// Walks `body` and gives every entry to `sink`, in order.
///
/// Entries seen before an error have been handed out already; a caller that must not use half a
/// body keeps them apart until this returns.
pub fn parse<'a>(
    body: &'a [u8],
    format: Format,
    sink: &mut dyn FnMut(Entry<'a>),
) -> Result<(), ParseError> {
    let mut scanner = Scanner {
        body,
        openmetrics: format == Format::OpenMetrics,
        at: 0,
        start: 0,
        previous: 0,
        kind: MetricKind::Unknown,
        all_utf8: std::str::from_utf8(body).is_ok(),
    };
    scanner.run(sink).map_err(|what| {
        let seen = &body[..scanner.start.min(body.len())];
        ParseError { line: 1 + memchr::memchr_iter(b'\n', seen).count(), what }
    })
}

const NAME_START: u8 = 1;
const NAME_REST: u8 = 2;
const COLON: u8 = 4;

/// What each byte may be part of.
const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphabetic() || b == b'_' {
            table[byte] = NAME_START | NAME_REST;
        } else if b.is_ascii_digit() {
            table[byte] = NAME_REST;
        } else if b == b':' {
            table[byte] = COLON;
        }
        byte += 1;
    }
    table
};

/// What a line's braces said about the metric's name.
enum Braces {
    /// Labels only.
    Labels,
    /// A quoted metric name was among them.
    Named,
}

/// What a line that starts with `#` says.
enum Comment<'a> {
    Entry(Entry<'a>),
    Nothing,
    Eof,
}

struct Scanner<'a> {
    body: &'a [u8],
    openmetrics: bool,
    at: usize,
    /// Where the current entry starts.
    start: usize,
    /// Where the last token started: what Prometheus quotes when the input just ends.
    previous: usize,
    kind: MetricKind,
    all_utf8: bool,
}

impl<'a> Scanner<'a> {
    fn run(&mut self, sink: &mut dyn FnMut(Entry<'a>)) -> Result<(), String> {
        loop {
            self.start = self.at;
            self.previous = self.at;
            self.skip_blanks();
            let Some(&first) = self.body.get(self.at) else {
                return if self.openmetrics { Err(no_eof()) } else { Ok(()) };
            };
            match first {
                b'#' => match self.comment()? {
                    Comment::Entry(entry) => sink(entry),
                    Comment::Nothing => {}
                    Comment::Eof => return Ok(()),
                },
                b'\n' if !self.openmetrics => self.at += 1,
                _ => sink(Entry::Sample(self.sample(first)?)),
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// Only the older format lets blanks stand between any two tokens.
    #[inline]
    fn skip_blanks(&mut self) {
        if !self.openmetrics {
            while let Some(b' ' | b'\t') = self.byte() {
                self.at += 1;
            }
        }
    }

    fn unexpected(&self, expected: &str, state: Expecting) -> String {
        explain::unexpected(
            self.body,
            self.openmetrics,
            self.start,
            self.previous,
            self.at,
            state,
            expected,
        )
    }

    fn sample(&mut self, first: u8) -> Result<Sample<'a>, String> {
        let start = self.at;
        if first == b'{' {
            self.previous = self.at;
            self.at += 1;
            if let Braces::Labels = self.braces(false, false)? {
                let seen = quote(explain::entry(self.body, self.start, self.after_value()));
                return Err(format!("metric name not set while parsing: {seen}"));
            }
        } else {
            if self.metric_name().is_empty() {
                return Err(self.unexpected("expected a valid start token", Expecting::Start));
            }
            self.previous = start;
            let name_end = self.at;
            self.skip_blanks();
            if self.byte() == Some(b'{') {
                self.previous = self.at;
                self.at += 1;
                self.braces(true, false)?;
            } else {
                self.at = name_end;
            }
        }
        let series = &self.body[start..self.at];
        let value = self.value("metric")?;
        let (ts_ms, exemplar) = self.rest_of_line()?;
        Ok(Sample { series, value, ts_ms, kind: self.kind, exemplar })
    }

    /// Where the value after the braces ends, for an error that quotes it.
    fn after_value(&mut self) -> usize {
        let begin = self.at;
        self.skip_blanks();
        if self.openmetrics && self.byte() == Some(b' ') {
            self.at += 1;
        }
        let end = self.token_end(self.at);
        self.at = begin;
        end
    }

    /// Takes a metric name, possibly none.
    fn metric_name(&mut self) -> Range<usize> {
        let start = self.at;
        while let Some(byte) = self.byte() {
            let class = CLASS[usize::from(byte)];
            let fits = if self.at == start { NAME_START | COLON } else { NAME_REST | COLON };
            if class & fits == 0 {
                break;
            }
            self.at += 1;
        }
        start..self.at
    }

    /// Takes everything up to the closing brace; `named` says whether a name stood before it.
    fn braces(&mut self, named: bool, exemplar: bool) -> Result<Braces, String> {
        let mut named = named;
        let mut found = Braces::Labels;
        loop {
            self.skip_blanks();
            let token = self.at;
            let quoted = match self.byte() {
                Some(b'}') => {
                    self.previous = token;
                    self.at += 1;
                    return Ok(found);
                }
                Some(b'"') => self.quoted(false),
                Some(byte) if CLASS[usize::from(byte)] & NAME_START != 0 => {
                    self.label_name();
                    Some(false)
                }
                _ => None,
            };
            let Some(quoted) = quoted else {
                return Err(self.unexpected("expected label name", Expecting::Labels));
            };
            self.previous = token;
            self.skip_blanks();
            let next = self.byte();
            let bare_end = matches!(next, Some(b',' | b'}'));
            if quoted && bare_end && !exemplar {
                if named {
                    let seen = quote(&self.body[self.start..self.at + 1]);
                    return Err(format!("metric name already set while parsing: {seen}"));
                }
                (named, found) = (true, Braces::Named);
                self.previous = self.at;
                self.at += 1;
                if next == Some(b'}') {
                    return Ok(found);
                }
                continue;
            }
            if next != Some(b'=') {
                return Err(self.unexpected("expected equal", Expecting::Labels));
            }
            self.previous = self.at;
            self.at += 1;
            self.label_value()?;
            self.between_labels()?;
        }
    }

    fn label_name(&mut self) {
        while self.byte().is_some_and(|byte| CLASS[usize::from(byte)] & NAME_REST != 0) {
            self.at += 1;
        }
    }

    /// Takes a quoted text whose opening quote is next; `None`, and nothing taken, if it never ends.
    fn quoted(&mut self, one_line: bool) -> Option<bool> {
        let mut at = self.at + 1;
        loop {
            at += memchr2(b'"', b'\\', self.body.get(at..)?)?;
            if self.body[at] == b'"' {
                break;
            }
            at += 2;
        }
        if one_line && memchr(b'\n', &self.body[self.at..at]).is_some() {
            return None;
        }
        self.at = at + 1;
        Some(true)
    }

    fn label_value(&mut self) -> Result<(), String> {
        self.skip_blanks();
        let token = self.at;
        let taken = if self.byte() == Some(b'"') { self.quoted(self.openmetrics) } else { None };
        if taken.is_none() {
            return Err(self.unexpected("expected label value", Expecting::LabelValue));
        }
        self.previous = token;
        let text = &self.body[token..self.at];
        if !self.all_utf8 && std::str::from_utf8(text).is_err() {
            return Err(format!("invalid UTF-8 label value: {}", quote(text)));
        }
        Ok(())
    }

    fn between_labels(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.byte() {
            Some(b',') => {
                self.previous = self.at;
                self.at += 1;
                Ok(())
            }
            // The older format has always let the comma be left out.
            _ if !self.openmetrics => Ok(()),
            Some(b'}') => Ok(()),
            _ => Err(self.unexpected("expected comma or brace close", Expecting::Labels)),
        }
    }

    /// The end of the token of non-blanks that starts at `at`.
    #[inline]
    fn token_end(&self, at: usize) -> usize {
        let openmetrics = self.openmetrics;
        let rest = self.body.get(at..).unwrap_or(&[]);
        let length = rest.iter().position(|&byte| {
            byte == b' ' || byte == b'\n' || (!openmetrics && (byte == b'\t' || byte == b'{'))
        });
        at + length.unwrap_or(rest.len())
    }

    fn value(&mut self, after: &str) -> Result<f64, String> {
        self.skip_blanks();
        let token = self.at;
        let begin = if !self.openmetrics {
            token
        } else if self.byte() == Some(b' ') {
            token + 1
        } else {
            return Err(self.unexpected(&format!("expected value after {after}"), Expecting::Value));
        };
        let end = self.token_end(begin);
        if end == begin || self.body[begin] == 0 {
            return Err(self.unexpected(&format!("expected value after {after}"), Expecting::Value));
        }
        self.at = end;
        self.previous = token;
        self.float(begin..end)
    }

    fn float(&self, range: Range<usize>) -> Result<f64, String> {
        let end = range.end;
        parse_float(&self.body[range])
            .map_err(|what| format!("{what} while parsing: {}", quote(&self.body[self.start..end])))
    }

    /// The timestamp and the exemplar, if any, and the end of the line.
    fn rest_of_line(&mut self) -> Result<(Option<i64>, Option<Exemplar<'a>>), String> {
        if self.openmetrics {
            return self.rest_of_openmetrics();
        }
        Ok((self.rest_of_text()?, None))
    }

    fn rest_of_text(&mut self) -> Result<Option<i64>, String> {
        self.skip_blanks();
        let mut ts_ms = None;
        let begin = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let digits = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == digits {
            self.at = begin;
        } else {
            self.previous = begin;
            let text = std::str::from_utf8(&self.body[begin..self.at]).unwrap_or("");
            let Ok(parsed) = text.parse() else {
                let seen = quote(&self.body[self.start..self.at]);
                return Err(format!(
                    "strconv.ParseInt: parsing {}: value out of range while parsing: {seen}",
                    quote(text.as_bytes())
                ));
            };
            ts_ms = Some(parsed);
        }
        self.skip_blanks();
        match (self.byte(), ts_ms) {
            (Some(b'\n'), _) => self.at += 1,
            (None, _) => {}
            (_, None) => {
                let expected = "expected timestamp or new record";
                return Err(self.unexpected(expected, Expecting::Timestamp));
            }
            (_, Some(_)) => {
                let expected = "expected next entry after timestamp";
                return Err(self.unexpected(expected, Expecting::Timestamp));
            }
        }
        Ok(ts_ms)
    }

    fn rest_of_openmetrics(&mut self) -> Result<(Option<i64>, Option<Exemplar<'a>>), String> {
        let mut ts_ms = None;
        if self.byte() == Some(b' ') && !self.at_exemplar() {
            ts_ms = self.openmetrics_timestamp("")?;
        }
        if self.at_exemplar() {
            let braces = self.at + 3;
            self.at += 4;
            self.braces(true, true)?;
            let braces = &self.body[braces..self.at];
            let value = self.value("exemplar labels")?;
            let own_ms = self.openmetrics_timestamp("exemplar ")?;
            self.end_line("expected next entry after exemplar timestamp")?;
            return Ok((ts_ms, Some(Exemplar { braces, value, ts_ms: own_ms })));
        }
        self.end_line("expected next entry after timestamp")?;
        Ok((ts_ms, None))
    }

    fn at_exemplar(&self) -> bool {
        self.body[self.at..].starts_with(b" # {")
    }

    fn openmetrics_timestamp(&mut self, whose: &str) -> Result<Option<i64>, String> {
        if self.byte() != Some(b' ') {
            return Ok(None);
        }
        let end = self.token_end(self.at + 1);
        if end == self.at + 1 {
            return Ok(None);
        }
        let range = self.at + 1..end;
        self.previous = self.at;
        self.at = end;
        let seconds = self.float(range)?;
        if !seconds.is_finite() {
            let text = vigie_model::value::format_value(seconds);
            return Err(format!("invalid {whose}timestamp {text}"));
        }
        Ok(Some((seconds * 1000.0) as i64))
    }

    fn end_line(&mut self, expected: &str) -> Result<(), String> {
        match self.byte() {
            Some(b'\n') => {
                self.at += 1;
                Ok(())
            }
            None => Err(no_eof()),
            Some(_) => Err(self.unexpected(expected, Expecting::Timestamp)),
        }
    }

    fn comment(&mut self) -> Result<Comment<'a>, String> {
        let hash = self.at;
        let mut at = hash + 1;
        let blanks = if self.openmetrics { " " } else { " \t" };
        let limit = if self.openmetrics { at + 1 } else { usize::MAX };
        let is_blank =
            |at: usize| self.body.get(at).is_some_and(|byte| blanks.as_bytes().contains(byte));
        while at < limit && is_blank(at) {
            at += 1;
        }
        let rest = &self.body[at..];
        if self.openmetrics && at == hash + 2 && rest.starts_with(b"EOF") {
            let end = at + 3 + usize::from(rest.get(3) == Some(&b'\n'));
            self.at = end;
            let only = end == self.body.len();
            return if only {
                Ok(Comment::Eof)
            } else {
                Err("unexpected data after # EOF".to_owned())
            };
        }
        let words = [&b"HELP"[..], b"TYPE", b"UNIT"];
        let count = if self.openmetrics { 3 } else { 2 };
        let word = words[..count]
            .iter()
            .find(|word| at > hash + 1 && rest.starts_with(word) && is_blank(at + 4));
        match word {
            Some(word) => {
                self.at = at + 5;
                self.previous = hash;
                self.metadata(std::str::from_utf8(word).unwrap_or("")).map(Comment::Entry)
            }
            None if self.openmetrics => {
                Err(self.unexpected("expected a valid start token", Expecting::Start))
            }
            None => {
                self.at = self.line_end(self.at);
                Ok(Comment::Nothing)
            }
        }
    }

    /// The position after the line's newline, or the end.
    fn line_end(&self, at: usize) -> usize {
        memchr(b'\n', &self.body[at..]).map_or(self.body.len(), |length| at + length + 1)
    }

    fn metadata(&mut self, word: &str) -> Result<Entry<'a>, String> {
        self.skip_blanks();
        let name = match self.byte() {
            Some(b'"') => {
                let begin = self.at + 1;
                self.quoted(true).map(|_| begin..self.at - 1)
            }
            _ => Some(self.metric_name()).filter(|name| !name.is_empty()),
        };
        let Some(name) = name else {
            let expected = format!("expected metric name after {word}");
            return Err(self.unexpected(&expected, Expecting::MetaName));
        };
        let next = self.line_end(self.at);
        let end = if self.body[..next].ends_with(b"\n") { next - 1 } else { next };
        let blank = matches!(self.byte(), Some(b' ')) || !self.openmetrics;
        if self.openmetrics && (!blank || end == next) {
            return Err(format!("expected text in {word}"));
        }
        let text = self.body.get(self.at + 1..end).unwrap_or(&[]);
        let name = std::str::from_utf8(&self.body[name]).unwrap_or("");
        self.at = next;
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(format!("help text {} is not a valid utf8 string", quote(text)));
        };
        match word {
            "TYPE" => {
                let kind = kind_of(text, self.openmetrics)?;
                self.kind = kind;
                Ok(Entry::Type { name, kind })
            }
            "UNIT" => {
                let base = name.strip_suffix(text).unwrap_or("");
                let fits = text.is_empty() || (base.len() > 1 && base.ends_with('_'));
                if !fits {
                    let (unit, metric) = (quote(text.as_bytes()), quote(name.as_bytes()));
                    return Err(format!("unit {unit} not a suffix of metric {metric}"));
                }
                Ok(Entry::Unit { name, unit: text })
            }
            _ => Ok(Entry::Help { name, text }),
        }
    }
}

fn no_eof() -> String {
    "data does not end with # EOF".to_owned()
}

fn kind_of(word: &str, openmetrics: bool) -> Result<MetricKind, String> {
    match (word, openmetrics) {
        ("counter", _) => Ok(MetricKind::Counter),
        ("gauge", _) => Ok(MetricKind::Gauge),
        ("histogram", _) => Ok(MetricKind::Histogram),
        ("summary", _) => Ok(MetricKind::Summary),
        ("untyped", false) | ("unknown", true) => Ok(MetricKind::Unknown),
        ("gaugehistogram", true) => Ok(MetricKind::GaugeHistogram),
        ("info", true) => Ok(MetricKind::Info),
        ("stateset", true) => Ok(MetricKind::StateSet),
        _ => Err(format!("invalid metric type {}", quote(word.as_bytes()))),
    }
}
