//! How Loki's client writes what it was answered (`pkg/logcli/output`, `print`, `index`, `delete`).

use super::flags::{Mode, ShownArgs, TimeForm, Zone};
use crate::lines::loki::Line;
use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use vigie_model::go_quote;

/// Labels by name.
pub(super) type Pairs = Vec<(String, String)>;

/// How lines are written.
pub(super) struct Form {
    pub(super) mode: Mode,
    pub(super) zone: TimeZone,
    pub(super) time: TimeForm,
    pub(super) no_labels: bool,
}

impl Form {
    /// A line with its end. `width` is what labels are filled up to.
    pub(super) fn line(&self, line: &Line, labels: &Pairs, width: usize) -> String {
        let text = &line.text;
        match self.mode {
            Mode::Raw => format!("{}\n", text.strip_suffix('\n').unwrap_or(text)),
            Mode::Jsonl => {
                let mut entry = serde_json::Map::new();
                if !self.no_labels {
                    let labels = labels.iter().cloned().map(|(a, b)| (a, Value::from(b)));
                    entry.insert("labels".to_owned(), labels.collect());
                }
                entry.insert("line".to_owned(), json!(text));
                let at = self.instant(line.ts_ns, TimeForm::Rfc3339Nano);
                entry.insert("timestamp".to_owned(), json!(at));
                format!("{}\n", go_json(&Value::Object(entry).to_string()))
            }
            Mode::Default => {
                let at = self.instant(line.ts_ns, self.time);
                let text = text.trim();
                match self.no_labels {
                    true => format!("{at} {text}\n"),
                    false => format!("{at} {:<width$} {text}\n", braces(labels)),
                }
            }
        }
    }

    fn instant(&self, ts_ns: i64, form: TimeForm) -> String {
        match Timestamp::from_nanosecond(i128::from(ts_ns)) {
            Ok(at) => instant_text(&at.to_zoned(self.zone.clone()), form),
            Err(_) => ts_ns.to_string(),
        }
    }
}

impl Zone {
    /// The zone's tables.
    pub(super) fn tables(self) -> TimeZone {
        match self {
            Zone::Utc => TimeZone::UTC,
            Zone::Local => TimeZone::system(),
        }
    }
}

/// An instant in one of Go's layouts.
fn instant_text(at: &Zoned, form: TimeForm) -> String {
    let nanos = at.subsec_nanosecond();
    let fraction = format!("{nanos:09}");
    // RFC 3339 writes UTC as a letter.
    let zone = match at.offset().seconds() {
        0 => "Z".to_owned(),
        _ => at.strftime("%:z").to_string(),
    };
    let seconds = at.strftime("%Y-%m-%dT%H:%M:%S");
    let stamp =
        |digits: usize| format!("{}.{}", at.strftime("%b %e %H:%M:%S"), &fraction[..digits]);
    match form {
        TimeForm::Rfc3339 => format!("{seconds}{zone}"),
        TimeForm::Rfc3339Nano => match nanos {
            0 => format!("{seconds}{zone}"),
            _ => format!("{seconds}.{}{zone}", fraction.trim_end_matches('0')),
        },
        TimeForm::Rfc822Z => at.strftime("%d %b %y %H:%M %z").to_string(),
        TimeForm::Rfc1123Z => at.strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        TimeForm::StampMilli => stamp(3),
        TimeForm::StampMicro => stamp(6),
        TimeForm::StampNano => stamp(9),
        TimeForm::UnixDate => at.strftime("%a %b %e %H:%M:%S %Z %Y").to_string(),
    }
}

/// Labels as the original prints a set of them.
pub(super) fn braces(pairs: &Pairs) -> String {
    let shown: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", go_quote(value))).collect();
    format!("{{{}}}", shown.join(", "))
}

