//! Lines under a query, and templates: what a stranger writes meets what a stranger asks.
//!
//! An input is a query or a template, a line that says `--`, and what it is run over. A stage may keep
//! a line, change it or drop it, but never makes two of one. What takes long is found by the program, which measures;
//! for that, the lines of an input are also one long line.

use super::{seeds, text};
use crate::Target;
use vigie_logql::Follower;
use vigie_model::{Labels, LogEntry};
use vigie_template::{AlertData, Data, RuleContext, expand_annotation, render};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "logql_pipeline", run: pipeline, seeds: queries },
        Target { name: "logql_template", run: line_template, seeds: line_templates },
        Target { name: "template_rule", run: rule_template, seeds: templates },
        Target { name: "template_message", run: message_template, seeds: templates },
    ]
}

/// Most lines of an input.
const LINES_MAX: usize = 50;
/// About as long is the line that all of them make together.
const LONG_BYTES: usize = 4 * 1024;
/// What stands before and behind the line that says `--`.
fn parts(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(4).position(|four| four == b"\n--\n");
    at.map_or((data, &[][..]), |at| (&data[..at], &data[at + 4..]))
}

fn pipeline(data: &[u8]) {
    let (query, lines) = parts(data);
    follow(&text(query), lines);
}

fn line_template(data: &[u8]) {
    let (template, lines) = parts(data);
    let template = text(template).replace('`', "'");
    follow(
        &format!("{{a=\"b\"}} | json | line_format `{template}` | label_format x=`{template}`"),
        lines,
    );
}

/// Runs lines through a query. One line makes one line or none, and the same line twice makes the same
/// twice, as a pipeline that remembers something would not.
fn follow(query: &str, lines: &[u8]) {
    let Ok(expr) = vigie_logql::parse(query) else { return };
    let Ok(mut follower) = Follower::new(&expr) else { return };
    let stream = Labels::from_pairs([("job", "a"), ("level", "info")]);
    let mut all: Vec<Vec<u8>> =
        lines.split(|byte| *byte == b'\n').take(LINES_MAX).map(<[u8]>::to_vec).collect();
    // A stage whose time grows with the square of a line's length shows on a long one.
    let long = lines.repeat(LONG_BYTES / lines.len().max(1));
    all.push(long.into_iter().map(|byte| if byte == b'\n' { b' ' } else { byte }).collect());
    for (n, line) in all.into_iter().enumerate() {
        let metadata = Labels::from_pairs([("trace", n.to_string())]);
        let entry = LogEntry { ts_ns: 1_700_000_000_000_000_000, line, metadata };
        let first = follower.look(&stream, &entry);
        assert!(follower.look(&stream, &entry) == first, "a line is another the second time");
    }
}

fn rule_template(data: &[u8]) {
    let context = RuleContext {
        name: "__alert_a".to_owned(),
        labels: Labels::from_pairs([("job", "a"), ("instance", "b:9100")]),
        external_labels: Labels::from_pairs([("cluster", "c")]),
        value: 1234.5,
        external_url: "https://vigie.example".to_owned(),
        now_ms: 1_700_000_000_000,
        query: None,
    };
    if let Ok(printed) = expand_annotation(&text(data), &context) {
        assert!(printed.len() <= vigie_template::OUTPUT_BYTES_MAX.max(data.len() * 3));
    }
}

fn message_template(data: &[u8]) {
    let alert = |name: &str, ends_at_ms| AlertData {
        labels: Labels::from_pairs([("alertname", name), ("severity", "high")]),
        annotations: Labels::from_pairs([("summary", "\u{e9} <b>")]),
        starts_at_ms: 1_700_000_000_000,
        ends_at_ms,
        generator_url: String::new(),
        fingerprint: "0123456789abcdef".to_owned(),
        value: "1".to_owned(),
    };
    let data_of_message = Data {
        receiver: "r".to_owned(),
        alerts: vec![alert("A", None), alert("B", Some(1_700_000_060_000))],
        truncated_alerts: 1,
        group_labels: Labels::from_pairs([("alertname", "A")]),
        common_labels: Labels::from_pairs([("severity", "high")]),
        common_annotations: Labels::default(),
        external_url: "https://vigie.example".to_owned(),
        language: "fr".to_owned(),
        now_ms: 1_700_000_100_000,
    };
    if let Ok(printed) = render(&text(data), &data_of_message) {
        assert!(printed.len() <= vigie_template::OUTPUT_BYTES_MAX.max(data.len() * 3));
    }
}

