//! Forgetting series: one without a sample anywhere leaves the catalogue, and its list.
//!
//! A series lives while a block, a segment, an open row or an exemplar has something of it. Once an
//! hour the store looks which do not. What was dead an hour ago and still is, is forgotten, when it
//! is worth it: no query takes an hour, so none holds the number of a series that goes.
//!
//! Those that live keep their numbers and places, because blocks and chunks speak of them; a number
//! or a column that was forgotten is not given again before the next start, and then nothing speaks
//! of it any more. Who kept a number all the while and writes to it is told
//! ([`crate::MetricsError::Forgotten`]) and asks for the labels' number again.
//!
//! The order is: the log is cut, so that it speaks of nothing that goes; memory forgets; the list is
//! written anew. A crash in between brings back series without samples, which are forgotten later.
//! While any file is damaged nothing is forgotten: it may be brought back, and speaks of series.

use crate::bitmap::Bitmap;
use crate::catalog::Catalog;
use crate::checkpoint::Ticks;
use crate::planted::{self, Bug};
use crate::store::Store;
use std::sync::atomic::Ordering;
use vigie_disk::DiskError;

const LOOK_EVERY_MS: i64 = 3600 * 1000;
/// Fewer dead series than one in so many are not worth a new catalogue.
const DEAD_ONE_IN: usize = 8;
/// Series copied into the new catalogue under one hold of the lock.
const SERIES_PER_STEP: usize = 1024;

/// Series that were dead when they were last looked at.
#[derive(Default)]
pub(crate) struct Dying {
    looked_ms: Option<i64>,
    ids: Bitmap,
}

impl Dying {
    fn is_due(&mut self, now_ms: i64) -> bool {
        let waited_ms = self.looked_ms.map(|looked_ms| now_ms.saturating_sub(looked_ms));
        match waited_ms {
            Some(0..LOOK_EVERY_MS) => return false,
            // A clock that was set back does not say how much time has passed.
            Some(..0) => self.ids = Bitmap::default(),
            _ => {}
        }
        self.looked_ms = Some(now_ms);
        true
    }
}

impl Store {
    /// Forgets the series that have been dead since the last look, if it is time to look.
    pub(crate) fn forget_series(&self, ticks: &mut Ticks, now_ms: i64) -> Result<(), DiskError> {
        if !ticks.dying.is_due(now_ms) || self.is_damaged() {
            return Ok(());
        }
        let dead = self.dead_series();
        let mut doomed = std::mem::replace(&mut ticks.dying.ids, dead.clone());
        if !planted::is(Bug::LivingForgotten) {
            doomed.intersect(&dead);
        }
        let count = doomed.ids().len();
        if count == 0 || count * DEAD_ONE_IN < self.catalog.read().known() {
            return Ok(());
        }
        self.checkpoint_or_wait(ticks, now_ms)?;
        let mut catalog = Catalog::default();
        let mut next = 0;
        while self.copy_some(&mut next, &doomed, &mut catalog) {}
        let Some(forgotten) = self.swap_catalog(next, &mut doomed, catalog) else {
            // The next tick tries again.
            ticks.dying = Dying { looked_ms: None, ids: doomed };
            return Ok(());
        };
        let mut series_log = self.series_log.lock();
        series_log.outdate();
        self.write_pending_series(&mut series_log)?;
        drop(series_log);
        self.forgotten.fetch_add(forgotten as u64, Ordering::Relaxed);
        tracing::info!(series = forgotten, "series without samples were forgotten");
        Ok(())
    }

    /// Whether a file is damaged that may be brought back.
    fn is_damaged(&self) -> bool {
        let named = self.manifest.lock().blocks.len();
        let heads = self.heads.lock();
        !self.damage.is_empty()
            || !self.wal.damage().is_empty()
            || !heads.segments.damage.is_empty()
            || heads.blocks.len() != named
    }

    /// The series of which nothing is kept.
    pub(crate) fn dead_series(&self) -> Bitmap {
        let of_ring = self.exemplars.lock().series();
        let heads = self.heads.lock();
        let mut dead = self.catalog.read().all_known();
        dead.subtract(&of_ring);
        dead.subtract(&heads.living());
        dead
    }

    /// Copies series from number `next` on, but for the doomed; `false` at the end.
    fn copy_some(&self, next: &mut u32, doomed: &Bitmap, catalog: &mut Catalog) -> bool {
        let old = self.catalog.read();
        let end = old.len().min(*next as usize + SERIES_PER_STEP) as u32;
        for id in (*next..end).filter(|id| !doomed.contains(*id)) {
            catalog.copy_from(&old, id);
        }
        *next = end;
        (end as usize) < old.len()
    }

    /// Puts the new catalogue in the place of the old one, with what came or came back to life
    /// meanwhile. Returns how many series are gone; `None` when a query goes by the numbers of the
    /// old one's halves, which the new one has given to others.
    fn swap_catalog(&self, next: u32, doomed: &mut Bitmap, mut catalog: Catalog) -> Option<usize> {
        let of_ring = self.exemplars.lock().series();
        let mut keys = self.keys.lock();
        let mut companions = self.companions.lock();
        let mut heads = self.heads.lock();
        let mut old = self.catalog.write();
        if old.is_looked_at() {
            return None;
        }
        let mut living = heads.living();
        living.union(&of_ring);
        if planted::is(Bug::LivingForgotten) {
            living = Bitmap::default();
        }
        let new = next..old.len() as u32;
        let back = doomed.ids().into_iter().filter(|id| living.contains(*id));
        back.chain(new).for_each(|id| catalog.copy_from(&old, id));
        doomed.subtract(&living);
        catalog.take_numbers_of(&old);
        *old = catalog;
        keys.forget();
        companions.clear();
        heads.forget(doomed, &old);
        Some(doomed.ids().len())
    }
}
