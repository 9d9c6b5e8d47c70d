//! Binary fuse filters of 8 bits (Graf and Lemire, "Binary Fuse Filters", 2022): nine bits a key
//! say that a key is not in a set, and are wrong about one stranger in 256, never about a member.
//!
//! ```text
//! u64 seed, varint log2 of the segment's length, varint segments, one byte per place
//! ```
//! A key hashes to three places in three successive segments; their bytes' xor is its fingerprint.

use vigie_disk::wire::{Bad, Bytes, put_uint};

/// Attempts before a set is given up; each fails once in a thousand.
const ATTEMPTS: u64 = 64;
const SEGMENT_BITS_MAX: usize = 18;

/// A filter over bytes, as they stand in a file.
pub(crate) struct Fuse {
    seed: u64,
    segment_bits: u32,
    /// Places where a key's first place may be.
    firsts: u64,
    places: Vec<u8>,
}

/// Spreads a key over 64 bits (MurmurHash3's finalizer).
fn mix(key: u64, seed: u64) -> u64 {
    let mut hash = key.wrapping_add(seed);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn fingerprint(hash: u64) -> u8 {
    (hash ^ (hash >> 32)) as u8
}

impl Fuse {
    /// The filter of `keys`, which are distinct; `None` if no seed is found, which does not happen
    /// unless keys repeat.
    pub(crate) fn of(keys: &[u64]) -> Option<Fuse> {
        let count = keys.len().max(2) as f64;
        let segment_bits = (count.ln() / 3.33f64.ln() + 2.25).floor() as u32;
        let segment_bits = segment_bits.min(SEGMENT_BITS_MAX as u32);
        let factor = (0.875 + 0.25 * 1e6f64.ln() / count.ln()).max(1.125);
        let wanted = (count * factor).round() as u64;
        let segment = 1u64 << segment_bits;
        let segments = wanted.div_ceil(segment).saturating_sub(2).max(1);
        let mut fuse = Fuse {
            seed: 0,
            segment_bits,
            firsts: segments * segment,
            places: vec![0; ((segments + 2) * segment) as usize],
        };
        (1..=ATTEMPTS).find(|&seed| fuse.fill(keys, mix(seed, 0))).map(|_| fuse)
    }

    fn places_of(&self, hash: u64) -> [usize; 3] {
        let segment = 1u64 << self.segment_bits;
        let mask = segment - 1;
        let first = ((u128::from(hash) * u128::from(self.firsts)) >> 64) as u64;
        let second = (first + segment) ^ ((hash >> 18) & mask);
        let third = (first + 2 * segment) ^ (hash & mask);
        [first as usize, second as usize, third as usize]
    }

    /// Peels the keys off places that only they have, then writes fingerprints in reverse.
    fn fill(&mut self, keys: &[u64], seed: u64) -> bool {
        self.seed = seed;
        let mut counts = vec![0u32; self.places.len()];
        let mut sums = vec![0u64; self.places.len()];
        for &key in keys {
            let hash = mix(key, seed);
            for place in self.places_of(hash) {
                counts[place] += 1;
                sums[place] ^= hash;
            }
        }
        let mut lonely: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] == 1).collect();
        let mut peeled = Vec::with_capacity(keys.len());
        while let Some(at) = lonely.pop() {
            if counts[at] != 1 {
                continue;
            }
            let hash = sums[at];
            peeled.push((hash, at));
            for place in self.places_of(hash) {
                counts[place] -= 1;
                sums[place] ^= hash;
                if counts[place] == 1 {
                    lonely.push(place);
                }
            }
        }
        if peeled.len() != keys.len() {
            return false;
        }
        self.places.fill(0);
        for &(hash, own) in peeled.iter().rev() {
            let [a, b, c] = self.places_of(hash);
            let others = self.places[a] ^ self.places[b] ^ self.places[c] ^ self.places[own];
            self.places[own] = fingerprint(hash) ^ others;
        }
        true
    }

    /// Whether the key may be in the set.
    pub(crate) fn may_hold(&self, key: u64) -> bool {
        let hash = mix(key, self.seed);
        let [a, b, c] = self.places_of(hash);
        fingerprint(hash) == self.places[a] ^ self.places[b] ^ self.places[c]
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seed.to_le_bytes());
        put_uint(out, u64::from(self.segment_bits));
        put_uint(out, self.firsts >> self.segment_bits);
        out.extend_from_slice(&self.places);
    }

    pub(crate) fn read(raw: &[u8]) -> Result<Fuse, Bad> {
        let mut input = Bytes::new(raw);
        let seed = u64::from(input.word()?) | u64::from(input.word()?) << 32;
        let segment_bits = input.count(SEGMENT_BITS_MAX)? as u32;
        let segments = input.count(input.rest.len())? as u64;
        let places = input.rest.to_vec();
        if segments == 0 || places.len() as u64 != (segments + 2) << segment_bits {
            return Err("has a filter of another length");
        }
        Ok(Fuse { seed, segment_bits, firsts: segments << segment_bits, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_and_strangers_mostly_not() {
        for count in [0u64, 1, 2, 3, 10, 100, 1000, 50_000] {
            let keys: Vec<u64> = (0..count).map(|n| n * 7 + 1).collect();
            let mut bytes = Vec::new();
            Fuse::of(&keys).unwrap().write(&mut bytes);
            let fuse = Fuse::read(&bytes).unwrap();
            assert!(keys.iter().all(|&key| fuse.may_hold(key)), "{count} keys");
            let strangers = (0..10_000u64).filter(|n| fuse.may_hold(n * 7 + 2)).count();
            assert!(strangers < 100, "{count} keys: {strangers} of 10,000 strangers let in");
            assert!(count < 10_000 || bytes.len() * 8 < 11 * count as usize, "{}", bytes.len());
            for end in 0..bytes.len() {
                assert!(Fuse::read(&bytes[..end]).is_err());
            }
        }
    }
}
