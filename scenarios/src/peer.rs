//! Debian's Prometheus as an oracle: the same data, the same questions.

use crate::{free_port, get, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program in the folder that `cargo xtask test` fills, or the system's. `None`, said loudly, when
/// there is none.
pub fn tool(name: &str) -> Option<PathBuf> {
    let peers = std::env::var_os("VIGIE_PEERS").map(|folder| PathBuf::from(folder).join("usr/bin"));
    let folders = [peers, Some(PathBuf::from("/usr/bin"))];
    let found = folders.into_iter().flatten().map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: {name} is neither in /usr/bin nor under VIGIE_PEERS");
    }
    found
}

/// A running Prometheus that scrapes nothing and takes remote write.
pub struct Prometheus {
    child: Child,
    /// Its port.
    pub port: u16,
}

impl Prometheus {
    /// Starts it in `home` and waits until it is ready.
    pub fn start(home: &Path) -> Option<Prometheus> {
        let program = tool("prometheus")?;
        let config = home.join("peer.yml");
        std::fs::write(&config, "global: {}\n").expect("the folder is writable");
        let port = free_port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("peer").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"])
            .arg("--enable-feature=promql-at-modifier,promql-negative-offset")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the peer starts");
        let peer = Prometheus { child, port };
        wait_for("the peer is ready", 60, || {
            get(port, "/-/ready").filter(|answer| answer.status == 200)
        });
        Some(peer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
