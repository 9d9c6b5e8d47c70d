//! Loopback ports that nobody uses.
//!
//! Read from the kernel's table of sockets rather than tried: this program opens no socket outside
//! the crates that may. A port can be taken between the look and its use; whoever wanted it then
//! says so at its start.

use anyhow::Context;

use super::random_bytes;

/// Ports that are handed out: below those that the kernel gives to outgoing connections.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A free port.
pub(super) fn free() -> anyhow::Result<u16> {
    let used = used()?;
    let length = RANGE.end - RANGE.start;
    let first = u16::from_ne_bytes(random_bytes()?) % length;
    let mut candidates = (0..length).map(|step| RANGE.start + (first + step) % length);
    candidates.find(|port| !used.contains(port)).context("every loopback port is in use")
}

/// The port that is wished for when it is free, or another one.
pub(super) fn free_or(wish: u16) -> anyhow::Result<u16> {
    if used()?.contains(&wish) { free() } else { Ok(wish) }
}

fn used() -> anyhow::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for table in TABLES {
        match std::fs::read_to_string(table) {
            Ok(text) => ports.extend(local_ports(&text)),
            // A kernel without IPv6 has no table for it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {table}")),
        }
    }
    Ok(ports)
}

/// The local ports in the text of a socket table: its second column is `ADDRESS:PORT` in
/// hexadecimal.
pub(super) fn local_ports(table: &str) -> impl Iterator<Item = u16> {
    table.lines().skip(1).filter_map(|line| {
        let address = line.split_whitespace().nth(1)?;
        u16::from_str_radix(address.rsplit(':').next()?, 16).ok()
    })
}
