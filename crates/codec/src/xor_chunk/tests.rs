//! A decoder, written after Prometheus' iterator, that must give back what was encoded.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use super::*;
use proptest::prelude::*;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> u64 {
        let mut value = 0;
        for _ in 0..count {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.at += 1;
        }
        value
    }

    fn uvarint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.bits(8);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn dod(&mut self) -> i64 {
        let mut ones = 0;
        while ones < 4 && self.bits(1) == 1 {
            ones += 1;
        }
        let width = [0, 14, 17, 20, 64][ones];
        let raw = self.bits(width);
        match width {
            0 => 0,
            64 => raw as i64,
            // The largest positive value has the sign bit alone.
            _ if raw > 1 << (width - 1) => raw as i64 - (1 << width),
            _ => raw as i64,
        }
    }
}

fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
    let count = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut reader = Reader { bytes: &bytes[2..], at: 0 };
    let zigzag = reader.uvarint();
    let mut ts_ms = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    let mut value = reader.bits(64);
    let mut out = vec![(ts_ms, value)];
    let (mut delta, mut leading, mut trailing) = (0i64, 0, 0);
    for at in 1..count {
        delta = match at {
            1 => reader.uvarint() as i64,
            _ => delta.wrapping_add(reader.dod()),
        };
        ts_ms = ts_ms.wrapping_add(delta);
        if reader.bits(1) == 1 {
            if reader.bits(1) == 1 {
                leading = reader.bits(5) as u32;
                let width = match reader.bits(6) as u32 {
                    0 => 64,
                    width => width,
                };
                trailing = 64 - leading - width;
            }
            value ^= reader.bits(64 - leading - trailing) << trailing;
        }
        out.push((ts_ms, value));
    }
    out
}

fn round_trip(samples: &[(i64, f64)]) {
    let wanted: Vec<(i64, u64)> = samples.iter().map(|(ts, v)| (*ts, v.to_bits())).collect();
    assert_eq!(decode(&encode(samples)), wanted);
}

#[test]
fn the_ends_of_every_width_come_back() {
    for step in [1, 8191, 8192, 8193, 65_536, 65_537, 524_288, 524_289, 1 << 40] {
        for sign in [1, -1] {
            let third = 2_000_000_000_000 + sign * step;
            round_trip(&[(0, 1.0), (1_000_000_000_000, 1.0), (third, 1.0)]);
        }
    }
    round_trip(&[(i64::MIN, f64::NAN)]);
    round_trip(&[(-5, 0.0), (0, -0.0), (7, f64::MIN_POSITIVE), (9, f64::from_bits(u64::MAX))]);
}

#[test]
fn a_chunk_of_prometheus_has_these_bytes() {
    // What Debian's Prometheus writes for a constant 1 every 15 s from 1000 ms on.
    let bytes = encode(&[(1000, 1.0), (16_000, 1.0), (31_000, 1.0)]);
    let mut wanted = vec![0, 3, 0xd0, 0x0f];
    wanted.extend(1.0f64.to_bits().to_be_bytes());
    // 15000 as a uvarint, then: value the same, delta the same, value the same.
    wanted.extend([0x98, 0x75, 0]);
    assert_eq!(bytes, wanted);
}

proptest! {
    #[test]
    fn any_samples_come_back(
        samples in prop::collection::vec((0i64..1 << 45, any::<u64>()), 1..SAMPLES_MAX),
    ) {
        let mut samples: Vec<(i64, f64)> =
            samples.into_iter().map(|(ts_ms, bits)| (ts_ms, f64::from_bits(bits))).collect();
        samples.sort_by_key(|sample| sample.0);
        samples.dedup_by_key(|sample| sample.0);
        round_trip(&samples);
    }
}