/// A batch of lines, ready to be printed: what is said before it, and each line.
pub(super) fn batch(lines: &[Line], shown: &ShownArgs, form: &Form) -> (Vec<String>, Vec<String>) {
    let (include, exclude) = (&shown.include_label, &shown.exclude_label);
    let mut common = common(lines);
    common.retain(|(name, _)| !include.contains(name));
    let mut said = Vec::new();
    if !common.is_empty() {
        said.push(format!("Common labels: {}", braces(&common)));
    }
    if !exclude.is_empty() {
        said.push(format!("Ignoring labels key: {}", exclude.join(",")));
    }
    if !include.is_empty() {
        said.push(format!("Print only labels key: {}", include.join(",")));
    }
    let own = |line: &Line| -> Pairs {
        let all = line.labels.iter();
        all.filter(|pair| shown.include_common_labels || !common.contains(pair))
            .filter(|(name, _)| include.is_empty() || include.contains(name))
            .filter(|(name, _)| !exclude.contains(name))
            .cloned()
            .collect()
    };
    let labels: Vec<Pairs> = lines.iter().map(own).collect();
    let widest = labels.iter().map(|pairs| braces(pairs).len()).max().unwrap_or(0);
    let width = widest.max(shown.labels_length);
    let written = lines.iter().zip(&labels).map(|(line, own)| form.line(line, own, width));
    (said, written.collect())
}

/// The labels that all lines share.
fn common(lines: &[Line]) -> Pairs {
    let Some(first) = lines.first() else { return Vec::new() };
    let mut common = first.labels.clone();
    common.retain(|pair| lines.iter().all(|line| line.labels.contains(pair)));
    common
}

/// JSON as Go's encoder writes it: what could end a script is escaped.
pub(super) fn go_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// JSON in lines, two blanks deep, without an end of the last line.
pub(super) fn indented(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value).context("the answer cannot be written")?;
    Ok(go_json(&text))
}

/// `series --analyze-labels`: how many values each label has, the most first.
pub(super) fn label_table(series: &[Pairs]) -> String {
    let mut labels: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for (name, value) in series.iter().flatten() {
        let (values, streams) = labels.entry(name).or_default();
        values.insert(value);
        *streams += 1;
    }
    let mut rows: Vec<(&str, usize, usize)> =
        labels.iter().map(|(name, (values, streams))| (*name, values.len(), *streams)).collect();
    rows.sort_by_key(|(name, values, _)| (std::cmp::Reverse(*values), *name));
    let head = ["Label Name", "Unique Values"];
    let first = rows.iter().map(|row| row.0.len()).max().unwrap_or(0).max(head[0].len()) + 2;
    let second = head[1].len() + 2;
    let mut out = format!("Total Streams:  {}\nUnique Labels:  {}\n\n", series.len(), rows.len());
    out.push_str(&format!("{:<first$}{:<second$}Found In Streams\n", head[0], head[1]));
    for (name, values, streams) in rows {
        out.push_str(&format!("{name:<first$}{values:<second$}{streams}\n"));
    }
    out
}

/// `detected-fields`: fields, or the values of one, in order.
pub(super) fn fields(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let field = |one: &Value| {
        format!(
            "label: {}\t\ttype: {}\t\tcardinality: {}",
            text(&one["label"]),
            text(&one["type"]),
            one["cardinality"]
        )
    };
    let mut rows: Vec<String> = list("fields").iter().map(field).collect();
    if rows.is_empty() {
        rows = list("values").iter().map(text).collect();
    }
    rows.sort();
    format!("{}\n", rows.join("\n"))
}

/// `delete list` for people.
pub(super) fn deletions(answer: &Value, zone: &TimeZone, quiet: bool) -> String {
    let list = answer.as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    if !quiet {
        out.push_str(&format!("Found {} delete requests:\n", list.len()));
    }
    for one in &list {
        let at = |name: &str| {
            let seconds = one[name].as_f64().unwrap_or(0.0) as i64;
            let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
            instant_text(&at.to_zoned(zone.clone()), TimeForm::Rfc3339)
        };
        let text = |name: &str| one[name].as_str().unwrap_or("").to_owned();
        out.push_str(&format!(
            "Query: {}\nStart Time: {}\nEnd Time: {}\nStatus: {}\n---\n",
            text("query"),
            at("start_time"),
            at("end_time"),
            text("status")
        ));
    }
    out
}

