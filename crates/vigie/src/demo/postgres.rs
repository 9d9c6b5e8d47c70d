//! A private PostgreSQL cluster.
//!
//! It listens on a free loopback port and on a socket inside the folder of the demonstration, asks
//! for a password on both (any user of the machine can reach a loopback port), and writes its log
//! by the logging collector, as Debian's does. Started by root, it runs as `postgres`, or as
//! `nobody`.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::child::{self, Child, User};
use super::{POLL, Places, ports, random_hex};

/// The name of Debian's log file for this version.
pub(super) const LOG_NAME: &str = "postgresql-15-main.log";
const DATABASE: &str = "koprogo_db";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
const MISSING: &str = "vigie demo needs PostgreSQL's server programs and found none: \
                       install them with `apt install postgresql-15`";

/// How to reach the cluster.
#[derive(Debug)]
pub(super) struct Access {
    programs: PathBuf,
    port: u16,
    superuser_password: String,
    /// For the application: owns the database.
    pub(super) application_dsn: String,
    /// For the watcher: may read statistics, nothing else.
    pub(super) monitor_dsn: String,
}

/// Makes the cluster when it is not there yet, and starts it.
pub(super) fn start(places: &Places) -> anyhow::Result<(Child, Access)> {
    let programs = programs()?;
    let user = unprivileged_user()?;
    let port = ports::free()?;
    let superuser_password = prepare_cluster(places, &programs, user)?;
    write_settings(places, port)?;
    // An interrupt is PostgreSQL's fast shutdown; a termination signal would wait for clients.
    let mut command = child::command(&programs.join("postgres"), "INT", user);
    command.arg("-D").arg(&places.cluster).current_dir(&places.cluster);
    command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(child::file(&places.postgres_start)?);
    let server = Child::spawn("postgresql", &mut command, Signal::INT)?;
    let access = Access {
        programs,
        port,
        superuser_password,
        application_dsn: String::new(),
        monitor_dsn: String::new(),
    };
    let server = wait_until_ready(server, &access, places)?;
    Ok((server, access))
}

/// Creates the database and its two roles, with new passwords.
pub(super) fn create_database(places: &Places, mut access: Access) -> anyhow::Result<Access> {
    let (application, monitor) = (random_hex()?, random_hex()?);
    let exists = access.sql(
        "postgres",
        &format!("SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'"),
    )?;
    if exists == "0" {
        access.sql("postgres", "CREATE ROLE koprogo LOGIN; CREATE ROLE vigie LOGIN")?;
        access.sql("postgres", "GRANT pg_monitor TO vigie")?;
        access.sql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER koprogo"))?;
        access.sql(DATABASE, "CREATE EXTENSION pg_stat_statements")?;
    }
    access.sql(
        "postgres",
        &format!(
            "ALTER ROLE koprogo PASSWORD '{application}'; ALTER ROLE vigie PASSWORD '{monitor}'"
        ),
    )?;
    let dsn = |role, password| {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{DATABASE}?sslmode=disable", access.port)
    };
    (access.application_dsn, access.monitor_dsn) =
        (dsn("koprogo", application), dsn("vigie", monitor));
    if !places.postgres_log.exists() {
        bail!("PostgreSQL runs but writes no log to {}", places.postgres_log.display());
    }
    Ok(access)
}

impl Access {
    /// Runs a statement as the superuser, and gives the first column as text.
    fn sql(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--host", "127.0.0.1", "--username", "postgres"])
            .arg("--port")
            .arg(self.port.to_string())
            .args(["--dbname", database, "--file", "-"])
            .env("PGPASSWORD", &self.superuser_password)
            .env("PGCONNECT_TIMEOUT", "3");
        // PostgreSQL repeats the statement in its error, and it may hold a password: keep the
        // reason.
        child::run_with_input(&mut psql, statement).map_err(|error| {
            let text = format!("{error:#}");
            let reason = text.rsplit("ERROR:").next().unwrap_or(&text);
            let reason = reason.lines().next().unwrap_or_default().trim();
            anyhow::anyhow!("PostgreSQL refused a statement of the demonstration: {reason}")
        })
    }
}

/// The folder of `initdb`, `postgres` and `psql`: Debian's newest up to 15 first, then any other.
fn programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(DEBIAN_ROOT).into_iter().flatten().flatten() {
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let folder = entry.path().join("bin");
        if let (Some(version), true) = (version, has_server(&folder)) {
            found.push((version, folder));
        }
    }
    // The runbook speaks of 15: prefer it, then the newest.
    found.sort_by_key(|(version, _)| (*version == 15, *version));
    if let Some((_, folder)) = found.pop() {
        return Ok(folder);
    }
    let told = child::run(Command::new("pg_config").arg("--bindir")).map(PathBuf::from);
    match told {
        Ok(folder) if has_server(&folder) => Ok(folder),
        _ => bail!(MISSING),
    }
}

