//! The exact calls of Grafana's data sources, and what they trip over.

use crate::support::House;
use serde_json::json;

#[tokio::test]
async fn the_health_checks_of_both_data_sources_pass() {
    let house = House::new();
    let two = json!({"status":"success","data":{"resultType":"scalar","result":[4,"2"]}});
    assert_eq!(house.get("/api/v1/query?query=1%2B1&time=4").await.json(), two);
    assert_eq!(house.form("/api/v1/query", "query=1%2B1&time=4").await.json(), two);

    let path = "/loki/api/v1/query?direction=backward&query=vector(1)%2Bvector(1)&time=4000000000";
    let answer = house.get(path).await.json();
    // Ten digits are seconds to Loki, though Grafana means nanoseconds.
    let one = json!([{"metric":{},"value":[4_000_000_000_i64,"2"]}]);
    assert_eq!(answer["data"]["result"], one, "exactly one sample of 2: {answer}");

    let build = house.get("/api/v1/status/buildinfo").await.json();
    assert_eq!(build["data"]["version"], vigie_http::PROMETHEUS_VERSION);
    assert!(build["data"].get("features").is_none(), "Grafana would take us for Mimir");
}

#[tokio::test]
async fn no_probe_for_another_product_is_answered() {
    let house = House::new();
    assert_eq!(house.get("/alertmanager/api/v2/status").await.status, 200);
    for path in [
        "/alertmanager/alertmanager/api/v2/status",
        "/prometheus/config/v1/rules/x",
        "/api/v1/rules/x/y",
        "/config/v1/rules",
        "/api/v1/nosuch",
        "/loki/api/v1/nosuch",
        "/loki/nosuch",
        "/api/nosuch",
        "/nosuch",
        "/api/v1",
        "/api/v1/",
        "/api/v1/query/",
        "/d",
    ] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8", "{path}");
    }
    let answer = house.get("/api/v2/nosuch").await;
    let body = json!({"code":404,"message":"path /api/v2/nosuch was not found"});
    assert_eq!((answer.status, answer.json()), (404, body));
    // Loki's live tail is probed here; 400 would mean that it is there.
    assert_eq!(house.get("/loki/api/v2alpha/tail").await.status, 404);
}

#[tokio::test]
async fn dashboards_are_found_and_shown() {
    let house = House::new();
    for (query, found) in [
        ("", 1),
        ("?query=a%20%3Cb", 1),
        ("?query=z", 0),
        ("?tag=host", 1),
        ("?tag=host&tag=z", 0),
        ("?type=dash-db&limit=5000", 1),
        ("?type=dash-folder", 0),
    ] {
        let list = house.get(&format!("/api/search{query}")).await.json();
        assert_eq!(list.as_array().unwrap().len(), found, "{query}");
    }
    let one = house.get("/api/dashboards/uid/x").await.json();
    assert_eq!(one["dashboard"]["title"], "A <b>");
    assert_eq!(one["meta"]["url"], "/d/x/a-b");
    let none = house.get("/api/dashboards/uid/%3Cscript%3E").await;
    assert_eq!((none.status, none.json()["message"].as_str()), (404, Some("Dashboard not found")));
}

#[tokio::test]
async fn rules_alerts_and_targets_have_prometheus_shape() {
    let house = House::new();
    let group = &house.get("/api/v1/rules").await.json()["data"]["groups"][0];
    assert_eq!(group["interval"], 15.0);
    let (alert, record) = (&group["rules"][0], &group["rules"][1]);
    assert_eq!(
        *alert,
        json!({
            "state": "firing", "name": "Down", "query": "up == 0", "duration": 60, "keepFiringFor": 0,
            "labels": {"severity": "high"}, "annotations": {},
            "alerts": [{"labels": {"alertname": "Down"}, "annotations": {}, "state": "firing",
                "activeAt": "1970-01-01T00:00:01.000Z", "value": "0e+00"}],
            "health": "ok", "evaluationTime": 0.0025,
            "lastEvaluation": "1970-01-01T00:00:01.000Z", "type": "alerting",
        })
    );
    assert_eq!((&record["type"], record.get("alerts")), (&json!("recording"), None));
    assert_eq!(record["lastEvaluation"], "0001-01-01T00:00:00Z");
    for (query, rules) in [
        ("type=alert", 1),
        ("type=RECORD", 1),
        ("rule_name[]=Down&rule_name[]=z", 1),
        ("rule_group[]=z", 0),
        ("file[]=f.yml", 2),
        ("match[]=%7Bseverity=%22high%22%7D", 2),
        ("match[]=%7Bseverity=%22low%22%7D", 0),
    ] {
        let json = house.get(&format!("/api/v1/rules?{query}")).await.json();
        let groups = json["data"]["groups"].as_array().unwrap();
        let count: usize = groups.iter().map(|g| g["rules"].as_array().unwrap().len()).sum();
        assert_eq!((count, groups.len()), (rules, usize::from(rules > 0)), "{query}");
    }
    let without = house.get("/api/v1/rules?exclude_alerts=True").await.json();
    assert_eq!(without["data"]["groups"][0]["rules"][0]["alerts"], json!(null));

    for (query, active) in [("", 1), ("state=dropped", 0), ("state=ACTIVE", 1), ("state=z", 0)] {
        let json = house.get(&format!("/api/v1/targets?{query}")).await.json();
        assert_eq!(json["data"]["activeTargets"].as_array().unwrap().len(), active, "{query}");
        let shown = query.is_empty() || query == "state=dropped";
        let dropped = json!([{"discoveredLabels":{"__address__":"b:1"},"scrapePool":"node"}]);
        let counts = if shown { json!({"node": 1}) } else { json!(null) };
        assert_eq!(json["data"]["droppedTargets"], if shown { dropped } else { json!([]) });
        assert_eq!(json["data"]["droppedTargetCounts"], counts, "{query}");
    }
    for (query, alerts) in [
        ("", 1),
        ("active=false", 0),
        ("active=true&silenced=false&inhibited=false", 1),
        ("filter=severity%3D%22high%22", 1),
        ("filter=severity%3Dlow", 0),
        ("receiver=te.*", 1),
        ("receiver=te", 0),
    ] {
        let json = house.get(&format!("/api/v2/alerts?{query}")).await.json();
        assert_eq!(json.as_array().unwrap().len(), alerts, "{query}");
    }
    assert_eq!(house.get("/api/v2/silences").await.json(), json!([]));
}
