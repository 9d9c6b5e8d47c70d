//! The rule groups that clients send while the program runs.
//!
//! A group is in the ledger before it is evaluated, and is evaluated from then on without a restart.
//! The group that it replaces hands its alerts and series on, rule by rule; those of a rule that is
//! gone are resolved. Groups of files cannot be changed here: the file would say otherwise at the
//! next start.

use crate::{WatchHandle, tick_group};
use vigie_config::rules::{QueryLanguage, RuleGroup};
use vigie_ledger::{LedgerError, RuleGroupRow};
use vigie_model::limits::{SENT_RULE_GROUPS_MAX, SENT_RULES_PER_GROUP_MAX};

/// A group and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownGroup {
    /// The group.
    pub group: RuleGroup,
    /// Whether a client sent it.
    pub is_sent: bool,
}

/// Why a group was not written or removed. The words about limits are Loki's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It stands in a file.
    #[error(
        "group {group:?} of namespace {namespace:?} stands in a rule file: change it there and reload Vigie"
    )]
    InFile {
        /// The namespace.
        namespace: String,
        /// The group.
        group: String,
    },
    /// There is no such group.
    #[error("group does not exist")]
    NoGroup,
    /// There is no such namespace.
    #[error("group namespace does not exist")]
    NoNamespace,
    /// Too many rules in one group.
    #[error("per-user rules per rule group limit (limit: {limit} actual: {actual}) exceeded")]
    Rules {
        /// How many are allowed.
        limit: usize,
        /// How many there are.
        actual: usize,
    },
    /// Too many groups.
    #[error("per-user rule groups limit (limit: {limit} actual: {actual}) exceeded")]
    Groups {
        /// How many are allowed.
        limit: usize,
        /// How many there would be.
        actual: usize,
    },
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl WatchHandle {
    /// The groups of a language, files first.
    pub fn known_groups(&self, language: QueryLanguage) -> Vec<KnownGroup> {
        let groups = self.core().groups();
        let known = |is_sent: bool| {
            let groups = groups.iter().filter(move |one| one.is_sent == is_sent);
            groups.map(move |one| KnownGroup { group: one.config(), is_sent })
        };
        known(false).chain(known(true)).filter(|one| one.group.language == language).collect()
    }

    /// Writes a group over the one of its name and evaluates it from now on. `body` is what the
    /// client sent. Durable when this returns. Blocks.
    pub fn put_group(&self, group: RuleGroup, body: &str) -> Result<(), SendError> {
        let (limit, actual) = (SENT_RULES_PER_GROUP_MAX, group.rules.len());
        if actual > limit {
            return Err(SendError::Rules { limit, actual });
        }
        let _sending = self.sending.lock();
        let core = self.core();
        let groups = core.groups();
        let old = groups.iter().find(|one| {
            let config = one.config();
            (config.language, &config.file, &config.name)
                == (group.language, &group.file, &group.name)
        });
        match old {
            Some(old) if !old.is_sent => return Err(in_file(&group)),
            Some(_) => {}
            None => {
                let limit = SENT_RULE_GROUPS_MAX;
                let actual = groups.iter().filter(|one| one.is_sent).count() + 1;
                if actual > limit {
                    return Err(SendError::Groups { limit, actual });
                }
            }
        }
        let row = RuleGroupRow {
            language: word(group.language).to_owned(),
            namespace: group.file.clone(),
            name: group.name.clone(),
            body: body.to_owned(),
            written_at_ms: core.now_ms(),
        };
        let new = core.change_group(old, Some(group), &|tx| tx.put_rule_group(&row))?;
        let mut running = self.running.lock();
        let (wake, stopped) = (running.wake.clone(), running.stop.subscribe());
        running.ticks.retain(|task| !task.is_finished());
        running.ticks.extend(
            new.map(|group| self.runtime.spawn(tick_group(core.clone(), group, wake, stopped))),
        );
        Ok(())
    }

    /// Removes a group, or all of a namespace; their alerts are resolved. Durable when this returns.
    /// Blocks.
    pub fn delete_groups(
        &self,
        language: QueryLanguage,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<(), SendError> {
        let _sending = self.sending.lock();
        let core = self.core();
        let meant = core.groups().into_iter().filter(|one| {
            let config = one.config();
            let named = name.is_none_or(|name| name == config.name);
            config.language == language && config.file == namespace && named
        });
        let meant: Vec<_> = meant.collect();
        if let Some(fixed) = meant.iter().find(|one| !one.is_sent) {
            return Err(in_file(&fixed.config()));
        }
        if meant.is_empty() {
            let missing = name.map_or(SendError::NoNamespace, |_| SendError::NoGroup);
            return Err(missing);
        }
        for group in &meant {
            let name = group.name();
            core.change_group(Some(group), None, &|tx| {
                tx.delete_rule_group(word(language), namespace, &name)
            })?;
        }
        // Who is told that alerts are over is told now.
        self.running.lock().wake.notify_one();
        Ok(())
    }
}

fn in_file(group: &RuleGroup) -> SendError {
    SendError::InFile { namespace: group.file.clone(), group: group.name.clone() }
}

/// The ledger's word.
fn word(language: QueryLanguage) -> &'static str {
    match language {
        QueryLanguage::PromQl => "promql",
        QueryLanguage::LogQl => "logql",
    }
}
