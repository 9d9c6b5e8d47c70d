//! Interfaces, protocols and sockets: `/proc/net` and `/sys/class/net`.

use super::page::Page;
use super::{Roots, number};
use std::collections::BTreeMap;
use vigie_codec::exposition::MetricKind;

/// Most interfaces whose properties are read.
const INTERFACES_MAX: usize = 512;

/// `node_network_{receive,transmit}_*_total`. The loopback interface is left out, as Debian does:
/// it would count every local request as traffic twice.
pub(super) fn netdev(roots: &Roots, page: &mut Page) -> Result<(), String> {
    const RECEIVE: [&str; 8] =
        ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
    const TRANSMIT: [&str; 8] =
        ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];
    let text = roots.proc("net/dev")?;
    for line in text.lines().skip(2) {
        let Some((device, numbers)) = line.rsplit_once(':') else { continue };
        let device = device.trim();
        if device == "lo" {
            continue;
        }
        let mut numbers = numbers.split_ascii_whitespace().filter_map(number);
        for (direction, columns) in [("receive", RECEIVE), ("transmit", TRANSMIT)] {
            for (column, value) in columns.iter().zip(numbers.by_ref()) {
                let name = format!("node_network_{direction}_{column}_total");
                let help = format!("{column} of each interface, {direction}.");
                page.counter(name, help, &[("device", device)], value);
            }
        }
        let unhandled = roots.sys(&format!("class/net/{device}/statistics/rx_nohandler"));
        if let Some(value) = unhandled.ok().as_deref().and_then(number) {
            let help = "Packets received that no protocol wanted.";
            let labels = [("device", device)];
            page.counter("node_network_receive_nohandler_total", help, &labels, value);
        }
    }
    Ok(())
}

/// File under `/sys/class/net/<interface>`, name, kind and factor.
const PROPERTIES: [(&str, &str, MetricKind, f64); 17] = [
    ("addr_assign_type", "address_assign_type", MetricKind::Gauge, 1.0),
    ("carrier", "carrier", MetricKind::Gauge, 1.0),
    ("carrier_changes", "carrier_changes_total", MetricKind::Counter, 1.0),
    ("carrier_down_count", "carrier_down_changes_total", MetricKind::Counter, 1.0),
    ("carrier_up_count", "carrier_up_changes_total", MetricKind::Counter, 1.0),
    ("dev_id", "device_id", MetricKind::Gauge, 1.0),
    ("dormant", "dormant", MetricKind::Gauge, 1.0),
    ("flags", "flags", MetricKind::Gauge, 1.0),
    ("ifindex", "iface_id", MetricKind::Gauge, 1.0),
    ("iflink", "iface_link", MetricKind::Gauge, 1.0),
    ("link_mode", "iface_link_mode", MetricKind::Gauge, 1.0),
    ("mtu", "mtu_bytes", MetricKind::Gauge, 1.0),
    ("name_assign_type", "name_assign_type", MetricKind::Gauge, 1.0),
    ("netdev_group", "net_dev_group", MetricKind::Gauge, 1.0),
    ("speed", "speed_bytes", MetricKind::Gauge, 125_000.0),
    ("tx_queue_len", "transmit_queue_length", MetricKind::Gauge, 1.0),
    ("type", "protocol_type", MetricKind::Gauge, 1.0),
];

/// `node_network_up`, `node_network_info` and the properties of each interface.
pub(super) fn netclass(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let directory = roots.sysfs.join("class/net");
    let entries = std::fs::read_dir(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut devices: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(INTERFACES_MAX)
        .collect();
    devices.sort();
    for device in &devices {
        let property = |file: &str| roots.sys(&format!("class/net/{device}/{file}"));
        // Not a directory, such as bonding_masters.
        let Ok(operstate) = property("operstate") else { continue };
        let text = |file: &str| property(file).unwrap_or_default();
        let up = f64::from(u8::from(operstate == "up"));
        let labels = [("device", device.as_str())];
        page.gauge("node_network_up", "Whether the interface is up.", &labels, up);
        let info = [
            ("address", &*text("address")),
            ("broadcast", &*text("broadcast")),
            ("device", device),
            ("duplex", &*text("duplex")),
            ("ifalias", &*text("ifalias")),
            ("operstate", &*operstate),
        ];
        page.gauge("node_network_info", "The interface in words.", &info, 1.0);
        for (file, name, kind, factor) in PROPERTIES {
            let Some(value) = property(file).ok().as_deref().and_then(integer) else { continue };
            let name = format!("node_network_{name}");
            page.add(name, format!("{file} of each interface."), kind, &labels, value * factor);
        }
    }
    Ok(())
}

/// A decimal number, or a hexadecimal one after `0x`.
fn integer(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|value| value as f64),
        None => number(text),
    }
}

