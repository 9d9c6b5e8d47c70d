//! A running `vigie demo`, and its parts to end and to start again.

use crate::{Vigie, wait_for};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The demonstration with its folder.
pub struct Demo {
    /// Vigie, watching it.
    pub vigie: Vigie,
    home: tempfile::TempDir,
}

impl Demo {
    /// Starts it; `config` is the text of a vigie.yml.
    pub fn start(config: &str) -> Demo {
        let home = tempfile::tempdir().expect("a scratch folder");
        // PostgreSQL gives up root and must still reach its folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(home.path(), open).expect("the folder is ours");
        let file = home.path().join("vigie.yml");
        fs::write(&file, config).expect("the folder is writable");
        let storage = format!("--storage.path={}", home.path().join("demo").display());
        let config = format!("--config.file={}", file.display());
        let vigie = Vigie::start(home.path(), &["demo", &storage, &config, "--classic-ports"]);
        Demo { vigie, home }
    }

    /// The folder of the demonstration.
    pub fn folder(&self) -> std::path::PathBuf {
        self.home.path().join("demo")
    }

    /// The backend's process id, from what the program said at its start.
    pub fn backend_pid(&self) -> u32 {
        self.said("The backend is process ").parse().expect("a process id")
    }

    /// The backend's address.
    pub fn backend_url(&self) -> String {
        let pid = self.backend_pid();
        self.said(&format!("The backend is process {pid} at "))
    }

    /// PostgreSQL's process id.
    pub fn postgres_pid(&self) -> u32 {
        self.said("PostgreSQL is process ").parse().expect("a process id")
    }

    /// The word after `before`.
    fn said(&self, before: &str) -> String {
        let text = fs::read_to_string(&self.vigie.log).unwrap_or_default();
        let rest =
            text.split(before).nth(1).unwrap_or_else(|| panic!("stderr says {before:?}: {text}"));
        let end = rest.find([' ', ',', '\n']).unwrap_or(rest.len());
        rest[..end].trim_end_matches(':').to_owned()
    }
}

/// A process as it was started: enough to start it again.
pub struct Again {
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Again {
    /// Reads a running process's command line and environment.
    pub fn of(pid: u32) -> Again {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("the process runs");
        let parts = |bytes: Vec<u8>| -> Vec<String> {
            bytes
                .split(|byte| *byte == 0)
                .filter(|part| !part.is_empty())
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect()
        };
        let environment = parts(read("environ"));
        let pairs = environment.iter().filter_map(|pair| pair.split_once('='));
        Again {
            words: parts(read("cmdline")),
            environment: pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }

    /// Starts it again.
    pub fn start(&self) -> Started {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Started(command.spawn().expect("it started before"))
    }
}

/// A process that ends with its owner.
pub struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends a process and waits until it is gone.
pub fn end(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
    wait_for("the process is gone", 20, || {
        // A zombie that its parent has not collected yet is gone too.
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (!Path::new(&format!("/proc/{pid}")).exists() || state.contains(") Z ")).then_some(())
    });
}

/// A configuration that tells three fake receivers on these ports.
pub fn alerting(pagerduty: u16, slack: u16, sms: u16) -> String {
    format!(
        r#"alerting:
  route:
    receiver: medium
    group_by: [alertname]
    group_wait: 1s
    group_interval: 2s
    routes:
    - matchers: ['severity="high"']
      receiver: high
  receivers:
  - name: medium
    slack_configs: [{{api_url: 'http://127.0.0.1:{slack}/slack', channel: '#alerts'}}]
  - name: high
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: 'http://127.0.0.1:{pagerduty}/v2/enqueue'}}]
    slack_configs: [{{api_url: 'http://127.0.0.1:{slack}/slack', channel: '#alerts'}}]
    sms_configs: [{{url: 'http://127.0.0.1:{sms}/sms', from: '+3200000000', to: ['+3211111111'], username: u, password: p}}]
"#
    )
}
