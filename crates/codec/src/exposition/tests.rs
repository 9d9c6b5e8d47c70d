//! Tables of our own; the upstream corpora are read by `tests/exposition_corpora.rs`.

use super::*;

fn samples(body: &str, format: Format) -> Result<Vec<String>, ParseError> {
    let mut out = Vec::new();
    parse(body.as_bytes(), format, &mut |entry| {
        out.push(match entry {
            Entry::Sample(sample) => {
                let labels = sample.labels().map_or_else(|error| error, |l| l.to_string());
                let ts = sample.ts_ms.map_or(String::new(), |ts| format!(" @{ts}"));
                format!("{labels} {}{ts}", sample.value)
            }
            Entry::Type { name, kind } => format!("TYPE {name} {}", kind.as_str()),
            Entry::Help { name, text } => format!("HELP {name} {}", unescape_help(text)),
            Entry::Unit { name, unit } => format!("UNIT {name} {unit}"),
        });
    })?;
    Ok(out)
}

#[test]
fn text_lines_become_labels_values_and_times() {
    for (line, wanted) in [
        ("a 1", r#"{__name__="a"} 1"#),
        ("  a\t 1.5e3 \n", r#"{__name__="a"} 1500"#),
        ("a:b{} -Inf 12", r#"{__name__="a:b"} -inf @12"#),
        ("a 1 -12\n", r#"{__name__="a"} 1 @-12"#),
        (r#"a{b="c",d="e",} NaN"#, r#"{__name__="a", b="c", d="e"} NaN"#),
        (r#"a { b = "c" } 1"#, r#"{__name__="a", b="c"} 1"#),
        (r#"a{b="x\\y\"z\n\q",c=""} 1"#, r#"{__name__="a", b="x\\y\"z\n\\q"} 1"#),
        (r#"a{b="}# 1"}2"#, r##"{__name__="a", b="}# 1"} 2"##),
        (r#"{"my.metric","l.x"="v"} 1"#, r#"{__name__="my.metric", l.x="v"} 1"#),
        (r#"{"quoted{}\"name"} 1"#, r#"{__name__="quoted{}\"name"} 1"#),
        (r#"a{"b.c"="d"} 1"#, r#"{__name__="a", b.c="d"} 1"#),
        (r#"a{b="1",b="2"} 1"#, r#"label name "b" is not unique: invalid sample 1"#),
        ("a nan", r#"{__name__="a"} NaN"#),
        ("# just words", ""),
        ("#", ""),
        ("# HELP a it\\n is \\\\", "HELP a it\n is \\"),
        ("# TYPE a untyped", "TYPE a unknown"),
    ] {
        let got = samples(line, Format::Text).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(got.join("|"), wanted, "{line}");
    }
}

#[test]
fn what_go_does_not_read_as_a_float_is_refused() {
    for word in ["+nan", "-NaN", "1_0", "0x1p4", "in", "infinit", "1e", "1e999", ".", "\u{661}"] {
        assert!(samples(&format!("a {word}\n"), Format::Text).is_err(), "{word}");
    }
    for word in ["+Inf", "-inf", "Infinity", ".5", "1.", "+1e-3", "00", "1e-999"] {
        assert!(samples(&format!("a {word}\n"), Format::Text).is_ok(), "{word}");
    }
}

#[test]
fn openmetrics_sets_exemplars_apart_and_demands_its_end() {
    let body = "# TYPE h histogram\n# UNIT h_seconds seconds\n\
                h_bucket{le=\"1\"} 3 # {id=\"a # b\"} 0.5 1.5\nh_sum 1 12.345\n# EOF\n";
    let got = samples(body, Format::OpenMetrics).unwrap();
    let wanted = [
        "TYPE h histogram",
        "UNIT h_seconds seconds",
        r#"{__name__="h_bucket", le="1.0"} 3"#,
        r#"{__name__="h_sum"} 1 @12345"#,
    ];
    assert_eq!(got, wanted);
    let mut exemplars = Vec::new();
    parse(body.as_bytes(), Format::OpenMetrics, &mut |entry| {
        if let Entry::Sample(Sample { exemplar: Some(exemplar), .. }) = entry {
            let labels = exemplar.labels().unwrap().to_string();
            exemplars.push((labels, exemplar.value, exemplar.ts_ms));
        }
    })
    .unwrap();
    assert_eq!(exemplars, [(r#"{id="a # b"}"#.to_owned(), 0.5, Some(1500))]);
    for (body, line, what) in [
        ("a 1\nb 2\n", 3, "data does not end with # EOF"),
        ("a 1\n# EOF\nb", 2, "unexpected data after # EOF"),
        ("a  1\n# EOF\n", 1, "expected value after metric"),
    ] {
        let error = samples(body, Format::OpenMetrics).unwrap_err();
        assert_eq!(error.line, line, "{body}");
        assert!(error.what.starts_with(what), "{error}");
    }
}

#[test]
fn bounds_take_the_form_that_prometheus_3_stores() {
    for (value, wanted) in [
        ("1", "1.0"),
        ("0", "0.0"),
        ("0.5", "0.5"),
        ("100000", "100000.0"),
        ("1000000", "1e+06"),
        ("0.00001", "1e-05"),
        ("+Inf", "+Inf"),
        ("1.50", "1.5"),
        ("words", "words"),
    ] {
        for (kind, label) in [("histogram", "le"), ("summary", "quantile")] {
            let body = format!("# TYPE a {kind}\na{{{label}=\"{value}\"}} 1\n");
            let got = samples(&body, Format::Text).unwrap();
            assert_eq!(got[1], format!("{{__name__=\"a\", {label}={wanted:?}}} 1"));
        }
    }
    let got = samples("# TYPE a gauge\na{le=\"1\"} 1\n", Format::Text).unwrap();
    assert_eq!(got[1], r#"{__name__="a", le="1"} 1"#);
}

#[test]
fn what_is_written_reads_back() {
    let mut family = Family::new("a_total", "with \\ and\nline", MetricKind::Counter);
    family.push(&[("l", "q\"b\\n\nend"), ("m", "x")], 1_795_429_948.0).push(&[], 0.1);
    let empty = Family::new("nothing", "no sample", MetricKind::Gauge);
    let text = encode_text(&[family, empty]);
    assert!(
        text.contains("# HELP a_total with \\\\ and\\nline\n# TYPE a_total counter\n"),
        "{text}"
    );
    assert!(text.contains("1.795429948e+09\n"), "{text}");
    let got = samples(&text, Format::Text).unwrap();
    assert_eq!(got[2], r#"{__name__="a_total", l="q\"b\\n\nend", m="x"} 1795429948"#);
    assert_eq!(got[3], r#"{__name__="a_total"} 0.1"#);
    assert_eq!(got.len(), 4);
}

#[test]
fn no_prefix_of_a_body_makes_the_scanner_panic() {
    let body = "# HELP a x\n# TYPE a counter\na{b=\"c\\\"\",\"d.e\"=\"f\"} 1 2\n{\"g\",h=\"i\"} 0x1 # {a=\"b\"} 1\n# EOF";
    for format in [Format::Text, Format::OpenMetrics] {
        for end in 0..=body.len() {
            for start in 0..end {
                let _ = parse(&body.as_bytes()[start..end], format, &mut |entry| {
                    if let Entry::Sample(sample) = entry {
                        let _ = sample.labels();
                    }
                });
            }
        }
    }
}
