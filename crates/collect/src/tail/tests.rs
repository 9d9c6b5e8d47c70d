//! Real files that are appended to, rotated, cut and lost.

use super::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

/// A sink that remembers, and refuses when told to.
#[derive(Default)]
struct Recorder {
    taken: Mutex<Vec<(Labels, LogEntry)>>,
    refuses: AtomicBool,
}

impl LogSink for Recorder {
    fn push(&self, labels: &Labels, entries: &[LogEntry]) -> Result<(), String> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err("the disk is full".to_owned());
        }
        let entries = entries.iter().map(|entry| (labels.clone(), entry.clone()));
        self.taken.lock().unwrap().extend(entries);
        Ok(())
    }
}

/// A directory with logs, and time that passes when told to.
struct Scene {
    dir: TempDir,
    sink: Arc<Recorder>,
    now: Instant,
    start_at: StartAt,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("logs/sub")).unwrap();
        Scene { dir, sink: Arc::default(), now: Instant::now(), start_at: StartAt::Beginning }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn config(&self) -> TailConfig {
        let source = TailSource {
            stages: Vec::new(),
            paths: vec![format!("{}/logs/**/x*.log", self.dir.path().display())],
            exclude: vec![format!("{}/**/*secret*", self.dir.path().display())],
            labels: Labels::from_pairs([("job", "x")]),
            timestamp: TimestampFrom::ReadTime,
            start_at: self.start_at,
        };
        TailConfig::new(vec![source], self.dir.path().join("positions.json"))
    }

    fn tailer(&self) -> Tailer {
        Tailer::new(self.config(), self.sink.clone()).unwrap()
    }

    /// Polls until nothing moves, ten seconds later.
    fn poll(&mut self, tailer: &mut Tailer) {
        self.now += Duration::from_secs(10);
        while tailer.poll(self.now) {}
    }

    fn take(&self) -> Vec<(String, String)> {
        let taken = std::mem::take(&mut *self.sink.taken.lock().unwrap());
        let shown = taken.into_iter().map(|(labels, entry)| {
            let name = Path::new(labels.get(FILENAME).unwrap()).file_name().unwrap().to_owned();
            (name.into_string().unwrap(), String::from_utf8_lossy(&entry.line).into_owned())
        });
        shown.collect()
    }

    fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|(_, line)| line).collect()
    }
}

#[test]
fn whole_lines_come_once_with_their_labels_and_partial_ones_wait() {
    let mut scene = Scene::new();
    scene.append("x.log", "one\n\n\x1b[31mred\x1b[0m\ntwo");
    scene.append("xsecret.log", "no\n");
    scene.append("x.log.gz", "no\n");
    scene.append("y.log", "no\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    let labels = scene.sink.taken.lock().unwrap()[0].0.clone();
    assert_eq!(labels.get("job"), Some("x"));
    assert_eq!(labels.get(FILENAME), Some(scene.path("x.log").to_str().unwrap()));
    assert_eq!(scene.lines(), ["one", "", "\x1b[31mred\x1b[0m"]);
    scene.poll(&mut tailer);
    assert!(scene.take().is_empty());
    scene.append("x.log", " and a half\nthree\r\n");
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["two and a half", "three\r"]);
    assert_eq!(tailer.stats().lines.load(Ordering::Relaxed), 5);
}

#[test]
fn instants_of_lines_read_together_rise() {
    let mut scene = Scene::new();
    scene.append("x.log", "same\n".repeat(1000));
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    let taken = scene.sink.taken.lock().unwrap();
    assert_eq!(taken.len(), 1000);
    assert!(taken.windows(2).all(|pair| pair[0].1.ts_ns < pair[1].1.ts_ns));
}

#[test]
fn a_growing_glob_is_followed_from_each_files_start() {
    let mut scene = Scene::new();
    scene.start_at = StartAt::End;
    scene.append("x.log", "old\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    assert!(scene.take().is_empty(), "what was there counts as read");
    scene.append("x.log", "new\n");
    scene.append("sub/x2.log", "first\nsecond\n");
    scene.poll(&mut tailer);
    assert_eq!(
        scene.take(),
        [("x.log", "new"), ("x2.log", "first"), ("x2.log", "second")]
            .map(|(name, line)| (name.to_owned(), line.to_owned()))
    );
    assert_eq!(tailer.stats().files.load(Ordering::Relaxed), 2);
}

#[test]
fn rotation_by_rename_finishes_the_old_file_and_starts_the_new_one() {
    let mut scene = Scene::new();
    scene.append("x.log", "1\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    scene.append("x.log", "2\n3 without end");
    fs::rename(scene.path("x.log"), scene.path("x.log.1")).unwrap();
    scene.append("x.log", "4\n");
    scene.poll(&mut tailer);
    // The writer has not noticed yet.
    scene.append("x.log.1", "\nlate\n3b");
    scene.poll(&mut tailer);
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["1", "2", "4", "3 without end", "late", "3b"]);
    assert_eq!(tailer.stats().files.load(Ordering::Relaxed), 1, "the old file was let go");
    fs::remove_file(scene.path("x.log")).unwrap();
    scene.append("x.log", "5\n");
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["5"]);
}

