//! Pipelines as people write them, and lines before and after.

use super::*;
use vigie_config::{LoadOptions, load};

/// 2026-11-27 06:00:00 UTC.
const NOW_NS: i64 = 1_795_759_200 * SECOND_NS;

/// The stages of a promtail file whose `pipeline_stages` are these.
fn stages(yaml: &str) -> Result<Stages, String> {
    let indented: String = yaml.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "scrape_configs:\n- job_name: app\n  static_configs: [{{labels: {{__path__: /x}}}}]\n  pipeline_stages:\n{indented}"
    );
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("promtail.yml"), text).unwrap();
    let vigie = home.path().join("vigie.yml");
    std::fs::write(&vigie, "logs: promtail.yml\n").unwrap();
    let config =
        load(Some(&vigie), &LoadOptions::without_languages()).map_err(|e| e.to_string())?;
    Stages::new(&config.log_files.unwrap()[0].stages)
}

/// `labels|metadata|seconds|line`; the instant only when it is not the one of reading.
fn shown(item: Option<Item>) -> String {
    let Some(item) = item else { return "gone".to_owned() };
    let pairs = |texts: &Texts| {
        let pairs: Vec<String> =
            texts.iter().map(|(name, text)| format!("{name}={text}")).collect();
        pairs.join(",")
    };
    let at = match item.ts_ns {
        NOW_NS => String::new(),
        ts_ns => Moment::from_ns(ts_ns).format("2006-01-02T15:04:05.999999999"),
    };
    format!("{}|{}|{at}|{}", pairs(&item.labels), pairs(&item.metadata), item.line)
}

fn after(stages: &mut Stages, line: &str) -> String {
    let stream = Labels::from_pairs([("job", "app")]);
    shown(stages.run(&stream, line.as_bytes(), NOW_NS, NOW_NS))
}

