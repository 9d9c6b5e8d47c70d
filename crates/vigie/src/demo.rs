//! `vigie demo`: something to watch on a machine that has nothing yet.
//!
//! [`prepare`] starts a PostgreSQL cluster of its own, the example application `syndic`, traffic
//! for it, and an intrusion-detection log that grows; [`Demo`] names their addresses and files, and
//! ends them all. Nothing outside its folder is touched, and every port is a loopback port.
//!
//! One thread owns all of it. It starts the child processes, appends to the log, and stops them
//! when the [`Demo`] is dropped. The thread lives exactly as long as the demonstration because the
//! kernel sends a child its parent-death signal when the *thread* that started it ends: so the
//! children also end when the program is killed. That signal is set by `setpriv` (util-linux),
//! which also gives up root for PostgreSQL, which refuses to run as root.

mod child;
mod eve;
mod postgres;
mod syndic;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use child::Child;

/// What to start.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Where everything is kept. `None`: a new folder under the system's temporary one, removed at
    /// the end. A given folder stays, and is used again the next time.
    pub data_dir: Option<PathBuf>,
    /// Requests per second that are sent to the application.
    pub requests_per_second: f64,
    /// Seed of the traffic and of the attacks.
    pub seed: u64,
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions { data_dir: None, requests_per_second: 12.0, seed: 1 }
    }
}

/// A running demonstration: its addresses and files. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Demo {
    /// Connection string of a role that may read PostgreSQL's statistics, to database `koprogo_db`.
    pub postgres_dsn: String,
    /// PostgreSQL's log file.
    pub postgres_log: PathBuf,
    /// Base address of the application; `/metrics` and `/health` are below it.
    pub syndic_url: String,
    /// The application's log, JSON lines.
    pub syndic_log_path: PathBuf,
    /// The growing log of attacks, in the form of Suricata's `eve.json`.
    pub eve_path: PathBuf,
    /// The folder that holds all of it.
    pub data_dir: PathBuf,
    /// Process id of the application: end it to see the alert `API Down`.
    pub syndic_pid: u32,
    /// Process id of PostgreSQL: end it to see the alert `Database Down`.
    pub postgres_pid: u32,
    owner: Option<Owner>,
}

/// The thread behind a demonstration; it stops when `stop` is dropped.
#[derive(Debug)]
struct Owner {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the thread reports once everything answers.
struct Started {
    postgres: postgres::Access,
    syndic_url: String,
    syndic_pid: u32,
    postgres_pid: u32,
}

/// Starts everything and returns when the application and its database answer, after some seconds.
///
/// Blocks: call it from a thread that may wait. On an error everything that was started is ended.
pub fn prepare(options: DemoOptions) -> anyhow::Result<Demo> {
    let folder = Folder::open(options.data_dir.as_deref())?;
    let places = Places::below(&folder.path);
    let (stop, stopped) = mpsc::channel();
    let (report, reported) = mpsc::sync_channel(1);
    let thread_places = places.clone();
    let thread = std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || own(folder, thread_places, options, report, stopped))
        .context("cannot start the thread of the demonstration")?;
    let owner = Owner { stop, thread };
    let started = reported.recv().context("the thread of the demonstration ended early")??;
    Ok(Demo {
        postgres_dsn: started.postgres.monitor_dsn,
        postgres_log: places.postgres_log,
        syndic_url: started.syndic_url,
        syndic_log_path: places.syndic_log,
        eve_path: places.eve,
        data_dir: places.data_dir,
        syndic_pid: started.syndic_pid,
        postgres_pid: started.postgres_pid,
        owner: Some(owner),
    })
}

impl Demo {
    /// Ends every process and waits for the last of them. Dropping does the same.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(Owner { stop, thread }) = self.owner.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!(
                    "the thread of the demonstration panicked; its processes end with it"
                );
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.end();
    }
}

