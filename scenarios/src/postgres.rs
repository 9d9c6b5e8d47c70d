//! A private PostgreSQL 15, run as a user that is not root, on a socket and port of its own.

use crate::{free_port, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A running server.
pub struct Postgres {
    /// Its port on loopback.
    pub port: u16,
    data: PathBuf,
    _home: tempfile::TempDir,
}

impl Postgres {
    /// Initialises a cluster in a folder of its own and starts it.
    pub fn start() -> Postgres {
        let home = tempfile::tempdir().expect("a scratch folder");
        let (port, data) = (free_port(), home.path().join("data"));
        give_to_postgres(home.path());
        let data_text = data.display().to_string();
        as_postgres(&[
            &format!("{BIN}/initdb"),
            "-D",
            &data_text,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]);
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            home.path().display()
        );
        let postgres = Postgres { port, data, _home: home };
        as_postgres(&[
            &format!("{BIN}/pg_ctl"),
            "-D",
            &data_text,
            "-o",
            &options,
            "-l",
            &format!("{data_text}/server.log"),
            "-w",
            "start",
        ]);
        wait_for("PostgreSQL answers", 30, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        postgres
    }

    /// A connection string for its superuser.
    pub fn dsn(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it at once.
    pub fn stop(&self) {
        let data = self.data.display().to_string();
        let _ = command_as_postgres(&[
            &format!("{BIN}/pg_ctl"),
            "-D",
            &data,
            "-m",
            "immediate",
            "-w",
            "stop",
        ])
        .status();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn give_to_postgres(directory: &Path) {
    if is_root() {
        let status = Command::new("chown").args(["-R", "postgres"]).arg(directory).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the user postgres exists (package postgresql-15)"
        );
    }
}

fn command_as_postgres(words: &[&str]) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).args(words);
        command
    } else {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).current_dir("/");
    command
}

fn as_postgres(words: &[&str]) {
    let status = command_as_postgres(words).status().expect("the program starts");
    assert!(status.success(), "{} failed", words.join(" "));
}
