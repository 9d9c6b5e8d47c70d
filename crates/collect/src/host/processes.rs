//! Processes, counted by state: `/proc/<pid>/stat`.

use super::page::Page;
use super::{Roots, number, read};
use std::collections::BTreeMap;

/// `node_processes_*`.
pub(super) fn processes(roots: &Roots, page: &mut Page) -> Result<(), String> {
    let entries = std::fs::read_dir(&roots.procfs)
        .map_err(|error| format!("{}: {error}", roots.procfs.display()))?;
    let (mut states, mut pids, mut threads) = (BTreeMap::<&str, u32>::new(), 0u32, 0.0);
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        // A process may end between the list and the look.
        let Ok(text) = read(&entry.path().join("stat")) else { continue };
        let Some((state, count)) = state_and_threads(&text) else { continue };
        *states.entry(state_name(state)).or_default() += 1;
        pids += 1;
        threads += count;
    }
    for (state, count) in states {
        let help = "Processes in each state.";
        page.gauge("node_processes_state", help, &[("state", state)], f64::from(count));
    }
    page.gauge("node_processes_pids", "Processes.", &[], f64::from(pids));
    page.gauge("node_processes_threads", "Threads.", &[], threads);
    for (file, name, help) in [
        ("sys/kernel/pid_max", "node_processes_max_processes", "Process ids there can be."),
        ("sys/kernel/threads-max", "node_processes_max_threads", "Threads there can be."),
    ] {
        if let Some(value) = roots.proc(file).ok().as_deref().and_then(number) {
            page.gauge(name, help, &[], value);
        }
    }
    Ok(())
}

/// The command stands in parentheses and may hold anything, so the end is searched for.
fn state_and_threads(stat: &str) -> Option<(char, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(16).and_then(number)?))
}

/// The kernel's own letters, which node_exporter uses as they are.
fn state_name(state: char) -> &'static str {
    match state {
        'R' => "R",
        'S' => "S",
        'D' => "D",
        'Z' => "Z",
        'T' => "T",
        't' => "t",
        'I' => "I",
        'X' => "X",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::state_and_threads;

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        let stat = "7 (a) (b)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 12 0 99 0 0";
        assert_eq!(state_and_threads(stat), Some(('S', 12.0)));
        assert_eq!(state_and_threads("7 (x"), None);
    }
}
