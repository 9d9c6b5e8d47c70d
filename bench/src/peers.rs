//! Debian's Prometheus and the two exporters, idling beside Vigie: a part of what it takes the place
//! of. Grafana, Loki and promtail are not in Debian, and its Alertmanager does not start unpacked.
//!
//! The programs stand in the folder that `VIGIE_PEERS` names (`cargo xtask bench` fetches them).

use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use vigie_scenarios::{free_port, wait_for};

/// The running processes, by name.
pub struct Peers(Vec<(&'static str, Child)>);

impl Peers {
    /// Starts them in `home`, Prometheus scraping the exporters every 15 s. `None`, said loudly, when
    /// there is no folder of peers.
    pub fn start(home: &Path, postgres_dsn: &str) -> Result<Option<Peers>> {
        let folder = std::env::var("VIGIE_PEERS").unwrap_or_default();
        if folder.is_empty() {
            println!("NOTICE: VIGIE_PEERS is not set: nothing is compared with");
            return Ok(None);
        }
        let bin = Path::new(&folder).join("usr/bin");
        let (node, postgres, prometheus) = (free_port(), free_port(), free_port());
        let mut peers = Peers(Vec::new());
        let listen = |port: u16| format!("--web.listen-address=127.0.0.1:{port}");
        peers.spawn("node_exporter", &bin.join("prometheus-node-exporter"), &[listen(node)], "")?;
        let exporter = bin.join("prometheus-postgres-exporter");
        let dsn = format!("{postgres_dsn}?sslmode=disable");
        peers.spawn("postgres_exporter", &exporter, &[listen(postgres)], &dsn)?;
        let config = home.join("peer-prometheus.yml");
        let targets = [("node", node), ("postgresql", postgres), ("prometheus", prometheus)];
        let jobs = targets.map(|(job, port)| {
            format!("- job_name: {job}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n")
        });
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/rules/koprogo.yml");
        let text = format!(
            "global: {{scrape_interval: 15s, evaluation_interval: 15s}}\nrule_files: ['{}']\nscrape_configs:\n{}",
            rules.display(),
            jobs.concat()
        );
        std::fs::write(&config, text)?;
        let arguments = [
            listen(prometheus),
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", home.join("peer-prometheus").display()),
        ];
        peers.spawn("prometheus", &bin.join("prometheus"), &arguments, "")?;
        for port in [node, postgres, prometheus] {
            wait_for("a peer answers", 60, || vigie_scenarios::get(port, "/metrics"));
        }
        Ok(Some(peers))
    }

    fn spawn(
        &mut self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
        dsn: &str,
    ) -> Result<()> {
        let child = Command::new(program)
            .args(arguments)
            .env("DATA_SOURCE_NAME", dsn)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        self.0.push((name, child));
        Ok(())
    }

    /// Prints each process's memory, their sum, and Vigie's share of it.
    pub fn print(&self, own_mib: f64) -> Result<()> {
        let mut sum_mib = 0.0;
        for (name, child) in &self.0 {
            let mib = crate::rss_mib(child.id())?;
            println!("{:<44} {mib:>10.2}", format!("  Debian's {name}, VmRSS MiB"));
            sum_mib += mib;
        }
        println!("{:<44} {sum_mib:>10.2}", "  the three together, three of seven");
        println!("{:<44} {:>10.2}", "  Vigie : these three", own_mib / sum_mib);
        Ok(())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