/// `node_netstat_*`: the counters of the protocols that node_exporter keeps.
pub(super) fn netstat(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let mut counters = BTreeMap::new();
    for file in ["net/netstat", "net/snmp"] {
        let text = roots.proc(file)?;
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (Some((protocol, names)), Some((_, values))) =
                (pair[0].split_once(':'), pair[1].split_once(':'))
            else {
                continue;
            };
            let names = names.split_ascii_whitespace();
            for (name, value) in names.zip(values.split_ascii_whitespace()) {
                counters.insert((protocol.to_owned(), name.to_owned()), value.to_owned());
            }
        }
    }
    // Missing where the machine has no IPv6.
    for line in roots.proc("net/snmp6").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some(six) = key.find('6') {
            let (protocol, name) = key.split_at(six + 1);
            counters.insert((protocol.to_owned(), name.to_owned()), value.to_owned());
        }
    }
    for ((protocol, name), value) in counters {
        if let (true, Some(value)) = (is_wanted(&protocol, &name), number(&value)) {
            let help = format!("{name} of {protocol}.");
            let name = format!("node_netstat_{protocol}_{name}");
            page.add(name, help, MetricKind::Unknown, &[], value);
        }
    }
    Ok(())
}

fn is_wanted(protocol: &str, name: &str) -> bool {
    if matches!(name, "InErrors" | "InErrs") {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(name, "TCPSynRetrans" | "TCPTimeouts")
        }
        "Tcp" => matches!(
            name,
            "ActiveOpens"
                | "InSegs"
                | "OutSegs"
                | "OutRsts"
                | "PassiveOpens"
                | "RetransSegs"
                | "CurrEstab"
        ),
        "Udp" | "Udp6" => matches!(
            name,
            "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors"
        ),
        _ => false,
    }
}

/// `node_sockstat_*`.
pub(super) fn sockstat(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let page_bytes = rustix::param::page_size() as f64;
    let text = roots.proc("net/sockstat")? + &roots.proc("net/sockstat6").unwrap_or_default();
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else { continue };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let (key, Some(value)) = (pair[0], number(pair[1])) else { continue };
            let name = format!("node_sockstat_{protocol}_{key}");
            page.gauge(name.clone(), format!("{protocol} sockets, {key}."), &[], value);
            if key == "mem" {
                let help = format!("Bytes of memory that {protocol} sockets use.");
                page.gauge(format!("{name}_bytes"), help, &[], value * page_bytes);
            }
        }
    }
    Ok(())
}

/// `node_softnet_*`.
pub(super) fn softnet(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("net/softnet_stat")?;
    for (cpu, line) in text.lines().enumerate() {
        let cpu = cpu.to_string();
        let columns =
            line.split_ascii_whitespace().filter_map(|hex| u64::from_str_radix(hex, 16).ok());
        let names = [
            ("processed_total", "Packets each CPU took from the network."),
            ("dropped_total", "Packets each CPU dropped because its queue was full."),
            ("times_squeezed_total", "Times each CPU left packets for the next round."),
        ];
        for ((name, help), value) in names.iter().zip(columns) {
            page.counter(format!("node_softnet_{name}"), *help, &[("cpu", &cpu)], value as f64);
        }
    }
    Ok(())
}

/// `node_udp_queues`: bytes that wait in the queues of UDP sockets.
pub(super) fn udp_queues(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let mut found = false;
    for (file, ip) in [("net/udp", "v4"), ("net/udp6", "v6")] {
        let Ok(text) = roots.proc(file) else { continue };
        found = true;
        let (mut sending, mut received) = (0u64, 0u64);
        for line in text.lines().skip(1) {
            let queues = line.split_ascii_whitespace().nth(4).and_then(|word| word.split_once(':'));
            let Some((tx, rx)) = queues else { continue };
            sending += u64::from_str_radix(tx, 16).unwrap_or(0);
            received += u64::from_str_radix(rx, 16).unwrap_or(0);
        }
        for (queue, bytes) in [("rx", received), ("tx", sending)] {
            let help = "Bytes waiting in the queues of UDP sockets.";
            page.gauge("node_udp_queues", help, &[("ip", ip), ("queue", queue)], bytes as f64);
        }
    }
    if found { Ok(()) } else { Err("udp: the kernel does not report it".to_owned()) }
}

/// `node_arp_entries`.
pub(super) fn arp(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let text = roots.proc("net/arp")?;
    let mut entries: BTreeMap<&str, u32> = BTreeMap::new();
    for device in text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().last()) {
        *entries.entry(device).or_default() += 1;
    }
    for (device, count) in entries {
        let help = "Neighbours known to each interface.";
        page.gauge("node_arp_entries", help, &[("device", device)], f64::from(count));
    }
    Ok(())
}
