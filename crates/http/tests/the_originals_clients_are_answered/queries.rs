//! What a question costs is told, listed and bounded, and a question can be ended.

use crate::support::{House, encode};
use vigie_engine::{Durability, Engine};
use vigie_model::{Labels, Row};

/// Several seconds of work at least, in little memory.
const ENDLESS: &str = "quantile_over_time(0.5, max_over_time(vector(1)[1d:1s])[1d:1s])";

/// `m{i="0"}` … at 0 s, 10 s, … 990 s.
fn filled(series: usize) -> House {
    let house = House::new();
    let name =
        |at: usize| Labels::from_pairs([("__name__", "m_total".to_owned()), ("i", at.to_string())]);
    let ids: Vec<_> = (0..series).map(|at| house.engine().intern(&name(at)).unwrap()).collect();
    for step in 0..100 {
        let values: Vec<f64> = (0..series).map(|at| (step * at) as f64).collect();
        let row = Row::floats(step as i64 * 10_000, &ids, &values);
        house.engine().append(&[row], Durability::Written).unwrap();
    }
    house
}

#[tokio::test]
async fn stats_have_prometheus_shape_and_count_every_step() {
    let house = filled(3);
    let path = "/api/v1/query_range?query=sum(increase(m_total[25s]))&start=100&end=120&step=10";
    let plain = house.get(path).await.json();
    assert!(plain["data"].get("stats").is_none());
    let all = house.get(&format!("{path}&stats=all")).await.json();
    assert_eq!(all["data"]["result"], plain["data"]["result"]);
    let samples = &all["data"]["stats"]["samples"];
    // Two or three samples in 25 s: at 80, 90 and 100 s for the first step.
    let steps = serde_json::json!([[100, 9], [110, 9], [120, 9]]);
    assert_eq!(samples["totalQueryableSamplesPerStep"], steps, "{samples}");
    assert_eq!(samples["totalQueryableSamples"], 27);
    assert!(samples["peakSamples"].as_u64().unwrap() > 0);
    for name in [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
    ] {
        assert!(all["data"]["stats"]["timings"][name].is_number(), "{name}: {all}");
    }
    let sums = house.get(&format!("{path}&stats=true")).await.json();
    assert!(sums["data"]["stats"]["samples"].get("totalQueryableSamplesPerStep").is_none());
    assert!(sums.get("warnings").is_none(), "{sums}");
    let odd = house.get(&format!("{path}&stats=al")).await.json();
    assert_eq!(odd["data"]["stats"]["samples"]["totalQueryableSamples"], 27);
    let words = "invalid parameter \"stats\": \"al\" is neither \"true\" nor \"all\", and was taken for \"true\"";
    assert_eq!(odd["warnings"], serde_json::json!([words]));
}

#[tokio::test]
async fn a_question_explains_itself_node_by_node() {
    let house = filled(3);
    let query = encode("sum(rate(m_total[1m])) / 2");
    let answer = house.get(&format!("/api/v1/query?query={query}&time=900&explain=1")).await.json();
    let nodes = answer["data"]["explain"]["nodes"].as_array().unwrap();
    let told: Vec<(u64, &str, &str)> = nodes
        .iter()
        .map(|node| {
            let text = |name: &str| node[name].as_str().unwrap();
            (node["depth"].as_u64().unwrap(), text("operation"), text("text"))
        })
        .collect();
    assert_eq!(
        told,
        [
            (0, "binary operation", "sum(rate(m_total[1m])) / 2"),
            (1, "sum", "sum(rate(m_total[1m]))"),
            (2, "rate", "rate(m_total[1m])"),
            (1, "number", "2"),
        ]
    );
    // Six samples in a minute, of three series.
    assert_eq!((nodes[2]["series"].as_u64(), nodes[2]["samples"].as_u64()), (Some(3), Some(18)));
}

#[tokio::test]
async fn a_running_question_is_listed_and_can_be_killed() {
    let house = House::new();
    let ask = async {
        let agent = [("user-agent", "Grafana/11.2")];
        let path = format!("/api/v1/query?query={}&time=900", encode(ENDLESS));
        house.ask("GET", &path, &agent, "").await
    };
    let kill = async {
        loop {
            let list = house.get("/api/vigie/v1/queries").await.json();
            let found = list["open"].as_array().unwrap().first().cloned();
            let Some(open) = found.filter(|open| open["state"] == "running") else {
                tokio::task::yield_now().await;
                continue;
            };
            assert_eq!((&open["text"], &open["client"]), (&ENDLESS.into(), &"Grafana/11.2".into()));
            let path = format!("/api/vigie/v1/queries/{}", open["id"]);
            return house.ask("DELETE", &path, &[], "").await.status;
        }
    };
    let (answer, killed) = tokio::join!(ask, kill);
    assert_eq!(killed, 204);
    assert_eq!((answer.status, answer.json()["errorType"].as_str()), (499, Some("canceled")));
    assert_eq!(answer.json()["error"], "query was canceled in expression evaluation");
    let list = house.get("/api/vigie/v1/queries").await.json();
    assert_eq!(
        (list["open"].as_array().unwrap().len(), &list["slowest"][0]["state"]),
        (0, &"done".into())
    );
    for (id, status) in [("4711", 404), ("x", 400)] {
        let path = format!("/api/vigie/v1/queries/{id}/kill");
        assert_eq!(house.ask("POST", &path, &[], "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_would_need_gigabytes_is_refused_while_others_go_on() {
    let house = filled(400);
    // 400 series at 11,000 steps, 58 bytes a point on its way out: a quarter of a gigabyte.
    let large = "/api/v1/query_range?query=m_total&start=0&end=10999&step=1&lookback_delta=3h";
    // A subquery whose inner vectors alone would take ten.
    let query = encode("max_over_time(m_total[40d:1s])");
    let larger = format!("/api/v1/query?query={query}&time=900");
    let small = "/api/v1/query?query=count(m_total)&time=900";
    let (large, larger, small) =
        tokio::join!(house.get(large), house.get(&larger), house.get(small));
    for refused in [large, larger] {
        assert_eq!(refused.status, 422, "{}", &refused.body[..200.min(refused.body.len())]);
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        let of_memory = error.contains("bytes of memory in query execution");
        let of_samples =
            error == "query processing would load too many samples into memory in query execution";
        assert!(of_memory || of_samples, "{error}");
    }
    assert_eq!(small.json()["data"]["result"][0]["value"][1], "400");
    assert_eq!(house.engine().stats().queries.held_bytes, 0, "all of it is given back");
}