/// `delete list -o jsonl`: the members that the original knows, indented.
pub(super) fn deletions_json(answer: &Value) -> Result<String> {
    let list = answer.as_array().cloned().unwrap_or_default();
    let known = list.iter().map(|one| {
        let seconds = |name: &str| one[name].as_f64().unwrap_or(0.0) as i64;
        json!({
            "start_time": seconds("start_time"),
            "end_time": seconds("end_time"),
            "query": one["query"],
            "status": one["status"],
        })
    });
    Ok(format!("{}\n", indented(&Value::Array(known.collect()))?))
}

/// As go-humanize writes it: powers of a thousand, one digit below ten.
pub(super) fn human_bytes(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes as f64).log(1000.0).floor();
    let value = (bytes as f64 / 1000f64.powf(power) * 10.0 + 0.5).floor() / 10.0;
    let unit = units[power as usize];
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::super::flags::{Command, Logcli};
    use super::*;
    use crate::lines::loki::pairs;
    use clap::Parser;
    use jiff::tz::Offset;

    /// 2006-01-02 08:04:05.123456789 UTC, a Monday.
    const AT_NS: i64 = 1_136_189_045_123_456_789;

    fn line(labels: &str, text: &str) -> Line {
        let labels = pairs(&serde_json::from_str(labels).unwrap());
        Line { ts_ns: AT_NS, labels, metadata: Vec::new(), text: text.to_owned() }
    }

    fn shown(flags: &[&str]) -> ShownArgs {
        let words = ["logcli", "query", "{}"].iter().chain(flags);
        let cli = Logcli::try_parse_from(words).unwrap();
        match cli.command {
            Command::Query(query) => query.shown,
            other => panic!("{other:?}"),
        }
    }

    fn form(mode: Mode, time: TimeForm, hours: i8, no_labels: bool) -> Form {
        let zone = match hours {
            0 => TimeZone::UTC,
            hours => TimeZone::fixed(Offset::constant(hours)),
        };
        Form { mode, zone, time, no_labels }
    }

    #[test]
    fn a_line_is_written_as_the_original_writes_it() {
        let labels = r#"{"type":"test"}"#;
        let (d, r, j) = (Mode::Default, Mode::Raw, Mode::Jsonl);
        let rfc = TimeForm::Rfc3339;
        for (form, labels, width, text, wanted) in [
            (form(d, rfc, 0, false), "{}", 0, "", "2006-01-02T08:04:05Z {} \n"),
            (
                form(d, rfc, 0, false),
                labels,
                0,
                " Hello\n",
                "2006-01-02T08:04:05Z {type=\"test\"} Hello\n",
            ),
            (
                form(d, rfc, 0, false),
                labels,
                20,
                "Hello",
                "2006-01-02T08:04:05Z {type=\"test\"}        Hello\n",
            ),
            (
                form(d, rfc, 2, false),
                labels,
                0,
                "Hello",
                "2006-01-02T10:04:05+02:00 {type=\"test\"} Hello\n",
            ),
            (form(d, rfc, 0, true), labels, 20, "Hello", "2006-01-02T08:04:05Z Hello\n"),
            (
                form(d, TimeForm::Rfc3339Nano, 0, true),
                labels,
                0,
                "x",
                "2006-01-02T08:04:05.123456789Z x\n",
            ),
            (form(d, TimeForm::StampMicro, 0, true), labels, 0, "x", "Jan  2 08:04:05.123456 x\n"),
            (form(d, TimeForm::StampMilli, 0, true), labels, 0, "x", "Jan  2 08:04:05.123 x\n"),
            (
                form(d, TimeForm::StampNano, 0, true),
                labels,
                0,
                "x",
                "Jan  2 08:04:05.123456789 x\n",
            ),
            (form(d, TimeForm::Rfc822Z, -7, true), labels, 0, "x", "02 Jan 06 01:04 -0700 x\n"),
            (
                form(d, TimeForm::Rfc1123Z, 0, true),
                labels,
                0,
                "x",
                "Mon, 02 Jan 2006 08:04:05 +0000 x\n",
            ),
            (
                form(d, TimeForm::UnixDate, 0, true),
                labels,
                0,
                "x",
                "Mon Jan  2 08:04:05 UTC 2006 x\n",
            ),
            (form(r, rfc, 0, false), labels, 20, " two \n\n", " two \n\n"),
            (form(r, rfc, 0, false), labels, 20, "one", "one\n"),
            (
                form(j, rfc, 7, false),
                labels,
                20,
                "a <b> & \"c\"",
                "{\"labels\":{\"type\":\"test\"},\"line\":\"a \\u003cb\\u003e \\u0026 \\\"c\\\"\",\"timestamp\":\"2006-01-02T15:04:05.123456789+07:00\"}\n",
            ),
            (
                form(j, rfc, 0, true),
                labels,
                0,
                "",
                "{\"line\":\"\",\"timestamp\":\"2006-01-02T08:04:05.123456789Z\"}\n",
            ),
        ] {
            let line = line(labels, text);
            assert_eq!(form.line(&line, &line.labels, width), wanted);
        }
    }

    #[test]
    fn labels_are_said_once_or_chosen() {
        let lines = [
            line(r#"{"app":"a","env":"x","pod":"1"}"#, "one"),
            line(r#"{"app":"a","env":"yy","pod":"1"}"#, "two"),
        ];
        let form = form(Mode::Default, TimeForm::Rfc3339, 0, false);
        for (flags, said, first) in [
            (&[][..], &["Common labels: {app=\"a\", pod=\"1\"}"][..], "{env=\"x\"}  one"),
            (
                &["--include-common-labels"],
                &["Common labels: {app=\"a\", pod=\"1\"}"],
                "{app=\"a\", env=\"x\", pod=\"1\"}  one",
            ),
            (
                &["--exclude-label=env"],
                &["Common labels: {app=\"a\", pod=\"1\"}", "Ignoring labels key: env"],
                "{} one",
            ),
            (
                &["--include-label=app", "--include-label=env"],
                &["Common labels: {pod=\"1\"}", "Print only labels key: app,env"],
                "{app=\"a\", env=\"x\"}  one",
            ),
            (
                &["--labels-length=14"],
                &["Common labels: {app=\"a\", pod=\"1\"}"],
                "{env=\"x\"}      one",
            ),
        ] {
            let (have, written) = batch(&lines, &shown(flags), &form);
            assert_eq!(have, said, "{flags:?}");
            assert_eq!(written[0], format!("2006-01-02T08:04:05Z {first}\n"), "{flags:?}");
        }
    }

    #[test]
    fn tables_have_the_originals_columns() {
        let series: Vec<Pairs> = [r#"{"job":"a","instance":"1"}"#, r#"{"job":"a","instance":"2"}"#]
            .map(|text| pairs(&serde_json::from_str(text).unwrap()))
            .into();
        assert_eq!(
            label_table(&series),
            "Total Streams:  2\nUnique Labels:  2\n\n\
             Label Name  Unique Values  Found In Streams\n\
             instance    2              2\n\
             job         1              2\n"
        );
        let answer = json!({"fields": [
            {"label": "status", "type": "int", "cardinality": 3},
            {"label": "path", "type": "string", "cardinality": 2},
        ]});
        assert_eq!(
            fields(&answer),
            "label: path\t\ttype: string\t\tcardinality: 2\nlabel: status\t\ttype: int\t\tcardinality: 3\n"
        );
        assert_eq!(fields(&json!({"values": ["b", "a"]})), "a\nb\n");
        let list = json!([{"request_id": "1", "start_time": 0, "end_time": 60.5, "query": "{a=\"b\"}", "status": "received", "created_at": 1}]);
        let text = "Query: {a=\"b\"}\nStart Time: 1970-01-01T00:00:00Z\nEnd Time: 1970-01-01T00:01:00Z\nStatus: received\n---\n";
        assert_eq!(deletions(&list, &TimeZone::UTC, true), text);
        let counted = format!("Found 1 delete requests:\n{text}");
        assert_eq!(deletions(&list, &TimeZone::UTC, false), counted);
        assert_eq!(
            deletions_json(&list).unwrap(),
            "[\n  {\n    \"start_time\": 0,\n    \"end_time\": 60,\n    \"query\": \"{a=\\\"b\\\"}\",\n    \"status\": \"received\"\n  }\n]\n"
        );
        for (bytes, text) in [(0, "0 B"), (564, "564 B"), (1104, "1.1 kB"), (61_299_587, "61 MB")] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
