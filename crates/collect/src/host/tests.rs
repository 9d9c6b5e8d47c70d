//! A made-up machine, the real one, and a real node_exporter as the oracle.

use super::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use vigie_codec::exposition::{Entry, Format, parse};

fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    parse(text.as_bytes(), Format::Text, &mut |entry| {
        if let Entry::Sample(sample) = entry {
            let labels = sample.labels().unwrap();
            let name = labels.metric_name().unwrap().to_owned();
            let previous =
                out.insert(format!("{name}{}", labels.without(&["__name__"])), sample.value);
            assert_eq!(previous, None, "{name} {labels} stands twice");
        }
    })
    .unwrap();
    out
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn machine(root: &Path) -> HostCollector {
    write(
        root,
        &[
            (
                "proc/stat",
                "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 100 20 30 4000 5 6 7 8 9 10\nintr 77 1 2\nctxt 88\nbtime 1700000000\nprocesses 99\nprocs_running 2\nprocs_blocked 1\n",
            ),
            (
                "proc/meminfo",
                "MemTotal:       2048 kB\nActive(anon):      1 kB\nHugePages_Total:       3\n",
            ),
            (
                "proc/vmstat",
                "nr_free_pages 1\npgfault 5\npgmajfault 6\noom_kill 1\npswpin 2\npgpgout 3\n",
            ),
            ("proc/loadavg", "0.10 0.20 0.30 1/2 3\n"),
            (
                "proc/diskstats",
                " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n",
            ),
            (
                "proc/net/dev",
                "h\nh\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:10 20 1 2 3 4 5 6 70 80 1 2 3 4 5 6\n",
            ),
            ("proc/net/netstat", "TcpExt: SyncookiesSent Other ListenDrops\nTcpExt: 1 2 3\n"),
            ("proc/net/snmp", "Tcp: RtoMin CurrEstab InErrs\nTcp: 200 4 5\n"),
            ("proc/net/snmp6", "Ip6InOctets 128\nIp6InReceives 1\n"),
            ("proc/net/sockstat", "sockets: used 20\nTCP: inuse 1 mem 2\n"),
            ("proc/net/softnet_stat", "0000000a 00000001 00000002 0\n"),
            ("proc/net/arp", "head\n192.0.2.1 0x1 0x2 00:00 * eth0\n"),
            (
                "proc/pressure/memory",
                "some avg10=0.00 total=2500000\nfull avg10=0.00 total=500000\n",
            ),
            ("proc/sys/fs/file-nr", "675\t0\t1000\n"),
            ("proc/sys/kernel/pid_max", "32768\n"),
            ("proc/1/stat", "1 (in it) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 1 0\n"),
            ("proc/2/stat", "2 (z) Z 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0\n"),
            (
                "proc/1/mounts",
                &format!("/dev/vda {} ext4 rw 0 0\nproc /proc proc rw 0 0\n", root.display()),
            ),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/mtu", "1500\n"),
            ("sys/class/net/eth0/flags", "0x1003\n"),
            ("sys/class/net/eth0/speed", "1000\n"),
            ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n"),
        ],
    );
    machine_again(root)
}

fn machine_again(root: &Path) -> HostCollector {
    HostCollector::new(HostConfig {
        procfs: root.join("proc"),
        sysfs: root.join("sys"),
        rootfs: root.to_owned(),
        ..HostConfig::default()
    })
}

