//! The parts of Prometheus' API that show the server itself: the tree of an expression, cardinality,
//! configuration, flags, features, notices, federation, and what ends the program.

use crate::support::{House, encode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;
use vigie_http::state::now_ms;
use vigie_http::{JobSettings, Loaded, Settings};
use vigie_model::Labels;
use vigie_model::relabel::{Action, Rule};

/// An expression and its tree, as `translateAST` of Prometheus 3.14 makes it.
fn trees() -> Vec<(&'static str, Value)> {
    let up = json!({
        "type": "vectorSelector", "name": "up", "offset": 0, "offsetExpr": null,
        "matchers": [{"name": "__name__", "value": "up", "type": "="}],
        "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
    });
    let number = |text: &str| json!({"type": "numberLiteral", "val": text});
    vec![
        ("up", up.clone()),
        ("1e3", number("1000")),
        ("\"a<b\"", json!({"type": "stringLiteral", "val": "a<b"})),
        (
            "-(up)",
            json!({"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": up}}),
        ),
        (
            "1 + 2 == bool 3",
            json!({
                "type": "binaryExpr", "op": "==", "bool": true, "matching": null, "rhs": number("3"),
                "lhs": {"type": "binaryExpr", "op": "+", "bool": false, "matching": null,
                    "lhs": number("1"), "rhs": number("2")},
            }),
        ),
        (
            "up * on (a) group_left (b) up",
            json!({
                "type": "binaryExpr", "op": "*", "bool": false, "lhs": up, "rhs": up,
                "matching": {"card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
                    "fillValues": {"lhs": null, "rhs": null}},
            }),
        ),
        (
            "up + fill_left (1) up",
            json!({
                "type": "binaryExpr", "op": "+", "bool": false, "lhs": up, "rhs": up,
                "matching": {"card": "one-to-one", "labels": [], "on": false, "include": [],
                    "fillValues": {"lhs": 1, "rhs": null}},
            }),
        ),
        (
            "up or up",
            json!({
                "type": "binaryExpr", "op": "or", "bool": false, "lhs": up, "rhs": up,
                "matching": {"card": "many-to-many", "labels": [], "on": false, "include": [],
                    "fillValues": {"lhs": null, "rhs": null}},
            }),
        ),
        (
            "topk by (a) (2, up)",
            json!({
                "type": "aggregation", "op": "topk", "expr": up, "param": number("2"),
                "grouping": ["a"], "without": false,
            }),
        ),
        (
            "rate(a{b!~\"c\"}[5m] offset 1m @ 1.5)",
            json!({
                "type": "call",
                "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
                "args": [{
                    "type": "matrixSelector", "name": "a", "range": 300_000, "rangeExpr": null,
                    "offset": 60_000, "offsetExpr": null, "timestamp": 1500, "startOrEnd": null,
                    "matchers": [{"name": "b", "value": "c", "type": "!~"},
                        {"name": "__name__", "value": "a", "type": "="}],
                    "anchored": false, "smoothed": false,
                }],
            }),
        ),
        (
            "up[(5m * 2):step()] @ end()",
            json!({
                "type": "subquery", "expr": up, "range": 0, "step": 0, "offset": 0,
                "offsetExpr": null, "timestamp": null, "startOrEnd": "end",
                "rangeExpr": {"type": "durationExpr", "op": "*", "wrapped": true,
                    "lhs": {"type": "numberLiteral", "val": "300", "duration": true},
                    "rhs": {"type": "numberLiteral", "val": "2", "duration": false}},
                "stepExpr": {"type": "durationExpr", "op": "step", "lhs": null, "rhs": null,
                    "wrapped": false},
            }),
        ),
    ]
}

#[tokio::test]
async fn an_expression_is_shown_as_a_tree() {
    let house = House::new();
    for (text, tree) in trees() {
        let answer = house.form("/api/v1/parse_query", &format!("query={}", encode(text))).await;
        assert_eq!(answer.json(), json!({"status": "success", "data": tree}), "{text}");
    }
    let wrong = house.get("/api/v1/parse_query?query=up%7B").await;
    let words =
        "invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces";
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (400, Some(words)));
    // Nesting costs no stack: a chain is as long as it likes.
    let long = vec!["1"; 5_000].join("+");
    assert_eq!(
        house.form("/api/v1/parse_query", &format!("query={}", encode(&long))).await.status,
        200
    );
}

