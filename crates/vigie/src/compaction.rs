//! The thread that does what has no hurry: it puts what was sealed in order for long keeping.
//!
//! It runs at the lowest priority, at a bounded number of bytes a second, and so leaves both the
//! processor and the disk to everything else. When the program stops, it ends its step at once;
//! the step is done again after the next start.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use vigie_engine::Engine;
use vigie_http::state::now_ms;

/// How often it is looked whether there is something to do.
const EVERY: Duration = Duration::from_secs(30);
/// After an error: the disk may be full.
const AFTER_AN_ERROR: Duration = Duration::from_secs(300);
/// Read and written in a second, together. A day of 5,000 series is some 20 MB.
const BYTES_PER_S: u64 = 16 << 20;
/// Slept at once at most, so that the program's end is seen.
const NAP_MAX: Duration = Duration::from_millis(200);
/// The lowest priority but for the idle class, which needs a privilege in some containers.
const NICE: i32 = 19;

/// Works until the program is told to stop.
pub async fn run(engine: Arc<dyn Engine>, mut stopped: watch::Receiver<bool>) {
    let mut wait = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
        let (engine, stop) = (engine.clone(), stopped.clone());
        let (done, outcome) = tokio::sync::oneshot::channel();
        // A thread of its own: the priority is the thread's, and must not stay on one that is shared.
        let thread = std::thread::Builder::new().name("compaction".to_owned());
        let spawned = thread.spawn(move || {
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "compaction runs at normal priority");
            }
            // Nobody waits for the outcome when the program stops.
            let _ = done.send(work(&*engine, &stop));
        });
        wait = match (spawned, outcome.await) {
            (Ok(_), Ok(Ok(()))) => EVERY,
            (Ok(_), Ok(Err(error))) => {
                tracing::warn!("metrics and logs are not compacted: {error}");
                AFTER_AN_ERROR
            }
            (Err(error), _) => {
                tracing::warn!(
                    "metrics and logs are not compacted, there is no thread for it: {error}"
                );
                AFTER_AN_ERROR
            }
            (Ok(_), Err(_)) => AFTER_AN_ERROR,
        };
    }
}

/// Does all there is to do.
fn work(
    engine: &dyn Engine,
    stopped: &watch::Receiver<bool>,
) -> Result<(), vigie_engine::EngineError> {
    let mut pace = |bytes: u64| {
        let mut left = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / BYTES_PER_S);
        while !left.is_zero() && !*stopped.borrow() {
            let nap = left.min(NAP_MAX);
            std::thread::sleep(nap);
            left -= nap;
        }
        !*stopped.borrow()
    };
    while !*stopped.borrow() && engine.compact(now_ms(), &mut pace)? {}
    Ok(())
}
