//! What the kernel says about itself: CPU, memory, load, pressure, descriptors, identity.

use super::page::Page;
use super::{Roots, number, read};
use vigie_codec::exposition::MetricKind;

/// `node_cpu_seconds_total` and `node_cpu_guest_seconds_total`.
pub(super) fn cpu(roots: &Roots, page: &mut Page) -> Result<(), String> {
    const MODES: [&str; 8] =
        ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let text = roots.proc("stat")?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        if cpu.is_empty() {
            continue;
        }
        let ticks: Vec<f64> = words.filter_map(number).map(|t| t / ticks_per_second).collect();
        for (mode, seconds) in MODES.iter().zip(&ticks) {
            let help = "Seconds each CPU spent in each mode.";
            let labels = [("cpu", cpu), ("mode", mode)];
            page.counter("node_cpu_seconds_total", help, &labels, *seconds);
        }
        for (mode, seconds) in ["user", "nice"].iter().zip(ticks.iter().skip(8)) {
            let help = "Seconds each CPU spent running guests (virtual machines).";
            let labels = [("cpu", cpu), ("mode", mode)];
            page.counter("node_cpu_guest_seconds_total", help, &labels, *seconds);
        }
    }
    Ok(())
}

/// The rest of `/proc/stat`.
pub(super) fn stat(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("stat")?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next().and_then(number)) else {
            continue;
        };
        let (name, help, kind) = match key {
            "intr" => ("node_intr_total", "Interrupts served.", MetricKind::Counter),
            "ctxt" => ("node_context_switches_total", "Context switches.", MetricKind::Counter),
            "processes" => ("node_forks_total", "Processes and threads made.", MetricKind::Counter),
            "btime" => (
                "node_boot_time_seconds",
                "When the machine started, Unix time.",
                MetricKind::Gauge,
            ),
            "procs_running" => {
                ("node_procs_running", "Processes ready to run or running.", MetricKind::Gauge)
            }
            "procs_blocked" => {
                ("node_procs_blocked", "Processes waiting for IO.", MetricKind::Gauge)
            }
            _ => continue,
        };
        page.add(name, help, kind, &[], value);
    }
    Ok(())
}

/// `node_memory_*`: every line of `/proc/meminfo`.
pub(super) fn meminfo(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("meminfo")?;
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(number) else { continue };
        let key = key.replace('(', "_").replace(')', "");
        let (suffix, factor) = match words.next() {
            Some("kB") => ("_bytes", 1024.0),
            _ => ("", 1.0),
        };
        let name = format!("node_memory_{key}{suffix}");
        page.gauge(name, format!("{key} of /proc/meminfo."), &[], value * factor);
    }
    Ok(())
}

/// `node_vmstat_*`: the fields of `/proc/vmstat` that node_exporter keeps.
pub(super) fn vmstat(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("vmstat")?;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let wanted = ["oom_kill", "pgpg", "pswp"].iter().any(|prefix| key.starts_with(prefix))
            || (key.starts_with("pg") && key.contains("fault"));
        let (true, Some(value)) = (wanted, number(value)) else { continue };
        let (name, help) = (format!("node_vmstat_{key}"), format!("{key} of /proc/vmstat."));
        page.add(name, help, MetricKind::Unknown, &[], value);
    }
    Ok(())
}

/// `node_load1`, `node_load5`, `node_load15`.
pub(super) fn loadavg(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("loadavg")?;
    let mut loads = text.split_ascii_whitespace().filter_map(number);
    for (name, help) in [
        ("node_load1", "Load average over one minute."),
        ("node_load5", "Load average over five minutes."),
        ("node_load15", "Load average over fifteen minutes."),
    ] {
        let load = loads.next().ok_or("loadavg: fewer than three numbers")?;
        page.gauge(name, help, &[], load);
    }
    Ok(())
}

/// `node_pressure_*`, where the kernel has it.
pub(super) fn pressure(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let mut found = false;
    for (resource, kinds) in [
        ("cpu", &[("some", "waiting")][..]),
        ("io", &[("some", "waiting"), ("full", "stalled")]),
        ("memory", &[("some", "waiting"), ("full", "stalled")]),
    ] {
        let Ok(text) = roots.proc(&format!("pressure/{resource}")) else { continue };
        for (word, kind) in kinds {
            let total_us = text
                .lines()
                .find(|line| line.starts_with(word))
                .and_then(|line| line.rsplit_once("total="))
                .and_then(|(_, total)| number(total));
            let Some(total_us) = total_us else { continue };
            found = true;
            let name = format!("node_pressure_{resource}_{kind}_seconds_total");
            let help = match *kind {
                "waiting" => format!("Seconds in which some process waited for {resource}."),
                _ => format!("Seconds in which every process waited for {resource}."),
            };
            page.counter(name, help, &[], total_us / 1e6);
        }
    }
    if found { Ok(()) } else { Err("pressure: the kernel does not report it".to_owned()) }
}

/// `node_filefd_*`.
pub(super) fn filefd(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("sys/fs/file-nr")?;
    let numbers: Vec<f64> = text.split_ascii_whitespace().filter_map(number).collect();
    let [allocated, _, maximum] = numbers[..] else {
        return Err("file-nr: not three numbers".to_owned());
    };
    page.gauge("node_filefd_allocated", "File descriptors in use.", &[], allocated);
    page.gauge("node_filefd_maximum", "File descriptors that can be in use.", &[], maximum);
    Ok(())
}

