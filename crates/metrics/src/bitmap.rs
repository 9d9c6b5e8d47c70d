//! A set of series ids: one bit each, dense from 0.

/// Which series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl PartialEq for Bitmap {
    /// Words of zeros at the end say nothing.
    fn eq(&self, other: &Bitmap) -> bool {
        let len = self.words.len().max(other.words.len());
        let word = |bitmap: &Bitmap, at: usize| bitmap.words.get(at).copied().unwrap_or(0);
        (0..len).all(|at| word(self, at) == word(other, at))
    }
}

impl Eq for Bitmap {}

impl Bitmap {
    pub(crate) fn from_words(words: Vec<u64>) -> Bitmap {
        Bitmap { words }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn insert(&mut self, id: u32) {
        let word = id as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 64);
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    pub(crate) fn union(&mut self, other: &Bitmap) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Takes out what `other` has.
    pub(crate) fn subtract(&mut self, other: &Bitmap) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
    }

    /// Keeps what `other` has too.
    pub(crate) fn intersect(&mut self, other: &Bitmap) {
        self.words.truncate(other.words.len());
        for (word, both) in self.words.iter_mut().zip(&other.words) {
            *word &= both;
        }
    }

    /// Whether the two have an id in common.
    pub(crate) fn meets(&self, other: &Bitmap) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// The ids, ascending.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                ids.push(at as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_in_come_out_and_are_subtracted() {
        let of = |ids: &[u32]| {
            let mut bitmap = Bitmap::default();
            ids.iter().for_each(|id| bitmap.insert(*id));
            bitmap
        };
        let mut bitmap = of(&[0, 63, 64, 1000]);
        assert_eq!(bitmap.ids(), [0, 63, 64, 1000]);
        assert!(bitmap.meets(&of(&[64])) && !bitmap.meets(&of(&[65, 2000])));
        bitmap.subtract(&of(&[63, 1000, 5000]));
        assert_eq!(bitmap, of(&[0, 64]));
        bitmap.union(&of(&[70]));
        assert!(bitmap.contains(70) && !bitmap.contains(63));
        bitmap.intersect(&of(&[0, 1, 70, 700]));
        assert_eq!(bitmap.ids(), [0, 70]);
        bitmap.intersect(&of(&[0]));
        assert_eq!(bitmap.ids(), [0]);
    }
}
