//! The configuration of scraping and rules, shown to people: Prometheus' file as it was written, with
//! the defaults that count filled in and secrets hidden. It is what `/api/v1/status/config` answers.
//!
//! A tree of its own instead of the typed forms: keys that Vigie does not use are shown too, in the
//! order in which they were written.

use crate::Config;
use crate::error::ConfigError;
use crate::tree::Tree;
use crate::yaml::Source;
use vigie_model::duration::format_duration_ms;

/// What Prometheus writes in place of a secret.
const HIDDEN: &str = "<secret>";
/// Keys whose value is a secret, or a list of secrets, wherever they stand.
const SECRETS: [&str; 9] = [
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "secrets",
    "secret_key",
    "secret",
    "key",
    "dsn",
];

/// Keys that Prometheus does not have: its tools must be able to read what is shown.
const OUR_OWN: [&str; 2] = ["host", "postgres"];

/// The configuration as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The whole of it as YAML.
    pub yaml: String,
    /// Each scrape job: its name and its part as YAML.
    pub jobs: Vec<(String, String)>,
}

/// The file at hand is Prometheus', or `section` of it is.
pub(crate) fn of_source(
    config: &Config,
    source: &Source<'_>,
    section: Option<&str>,
) -> Result<Shown, ConfigError> {
    let mut tree: Tree = source.parse()?;
    if let Some(section) = section {
        tree = tree.take(section).unwrap_or(Tree::Null);
    }
    Ok(of_tree(config, tree))
}

/// There is no file.
pub(crate) fn of_defaults(config: &Config) -> Shown {
    of_tree(config, Tree::Null)
}

fn of_tree(config: &Config, tree: Tree) -> Shown {
    let mut map = match tree {
        Tree::Map(map) => map,
        _ => Vec::new(),
    };
    map.retain(|(name, _)| !OUR_OWN.contains(&name.as_str()));
    hide_secrets(&mut map);
    let mut global = match take(&mut map, "global") {
        Some(Tree::Map(global)) => global,
        _ => Vec::new(),
    };
    default(&mut global, "scrape_interval", format_duration_ms(config.scrape_interval_ms));
    default(&mut global, "evaluation_interval", format_duration_ms(config.evaluation_interval_ms));
    map.insert(0, ("global".to_owned(), Tree::Map(global)));
    let mut jobs = Vec::new();
    for (name, list) in &mut map {
        if let (true, Tree::List(list)) = (name == "scrape_configs", list) {
            list.iter_mut().for_each(|job| jobs.extend(fill_job(config, job)));
        }
    }
    Shown { yaml: Tree::Map(map).to_yaml(), jobs }
}

/// Fills in what counts of a job.
fn fill_job(config: &Config, tree: &mut Tree) -> Option<(String, String)> {
    let Tree::Map(map) = tree else { return None };
    let name = match map.iter().find(|(name, _)| name == "job_name")? {
        (_, Tree::Text(text) | Tree::Plain(text)) => text.clone(),
        _ => return None,
    };
    let used = config.scrape_jobs.iter().flatten().find(|job| job.job_name == name)?;
    default(map, "scrape_interval", format_duration_ms(used.interval_ms));
    default(map, "scrape_timeout", format_duration_ms(used.timeout_ms));
    default(map, "metrics_path", used.metrics_path.clone());
    default(map, "scheme", used.scheme.clone());
    Some((name, tree.to_yaml()))
}

fn default(map: &mut Vec<(String, Tree)>, key: &str, text: String) {
    if map.iter().all(|(name, _)| name != key) {
        map.push((key.to_owned(), Tree::Text(text)));
    }
}

fn take(map: &mut Vec<(String, Tree)>, key: &str) -> Option<Tree> {
    let at = map.iter().position(|(name, _)| name == key)?;
    Some(map.remove(at).1)
}

fn hide_secrets(map: &mut [(String, Tree)]) {
    for (name, tree) in map {
        // `credentials_file` and its like name files, which are no secret.
        if SECRETS.contains(&name.as_str()) {
            tree.hide();
        } else {
            tree.hide_inside();
        }
    }
}

