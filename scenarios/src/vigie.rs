//! A Vigie of our own: started, asked, killed, started again.

use crate::http::{encode, get};
use crate::{free_port, wait_for};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A running process and where it listens.
pub struct Vigie {
    child: Child,
    /// Its main port.
    pub port: u16,
    /// Where its stderr goes.
    pub log: PathBuf,
}

/// The binary under test.
pub fn program() -> PathBuf {
    let named =
        std::env::var_os("VIGIE_BIN").expect("VIGIE_BIN names the binary: run `cargo xtask test`");
    PathBuf::from(named)
}

/// Runs the program to its end.
pub fn run_to_end(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().expect("the program starts")
}

impl Vigie {
    /// Starts it in `directory` (which may hold data already) and waits until it is ready.
    pub fn start(directory: &Path, arguments: &[&str]) -> Vigie {
        let mut vigie = Vigie::spawn(directory, arguments);
        vigie.wait_until_ready();
        vigie
    }

    /// Starts it and does not wait until it is ready.
    pub fn spawn(directory: &Path, arguments: &[&str]) -> Vigie {
        let port = free_port();
        let log = directory.join("stderr.txt");
        let stderr =
            File::options().create(true).append(true).open(&log).expect("the folder is writable");
        let child = Command::new(program())
            .args(arguments)
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        Vigie { child, port, log }
    }

    /// Like [`Vigie::start`], asking without a pause until it is ready: for timing a start.
    pub fn start_without_pause(directory: &Path, arguments: &[&str]) -> Vigie {
        let vigie = Vigie::spawn(directory, arguments);
        while get(vigie.port, "/-/ready").is_none_or(|answer| answer.status != 200) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        vigie
    }

    /// Returns when it is ready.
    pub fn wait_until_ready(&mut self) {
        let (port, log) = (self.port, self.log.clone());
        wait_for("ready", 60, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "vigie ended with {status}:\n{}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            get(port, "/-/ready").filter(|answer| answer.status == 200)
        });
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("a killed process ends");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The samples of an instant query: labels and value.
    pub fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let Some(answer) = get(self.port, &format!("/api/v1/query?query={}", encode(expr))) else {
            return Vec::new();
        };
        let json = answer.json();
        assert_eq!(answer.status, 200, "{expr}: {}", answer.text());
        let samples = json["data"]["result"].as_array().cloned().unwrap_or_default();
        samples
            .into_iter()
            .map(|sample| {
                let value = sample["value"][1]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(f64::NAN);
                (sample["metric"].clone(), value)
            })
            .collect()
    }

    /// The lines that a LogQL question answers over the last hour, oldest first.
    pub fn lines(&self, expr: &str) -> Vec<String> {
        let path =
            format!("/loki/api/v1/query_range?limit=5000&direction=forward&query={}", encode(expr));
        let Some(answer) = get(self.port, &path) else { return Vec::new() };
        assert_eq!(answer.status, 200, "{expr}: {}", answer.text());
        let json = answer.json();
        let mut lines: Vec<(i64, String)> = Vec::new();
        for stream in json["data"]["result"].as_array().into_iter().flatten() {
            for value in stream["values"].as_array().into_iter().flatten() {
                let ts_ns = value[0].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
                lines.push((ts_ns, value[1].as_str().unwrap_or_default().to_owned()));
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// The state of a shipped alert: `inactive`, `pending` or `firing`.
    pub fn alert_state(&self, name: &str) -> String {
        let Some(answer) = get(self.port, "/api/v1/rules?type=alert") else { return String::new() };
        let json = answer.json();
        let groups = json["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let found = rules.into_iter().find(|rule| rule["name"] == name);
        found.and_then(|rule| rule["state"].as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Drop for Vigie {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A gentle end first, so that children of a demonstration end too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        for _ in 0..200 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
