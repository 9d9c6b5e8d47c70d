//! This machine, with node_exporter's names and labels.
//!
//! [`HostCollector`] reads small text files under `/proc` and `/sys` (or under the roots given by
//! `--path.procfs`, `--path.sysfs` and `--path.rootfs`) and `statfs` of the mounted file systems.
//! Names, labels, units and default exclusions are those of node_exporter 1.5 as Debian builds it,
//! so that existing dashboards and alerts keep working; `node_processes_*`, which node_exporter has
//! switched off by default, is always read. Left out are `node_timex_*` (its system call needs unsafe
//! code), `node_textfile_*`, `node_disk_info` and what a virtual server has not.
//! A part that cannot be read is missing from the page and says so in
//! `node_scrape_collector_success`; it never takes the others with it.

mod disk;
mod filesystem;
mod kernel;
mod network;
mod page;
mod processes;

use crate::collector::{Collected, Collecting, Collector, INTERVAL_MS};
use filesystem::Mounts;
use page::Page;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use vigie_codec::exposition::{Family, MetricKind, encode_text};

/// Where the machine is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// `--path.procfs`.
    pub procfs: PathBuf,
    /// `--path.sysfs`.
    pub sysfs: PathBuf,
    /// `--path.rootfs`.
    pub rootfs: PathBuf,
    /// The label `instance`.
    pub instance: String,
    /// Milliseconds between two collections.
    pub interval_ms: i64,
}

impl Default for HostConfig {
    fn default() -> Self {
        HostConfig {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            instance: "localhost:9100".to_owned(),
            interval_ms: INTERVAL_MS,
        }
    }
}

/// Reads the machine. Job `node`.
pub struct HostCollector {
    config: HostConfig,
    inner: Arc<Inner>,
}

struct Inner {
    roots: Roots,
    mounts: Mounts,
}

/// The three roots, and how files under them are read.
struct Roots {
    procfs: PathBuf,
    sysfs: PathBuf,
    rootfs: PathBuf,
}

type Part = (&'static str, fn(&Inner, &mut Page) -> Result<(), String>);

/// node_exporter's collectors, by its names.
const PARTS: [Part; 23] = [
    ("arp", |inner, page| network::arp(&inner.roots, page)),
    ("conntrack", |inner, page| kernel::conntrack(&inner.roots, page)),
    ("cpu", |inner, page| kernel::cpu(&inner.roots, page)),
    ("diskstats", |inner, page| disk::diskstats(&inner.roots, page)),
    ("entropy", |inner, page| kernel::entropy(&inner.roots, page)),
    ("filefd", |inner, page| kernel::filefd(&inner.roots, page)),
    ("filesystem", |inner, page| inner.mounts.collect(&inner.roots, page)),
    ("loadavg", |inner, page| kernel::loadavg(&inner.roots, page)),
    ("meminfo", |inner, page| kernel::meminfo(&inner.roots, page)),
    ("netclass", |inner, page| network::netclass(&inner.roots, page)),
    ("netdev", |inner, page| network::netdev(&inner.roots, page)),
    ("netstat", |inner, page| network::netstat(&inner.roots, page)),
    ("os", |inner, page| kernel::os(&inner.roots, page)),
    ("pressure", |inner, page| kernel::pressure(&inner.roots, page)),
    ("processes", |inner, page| processes::processes(&inner.roots, page)),
    ("schedstat", |inner, page| kernel::schedstat(&inner.roots, page)),
    ("sockstat", |inner, page| network::sockstat(&inner.roots, page)),
    ("softnet", |inner, page| network::softnet(&inner.roots, page)),
    ("stat", |inner, page| kernel::stat(&inner.roots, page)),
    ("time", |inner, page| kernel::time(&inner.roots, page)),
    ("udp_queues", |inner, page| network::udp_queues(&inner.roots, page)),
    ("uname", |_, page| kernel::uname(page)),
    ("vmstat", |inner, page| kernel::vmstat(&inner.roots, page)),
];

impl HostCollector {
    /// A collector for the machine under these roots.
    pub fn new(config: HostConfig) -> HostCollector {
        let roots = Roots {
            procfs: config.procfs.clone(),
            sysfs: config.sysfs.clone(),
            rootfs: config.rootfs.clone(),
        };
        HostCollector { config, inner: Arc::new(Inner { roots, mounts: Mounts::new() }) }
    }

    /// Reads everything once. Blocks; takes a few milliseconds.
    pub fn read(&self) -> Vec<Family> {
        self.inner.read()
    }

    /// The page that port 9100 serves.
    pub async fn exporter_page(&self) -> String {
        encode_text(&self.collect().await.families)
    }
}

impl Collector for HostCollector {
    fn job(&self) -> &str {
        "node"
    }

    fn instance(&self) -> &str {
        &self.config.instance
    }

    fn interval_ms(&self) -> i64 {
        self.config.interval_ms
    }

    fn collect(&self) -> Collecting<'_> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || inner.read()).await {
                Ok(families) => Collected { families, error: None },
                Err(error) => Collected { families: Vec::new(), error: Some(error.to_string()) },
            }
        })
    }
}

impl Inner {
    fn read(&self) -> Vec<Family> {
        let mut page = Page::default();
        let mut outcome = Vec::with_capacity(PARTS.len());
        for (name, part) in PARTS {
            let started = Instant::now();
            let result = part(self, &mut page);
            if let Err(error) = &result {
                tracing::trace!(collector = name, %error, "nothing read");
            }
            outcome.push((name, started.elapsed().as_secs_f64(), result.is_ok()));
        }
        for (name, duration_s, ok) in outcome {
            let labels = [("collector", name)];
            page.add(
                "node_scrape_collector_duration_seconds",
                "How long reading this part took.",
                MetricKind::Gauge,
                &labels,
                duration_s,
            );
            page.add(
                "node_scrape_collector_success",
                "Whether this part could be read.",
                MetricKind::Gauge,
                &labels,
                f64::from(u8::from(ok)),
            );
        }
        page.into_families()
    }
}

impl Roots {
    fn proc(&self, path: &str) -> Result<String, String> {
        read(&self.procfs.join(path))
    }

    /// A file of one line under the root of `/sys`.
    fn sys(&self, path: &str) -> Result<String, String> {
        read(&self.sysfs.join(path)).map(|text| text.trim().to_owned())
    }

    fn root(&self, path: &str) -> PathBuf {
        self.rootfs.join(path.trim_start_matches('/'))
    }
}

fn read(path: &Path) -> Result<String, String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The number that `text` is, if it is one.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests;