impl Tree {
    fn take(self, key: &str) -> Option<Tree> {
        match self {
            Tree::Map(mut map) => take(&mut map, key),
            _ => None,
        }
    }

    fn hide(&mut self) {
        match self {
            Tree::List(list) => list.iter_mut().for_each(Tree::hide),
            Tree::Map(map) => map.iter_mut().for_each(|(_, tree)| tree.hide()),
            Tree::Null => {}
            Tree::Plain(_) | Tree::Text(_) => *self = Tree::Plain(HIDDEN.to_owned()),
        }
    }

    fn hide_inside(&mut self) {
        match self {
            Tree::List(list) => list.iter_mut().for_each(Tree::hide_inside),
            Tree::Map(map) => hide_secrets(map),
            Tree::Text(text) => {
                // A password may stand in an address, too.
                if let Some((scheme, rest)) = text.split_once("://")
                    && let Some((user, host)) = rest.split_once('@')
                    && let (Some((name, _)), false) = (user.split_once(':'), user.contains('/'))
                {
                    *text = format!("{scheme}://{name}:{HIDDEN}@{host}");
                }
            }
            Tree::Null | Tree::Plain(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{LoadOptions, load};

    const WRITTEN: &str = "\
host: false
global: {scrape_interval: 30s, external_labels: {site: 'yes', n: \"a \\\"b\\\"\"}}
rule_files: []
scrape_configs:
- job_name: app
  basic_auth: {username: u, password: hunter2}
  params: {'a b': ['1', x]}
  static_configs:
  - targets: ['localhost:1', 'h:2']
    labels: {team: ops}
  sample_limit: 10
- job_name: plain
  scrape_timeout: 5s
  authorization: {credentials: t0ps3cret}
";
    const SHOWN: &str = "\
global:
  scrape_interval: 30s
  external_labels:
    site: \"yes\"
    \"n\": \"a \\\"b\\\"\"
  evaluation_interval: 15s
rule_files: []
scrape_configs:
- job_name: app
  basic_auth:
    username: u
    password: <secret>
  params:
    \"a b\":
    - \"1\"
    - x
  static_configs:
  - targets:
    - \"localhost:1\"
    - \"h:2\"
    labels:
      team: ops
  sample_limit: 10
  scrape_interval: 30s
  scrape_timeout: 10s
  metrics_path: /metrics
  scheme: http
- job_name: plain
  scrape_timeout: 5s
  authorization:
    credentials: <secret>
  scrape_interval: 30s
  metrics_path: /metrics
  scheme: http
";

    fn shown(name: &str, files: &[(&str, &str)]) -> super::Shown {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        let options = LoadOptions::without_languages();
        load(Some(&home.path().join(name)), &options).unwrap().shown
    }

    #[test]
    fn the_file_is_shown_with_defaults_and_without_secrets() {
        let original = shown("prometheus.yml", &[("prometheus.yml", WRITTEN)]);
        assert_eq!(original.yaml, SHOWN);
        let names: Vec<&str> = original.jobs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["app", "plain"]);
        assert!(original.jobs[1].1.starts_with("job_name: plain\nscrape_timeout: 5s\n"));

        let inline = format!("metrics:\n  {}", WRITTEN.trim_end().replace('\n', "\n  "));
        assert_eq!(shown("vigie.yml", &[("vigie.yml", &inline)]), original);
        let named = [("vigie.yml", "metrics: p.yml\n"), ("p.yml", WRITTEN)];
        assert_eq!(shown("vigie.yml", &named), original);

        let nothing = shown("vigie.yml", &[("vigie.yml", "storage: {retention: {logs: 1d}}\n")]);
        assert_eq!(nothing.yaml, "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\n");
        let options = LoadOptions::without_languages();
        assert_eq!(load(None, &options).unwrap().shown, nothing);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let again = shown("prometheus.yml", &[("prometheus.yml", SHOWN)]);
        assert_eq!(again.yaml, SHOWN);
    }
}
