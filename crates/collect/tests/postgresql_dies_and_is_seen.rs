//! A private PostgreSQL cluster, started as a user without privileges, watched while it lives, stops
//! and comes back.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vigie_collect::Collector;
use vigie_collect::postgres::PostgresCollector;
use vigie_config::http_client::Secret;
use vigie_config::scrape::PostgresTarget;

struct Cluster {
    bin: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Cluster {
    /// Makes and starts a cluster; `None`, said loudly, where PostgreSQL is not installed.
    fn start() -> Option<Cluster> {
        let bin = ["17", "16", "15", "14"]
            .iter()
            .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
            .find(|bin| bin.join("initdb").exists());
        let Some(bin) = bin else {
            eprintln!("SKIPPED: 1 scenario: PostgreSQL is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let cluster = Cluster { bin, directory, port };
        if root() {
            let path = cluster.directory.path();
            assert!(Command::new("chown").args(["nobody"]).arg(path).status().unwrap().success());
        }
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"]);
        cluster.up();
        Some(cluster)
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path = self.bin.join(program);
        let mut command = if root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let quiet = command.args(arguments).stdout(Stdio::null()).current_dir("/");
        assert!(quiet.status().unwrap().success(), "{program} {arguments:?}");
    }

    fn up(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off \
             -c shared_preload_libraries=pg_stat_statements",
            self.port,
            self.directory.path().display()
        );
        let log = self.directory.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    fn down(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "fast", "stop"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if Path::new(&self.data()).join("postmaster.pid").exists() {
            self.down();
        }
    }
}

fn has(page: &str, line: &str) -> bool {
    page.lines().any(|found| found == line)
}

#[tokio::test]
async fn a_server_is_watched_through_its_death_and_return() {
    let Some(cluster) = Cluster::start() else { return };
    let dsn = |database: &str| {
        let port = cluster.port;
        Secret::new(format!("postgres://postgres:pw@127.0.0.1:{port}/{database}?sslmode=disable"))
    };
    let timeout = std::time::Duration::from_secs(5);
    let admin = vigie_net::postgres::connect(&dsn("postgres"), timeout).await.unwrap();
    admin.batch_execute("CREATE DATABASE koprogo_db").await.unwrap();
    let app = vigie_net::postgres::connect(&dsn("koprogo_db"), timeout).await.unwrap();
    app.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    app.batch_execute("SELECT  pg_sleep(0.2)").await.unwrap();

    let collector = PostgresCollector::new(PostgresTarget {
        dsn: dsn("postgres"),
        instance: "db".into(),
        interval_ms: 15_000,
    });
    let page = collector.exporter_page().await;
    for line in [
        "pg_up 1",
        "pg_exporter_last_scrape_error 0",
        "pg_settings_max_connections 100",
        "pg_settings_shared_buffers_bytes 1.34217728e+08",
        "pg_replication_lag 0",
        "pg_stat_activity_count{datname=\"koprogo_db\",state=\"idle\"} 1",
        "pg_locks_count{datname=\"koprogo_db\",mode=\"accessexclusivelock\"} 0",
    ] {
        assert!(has(&page, line), "{line} in\n{page}");
    }
    for start in [
        "pg_database_size_bytes{datname=\"koprogo_db\"} ",
        "pg_stat_bgwriter_buffers_alloc_total ",
        "pg_postmaster_start_time_seconds ",
        "pg_static{short_version=\"",
        "pg_stat_database_conflicts{datid=\"",
        "pg_stat_database_conflicts_confl_lock{datid=\"",
    ] {
        assert!(page.lines().any(|line| line.starts_with(start)), "{start} in\n{page}");
    }
    let commits = page.lines().find(|line| {
        line.starts_with("pg_stat_database_xact_commit{") && line.contains("datname=\"koprogo_db\"")
    });
    assert!(commits.is_some(), "{page}");
    let sleep = page.lines().find(|line| {
        line.starts_with("pg_stat_statements_mean_seconds{") && line.contains("pg_sleep($1)")
    });
    let mean: f64 = sleep.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(mean >= 0.2, "{mean}");

    cluster.down();
    let collected = collector.collect().await;
    let error = collected.error.unwrap();
    assert!(!error.contains("pw") && error.contains("127.0.0.1"), "{error}");
    let page = collector.exporter_page().await;
    assert!(has(&page, "pg_up 0") && !page.contains("pg_stat_database"), "{page}");

    cluster.up();
    let page = collector.exporter_page().await;
    assert!(has(&page, "pg_up 1") && page.contains("pg_stat_statements_calls_total"), "{page}");
    assert!(has(&page, "pg_exporter_scrapes_total 4"), "{page}");

    cluster.down();
    cluster.up();
    let collected = collector.collect().await;
    assert_eq!(collected.error, None, "a restart between two looks is no outage");
}
