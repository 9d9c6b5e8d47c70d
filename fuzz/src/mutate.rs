//! Changes of an input: flips, cuts, repetitions, pieces of other inputs, and the bytes that parsers
//! dislike. Deterministic: a seed names a change for ever.

/// Longest input that a change makes.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes and words on which parsers trip.
const AWKWARD: [&[u8]; 22] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\n",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"-0",
    b"1e400",
    b"NaN",
    b"9223372036854775808",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80",
    b"\xf0\x9f\x98\x80",
    b"0x",
    b"'",
    b"#",
];

/// A small generator whose whole state is one number.
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`, 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 1) as usize % bound.max(1)
    }

    /// Some change of one input of a corpus.
    pub fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
        for _ in 0..1 + self.below(6) {
            self.change_once(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change_once(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(24)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 if at < end => drop(input.drain(at..end)),
            3 if at < end => {
                let again = input[at..end].repeat(1 + self.below(40));
                input.splice(at..at, again);
            }
            4 => drop(input.splice(at..at, AWKWARD[self.below(AWKWARD.len())].iter().copied())),
            5 => input.truncate(at),
            6 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            7 if at + 8 <= input.len() => {
                let number = (self.below(usize::MAX) as u64) >> self.below(64);
                input[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            _ => input.insert(at, self.below(256) as u8),
        }
    }
}