const LINES: &str = "\n--\n\
    {\"method\":\"GET\",\"path\":\"/a?b=1\",\"status\":200,\"duration\":\"1.5s\",\"ip\":\"10.0.0.1\",\"n\":{\"a\":[1,{\"b\":null}]}}\n\
    level=info msg=\"a \\\"b\\\" c\" size=10KB d=1h30m bare e= f==\n\
    10.0.0.1 - - [26/Nov/2026:11:02:00 +0000] \"GET /x HTTP/1.1\" 200 12\n\
    {\"_entry\":\"inner\",\"a\":\"b\"}\n\
    {\"a\":1e400,\"a\":-0,\"b\":\"\\ud800\",\"c\":tru\n\
    \u{1b}[31mred\u{1b}[0m\0\n\n";

fn queries() -> Vec<Vec<u8>> {
    let queries = [
        r#"{job="a"} |= "a" != "zz" |~ "(?i)get|level" !~ "^x" | json | duration > 1s or size >= 10KB | line_format "{{.method}} {{.path | ToUpper}}""#,
        r#"{job="a"} | logfmt --keep-empty --strict | level=~"in.*" | label_format lv=level, x="{{.msg | trunc 3}}" | drop a, level="info" | keep x, lv"#,
        r#"{job="a"} | pattern "<ip> - <_> [<ts>] "<m> <p> <_>" <st> <n>" | ip = ip("10.0.0.0/8") | n < 1e3 |> "<_>GET<_>""#,
        r#"{job="a"} | regexp "(?P<m>[A-Z]+) (?P<p>/\S*)" | m != "" | decolorize | unpack | logfmt"#,
        r#"{job="a"} | json a="n.a[1].b", m="method" | json | __error__ = "" |= ip("10.0.0.1") | line_format "{{ range $i, $e := (fromJson __line__) }}{{$i}}{{end}}""#,
    ];
    seeds(&queries.map(|query| format!("{query}{LINES}")))
}

fn line_templates() -> Vec<Vec<u8>> {
    let templates = [
        r#"{{.method | lower}} {{ if eq .status "200" }}ok{{ else }}{{ .path | urlencode }}{{ end }} {{__line__ | b64enc}}"#,
        r#"{{ printf "%-10s|%5.2f" .method (float64 .status) }}{{ regexReplaceAll "(a)(.)" .path "$2$1" }}{{ repeat 3 .job }}"#,
        r#"{{ with $x := .path }}{{ substr 0 2 $x }}{{ $x | indent 2 }}{{ end }}{{ add 1 (int .status) | div 3 }}{{ unixEpoch (toDate "2006" "2026") }}"#,
        r#"{{ range $k, $v := (fromJson __line__) }}{{$k}}={{$v}},{{ end }}{{ default "-" .nope }}{{ __timestamp__ }}"#,
    ];
    seeds(&templates.map(|template| format!("{template}{LINES}")))
}

fn templates() -> Vec<Vec<u8>> {
    seeds(&[
        r#"{{ $labels.instance }} is at {{ $value | humanize }} ({{ humanizePercentage 0.5 }}, {{ humanizeDuration 4000 }})"#,
        r#"{{ range .Alerts.Firing }}{{ .Labels.alertname }}: {{ .Annotations.summary | toUpper }} since {{ .StartsAt.Format "15:04" }}{{ end }}"#,
        r#"{{ define "x" }}[{{ . }}]{{ end }}{{ template "x" $externalURL }}{{ if gt $value 1.0 }}{{ printf "%.2f" $value }}{{ end }}"#,
        r#"{{ with .CommonLabels }}{{ range .SortedPairs }}{{ .Name }}={{ .Value | reReplaceAll "(.)" "$1$1" }} {{ end }}{{ end }}"#,
        r#"{{ range $i, $x := (args 1 2 3) }}{{ $i }}{{ end }}{{ title "a" }}{{ match "a.*" "abc" }}{{ template "default.title" . }}"#,
    ])
}
