//! What is sent: series in the shapes of real fleets, and their values at any step.
//!
//! Everything follows from the number of an instance, the number of a series and the number of a
//! step, so a run can be repeated to the bit and two programs can be given the same.
//!
//! *node* imitates node_exporter: about 500 series per instance with six to nine labels, of which
//! two thirds stand still, the rest counters of whole numbers, gauges of pages and a few fractions.
//! *devops* imitates TSBS: 101 gauges per host, most of them moving each time.

use vigie_codec::remote_write::Pairs;

/// Which fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// node_exporter.
    Node,
    /// TSBS' devops.
    Devops,
}

/// How a series moves.
#[derive(Clone, Copy, Debug)]
pub enum Motion {
    /// It does not.
    Still(f64),
    /// A counter: so much per step, and from zero again after so many steps.
    Counter {
        /// Per step.
        rate: u64,
        /// Steps between resets.
        reset_steps: u64,
    },
    /// A gauge that walks in whole multiples of `grain`.
    Gauge {
        /// Around this.
        middle: f64,
        /// In units of this.
        grain: f64,
    },
    /// A gauge with three decimals.
    Fraction,
}

/// One series of an instance.
pub struct Series {
    /// Its labels, sorted, without `instance` and `job`.
    pub labels: Pairs,
    /// How it moves.
    pub motion: Motion,
}

/// A number that looks random, the same for the same numbers.
pub fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(b.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(c.wrapping_mul(0x94d0_49bb_1331_11eb));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Motion {
    /// The value of series `series` of instance `instance` at step `step`.
    pub fn value(self, instance: u64, series: u64, step: u64) -> f64 {
        let seed = mix(instance, series, 0);
        match self {
            Motion::Still(value) => value,
            Motion::Counter { rate, reset_steps } => {
                let since = (step + seed % reset_steps) % reset_steps;
                let jitter = mix(instance, series, step) % (rate / 4 + 1);
                (since * rate + jitter) as f64
            }
            Motion::Gauge { middle, grain } => {
                let slow = mix(instance, series, step / 16) % 64;
                let fast = mix(instance, series, step) % 8;
                middle + grain * (slow * 8 + fast) as f64
            }
            Motion::Fraction => (mix(instance, series, step / 4) % 8000 + step % 4) as f64 / 1000.0,
        }
    }
}

/// The series of one instance of a shape.
pub fn series(shape: Shape) -> Vec<Series> {
    match shape {
        Shape::Node => node(),
        Shape::Devops => devops(),
    }
}

fn one(name: &str, labels: &[(&str, String)], motion: Motion) -> Series {
    let mut pairs: Pairs = vec![("__name__".to_owned(), name.to_owned())];
    pairs.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    // What a fleet's relabelling adds everywhere.
    for (name, value) in [("cluster", "eu-west-3a"), ("env", "production"), ("team", "plateforme")]
    {
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Series { labels: pairs, motion }
}

fn node() -> Vec<Series> {
    let mut all = Vec::new();
    processors(&mut all);
    disks(&mut all);
    network(&mut all);
    for at in 0..48 {
        let moving = Motion::Gauge { middle: 1e9, grain: 4096.0 };
        let motion = if at % 3 == 0 { moving } else { Motion::Still(4096.0 * f64::from(at)) };
        all.push(one(&format!("node_memory_Field{at}_bytes"), &[], motion));
    }
    for at in 0..200 {
        let motion = if at % 10 == 0 { counter(3 + at) } else { Motion::Still(at as f64) };
        all.push(one(&format!("node_netstat_Tcp_Field{at}"), &[], motion));
    }
    for bucket in "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf".split(' ') {
        let labels = [("le", bucket.to_owned())];
        all.push(one("node_scrape_duration_seconds_bucket", &labels, counter(7)));
    }
    for name in ["node_load1", "node_load5", "node_load15"] {
        all.push(one(name, &[], Motion::Fraction));
    }
    all
}

fn counter(rate: u64) -> Motion {
    Motion::Counter { rate, reset_steps: 100_000 }
}

fn processors(all: &mut Vec<Series>) {
    for cpu in 0..8 {
        let modes = "idle iowait irq nice softirq steal system user".split(' ');
        for (at, mode) in modes.enumerate() {
            let labels = [("cpu", cpu.to_string()), ("mode", mode.to_owned())];
            let moves = [0, 4, 6, 7].contains(&at);
            let motion = if moves { counter(140 + at as u64) } else { Motion::Still(0.0) };
            all.push(one("node_cpu_seconds_total", &labels, motion));
        }
        for what in ["processed", "dropped", "times_squeezed"] {
            let motion = if what == "processed" { counter(900) } else { Motion::Still(0.0) };
            let name = format!("node_softnet_{what}_total");
            all.push(one(&name, &[("cpu", cpu.to_string())], motion));
        }
    }
}

fn disks(all: &mut Vec<Series>) {
    for device in ["vda", "vda1", "vda15", "dm-0"] {
        let whats = "reads_completed reads_merged writes_completed writes_merged read_bytes \
                     written_bytes io_now discards_completed";
        for (at, what) in whats.split(' ').enumerate() {
            let moves = [2, 5].contains(&at);
            let motion = if moves { counter(4096 * 3) } else { Motion::Still(1000.0 * at as f64) };
            let name = format!("node_disk_{what}_total");
            all.push(one(&name, &[("device", device.to_owned())], motion));
        }
    }
    for (at, mount) in ["/", "/boot", "/home", "/var/lib/docker", "/run"].iter().enumerate() {
        for what in ["avail_bytes", "size_bytes", "free_bytes", "files", "files_free", "readonly"] {
            let labels = [
                ("device", format!("/dev/vda{at}")),
                ("fstype", "ext4".to_owned()),
                ("mountpoint", (*mount).to_owned()),
            ];
            let motion = if at < 2 && what == "avail_bytes" {
                Motion::Gauge { middle: 4e10, grain: 4096.0 }
            } else {
                Motion::Still(5.2e10 + at as f64)
            };
            all.push(one(&format!("node_filesystem_{what}"), &labels, motion));
        }
    }
}

fn network(all: &mut Vec<Series>) {
    let whats = "bytes packets errs drop fifo compressed multicast frame";
    for device in ["eth0", "lo", "docker0"] {
        for direction in ["receive", "transmit"] {
            for what in whats.split(' ') {
                let motion = match what {
                    "bytes" if device != "docker0" => counter(91_337),
                    "packets" if device != "docker0" => counter(210),
                    _ => Motion::Still(0.0),
                };
                let name = format!("node_network_{direction}_{what}_total");
                all.push(one(&name, &[("device", device.to_owned())], motion));
            }
        }
    }
}

fn devops() -> Vec<Series> {
    let parts = [
        ("cpu", 10),
        ("disk", 7),
        ("diskio", 7),
        ("kernel", 11),
        ("mem", 9),
        ("net", 8),
        ("nginx", 7),
        ("postgresl", 16),
        ("redis", 26),
    ];
    let mut all = Vec::new();
    for (part, count) in parts {
        for at in 0..count {
            let labels = [
                ("arch", "x64".to_owned()),
                ("os", "Ubuntu16.10".to_owned()),
                ("region", "eu-west-1".to_owned()),
            ];
            let motion = Motion::Gauge { middle: 0.0, grain: 1.0 };
            all.push(one(&format!("{part}_field{at}"), &labels, motion));
        }
    }
    all
}