#[test]
fn a_rotated_file_whose_new_name_fits_too_is_not_read_again() {
    let mut scene = Scene::new();
    scene.append("x.log", "1\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    fs::rename(scene.path("x.log"), scene.path("x-1.log")).unwrap();
    scene.append("x.log", "2\n");
    for _ in 0..5 {
        scene.poll(&mut tailer);
    }
    scene.append("x-1.log", "3\n");
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["1", "2", "3"]);
}

#[test]
fn copytruncate_starts_the_file_again_however_much_has_come_since() {
    let mut scene = Scene::new();
    scene.append("x.log", "a long first line\nand a second\nend");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    fs::copy(scene.path("x.log"), scene.path("x.log.1")).unwrap();
    fs::write(scene.path("x.log"), "s\n").unwrap();
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["a long first line", "and a second", "end", "s"]);
    fs::write(scene.path("x.log"), "longer than what was read before\nx\n").unwrap();
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["longer than what was read before", "x"]);
    fs::write(scene.path("x.log"), "").unwrap();
    scene.poll(&mut tailer);
    scene.append("x.log", "after\n");
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["after"]);
}

#[test]
fn a_restart_goes_on_where_the_sink_had_taken_everything() {
    let mut scene = Scene::new();
    scene.append("x.log", "1\n2\nhal");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    tailer.remember();
    drop(tailer);
    scene.append("x.log", "f\n3\n");
    scene.append("x-new.log", "n\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    let mut lines = scene.lines();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "half", "n"]);
}

#[test]
fn a_file_rotated_while_nobody_watched_is_read_to_its_end() {
    let mut scene = Scene::new();
    scene.append("x.log", "1\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    tailer.remember();
    drop(tailer);
    scene.append("x.log", "2\n");
    fs::rename(scene.path("x.log"), scene.path("x.log.1")).unwrap();
    scene.append("x.log", "3\n");
    let mut tailer = scene.tailer();
    for _ in 0..3 {
        scene.poll(&mut tailer);
    }
    assert_eq!(scene.lines(), ["1", "2", "3"]);
    assert_eq!(tailer.stats().files.load(Ordering::Relaxed), 1);
}

#[test]
fn another_file_at_a_remembered_inode_is_read_from_its_start() {
    let mut scene = Scene::new();
    scene.append("x.log", "first life\n");
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    tailer.remember();
    drop(tailer);
    // The same inode with other bytes, as long as before.
    fs::write(scene.path("x.log"), "other life\n").unwrap();
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["first life", "other life"]);
    fs::write(scene.dir.path().join("positions.json"), "{ torn").unwrap();
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["other life"], "a broken positions file is no reason to stop");
}

#[test]
fn a_sink_that_refuses_is_asked_again_and_nothing_is_skipped() {
    let mut scene = Scene::new();
    scene.append("x.log", "1\n2\n");
    scene.sink.refuses.store(true, Ordering::Relaxed);
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    scene.append("x.log", "3\n");
    scene.poll(&mut tailer);
    assert!(scene.take().is_empty());
    tailer.remember();
    assert!(tailer.followers.iter().all(|follower| follower.position().offset == 0));
    scene.sink.refuses.store(false, Ordering::Relaxed);
    scene.now += Duration::from_secs(30);
    scene.poll(&mut tailer);
    assert_eq!(scene.lines(), ["1", "2", "3"]);
    assert_eq!(tailer.stats().refused_pushes.load(Ordering::Relaxed), 2);
}

#[test]
fn a_line_too_long_is_cut_and_the_next_one_is_whole() {
    const MAX: usize = vigie_model::limits::LINE_BYTES_MAX;
    let mut scene = Scene::new();
    scene.append("x.log", vec![b'x'; MAX + 100]);
    let mut tailer = scene.tailer();
    scene.poll(&mut tailer);
    scene.append("x.log", vec![b'y'; 3 * MAX]);
    scene.poll(&mut tailer);
    scene.append("x.log", "z\nnext\n");
    scene.append("x.log", vec![b'w'; MAX]);
    scene.append("x.log", "\n");
    scene.poll(&mut tailer);
    let lines = scene.lines();
    let lengths: Vec<_> = lines.iter().map(String::len).collect();
    assert_eq!(lengths, [MAX, 4, MAX]);
    assert_eq!(lines[1], "next");
    assert_eq!(tailer.stats().cut_lines.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop_and_remembers() {
    let scene = Scene::new();
    scene.append("x.log", "1\n2\n");
    let mut config = scene.config();
    config.poll = Duration::from_millis(5);
    let tailer = Tailer::new(config, scene.sink.clone()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(tailer.run(async {
        let _ = stopped.await;
    }));
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.sink.taken.lock().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "the lines never came");
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    let mut tailer = scene.tailer();
    tailer.poll(Instant::now());
    assert_eq!(scene.lines(), ["1", "2"]);
}
