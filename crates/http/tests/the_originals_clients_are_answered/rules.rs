//! Loki's ruler: groups that are sent, listed and removed, and the states of its rules.

use crate::support::House;
use vigie_http::Settings;

const DONE: &str = r#"{"status":"success","data":null,"errorType":"","error":""}"#;

#[tokio::test]
async fn groups_are_sent_listed_and_removed() {
    let house = House::new();
    let out = r#"{"status":"error","data":null,"errorType":"server_error","error":"invalid namespace: path traversal not allowed"}"#;
    for (method, path, body, status, kind, answer) in [
        (
            "GET",
            "/loki/api/v1/rules",
            "",
            404,
            "text/plain; charset=utf-8",
            "no rule groups found\n",
        ),
        ("POST", "/loki/api/v1/rules/a%20b", "name: g", 202, "application/json", DONE),
        ("POST", "/api/prom/rules/n", "name: h", 202, "application/json", DONE),
        (
            "POST",
            "/loki/api/v1/rules/n",
            "[",
            400,
            "text/plain; charset=utf-8",
            "unable to decoded rule group\n",
        ),
        ("GET", "/loki/api/v1/rules", "", 200, "application/yaml", "name: g+name: h[]"),
        ("GET", "/api/prom/rules/n", "", 200, "application/yaml", "name: h[]"),
        (
            "GET",
            "/loki/api/v1/rules/n?labels=a:b,c:d",
            "",
            200,
            "application/yaml",
            "name: h[(\"a\", \"b\"), (\"c\", \"d\")]",
        ),
        (
            "GET",
            "/loki/api/v1/rules/nothing",
            "",
            404,
            "text/plain; charset=utf-8",
            "no rule groups found\n",
        ),
        ("GET", "/loki/api/v1/rules/a%20b/g", "", 200, "application/yaml", "name: g"),
        (
            "GET",
            "/loki/api/v1/rules/a%20b/x",
            "",
            404,
            "text/plain; charset=utf-8",
            "group does not exist\n",
        ),
        (
            "DELETE",
            "/loki/api/v1/rules/a%20b/x",
            "",
            404,
            "text/plain; charset=utf-8",
            "group does not exist\n",
        ),
        ("DELETE", "/loki/api/v1/rules/a%20b/g", "", 202, "application/json", DONE),
        ("DELETE", "/loki/api/v1/rules/n", "", 202, "application/json", DONE),
        ("GET", "/loki/api/v1/rules/..%2Fx", "", 500, "text/plain; charset=utf-8", out),
        ("POST", "/loki/api/v1/rules/%2Fetc", "name: g", 500, "text/plain; charset=utf-8", out),
        (
            "PUT",
            "/loki/api/v1/rules/n",
            "name: g",
            405,
            "text/plain; charset=utf-8",
            "Method Not Allowed\n",
        ),
        (
            "GET",
            "/loki/api/v1/rules",
            "",
            404,
            "text/plain; charset=utf-8",
            "no rule groups found\n",
        ),
    ] {
        let got = house.ask(method, path, &[], body).await;
        assert_eq!((got.status, got.body.as_str()), (status, answer), "{method} {path}");
        assert_eq!(got.content_type(), kind, "{method} {path}");
    }
}

#[tokio::test]
async fn each_original_lists_the_rules_of_its_own_language() {
    let house = House::with_groups(&["g", "logs"]);
    let names = |list: &serde_json::Value| -> Vec<String> {
        let list = list["data"]["groups"].as_array().unwrap().iter();
        list.map(|group| group["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&house.get("/api/v1/rules").await.json()), ["g"]);
    let lokis = house.get("/prometheus/api/v1/rules").await.json();
    assert_eq!(names(&lokis), ["logs"]);
    assert_eq!((&lokis["errorType"], &lokis["error"]), (&"".into(), &"".into()));
    let rules = lokis["data"]["groups"][0]["rules"].as_array().unwrap();
    let keys = |rule: &serde_json::Value| -> Vec<String> {
        rule.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(
        keys(&rules[0]),
        [
            "state",
            "name",
            "query",
            "duration",
            "labels",
            "annotations",
            "alerts",
            "health",
            "lastError",
            "type",
            "lastEvaluation",
            "evaluationTime"
        ]
    );
    assert_eq!(
        keys(&rules[1]),
        [
            "name",
            "query",
            "labels",
            "health",
            "lastError",
            "type",
            "lastEvaluation",
            "evaluationTime"
        ]
    );
    for (path, alerts) in [("/api/v1/alerts", 1), ("/prometheus/api/v1/alerts", 1)] {
        let answer = house.get(path).await.json();
        assert_eq!(answer["data"]["alerts"].as_array().unwrap().len(), alerts, "{path}");
    }
    for (query, groups, rules) in [
        ("type=record", 1, 1),
        ("type=alert", 1, 1),
        ("rule_group=logs&rule_name=Down", 1, 1),
        ("rule_name=nothing", 0, 0),
        ("file=nothing", 0, 0),
    ] {
        let answer = house.get(&format!("/prometheus/api/v1/rules?{query}")).await.json();
        let list = answer["data"]["groups"].as_array().unwrap();
        let count: usize = list.iter().map(|one| one["rules"].as_array().unwrap().len()).sum();
        assert_eq!((list.len(), count), (groups, rules), "{query}");
    }
    let wrong = house.get("/prometheus/api/v1/rules?type=x").await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json()["error"], r#"not supported value "x""#);
}

#[tokio::test]
async fn a_deletion_mode_may_refuse_to_delete() {
    let settings = Settings { log_deletes_refused: true, ..Settings::default() };
    let house = House::with(settings);
    for (method, path) in [
        ("POST", "/loki/api/v1/delete?query=%7Ba%3D%22b%22%7D&start=1"),
        ("GET", "/loki/api/v1/delete"),
        ("DELETE", "/loki/api/v1/delete?request_id=1"),
    ] {
        let got = house.ask(method, path, &[], "").await;
        let words = "deletion is not available for this tenant\n";
        assert_eq!((got.status, got.body.as_str()), (403, words), "{method}");
    }
}