/// The life of the owning thread.
fn own(
    folder: Folder,
    places: Places,
    options: DemoOptions,
    report: mpsc::SyncSender<anyhow::Result<Started>>,
    stopped: Receiver<()>,
) {
    let mut children = Children::default();
    let mut attacks = eve::Attacks::new(options.seed);
    let started = start(&mut children, &places, &options).and_then(|started| {
        let backlog = attacks.backlog(eve::now_us());
        eve::append(&places.eve, &backlog)?;
        Ok(started)
    });
    if started.is_err() {
        // Stopped before it is reported: whoever hears of the error may end the program at once.
        children.stop();
        folder.close();
        let _ = report.send(started);
        return;
    }
    if report.send(started).is_err() {
        children.stop();
        return folder.close();
    }
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(attacks.pause()) {
        let event = attacks.next(eve::now_us());
        if let Err(error) = eve::append(&places.eve, &event) {
            tracing::warn!("the demonstration's attacks are not written: {error:#}");
        }
        children.report_ended();
    }
    children.stop();
    folder.close();
}

fn start(
    children: &mut Children,
    places: &Places,
    options: &DemoOptions,
) -> anyhow::Result<Started> {
    // Looked for first: a missing binary is found before a cluster is made.
    let binary = syndic::find_or_build()?;
    let (server, access) = postgres::start(places)?;
    let postgres_pid = server.id();
    children.0.push(server);
    let access = postgres::create_database(places, access)?;
    let listen = syndic::free_address()?;
    let mut server = syndic::serve(&binary, &listen, &access.application_dsn, places)?;
    let syndic_pid = server.id();
    syndic::wait_until_healthy(&mut server, &listen, places)?;
    children.0.push(server);
    children.0.push(syndic::load(&binary, &listen, options)?);
    Ok(Started {
        postgres: access,
        syndic_url: format!("http://{listen}"),
        syndic_pid,
        postgres_pid,
    })
}

/// The child processes in the order in which they were started. They are stopped in reverse.
#[derive(Default)]
struct Children(Vec<Child>);

impl Children {
    fn report_ended(&mut self) {
        for child in &mut self.0 {
            child.report_if_ended();
        }
    }

    fn stop(&mut self) {
        while let Some(mut child) = self.0.pop() {
            child.stop();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where each part keeps its files.
#[derive(Debug, Clone)]
struct Places {
    data_dir: PathBuf,
    cluster: PathBuf,
    socket_dir: PathBuf,
    postgres_log: PathBuf,
    syndic_log: PathBuf,
    eve: PathBuf,
    /// What PostgreSQL and the application say before their logs are open: why they cannot start.
    postgres_start: PathBuf,
    syndic_start: PathBuf,
}

impl Places {
    fn below(data_dir: &Path) -> Self {
        Places {
            data_dir: data_dir.to_owned(),
            cluster: data_dir.join("postgresql/main"),
            socket_dir: data_dir.join("postgresql/run"),
            postgres_log: data_dir.join("postgresql/log").join(postgres::LOG_NAME),
            syndic_log: data_dir.join("api.log"),
            eve: data_dir.join("eve.json"),
            postgres_start: data_dir.join("postgresql-start.log"),
            syndic_start: data_dir.join("api-start.log"),
        }
    }
}

/// The folder of the demonstration, removed at the end when it was made for it.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let (path, temporary) = match given {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("cannot make the folder {}", path.display()))?;
                (path.to_owned(), false)
            }
            None => (new_temporary_folder()?, true),
        };
        let path = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Folder { path, temporary })
    }

    fn close(self) {
        if !self.temporary {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

/// A folder that did not exist before: in a directory that everyone may write to, one that did
/// could be somebody's trap. Others may pass through it, because PostgreSQL may run as another
/// user.
fn new_temporary_folder() -> anyhow::Result<PathBuf> {
    let name = format!("vigie-demo-{}-{}", std::process::id(), postgres::random_hex(4)?);
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path)
        .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o711)))
        .with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// How long to wait between two looks at something that is starting.
const POLL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
