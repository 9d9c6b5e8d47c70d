//! The disk runs full under a running Vigie: pushes are refused with 503 and nothing of them is kept,
//! questions are answered, a delete request is refused or kept, and when there is room again
//! everything goes on without a restart.
//!
//! The disk is a file system in memory of its own, which only root may mount: without it this is
//! skipped and says so.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use vigie_scenarios::http::{encode, exchange, post};
use vigie_scenarios::{Answer, Vigie, now_ns, wait_for};

const CONFIG: &str = "\
web: {classic_ports: false}
metrics: {host: false, global: {scrape_interval: 1s}, scrape_configs: []}
logs: {scrape_configs: []}
";
/// More than the 512 MiB that Vigie leaves free.
const DISK_MIB: usize = 620;

struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf) -> Option<Mount> {
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={DISK_MIB}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "vigie-test"]).arg(&at);
        mount.output().is_ok_and(|output| output.status.success()).then(|| Mount(at))
    }

    /// Fills the disk but for so many bytes of it; the file to remove.
    fn fill(&self, left_bytes: usize) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        let some = vec![1; 1024 * 1024];
        while file.write_all(&some).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(left_bytes as u64)).unwrap();
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn start(home: &Path, disk: &Path) -> Vigie {
    std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
    let config = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", disk.join("data").display());
    Vigie::start(home, &[&config, &data])
}

fn push(port: u16, word: &str, count: usize) -> Answer {
    let ts_ns = now_ns();
    let value = |n: usize| json!([(ts_ns + n as i64).to_string(), format!("{word} {n}")]);
    let values: Vec<Value> = (0..count).map(value).collect();
    let body = json!({"streams": [{"stream": {"app": "a"}, "values": values}]}).to_string();
    post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).unwrap()
}

fn count(vigie: &Vigie, word: &str) -> usize {
    vigie.lines(&format!(r#"{{app="a"}} |= "{word} ""#)).len()
}

fn delete(port: u16, word: &str) -> Answer {
    let query = encode(&format!(r#"{{app="a"}} |= "{word} ""#));
    let path = format!("/loki/api/v1/delete?query={query}&start=0");
    exchange(port, "POST", &path, &[], &[]).unwrap()
}

#[test]
fn a_full_disk_refuses_lines_and_recovers_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path().join("disk")) else {
        eprintln!("SKIPPED: no file system may be mounted here");
        return;
    };
    let vigie = start(home.path(), &mount.0);
    assert_eq!(push(vigie.port, "before", 1_000).status, 204);
    for (round, left_bytes) in [0, 3_000, 100 << 20].into_iter().enumerate() {
        let ballast = mount.fill(left_bytes);
        let mut taken = 0;
        let refused = wait_for("a refusal", 60, || {
            let answer = push(vigie.port, &format!("taken{round}"), 1);
            taken += usize::from(answer.status == 204);
            (answer.status != 204).then_some(answer)
        });
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().starts_with("the lines are not stored, send them again: "));
        assert!(refused.text().contains("the disk"), "{}", refused.text());
        let otlp = exchange(
            vigie.port,
            "POST",
            "/otlp/v1/logs",
            &[("content-type", "application/json")],
            br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"refused 1"}}]}]}]}"#,
        );
        assert_eq!(otlp.unwrap().status, 503);
        assert_eq!(push(vigie.port, "refused", 500).status, 503);
        assert_eq!(count(&vigie, "before"), 1_000, "questions are answered");
        assert_eq!(count(&vigie, "refused"), 0, "nothing half-kept");
        assert_eq!(count(&vigie, &format!("taken{round}")), taken);
        // A request that cannot be written down is refused; what it asks for is not done by halves.
        let asked = delete(vigie.port, &format!("taken{round}"));
        let left = count(&vigie, &format!("taken{round}"));
        match asked.status {
            204 => assert_eq!(left, 0),
            _ => assert_eq!((asked.status, left), (500, taken), "{}", asked.text()),
        }
        std::fs::remove_file(ballast).unwrap();
        let after = format!("after{round}");
        wait_for("room again", 60, || (push(vigie.port, &after, 100).status == 204).then_some(()));
        assert_eq!(count(&vigie, &after), 100);
        let word = format!("taken{round}");
        assert_eq!(delete(vigie.port, &word).status, 204);
        assert_eq!(count(&vigie, &word), 0);
    }
    vigie.kill();
    let vigie = start(home.path(), &mount.0);
    for (word, lines) in [("before", 1_000), ("after0", 100), ("after2", 100), ("refused", 0)] {
        assert_eq!(count(&vigie, word), lines, "{word}, after a kill");
    }
    assert_eq!(count(&vigie, "taken0") + count(&vigie, "taken1") + count(&vigie, "taken2"), 0);
}
