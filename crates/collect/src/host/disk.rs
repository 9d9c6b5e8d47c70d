//! Block devices: `/proc/diskstats`.

use super::page::Page;
use super::{Roots, number};
use vigie_codec::exposition::MetricKind;

const SECTOR_BYTES: f64 = 512.0;
const MS: f64 = 0.001;

/// Name, help, kind and factor of each column after the device's name.
const COLUMNS: [(&str, &str, MetricKind, f64); 17] = [
    ("reads_completed_total", "Reads completed.", MetricKind::Counter, 1.0),
    ("reads_merged_total", "Reads merged with another.", MetricKind::Counter, 1.0),
    ("read_bytes_total", "Bytes read.", MetricKind::Counter, SECTOR_BYTES),
    ("read_time_seconds_total", "Seconds spent by all reads.", MetricKind::Counter, MS),
    ("writes_completed_total", "Writes completed.", MetricKind::Counter, 1.0),
    ("writes_merged_total", "Writes merged with another.", MetricKind::Counter, 1.0),
    ("written_bytes_total", "Bytes written.", MetricKind::Counter, SECTOR_BYTES),
    ("write_time_seconds_total", "Seconds spent by all writes.", MetricKind::Counter, MS),
    ("io_now", "Requests under way.", MetricKind::Gauge, 1.0),
    ("io_time_seconds_total", "Seconds with a request under way.", MetricKind::Counter, MS),
    ("io_time_weighted_seconds_total", "Seconds weighted by requests.", MetricKind::Counter, MS),
    ("discards_completed_total", "Discards completed.", MetricKind::Counter, 1.0),
    ("discards_merged_total", "Discards merged with another.", MetricKind::Counter, 1.0),
    ("discarded_sectors_total", "Sectors discarded.", MetricKind::Counter, 1.0),
    ("discard_time_seconds_total", "Seconds spent by all discards.", MetricKind::Counter, MS),
    ("flush_requests_total", "Flushes completed.", MetricKind::Counter, 1.0),
    ("flush_requests_time_seconds_total", "Seconds spent by flushes.", MetricKind::Counter, MS),
];

/// `node_disk_*`.
pub(super) fn diskstats(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("diskstats")?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(device) = words.next().filter(|device| !is_excluded(device)) else { continue };
        for ((name, help, kind, factor), value) in COLUMNS.iter().zip(words.filter_map(number)) {
            // Dividing keeps milliseconds exact where multiplying by 0.001 does not.
            let value = if *factor == MS { value / 1000.0 } else { value * factor };
            page.add(format!("node_disk_{name}"), *help, *kind, &[("device", device)], value);
        }
    }
    Ok(())
}

/// node_exporter's default exclusion: memory disks, loops and partitions,
/// `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$` without the `z?`.
fn is_excluded(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    if matches!(stem, "ram" | "loop" | "fd") {
        return true;
    }
    let letter = |rest: &str| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase());
    if ["hd", "sd", "vd", "xvd"].iter().any(|prefix| stem.strip_prefix(prefix).is_some_and(letter))
    {
        return true;
    }
    let Some(name) = stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p')) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split_once('n').is_some_and(|(controller, space)| digits(controller) && digits(space))
}

#[cfg(test)]
mod tests {
    use super::is_excluded;

    #[test]
    fn partitions_loops_and_memory_disks_are_left_out() {
        for (device, wanted) in [
            ("sda", false),
            ("sda1", true),
            ("vda", false),
            ("xvdb2", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("loop7", true),
            ("ram0", true),
            ("zram0", false),
            ("dm-0", false),
            ("md127", false),
            ("mmcblk0p1", false),
        ] {
            assert_eq!(is_excluded(device), wanted, "{device}");
        }
    }
}
