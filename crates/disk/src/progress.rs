//! How far the opening of a store has come, told to who waits for it.

/// What is being done, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is read, in words that a person understands.
    pub phase: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do; 0 when that is not known.
    pub total: u64,
}

/// Gets a [`Progress`] now and then. It must not block.
pub type Tell<'a> = dyn Fn(Progress) + 'a;

/// Steps in which one phase is told, so that telling costs nothing.
const STEPS: u64 = 128;

/// Counts the bytes of one phase and tells of them.
pub struct Meter<'a> {
    tell: &'a Tell<'a>,
    progress: Progress,
    told: u64,
}

impl<'a> Meter<'a> {
    /// Starts a phase, and tells of it.
    pub fn start(tell: &'a Tell<'a>, phase: &'static str, total: u64) -> Meter<'a> {
        let progress = Progress { phase, done: 0, total };
        tell(progress);
        Meter { tell, progress, told: 0 }
    }

    /// So many more bytes are done.
    pub fn add(&mut self, bytes: u64) {
        self.progress.done += bytes;
        if self.progress.done - self.told > self.progress.total / STEPS {
            self.told = self.progress.done;
            (self.tell)(self.progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_phase_is_told_at_its_start_and_in_few_steps() {
        let told = RefCell::new(Vec::new());
        let tell = |progress: Progress| told.borrow_mut().push(progress.done);
        let mut meter = Meter::start(&tell, "a file", 100_000);
        (0..100_000).for_each(|_| meter.add(1));
        let told = told.into_inner();
        assert_eq!(told[0], 0);
        assert!(told.is_sorted() && (100..=130).contains(&told.len()), "{} times", told.len());
    }
}