#[test]
fn a_made_up_machine_is_read_number_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let got = samples(&encode_text(&machine(directory.path()).read()));
    for (sample, value) in [
        (r#"node_cpu_seconds_total{cpu="0", mode="user"}"#, 1.0),
        (r#"node_cpu_seconds_total{cpu="0", mode="steal"}"#, 0.08),
        (r#"node_cpu_guest_seconds_total{cpu="0", mode="nice"}"#, 0.1),
        ("node_intr_total{}", 77.0),
        ("node_forks_total{}", 99.0),
        ("node_boot_time_seconds{}", 1.7e9),
        ("node_procs_blocked{}", 1.0),
        ("node_memory_MemTotal_bytes{}", 2_097_152.0),
        ("node_memory_Active_anon_bytes{}", 1024.0),
        ("node_memory_HugePages_Total{}", 3.0),
        ("node_vmstat_pgmajfault{}", 6.0),
        ("node_load15{}", 0.3),
        (r#"node_disk_read_bytes_total{device="sda"}"#, 1536.0),
        (r#"node_disk_io_now{device="sda"}"#, 9.0),
        (r#"node_disk_flush_requests_time_seconds_total{device="sda"}"#, 0.017),
        (r#"node_network_receive_bytes_total{device="eth0"}"#, 10.0),
        (r#"node_network_transmit_compressed_total{device="eth0"}"#, 6.0),
        (r#"node_network_flags{device="eth0"}"#, 4099.0),
        (r#"node_network_speed_bytes{device="eth0"}"#, 125e6),
        (r#"node_network_up{device="eth0"}"#, 1.0),
        ("node_netstat_TcpExt_ListenDrops{}", 3.0),
        ("node_netstat_Tcp_CurrEstab{}", 4.0),
        ("node_netstat_Ip6_InOctets{}", 128.0),
        ("node_sockstat_sockets_used{}", 20.0),
        ("node_sockstat_TCP_mem_bytes{}", 2.0 * rustix::param::page_size() as f64),
        (r#"node_softnet_processed_total{cpu="0"}"#, 10.0),
        (r#"node_arp_entries{device="eth0"}"#, 1.0),
        ("node_pressure_memory_waiting_seconds_total{}", 2.5),
        ("node_pressure_memory_stalled_seconds_total{}", 0.5),
        ("node_filefd_maximum{}", 1000.0),
        ("node_processes_pids{}", 2.0),
        ("node_processes_threads{}", 4.0),
        (r#"node_processes_state{state="Z"}"#, 1.0),
        ("node_processes_max_processes{}", 32768.0),
        (r#"node_filesystem_readonly{device="/dev/vda", fstype="ext4", mountpoint="/"}"#, 0.0),
        (r#"node_os_version{id="debian", name="Debian GNU/Linux"}"#, 12.0),
        (r#"node_scrape_collector_success{collector="cpu"}"#, 1.0),
        (r#"node_scrape_collector_success{collector="entropy"}"#, 0.0),
    ] {
        assert_eq!(got.get(sample), Some(&value), "{sample}");
    }
    for absent in ["device=\"lo\"", "sda1", "node_netstat_Tcp_RtoMin", "node_vmstat_nr_", "/proc"] {
        let found: Vec<_> = got.keys().filter(|key| key.contains(absent)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    let mounts = directory.path().join("proc/1/mounts");
    std::fs::write(mounts, format!("overlay {} overlay rw 0 0\n", directory.path().display()))
        .unwrap();
    let contained = samples(&encode_text(&machine_again(directory.path()).read()));
    let root = r#"node_filesystem_readonly{device="overlay", fstype="overlay", mountpoint="/"}"#;
    assert_eq!(contained.get(root), Some(&0.0), "a container's root is better than nothing");
    let size = got.iter().find(|(key, _)| key.starts_with("node_filesystem_size_bytes")).unwrap();
    assert!(*size.1 > 0.0);
}

#[tokio::test]
async fn the_machine_of_the_runbook_is_there() {
    let page = HostCollector::new(HostConfig::default()).exporter_page().await;
    let got = samples(&page);
    for name in [
        "node_cpu_seconds_total",
        "node_memory_MemTotal_bytes",
        "node_memory_MemAvailable_bytes",
        "node_filesystem_size_bytes",
        "node_filesystem_avail_bytes",
        "node_network_receive_bytes_total",
        "node_network_transmit_bytes_total",
        "node_load1",
        "node_processes_pids",
        "node_disk_io_time_seconds_total",
        "node_uname_info",
        "node_time_seconds",
    ] {
        assert!(got.keys().any(|key| key.starts_with(name)), "{name} in\n{page}");
    }
}

/// The binary of Debian's package, if it was unpacked somewhere.
fn node_exporter() -> Option<PathBuf> {
    let given = std::env::var_os("VIGIE_NODE_EXPORTER").map(PathBuf::from);
    let installed = PathBuf::from("/usr/bin/prometheus-node-exporter");
    let found = given.or(Some(installed)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!(
            "SKIPPED: 1 comparison: set VIGIE_NODE_EXPORTER to Debian's prometheus-node-exporter"
        );
    }
    found
}

fn fetch(port: u16) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Ours that node_exporter does not have by default.
const OURS: [&str; 2] = ["node_processes_", "node_scrape_collector_"];
/// Families of node_exporter that are left out: its own process, and what nobody asked for yet.
const THEIRS: [&str; 10] = [
    "go_",
    "process_",
    "promhttp_",
    "node_exporter_build_info",
    "node_disk_info",
    "node_scrape_collector_",
    "node_selinux_",
    "node_textfile_",
    "node_time_zone_offset_",
    "node_timex_",
];
/// Gauges that move all the time: that they are there is enough.
const MOVING: [&str; 8] = [
    "node_load",
    "node_procs_",
    "node_sockstat_",
    "node_memory_",
    "node_netstat_",
    "node_filefd_allocated",
    "node_entropy_",
    "node_arp_entries",
];

/// Whether theirs lies where ours was before or after it, or near.
fn close(name: &str, before: f64, after: f64, theirs: f64) -> bool {
    let slack = 64.0 + 0.05 * before.abs().max(theirs.abs());
    let (low, high) = (before.min(after) - slack, before.max(after) + slack);
    (low..=high).contains(&theirs) || MOVING.iter().any(|prefix| name.starts_with(prefix))
}

/// How many samples agree, and which do not; ours are read before and after theirs.
fn compare(port: u16) -> (usize, Vec<String>) {
    let look = || samples(&encode_text(&HostCollector::new(HostConfig::default()).read()));
    let before = look();
    let theirs = samples(&fetch(port).expect("node_exporter answers"));
    let after = look();
    assert!(theirs.len() > 300, "node_exporter did not answer");
    let (mut same, mut wrong) = (0, Vec::new());
    for (sample, value) in &before {
        if OURS.iter().any(|prefix| sample.starts_with(prefix)) {
            continue;
        }
        match (theirs.get(sample), after.get(sample)) {
            (None, _) => wrong.push(format!("{sample} {value} is not theirs")),
            (Some(other), Some(later)) if close(sample, *value, *later, *other) => same += 1,
            (Some(other), _) => wrong.push(format!("{sample}: ours {value}, theirs {other}")),
        }
    }
    for (sample, value) in theirs.iter().filter(|(sample, _)| !before.contains_key(*sample)) {
        if !THEIRS.iter().any(|prefix| sample.starts_with(prefix)) {
            wrong.push(format!("{sample} {value} is not ours"));
        }
    }
    (same, wrong)
}

#[test]
fn names_labels_and_values_are_those_of_node_exporter() {
    let Some(binary) = node_exporter() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(binary)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    while fetch(port).is_none() && Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The machine is used by others too: a disk or an interface may come or go during one look, and
    // a counter may leap. A fault of ours is there every time.
    let (mut same, mut wrong) = compare(port);
    for _ in 0..4 {
        if !wrong.is_empty() {
            (same, wrong) = compare(port);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{same} samples agree with node_exporter's");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same > 250, "{same}");
}
