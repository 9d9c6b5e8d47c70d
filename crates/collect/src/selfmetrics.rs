//! Vigie's own metrics as a target: what the program counts, and its process.

use crate::collector::{Collected, Collecting, Collector, INTERVAL_MS};
use std::path::Path;
use std::sync::Arc;
use vigie_codec::exposition::{Family, MetricKind, encode_text};

/// Gives the program's own families; called at each collection and for each page. It may block: a
/// ledger in the middle of a long transaction lets it wait.
pub type Gather = Arc<dyn Fn() -> Vec<Family> + Send + Sync>;

/// The program's own metrics. Job `vigie`.
pub struct SelfMetrics {
    instance: String,
    interval_ms: i64,
    gather: Gather,
}

impl SelfMetrics {
    /// A collector over what `gather` returns (`vigie_*`); `process_*` is added to it.
    pub fn new(instance: impl Into<String>, gather: Gather) -> SelfMetrics {
        SelfMetrics { instance: instance.into(), interval_ms: INTERVAL_MS, gather }
    }

    /// The same, collected at another interval.
    pub fn with_interval_ms(self, interval_ms: i64) -> SelfMetrics {
        SelfMetrics { interval_ms, ..self }
    }

    /// The page that the program's `/metrics` serves. May block.
    pub fn exporter_page(&self) -> String {
        encode_text(&read(&self.gather))
    }
}

impl Collector for SelfMetrics {
    fn job(&self) -> &str {
        "vigie"
    }

    fn instance(&self) -> &str {
        &self.instance
    }

    fn interval_ms(&self) -> i64 {
        self.interval_ms
    }

    fn collect(&self) -> Collecting<'_> {
        let gather = Arc::clone(&self.gather);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || read(&gather)).await {
                Ok(families) => Collected { families, error: None },
                Err(error) => Collected { families: Vec::new(), error: Some(error.to_string()) },
            }
        })
    }
}

fn read(gather: &Gather) -> Vec<Family> {
    let mut families = gather();
    families.extend(process_families(Path::new("/proc")));
    families
}

/// `process_*` of this process, with the names that Prometheus' client libraries share.
/// What cannot be read is left out.
pub fn process_families(procfs: &Path) -> Vec<Family> {
    let mut families = Vec::new();
    let mut add = |name: &'static str, help: &'static str, kind, value: Option<f64>| {
        if let Some(value) = value {
            families.push(Family::single(name, help, kind, value));
        }
    };
    let stat = std::fs::read_to_string(procfs.join("self/stat")).unwrap_or_default();
    // The command stands in parentheses; what follows is counted from the state, the third field.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0.0))
        .collect();
    let field = |number: usize| fields.get(number - 4).copied();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    let resident = field(24).map(|pages| pages * rustix::param::page_size() as f64);
    let start =
        field(22).zip(boot_time(procfs)).map(|(since_boot, boot)| boot + since_boot / ticks);
    let open = std::fs::read_dir(procfs.join("self/fd")).map(|entries| entries.count() as f64).ok();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    add("process_cpu_seconds_total", "Seconds of CPU, user and system.", counter, cpu);
    add("process_resident_memory_bytes", "Memory in RAM.", gauge, resident);
    add("process_virtual_memory_bytes", "Address space in use.", gauge, field(23));
    add("process_start_time_seconds", "When the process started, Unix time.", gauge, start);
    add("process_threads", "Threads.", gauge, field(20));
    add("process_open_fds", "File descriptors in use.", gauge, open);
    add(
        "process_max_fds",
        "File descriptors there can be.",
        gauge,
        limit.map(|limit| limit as f64),
    );
    families
}

fn boot_time(procfs: &Path) -> Option<f64> {
    let stat = std::fs::read_to_string(procfs.join("stat")).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_program_counts_itself() {
        let gather = || vec![Family::single("vigie_up", "h", MetricKind::Gauge, 1.0)];
        let own = SelfMetrics::new("localhost:9090", Arc::new(gather));
        let families = own.collect().await.families;
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name);
            family.unwrap_or_else(|| panic!("{name}")).samples[0].value
        };
        assert_eq!(value("vigie_up"), 1.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert!(own.exporter_page().contains("# TYPE process_cpu_seconds_total counter\n"));
    }
}
