//! Names of snapshots, as Prometheus gives them: `20060102T150405Z-` and sixteen hexadecimal digits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};
use vigie_model::civil::date_of;

const DAY_S: u64 = 24 * 3600;

/// A name that no other snapshot has.
pub(super) fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The standard library's hasher has random keys.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u128(now.as_nanos());
    name_of(now.as_secs(), hasher.finish())
}

fn name_of(now_s: u64, random: u64) -> String {
    let (year, month, day) = date_of((now_s / DAY_S) as i64);
    let second = now_s % DAY_S;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_is_another_each_time() {
        assert_eq!(name_of(1_136_214_245, 0xabc), "20060102T150405Z-0000000000000abc");
        assert_ne!(name(), name());
    }
}