/// `node_entropy_*`.
pub(super) fn entropy(roots: &Roots, page: &mut Page) -> Result<(), String> {
    for (file, name, help) in [
        ("entropy_avail", "node_entropy_available_bits", "Bits of entropy at hand."),
        ("poolsize", "node_entropy_pool_size_bits", "Bits of entropy the pool can hold."),
    ] {
        let text = roots.proc(&format!("sys/kernel/random/{file}"))?;
        page.gauge(name, help, &[], number(&text).ok_or("entropy: not a number")?);
    }
    Ok(())
}

/// `node_nf_conntrack_entries` and its limit, where the module is loaded.
pub(super) fn conntrack(roots: &Roots, page: &mut Page) -> Result<(), String> {
    for (file, name, help) in [
        ("nf_conntrack_count", "node_nf_conntrack_entries", "Connections tracked."),
        ("nf_conntrack_max", "node_nf_conntrack_entries_limit", "Connections that can be tracked."),
    ] {
        let text = roots.proc(&format!("sys/net/netfilter/{file}"))?;
        page.gauge(name, help, &[], number(&text).ok_or("conntrack: not a number")?);
    }
    conntrack_stat(roots, page);
    Ok(())
}

/// `node_nf_conntrack_stat_*`: the sums over the CPUs.
fn conntrack_stat(roots: &Roots, page: &mut Page) {
    const WANTED: [&str; 8] = [
        "found",
        "invalid",
        "ignore",
        "insert",
        "insert_failed",
        "drop",
        "early_drop",
        "search_restart",
    ];
    let Ok(text) = roots.proc("net/stat/nf_conntrack") else { return };
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    let mut sums = vec![0u64; names.len()];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum += u64::from_str_radix(word, 16).unwrap_or(0);
        }
    }
    for (name, sum) in names.iter().zip(sums) {
        if WANTED.contains(name) {
            let help = format!("{name} of the connection tracker.");
            page.gauge(format!("node_nf_conntrack_stat_{name}"), help, &[], sum as f64);
        }
    }
}

/// `node_schedstat_*`, where the kernel has it.
pub(super) fn schedstat(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("schedstat")?;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(cpu), [.., running, waiting, slices]) =
            (words.first().and_then(|word| word.strip_prefix("cpu")), &words[..])
        else {
            continue;
        };
        for (name, help, value, factor) in [
            ("running_seconds_total", "Seconds each CPU ran a process.", running, 1e9),
            ("waiting_seconds_total", "Seconds processes waited for each CPU.", waiting, 1e9),
            ("timeslices_total", "Time slices each CPU gave out.", slices, 1.0),
        ] {
            if let Some(value) = number(value) {
                let name = format!("node_schedstat_{name}");
                page.counter(name, help, &[("cpu", cpu)], value / factor);
            }
        }
    }
    Ok(())
}

/// `node_time_*`: the clock and where it comes from.
pub(super) fn time(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let sources =
        |file: &str| roots.sys(&format!("devices/system/clocksource/clocksource0/{file}"));
    for (file, name, help) in [
        ("available_clocksource", "available", "Clock sources there are."),
        ("current_clocksource", "current", "The clock source in use."),
    ] {
        for source in sources(file).unwrap_or_default().split_ascii_whitespace() {
            let labels = [("clocksource", source), ("device", "0")];
            page.gauge(format!("node_time_clocksource_{name}_info"), help, &labels, 1.0);
        }
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_err(|error| error.to_string())?;
    page.gauge("node_time_seconds", "The machine's clock, Unix time.", &[], now.as_secs_f64());
    Ok(())
}

/// `node_uname_info`.
pub(super) fn uname(page: &mut Page) -> Result<(), String> {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let labels = [
        ("domainname", &*text(uname.domainname())),
        ("machine", &*text(uname.machine())),
        ("nodename", &*text(uname.nodename())),
        ("release", &*text(uname.release())),
        ("sysname", &*text(uname.sysname())),
        ("version", &*text(uname.version())),
    ];
    page.gauge("node_uname_info", "What the kernel calls itself.", &labels, 1.0);
    Ok(())
}

/// `node_os_info` and `node_os_version`, from `os-release`.
pub(super) fn os(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text =
        read(&roots.root("etc/os-release")).or_else(|_| read(&roots.root("usr/lib/os-release")))?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or("").trim_matches(['"', '\'']).to_owned()
    };
    const KEYS: [&str; 12] = [
        "build_id",
        "id",
        "id_like",
        "image_id",
        "image_version",
        "name",
        "pretty_name",
        "variant",
        "variant_id",
        "version",
        "version_codename",
        "version_id",
    ];
    let values: Vec<String> = KEYS.iter().map(|key| value(&key.to_uppercase())).collect();
    let labels: Vec<(&'static str, &str)> =
        KEYS.iter().copied().zip(values.iter().map(String::as_str)).collect();
    page.gauge("node_os_info", "The distribution.", &labels, 1.0);
    let (id, id_like, name) = (value("ID"), value("ID_LIKE"), value("NAME"));
    let digits: String = {
        let version = value("VERSION_ID");
        version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
    };
    if let Some(version) = number(&digits) {
        let labels = [("id", &*id), ("id_like", &*id_like), ("name", &*name)];
        page.gauge("node_os_version", "The distribution's version.", &labels, version);
    }
    Ok(())
}
