//! Parameters and errors of Prometheus' API, word for word.

use crate::support::House;
use serde_json::json;

/// Refused questions: path, status, kind, words.
const REFUSED: [(&str, u16, &str, &str); 29] = [
    (
        "query",
        400,
        "bad_data",
        "invalid parameter \"query\": unknown position: parse error: no expression found in input",
    ),
    (
        "query?query=up&time=x",
        400,
        "bad_data",
        "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
    ),
    (
        "query?query=1&timeout=x",
        400,
        "bad_data",
        "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
    ),
    (
        "query?query=1&limit=-1",
        400,
        "bad_data",
        "invalid parameter \"limit\": limit must be non-negative",
    ),
    (
        "query?query=1&lookback_delta=x",
        400,
        "bad_data",
        "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
    ),
    (
        "query?query=a+%2B+on()+b&time=10",
        422,
        "execution",
        "found duplicate series for the match group {} on the right hand-side of the operation: [{__name__=\"b\", x=\"1\"}, {__name__=\"b\", x=\"2\"}];many-to-many matching not allowed: matching labels must be unique on one side",
    ),
    (
        "query_range?query=up",
        400,
        "bad_data",
        "invalid parameter \"start\": cannot parse \"\" to a valid timestamp",
    ),
    (
        "query_range?query=up&start=1",
        400,
        "bad_data",
        "invalid parameter \"end\": cannot parse \"\" to a valid timestamp",
    ),
    (
        "query_range?query=up&start=1&end=1",
        400,
        "bad_data",
        "invalid parameter \"step\": cannot parse \"\" to a valid duration",
    ),
    (
        "query_range?query=up&start=x&end=1&step=1",
        400,
        "bad_data",
        "invalid parameter \"start\": cannot parse \"x\" to a valid timestamp",
    ),
    (
        "query_range?query=up&start=2&end=1&step=1",
        400,
        "bad_data",
        "invalid parameter \"end\": end timestamp must not be before start time",
    ),
    (
        "query_range?query=up&start=1&end=1&step=0",
        400,
        "bad_data",
        "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
    ),
    (
        "query_range?query=up&start=1&end=1&step=1e30",
        400,
        "bad_data",
        "invalid parameter \"step\": cannot parse \"1e30\" to a valid duration. It overflows int64",
    ),
    (
        "query_range?query=up&start=0&end=11001&step=1",
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    (
        "query_range?query=1&start=-9e15&end=9e15&step=1",
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    (
        "query_exemplars?query=",
        400,
        "bad_data",
        "unknown position: parse error: no expression found in input",
    ),
    (
        "labels?match[]=%7B%7D",
        400,
        "bad_data",
        "match[] must contain at least one non-empty matcher",
    ),
    (
        "labels?match[]=up%7B",
        400,
        "bad_data",
        "1:4: parse error: unexpected end of input inside braces",
    ),
    (
        "labels?start=x",
        400,
        "bad_data",
        "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
    ),
    (
        "labels?limit=x",
        400,
        "bad_data",
        "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
    ),
    (
        "label/job/values?match[]=%7Ba=%22%22%7D",
        400,
        "bad_data",
        "match[] must contain at least one non-empty matcher",
    ),
    ("series", 400, "bad_data", "no match[] parameter provided"),
    ("series?start=x", 400, "bad_data", "no match[] parameter provided"),
    (
        "series?match[]=%7B%7D",
        400,
        "bad_data",
        "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
    ),
    (
        "series?match[]=up%7B",
        400,
        "bad_data",
        "invalid parameter \"match[]\": 1:4: parse error: unexpected end of input inside braces",
    ),
    ("metadata?limit=x", 400, "bad_data", "limit must be a number"),
    ("metadata?limit_per_metric=x", 400, "bad_data", "limit_per_metric must be a number"),
    ("rules?type=x", 400, "bad_data", "invalid parameter \"type\": not supported value \"x\""),
    (
        "rules?exclude_alerts=x",
        400,
        "bad_data",
        "invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"x\": invalid syntax",
    ),
];

/// Answered questions about [`filled`]: path and `data`.
fn answered() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        (
            "query?query=a&time=10",
            json!({"resultType":"vector","result":[{"metric":{"__name__":"a","x":"1"},"value":[10,"NaN"]}]}),
        ),
        ("query?query=1e-9&time=1.5", json!({"resultType":"scalar","result":[1.5,"1e-09"]})),
        ("query?query=-1/0&time=-1", json!({"resultType":"scalar","result":[-1,"-Inf"]})),
        ("query?query=%22a%3Cb%22&time=1", json!({"resultType":"string","result":[1,"a<b"]})),
        ("query?query=a&time=9e15", json!({"resultType":"vector","result":[]})),
        (
            "query_range?query=b%7Bx=%221%22%7D&start=10&end=12&step=1.5",
            json!({"resultType":"matrix","result":[{"metric":{"__name__":"b","x":"1"},"values":[[10,"1"],[11.5,"1"]]}]}),
        ),
        (
            "query_range?query=1&start=0&end=11000&step=11000",
            json!({"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[11000,"1"]]}]}),
        ),
        ("labels", json!(["__name__", "a.b", "x"])),
        ("labels?match[]=a&match[]=b&start=0", json!(["__name__", "x"])),
        ("labels?start=20&end=10", json!([])),
        ("label/x/values", json!(["1", "2"])),
        ("label/U__a_2e_b/values", json!(["é\"\n"])),
        ("label/nosuch/values", json!([])),
        (
            "series?match[]=a&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z",
            json!([{"__name__":"a","x":"1"}]),
        ),
        ("series?match[]=a&start=20&end=10", json!([])),
        (
            "metadata?metric=temperature",
            json!({"temperature":[{"type":"gauge","help":"How warm it is.","unit":"celsius"}]}),
        ),
        ("metadata?limit=0", json!({})),
        (
            "metadata?limit=-1&limit_per_metric=1",
            json!({"temperature":[{"type":"gauge","help":"How warm it is.","unit":"celsius"}]}),
        ),
        ("query_exemplars?query=up&start=1&end=2", json!([])),
    ]
}

fn filled() -> House {
    let house = House::new();
    house.store(
        10_000,
        &[
            (&[("__name__", "a"), ("x", "1")], f64::NAN),
            (&[("__name__", "b"), ("x", "1")], 1.0),
            (&[("__name__", "b"), ("x", "2")], 2.0),
            (&[("__name__", "c"), ("a.b", "é\"\n")], 3.0),
        ],
    );
    house
}

#[tokio::test]
async fn wrong_questions_are_refused_in_prometheus_words() {
    let house = filled();
    for (path, status, kind, words) in REFUSED {
        let answer = house.get(&format!("/api/v1/{path}")).await;
        let wanted = json!({"status":"error","errorType":kind,"error":words});
        assert_eq!((answer.status, answer.json()), (status, wanted), "{path}");
        assert_eq!(answer.content_type(), "application/json", "{path}");
    }
    let late = house.get("/api/v1/query?query=a&timeout=-1").await;
    assert_eq!((late.status, late.json()["errorType"].as_str()), (503, Some("timeout")));
}

#[tokio::test]
async fn right_questions_are_answered_by_get_and_by_post() {
    let house = filled();
    for (path, data) in answered() {
        let wanted = json!({"status":"success","data":data});
        let answer = house.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, answer.json()), (200, wanted.clone()), "{path}");
        let (name, form) = path.split_once('?').unwrap_or((path, ""));
        if name.starts_with("label/") || name == "metadata" {
            let answer = house.form(&format!("/api/v1/{name}"), form).await;
            assert_eq!((answer.status, answer.body.as_str()), (405, "Method Not Allowed\n"));
        } else {
            assert_eq!(house.form(&format!("/api/v1/{name}"), form).await.json(), wanted, "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_limit_cuts_is_said_in_a_warning() {
    let house = filled();
    for (path, count, warned) in [
        ("query?query=b&time=10&limit=1", 1, true),
        ("query?query=b&time=10&limit=2", 2, false),
        ("query?query=b&time=10&limit=0", 2, false),
        ("query_range?query=b&start=10&end=11&step=1&limit=1", 1, true),
        ("labels?limit=2", 2, true),
        ("label/x/values?limit=1", 1, true),
        ("series?match[]=b&limit=1", 1, true),
    ] {
        let json = house.get(&format!("/api/v1/{path}")).await.json();
        let list = json["data"].as_array().or(json["data"]["result"].as_array()).unwrap();
        assert_eq!(list.len(), count, "{path}");
        let warnings = warned.then(|| json!(["results truncated due to limit"]));
        assert_eq!(json.get("warnings"), warnings.as_ref(), "{path}");
    }
}

#[tokio::test]
async fn health_and_methods_are_the_originals() {
    let house = House::new();
    for (method, path, status, body) in [
        ("GET", "/-/healthy", 200, "Prometheus Server is Healthy.\n"),
        ("HEAD", "/-/healthy", 200, ""),
        ("GET", "/-/ready", 200, "Prometheus Server is Ready.\n"),
        ("GET", "/ready", 200, "ready\n"),
        ("PUT", "/api/v1/query?query=1", 405, "Method Not Allowed\n"),
        ("DELETE", "/loki/api/v1/query", 405, "Method Not Allowed\n"),
        ("OPTIONS", "/api/v1/query", 204, ""),
        (
            "POST",
            "/api/v2/silences",
            400,
            "\"silences are not built yet in this version of Vigie\"",
        ),
    ] {
        let answer = house.ask(method, path, &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
    }
}

#[tokio::test]
async fn expressions_are_laid_out_and_pools_are_listed() {
    let house = House::new();
    for (path, status, wanted) in [
        ("format_query?query=foo%2Fbar", 200, json!({"status": "success", "data": "foo / bar"})),
        (
            "format_query?query=sum%20by(job)(rate(http_requests_total%5B5m%5D))",
            200,
            json!({"status": "success", "data": "sum by (job) (rate(http_requests_total[5m]))"}),
        ),
        (
            "format_query?query=invalid_expression%2F",
            400,
            json!({
                "status": "error",
                "errorType": "bad_data",
                "error": "invalid parameter \"query\": 1:20: parse error: unexpected end of input"
            }),
        ),
    ] {
        let answer = house.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, answer.json()), (status, wanted), "{path}");
    }
    let pools = house.get("/api/v1/scrape_pools").await.json();
    let list = pools["data"]["scrapePools"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{pools}");
}