fn has_server(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).exists())
}

/// Whom PostgreSQL runs as when we are root; `None` when we are not.
fn unprivileged_user() -> anyhow::Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if !child::can_change_user() {
        bail!(
            "PostgreSQL refuses to run as root, and /usr/bin/setpriv is not there to change user: \
             run `vigie demo` as another user, or `apt install util-linux`"
        );
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|name| account(&accounts, name));
    found.map(Some).context("there is neither a user postgres nor nobody to run PostgreSQL as")
}

/// An account's ids, from the text of `/etc/passwd`.
pub(super) fn account(accounts: &str, name: &str) -> Option<User> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(User { uid, gid })
    })
}

/// Makes the cluster unless it is there, and returns the superuser's password.
fn prepare_cluster(places: &Places, programs: &Path, user: Option<User>) -> anyhow::Result<String> {
    let base = places.cluster.parent().context("the cluster has a folder of its own")?;
    let password_file = base.join("superuser-password");
    let log_dir = places.postgres_log.parent().context("the log has a folder of its own")?;
    for folder in [base, &places.socket_dir, log_dir] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        give(folder, user)?;
    }
    if places.cluster.join("PG_VERSION").exists() {
        return std::fs::read_to_string(&password_file)
            .map(|password| password.trim().to_owned())
            .with_context(|| {
                format!(
                    "{} holds a cluster but not its password: remove the folder and start again",
                    base.display()
                )
            });
    }
    let password = random_hex()?;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&password_file);
    writeln!(file.context("cannot write the superuser's password")?, "{password}")?;
    give(&password_file, user)?;
    let mut initdb = child::command(&programs.join("initdb"), "TERM", user);
    initdb.arg("--pgdata").arg(&places.cluster).arg("--pwfile").arg(&password_file);
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"]);
    initdb.args(["--locale=C.UTF-8", "--no-sync"]).current_dir(base).env("LC_ALL", "C");
    child::run(&mut initdb).with_context(|| {
        let reach = match user {
            Some(_) => " (its own user must be able to enter every folder above it)",
            None => "",
        };
        format!("cannot make a PostgreSQL cluster in {}{reach}", places.cluster.display())
    })?;
    Ok(password)
}

fn give(path: &Path, user: Option<User>) -> anyhow::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    chown(path, Some(uid), Some(gid))
        .with_context(|| format!("cannot give {} to user {uid}", path.display()))
}

/// Settings of this run. They stand in a file of their own that the main one includes.
fn write_settings(places: &Places, port: u16) -> anyhow::Result<()> {
    let quote = |path: &Path| path.display().to_string().replace('\'', "''");
    let log_dir = places.postgres_log.parent().context("the log has a folder of its own")?;
    let settings = format!(
        "listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = '{socket}'\n\
         max_connections = 100\n\
         shared_buffers = '32MB'\n\
         fsync = off\n\
         shared_preload_libraries = 'pg_stat_statements'\n\
         log_destination = 'stderr'\n\
         logging_collector = on\n\
         log_directory = '{log}'\n\
         log_filename = '{LOG_NAME}'\n\
         log_file_mode = 0644\n\
         log_rotation_age = 0\n\
         log_rotation_size = 0\n\
         log_line_prefix = '%m [%p] %q%u@%d '\n\
         log_min_duration_statement = 1000\n\
         lc_messages = 'C'\n",
        socket = socket_dir(&places.socket_dir, &quote),
        log = quote(log_dir),
    );
    let file = places.cluster.join("vigie-demo.conf");
    std::fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
    let main = places.cluster.join("postgresql.conf");
    let text = std::fs::read_to_string(&main)
        .with_context(|| format!("cannot read {}", main.display()))?;
    let include = "include = 'vigie-demo.conf'\n";
    if !text.contains(include) {
        std::fs::write(&main, text + include)
            .with_context(|| format!("cannot write {}", main.display()))?;
    }
    Ok(())
}

/// The kernel allows 107 bytes for the path of a socket; a deeper folder gets none, only the port.
fn socket_dir(folder: &Path, quote: &impl Fn(&Path) -> String) -> String {
    const PATH_LENGTH_MAX: usize = 107;
    let file_name = "/.s.PGSQL.65535.lock";
    let fits = folder.as_os_str().len() + file_name.len() <= PATH_LENGTH_MAX;
    if fits { quote(folder) } else { String::new() }
}

fn wait_until_ready(mut server: Child, access: &Access, places: &Places) -> anyhow::Result<Child> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = server.ended() {
            let words = child::tail(&places.postgres_start);
            bail!("PostgreSQL ended at its start ({status}): {words}");
        }
        match access.sql("postgres", "SELECT 1") {
            Ok(_) => return Ok(server),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!(
                    "PostgreSQL does not answer: {}",
                    child::tail(&places.postgres_log)
                )));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