#[test]
fn lines_become_what_promtail_makes_of_them() {
    for (yaml, line, wanted) in [
        (
            "- docker: {}",
            r#"{"log":"hello","stream":"stderr","time":"2026-11-27T05:00:00.5Z"}"#,
            "job=app,stream=stderr||2026-11-27T05:00:00.5|hello",
        ),
        (
            "- cri:",
            "2026-11-27T07:00:00.25+02:00 stdout F a  line",
            "job=app,stream=stdout||2026-11-27T05:00:00.25|a  line",
        ),
        ("- cri: {}", "no such line", "job=app|||no such line"),
        (
            "- regex: {expression: '^(?P<ip>\\S+) (?P<user>\\S+)'}\n- labels: {user: , address: ip}",
            "10.0.0.1 ann GET",
            "address=10.0.0.1,job=app,user=ann|||10.0.0.1 ann GET",
        ),
        (
            "- json: {expressions: {level: , id: ctx.id, msg: message}}\n- labels: {level: }\n- structured_metadata: {id: }\n- output: {source: msg}",
            r#"{"level":"warn","ctx":{"id":7},"message":"hi"}"#,
            "job=app,level=warn|id=7||hi",
        ),
        ("- json: {expressions: {a: }, drop_malformed: true}", "no json", "gone"),
        (
            "- json: {expressions: {inner: }}\n- json: {source: inner, expressions: {a: }}\n- labels: {a: }",
            r#"{"inner":"{\"a\":\"b\"}"}"#,
            r#"a=b,job=app|||{"inner":"{\"a\":\"b\"}"}"#,
        ),
        (
            "- logfmt: {mapping: {lvl: level, took: }}\n- labels: {lvl: }\n- structured_metadata: {took: }",
            "level=info took=3ms",
            "job=app,lvl=info|took=3ms||level=info took=3ms",
        ),
        (
            "- replace: {expression: 'password=(\\S+)', replace: '****'}",
            "a password=x b password=yy c",
            "job=app|||a password=**** b password=**** c",
        ),
        (
            "- replace: {expression: '(?P<word>b+) (c)', replace: '{{ .Value | ToUpper }}'}\n- labels: {word: }",
            "a bb c",
            "job=app,word=BB|||a BB C",
        ),
        (
            "- json: {expressions: {app: }}\n- template: {source: app, template: '{{ ToUpper .Value }}-{{ .job }}'}\n- labels: {app: }",
            r#"{"app":"x"}"#,
            r#"app=X-app,job=app|||{"app":"x"}"#,
        ),
        ("- static_labels: {env: prod, no: }\n- labeldrop: [job]", "x", "env=prod|||x"),
        ("- static_labels: {env: prod}\n- labelallow: [env]", "x", "env=prod|||x"),
        (
            "- regex: {expression: '^(?P<t>\\S+ \\S+)'}\n- timestamp: {source: t, format: '2006-01-02 15:04:05', location: Europe/Paris}",
            "2026-11-27 06:30:00 x",
            "job=app||2026-11-27T05:30:00|2026-11-27 06:30:00 x",
        ),
        (
            "- regex: {expression: '^(?P<t>\\w+ +\\d+ \\S+)'}\n- timestamp: {source: t, format: RFC3339, fallback_formats: ['Jan _2 15:04:05']}",
            "Nov  7 01:02:03 host x",
            "job=app||2026-11-07T01:02:03|Nov  7 01:02:03 host x",
        ),
        (
            "- json: {expressions: {t: }}\n- timestamp: {source: t, format: UnixMs}",
            r#"{"t":1795759140500}"#,
            r#"job=app||2026-11-27T05:59:00.5|{"t":1795759140500}"#,
        ),
        ("- drop: {expression: '.*debug.*'}", "a debug line", "gone"),
        ("- drop: {longer_than: 4b}", "12345", "gone"),
        ("- drop: {longer_than: 1kb, expression: debug}", "a debug line", "job=app|||a debug line"),
        (
            "- json: {expressions: {l: level, a: app}}\n- drop: {source: [l, a], value: 'debug;x'}",
            r#"{"level":"debug","app":"x"}"#,
            "gone",
        ),
        (
            "- match: {selector: '{job=\"app\"} |= \"err\"', stages: [{static_labels: {bad: 'yes'}}]}",
            "an err",
            "bad=yes,job=app|||an err",
        ),
        ("- match: {selector: '{job=\"other\"}', action: drop}", "x", "job=app|||x"),
        ("- match: {selector: '{job=\"app\"} |= \"x\"', action: drop}", "x", "gone"),
        (
            "- static_labels: {env: prod}\n- pack: {labels: [env], ingest_timestamp: false}",
            "x",
            r#"job=app|||{"env":"prod","_entry":"x"}"#,
        ),
        ("- decolorize:", "\u{1b}[31mred\u{1b}[0m", "job=app|||red"),
        ("- tenant: {value: one}", "x", "job=app|||x"),
        ("- sampling: {rate: 0}", "x", "gone"),
        ("- sampling: {rate: 1}", "x", "job=app|||x"),
    ] {
        let mut stages = stages(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        assert_eq!(after(&mut stages, line), wanted, "{yaml}");
    }
}

#[test]
fn a_line_without_an_instant_comes_after_the_one_before() {
    let stamp = "- regex: {expression: '^(?P<t>\\S+Z)'}\n- timestamp: {source: t, format: RFC3339}";
    let mut fudges = stages(stamp).unwrap();
    assert_eq!(after(&mut fudges, "before"), "job=app|||before");
    after(&mut fudges, "2026-11-27T05:00:00Z first");
    assert_eq!(after(&mut fudges, "  at x"), "job=app||2026-11-27T05:00:00.000000001|  at x");
    assert_eq!(after(&mut fudges, "  at y"), "job=app||2026-11-27T05:00:00.000000002|  at y");
    let skip = stamp.replace("RFC3339}", "RFC3339, action_on_failure: skip}");
    let mut skips = stages(&skip).unwrap();
    after(&mut skips, "2026-11-27T05:00:00Z first");
    assert_eq!(after(&mut skips, "  at x"), "job=app|||  at x");
}

#[test]
fn a_limit_lets_so_many_lines_through() {
    let mut stages = stages("- limit: {rate: 2, burst: 3, drop: true}").unwrap();
    let stream = Labels::default();
    let mut pass = |ms: i64| stages.run(&stream, b"x", 0, NOW_NS + ms * 1_000_000).is_some();
    let taken: Vec<bool> = [0, 0, 0, 0, 400, 500, 900, 1000, 60_000].map(&mut pass).into();
    assert_eq!(taken, [true, true, true, false, false, true, false, true, true]);
}

#[test]
fn a_wrong_stage_is_refused_with_its_place() {
    for (yaml, place, words) in [
        ("- multiline: {firstline: x}", "promtail.yml:5:", "the stage `multiline` is not built"),
        ("- metrics: {a: {type: Counter}}", "promtail.yml:5:", "`logs.metrics` of vigie.yml"),
        ("- geoip: {db: x}", "promtail.yml:5:", "the stage `geoip` is not built"),
        ("- eventlogmessage: {}", "promtail.yml:5:", "the stage `eventlogmessage` is not built"),
        ("- jsn: {}", "promtail.yml:5:", "unknown variant `jsn`"),
        ("- regex: {expresion: x}", "promtail.yml:5:", "did you mean `expression`?"),
        ("- docker: {a: b}", "promtail.yml:5:", "the key `a` has no effect here"),
        ("- docker: {}\n  cri: {}", "promtail.yml:", "`cri` is a second"),
        (
            "- docker: {}\n- regex: {expression: '(?P<a>x'}",
            "promtail.yml:6: ",
            "could not compile regular expression",
        ),
        ("- regex: {expression: 'x'}", "promtail.yml:5: ", "needs a named group"),
        ("- template: {source: a, template: '{{ .Value'}", "promtail.yml:5: ", "template"),
        (
            "- match: {selector: '{', stages: [{cri: }]}",
            "promtail.yml:5: ",
            "invalid selector syntax for match stage",
        ),
        ("- match: {selector: '{a=\"b\"}'}", "promtail.yml:5: ", "at least one additional stage"),
        ("- drop: {}", "promtail.yml:5: ", "must contain at least one of"),
        ("- drop: {value: x}", "promtail.yml:5: ", "must contain at least one of"),
        ("- limit: {rate: 1, burst: 1}", "promtail.yml:5: ", "write `drop: true`"),
        ("- sampling: {rate: 2}", "promtail.yml:5: ", "between 0 and 1"),
    ] {
        let error = stages(yaml).err().unwrap_or_else(|| panic!("{yaml}: taken"));
        let first = error.lines().next().unwrap();
        assert!(first.contains(place) && first.contains(words), "{yaml}: {first}");
    }
}
