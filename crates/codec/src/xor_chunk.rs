//! Prometheus' XOR chunk: up to 65,535 samples of one series in Gorilla's encoding.
//!
//! ```text
//! chunk   = count:u16 (high byte first)
//!           ts0:varint value0:64 bits
//!           delta:uvarint xor(value1)
//!           (dod(ts) xor(value))*
//! dod     = 0                        the same delta again
//!         | 10  14 bits | 110 17 bits | 1110 20 bits | 1111 64 bits
//! xor     = 0                        the same value again
//!         | 10 bits                  inside the window of the value before
//!         | 11 leading:5 width:6 bits
//! ```
//! Bits fill bytes from their high end (`tsdb/chunkenc/xor.go`). It is written for remote read and
//! never stored: our own columns are smaller.

/// Most samples of a chunk, as Prometheus cuts them.
pub const SAMPLES_MAX: usize = 120;

/// Encodes samples, ascending by time; at least one and at most [`SAMPLES_MAX`].
///
/// # Panics
/// If there are none or too many.
pub fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    assert!((1..=SAMPLES_MAX).contains(&samples.len()), "{} samples", samples.len());
    let mut bits = Bits { bytes: (samples.len() as u16).to_be_bytes().to_vec(), used: 8 };
    let (first_ms, first) = samples[0];
    bits.varint(first_ms);
    bits.put(first.to_bits(), 64);
    let mut window = Window { leading: 0xff, trailing: 0 };
    let (mut before, mut delta) = (samples[0], 0i64);
    for (at, (ts_ms, value)) in samples.iter().enumerate().skip(1) {
        let next = ts_ms.wrapping_sub(before.0);
        match at {
            1 => bits.uvarint(next as u64),
            _ => bits.delta_of_delta(next.wrapping_sub(delta)),
        }
        window.put(&mut bits, value.to_bits() ^ before.1.to_bits());
        (before, delta) = ((*ts_ms, *value), next);
    }
    bits.bytes
}

/// Bits on their way into bytes.
struct Bits {
    bytes: Vec<u8>,
    /// Bits used of the last byte, 8 when it is full.
    used: u32,
}

impl Bits {
    /// The low `count` bits of `value`, high ones first.
    fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.used == 8 {
                self.bytes.push(0);
                self.used = 0;
            }
            let take = left.min(8 - self.used);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part << (8 - self.used - take)) as u8;
            }
            self.used += take;
            left -= take;
        }
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    fn varint(&mut self, value: i64) {
        self.uvarint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn delta_of_delta(&mut self, dod: i64) {
        let fits = |bits: u32| (-(1i64 << (bits - 1)) + 1..=1i64 << (bits - 1)).contains(&dod);
        match dod {
            0 => self.put(0, 1),
            _ if fits(14) => self.prefixed(0b10, 2, dod, 14),
            _ if fits(17) => self.prefixed(0b110, 3, dod, 17),
            _ if fits(20) => self.prefixed(0b1110, 4, dod, 20),
            _ => self.prefixed(0b1111, 4, dod, 64),
        }
    }

    fn prefixed(&mut self, prefix: u64, prefix_bits: u32, value: i64, bits: u32) {
        self.put(prefix, prefix_bits);
        self.put(value as u64, bits);
    }
}

/// Which bits of the last change were not zero.
struct Window {
    leading: u32,
    trailing: u32,
}

impl Window {
    fn put(&mut self, bits: &mut Bits, change: u64) {
        if change == 0 {
            return bits.put(0, 1);
        }
        // Five bits tell how many zeros stand in front.
        let leading = change.leading_zeros().min(31);
        let trailing = change.trailing_zeros();
        if self.leading != 0xff && leading >= self.leading && trailing >= self.trailing {
            bits.put(0b10, 2);
            return bits.put(change >> self.trailing, 64 - self.leading - self.trailing);
        }
        (self.leading, self.trailing) = (leading, trailing);
        let width = 64 - leading - trailing;
        bits.put(0b11, 2);
        bits.put(u64::from(leading), 5);
        // Six bits: 64 is written as 0, which no change has.
        bits.put(u64::from(width & 63), 6);
        bits.put(change >> trailing, width);
    }
}

#[cfg(test)]
mod tests;