#[tokio::test]
async fn the_labels_with_most_values_are_named() {
    let house = House::new();
    for value in ["1", "2", "30"] {
        house.store(10_000, &[(&[("__name__", "a"), ("x", value)], 1.0)]);
    }
    house.store(20_000, &[(&[("__name__", "bb"), ("y", "1")], 1.0), (&[("y", "1")], 1.0)]);
    let count = |name: &str, value: u64| json!({"name": name, "value": value});
    let answer = house.get("/api/v1/status/tsdb?limit=2").await.json();
    assert_eq!(
        answer["data"],
        json!({
            "headStats": {"numSeries": 5, "numLabelPairs": 6, "chunkCount": 0,
                "minTime": 10_000, "maxTime": 20_000},
            "seriesCountByMetricName": [count("a", 3), count("bb", 1)],
            "labelValueCountByLabelName": [count("x", 3), count("__name__", 2)],
            "memoryInBytesByLabelName": [count("__name__", 5), count("x", 4)],
            "seriesCountByLabelValuePair": [count("__name__=a", 3), count("y=1", 2)],
        })
    );
    for (query, words) in [
        ("limit=0", "limit must be a positive number"),
        ("limit=x", "limit must be a positive number"),
        ("limit=10001", "limit must not exceed 10000"),
    ] {
        let answer = house.get(&format!("/api/v1/status/tsdb?{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
}

#[tokio::test]
async fn what_the_program_was_told_is_shown() {
    let loaded = Loaded {
        config_yaml: "global: {}\n".to_owned(),
        jobs: vec![JobSettings {
            name: "node".to_owned(),
            yaml: "job_name: node\n".to_owned(),
            relabel: vec![
                rule(&["a", "b"], "(.*);(.*)", "c", "$2-$1", Action::Replace),
                rule(&["c"], "drop-me", "", "$1", Action::Drop),
                rule(&[], "(.*)", "d", "x", Action::Replace),
            ],
        }],
        ..Loaded::default()
    };
    let settings = Settings {
        flags: vec![("web.route-prefix".to_owned(), "/".to_owned())],
        directory: "/srv".to_owned(),
        host_name: "h".to_owned(),
        ..Settings::default()
    };
    let house = House::told(settings, loaded);
    for (path, data) in [
        ("status/flags", json!({"web.route-prefix": "/"})),
        ("status/config", json!({"yaml": "global: {}\n"})),
        ("scrape_pools/config?scrapePool=node", json!({"yaml": "job_name: node\n"})),
        ("alertmanagers", json!({"activeAlertmanagers": [], "droppedAlertmanagers": []})),
    ] {
        let answer = house.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, &answer.json()["data"]), (200, &data), "{path}");
    }
    relabelling(&house).await;
    assert_eq!(house.get("/api/v1/status/self_metrics").await.json()["data"], json!([]));
    for (query, words) in [
        ("", "no scrapePool parameter provided"),
        ("?scrapePool=z", "error retrieving scrape config: scrape pool \"z\" not found"),
    ] {
        let answer = house.get(&format!("/api/v1/scrape_pools/config{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
    let runtime = house.get("/api/v1/status/runtimeinfo").await.json()["data"].clone();
    for name in [
        "startTime",
        "CWD",
        "hostname",
        "serverTime",
        "reloadConfigSuccess",
        "lastConfigTime",
        "corruptionCount",
        "goroutineCount",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "GOGC",
        "GODEBUG",
        "storageRetention",
    ] {
        assert!(!runtime[name].is_null(), "{name} is missing: {runtime}");
    }
    assert_eq!((&runtime["CWD"], &runtime["hostname"]), (&json!("/srv"), &json!("h")));
    let features = house.get("/api/v1/features").await.json()["data"].clone();
    for (category, name, on) in [
        ("api", "admin", false),
        ("api", "exclude_alerts", true),
        ("promql", "group_left", true),
        ("promql", "subqueries", true),
        ("promql_functions", "rate", true),
        ("promql_functions", "label_join", true),
        ("promql_functions", "histogram_quantile", true),
        ("promql_functions", "days_in_month", true),
        ("promql_operators", "count_values", true),
        ("promql_operators", "!~", true),
        ("promql_operators", ">=", true),
        ("promql_operators", "sum", true),
    ] {
        assert_eq!(features[category][name], json!(on), "{category} {name}");
    }
}

fn rule(from: &[&str], regex: &str, to: &str, text: &str, action: Action) -> Rule {
    Rule {
        source_labels: from.iter().map(|name| (*name).to_owned()).collect(),
        separator: ";".to_owned(),
        regex: regex::Regex::new(&format!("^(?s:{regex})$")).unwrap(),
        target_label: to.to_owned(),
        replacement: text.to_owned(),
        action,
    }
}

/// Each rule with what it makes of the labels, until one drops the target.
async fn relabelling(house: &House) {
    let steps = async |labels: &str| {
        let labels = encode(labels);
        let path = format!("/api/v1/targets/relabel_steps?scrapePool=node&labels={labels}");
        let answer = house.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["data"]["steps"].clone()
    };
    let kept = steps(r#"{"a":"1","b":"2"}"#).await;
    let first = json!({
        "rule": {"source_labels": ["a", "b"], "separator": ";", "regex": "(.*);(.*)",
            "target_label": "c", "replacement": "$2-$1", "action": "replace"},
        "output": {"a": "1", "b": "2", "c": "2-1"}, "keep": true,
    });
    assert_eq!(kept[0], first);
    assert_eq!(kept[2]["output"], json!({"a": "1", "b": "2", "c": "2-1", "d": "x"}));
    let dropped = steps(r#"{"a":"me","b":"drop"}"#).await;
    for step in [&dropped[1], &dropped[2]] {
        assert_eq!((&step["keep"], &step["output"]), (&json!(false), &json!({})));
    }
    for (query, words) in [
        ("scrapePool=node", "no labels parameter provided"),
        ("scrapePool=node&labels=x", "error parsing labels: expected value at line 1 column 1"),
    ] {
        let answer = house.get(&format!("/api/v1/targets/relabel_steps?{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
}

#[tokio::test]
async fn a_long_list_of_rules_is_read_page_by_page() {
    let house = House::with_groups(&["g", "h"]);
    let page = house.get("/api/v1/rules?group_limit=1").await.json();
    assert_eq!(page["data"]["groups"].as_array().unwrap().len(), 1);
    let token = page["data"]["groupNextToken"].as_str().unwrap().to_owned();
    // SHA-256 of `f.yml;h`, as upstream names the group that comes next.
    assert_eq!(token, "fd4b22515689352cd5a92165a7249aed78b5d77fc2027b2bfed6e5d91cb3ada5");
    let path = format!("/api/v1/rules?group_limit=1&group_next_token={token}");
    let last = house.get(&path).await.json();
    assert_eq!(last["data"]["groups"][0]["name"], "h");
    assert_eq!(last["data"].get("groupNextToken"), None);
    for (query, words) in [
        (
            "group_next_token=x",
            "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups",
        ),
        (
            "group_limit=0",
            "invalid parameter \"group_limit\": group_limit needs to be greater than 0",
        ),
        (
            "group_limit=x",
            "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "group_limit=3000000000",
            "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing \"3000000000\": value out of range",
        ),
        (
            "group_limit=1&group_next_token=x",
            "invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?",
        ),
    ] {
        let answer = house.get(&format!("/api/v1/rules?{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
}

#[tokio::test]
async fn another_server_scrapes_the_newest_samples() {
    let loaded = || Loaded {
        external_labels: Labels::from_pairs([("site", "paris"), ("x", "outer")]),
        ..Loaded::default()
    };
    let house = House::told(Settings::default(), loaded());
    let now = now_ms();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    house.store(
        now - 60_000,
        &[(&[("__name__", "b"), ("x", "1")], 1.0), (&[("__name__", "gone")], 1.0)],
    );
    house.store(now - 400_000, &[(&[("__name__", "old")], 1.0)]);
    house.store(
        now - 1_000,
        &[
            (&[("__name__", "b"), ("x", "1")], 2.5e9),
            (&[("__name__", "a.b"), ("instance", "i\"\n\\")], f64::NAN),
            (&[("__name__", "gone")], stale),
            (&[("nameless", "1")], 1.0),
        ],
    );
    let path =
        "/federate?match[]=%7B__name__=~%22.%2B%22%7D&match[]=b&match[]=%7Bnameless=%221%22%7D";
    let at = now - 1_000;
    let answer = house.get(path).await;
    let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!((answer.status, answer.content_type()), (200, kind));
    assert_eq!(
        answer.body,
        format!(
            "# TYPE a_b untyped\na_b{{instance=\"i\\\"\\n\\\\\",site=\"paris\",x=\"outer\"}} NaN {at}\n\
             # TYPE b untyped\nb{{x=\"1\",instance=\"\",site=\"paris\"}} 2.5e+09 {at}\n"
        )
    );
    let accept = [("accept", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3")];
    let answer = house.ask("GET", path, &accept, "").await;
    assert!(answer.content_type().ends_with("escaping=allow-utf-8"));
    assert!(
        answer.body.starts_with("# TYPE \"a.b\" untyped\n{\"a.b\",instance="),
        "{}",
        answer.body
    );
    assert_eq!(house.get("/federate").await.body, "");
    let wrong = house.get("/federate?match[]=b%7B").await;
    let words = "1:3: parse error: unexpected end of input inside braces\n";
    assert_eq!((wrong.status, wrong.body.as_str()), (400, words));
}

#[tokio::test]
async fn notices_are_listed_and_told_live() {
    let house = House::new();
    assert_eq!(house.get("/api/v1/notifications").await.json()["data"], json!([]));
    house.notices.add("the disk is full", 1_500);
    let listed = house.get("/api/v1/notifications").await.json();
    let notice =
        json!({"text": "the disk is full", "date": "1970-01-01T00:00:01.500Z", "active": true});
    assert_eq!(listed["data"], json!([notice]));
    let live = house.get("/api/v1/notifications/live");
    let told = async {
        house.notices.remove("the disk is full");
        house.notices.close();
    };
    let (live, ()) = tokio::join!(live, told);
    assert_eq!(live.content_type(), "text/event-stream");
    let events: Vec<Value> = live
        .body
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(events[0], notice);
    assert_eq!(events[1]["active"], json!(false));
    assert_eq!(house.get("/api/v1/notifications/live").await.status, 204);
}

#[tokio::test]
async fn targets_tell_what_their_metrics_are() {
    let house = House::new();
    let of = |instance: &str, metric: Option<&str>| {
        let mut one = json!({
            "target": {"instance": instance, "job": "node"},
            "type": "gauge", "help": "A \"thing\".", "unit": "",
        });
        if let Some(metric) = metric {
            one["metric"] = json!(metric);
        }
        one
    };
    let (x, y, z) = (of("a:1", Some("x")), of("a:1", Some("y")), of("b:1", Some("y")));
    for (query, wanted) in [
        ("", json!([x, y, z])),
        ("limit=-1", json!([x, y, z])),
        ("limit=0", json!([])),
        // It is looked at between targets.
        ("limit=1", json!([x, y])),
        ("metric=y", json!([of("a:1", None), of("b:1", None)])),
        ("metric=y&limit=1", json!([of("a:1", None)])),
        ("metric=none", json!([])),
        ("match_target=%7Binstance%3D%22b:1%22%7D", json!([z])),
        ("match_target=%7Binstance%3D%22c:1%22%7D", json!([])),
    ] {
        let answer = house.get(&format!("/api/v1/targets/metadata?{query}")).await;
        assert_eq!((answer.status, &answer.json()["data"]), (200, &wanted), "{query}");
    }
    for (query, words) in [
        ("limit=x", "limit must be a number"),
        (
            "match_target=%7B",
            "invalid parameter \"match_target\": 1:2: parse error: unexpected end of input inside braces",
        ),
    ] {
        let answer = house.get(&format!("/api/v1/targets/metadata?{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
}

#[tokio::test]
async fn only_who_is_allowed_ends_the_program() {
    let shut = House::new();
    for path in ["/-/quit", "/-/reload"] {
        for (method, status, words) in [
            ("GET", 405, "Only POST or PUT requests allowed"),
            ("POST", 403, "Lifecycle API is not enabled."),
            ("PUT", 403, "Lifecycle API is not enabled."),
        ] {
            let answer = shut.ask(method, path, &[], "").await;
            assert_eq!((answer.status, answer.body.as_str()), (status, words), "{method} {path}");
        }
    }
    let end = Arc::new(Notify::new());
    let open = House::with(Settings { lifecycle: Some(end.clone()), ..Settings::default() });
    let answer = open.ask("POST", "/-/quit", &[], "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "Requesting termination... Goodbye!"));
    end.notified().await;
}

#[tokio::test]
async fn a_configuration_is_read_anew_and_the_answer_waits_for_it() {
    let lifecycle = Some(Arc::default());
    let house = House::with(Settings { lifecycle, ..Settings::default() });
    let (mut reloads, loading) = (house.reloads(), house.loading.clone());
    let program = tokio::spawn(async move {
        for answer in [
            Ok(Vec::new()),
            Ok(vec!["a needs a restart".to_owned()]),
            Err("vigie.yml:3:1: wrong".to_owned()),
            Ok(Vec::new()),
        ] {
            let asked = reloads.recv().await.unwrap();
            match &answer {
                Ok(_) => {
                    let config_yaml = "global: {}\n".to_owned();
                    loading.replace(Loaded { config_yaml, ..Loaded::default() }, 1_000);
                }
                Err(_) => loading.fail(),
            }
            asked.send(answer).unwrap();
        }
    });
    let runtime = async || {
        let info = house.get("/api/v1/status/runtimeinfo").await.json();
        let data = &info["data"];
        (data["reloadConfigSuccess"].clone(), data["lastConfigTime"].as_str().unwrap().to_owned())
    };
    assert_eq!(runtime().await, (json!(true), "1970-01-01T00:00:00.000Z".to_owned()));
    for (method, status, words) in [
        ("POST", 200, ""),
        ("PUT", 200, "a needs a restart\n"),
        ("POST", 500, "failed to reload config: vigie.yml:3:1: wrong\n"),
    ] {
        let answer = house.ask(method, "/-/reload", &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, words));
    }
    assert_eq!(runtime().await, (json!(false), "1970-01-01T00:00:01.000Z".to_owned()));
    let config = house.get("/api/v1/status/config").await.json();
    assert_eq!(config["data"]["yaml"], "global: {}\n");
    // Alertmanager's needs no flag, but a page of another site does not reach it.
    let foreign = [("host", "localhost"), ("origin", "http://evil.example")];
    assert_eq!(house.ask_alertmanager("POST", "/-/reload", &foreign).await.status, 403);
    assert_eq!(house.ask_alertmanager("GET", "/-/reload", &[]).await.status, 405);
    assert_eq!(house.ask_alertmanager("POST", "/-/reload", &[]).await.status, 200);
    program.await.unwrap();
    // Nobody is left to answer.
    assert_eq!(house.ask("POST", "/-/reload", &[], "").await.status, 500);
}

#[tokio::test]
async fn series_are_deleted_and_snapshots_made_where_it_is_allowed() {
    let house = House::with(Settings { admin_api: true, ..Settings::default() });
    for x in ["1", "2"] {
        house.store(10_000, &[(&[("__name__", "a"), ("x", x)], 1.0)]);
        house.store(20_000, &[(&[("__name__", "a"), ("x", x)], 2.0)]);
    }
    let count = async |at: u32| {
        let path = format!("/api/v1/query?query=count_over_time(a%5B5s%5D)&time={at}");
        house.get(&path).await.json()["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((count(10).await, count(20).await), (2, 2));
    let delete = "/api/v1/admin/tsdb/delete_series";
    let one = house.form(delete, "match[]=a%7Bx=%221%22%7D&start=15&end=25").await;
    assert_eq!((one.status, one.body.as_str()), (204, ""));
    assert_eq!((count(10).await, count(20).await), (2, 1));
    let put = house.ask("PUT", &format!("{delete}?match[]=a&end=15"), &[], "").await;
    assert_eq!((put.status, count(10).await, count(20).await), (204, 0, 1));
    let clean = house.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", &[], "").await;
    assert_eq!((clean.status, clean.body.as_str()), (204, ""));
    assert_eq!((count(10).await, count(20).await), (0, 1));
    let snapshot = house.ask("POST", "/api/v1/admin/tsdb/snapshot?skip_head=true", &[], "").await;
    let name = snapshot.json()["data"]["name"].as_str().unwrap().to_owned();
    assert!(name.len() == 33 && name.contains("Z-"), "{name}");
    let blocks = house.get("/api/v1/status/tsdb/blocks").await.json();
    assert!(blocks["data"]["blocks"].is_array(), "{blocks}");
    for (path, status, words) in [
        ("delete_series", 400, "no match[] parameter provided"),
        (
            "delete_series?match[]=a%7B",
            400,
            "invalid parameter \"match[]\": 1:3: parse error: unexpected end of input inside braces",
        ),
        (
            "delete_series?match[]=a&start=x",
            400,
            "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "snapshot?skip_head=x",
            400,
            "invalid parameter \"skip_head\": unable to parse boolean: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        let answer = house.ask("POST", &format!("/api/v1/admin/tsdb/{path}"), &[], "").await;
        let error = answer.json()["error"].as_str().map(str::to_owned);
        assert_eq!((answer.status, error.as_deref()), (status, Some(words)), "{path}");
    }
    let shut = House::new();
    for door in ["delete_series?match[]=a", "clean_tombstones", "snapshot"] {
        let path = format!("/api/v1/admin/tsdb/{door}");
        let off =
            json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"});
        let answer = shut.ask("POST", &path, &[], "").await;
        assert_eq!((answer.status, answer.json()), (500, off), "{door}");
        assert_eq!(shut.get(&path).await.status, 405, "{door}");
    }
}

#[tokio::test]
async fn names_are_found_while_they_are_typed() {
    let house = House::with(Settings { search: true, ..Settings::default() });
    let now = now_ms();
    for name in ["http_requests_total", "temperature", "http_errors_total", "up"] {
        house.store(now, &[(&[("__name__", name), ("job", name)], 1.0)]);
    }
    let asked = async |query: &str| {
        let answer = house.get(&format!("/api/v1/search/{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        assert_eq!(answer.content_type(), "application/x-ndjson; charset=utf-8");
        let lines = answer.body.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let end = |more: bool| json!({"status": "success", "has_more": more});
    for (query, lines) in [
        (
            "metric_names?search[]=http&limit=2&batch_size=1",
            vec![
                json!({"results": [{"name": "http_errors_total"}]}),
                json!({"results": [{"name": "http_requests_total"}]}),
                end(false),
            ],
        ),
        (
            "metric_names?limit=1&sort_by=alpha&sort_dir=dsc",
            vec![json!({"results": [{"name": "up"}]}), end(true)],
        ),
        (
            "metric_names?search[]=temp&include_score=true&include_metadata=true",
            vec![
                json!({"results": [{"name": "temperature", "score": 1, "type": "gauge",
                    "help": "How warm it is.", "unit": "celsius"}]}),
                end(false),
            ],
        ),
        (
            "metric_names?search[]=HTTPREQ&case_sensitive=false",
            vec![json!({"results": [{"name": "http_requests_total"}]}), end(false)],
        ),
        (
            "metric_names?search[]=temperatura&fuzz_alg=jarowinkler&fuzz_threshold=90",
            vec![json!({"results": [{"name": "temperature"}]}), end(false)],
        ),
        ("metric_names?search[]=nosuch", vec![json!({"results": []}), end(false)]),
        ("label_names?search[]=jo", vec![json!({"results": [{"name": "job"}]}), end(false)]),
        (
            "label_values?label=job&search[]=up&search[]=errors&sort_by=score",
            vec![json!({"results": [{"value": "up"}, {"value": "http_errors_total"}]}), end(false)],
        ),
    ] {
        assert_eq!(asked(query).await, lines, "{query}");
    }
    for (query, words) in [
        ("label_values", "missing required parameter \"label\""),
        ("label_names?limit=0", "invalid limit \"0\": must be a positive integer"),
        (
            "label_names?limit=10001",
            "limit 10001 exceeds the configured maximum (10000, see --web.search.max-limit)",
        ),
        ("label_names?fuzz_threshold=101", "invalid fuzz_threshold \"101\": must be 0-100"),
        (
            "label_names?fuzz_alg=x",
            "unsupported fuzz_alg \"x\": must be one of [subsequence jarowinkler]",
        ),
        ("label_names?sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        ("label_names?sort_by=score", "sort_by=score requires search[] to be set"),
        (
            "label_names?sort_by=x",
            "invalid sort_by \"x\" for label_names: must be \"alpha\" or \"score\"",
        ),
        ("label_names?include_score=x", "invalid include_score \"x\": must be boolean"),
        ("label_names?start=2&end=1", "end timestamp must not be before start timestamp"),
    ] {
        let answer = house.get(&format!("/api/v1/search/{query}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{query}");
    }
    let shut = House::new().get("/api/v1/search/metric_names").await;
    assert_eq!((shut.status, shut.json()["error"].as_str()), (500, Some("search API disabled")));
}
