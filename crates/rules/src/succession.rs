//! What a group of a new configuration takes over from the group that was there before.
//!
//! A rule is followed by the one with the same key (file, group, kind, name and position among its
//! namesakes): its alerts go on counting, and the series that it wrote are known, so that those which
//! the new rule no longer yields end with a stale marker. What a rule without a follower wrote is
//! handed back, for somebody to end it.

use crate::{GroupState, Kind, RuleState};
use vigie_model::Labels;

impl GroupState {
    /// Takes over what `before` knows. Answers the series that nobody writes any more.
    pub fn succeed(&mut self, before: &GroupState) -> Vec<Labels> {
        let mut ended = Vec::new();
        for old in &before.rules {
            match self.rules.iter_mut().find(|rule| rule.key == old.key) {
                Some(rule) => rule.succeed(old),
                None => ended.extend(old.written.iter().cloned()),
            }
        }
        ended
    }

    /// Every series that the group's last evaluation wrote.
    pub fn written(&self) -> impl Iterator<Item = &Labels> {
        self.rules.iter().flat_map(|rule| &rule.written)
    }
}

impl RuleState {
    fn succeed(&mut self, before: &RuleState) {
        if let (Kind::Alert(alert), Kind::Alert(old)) = (&mut self.kind, &before.kind) {
            alert.active.clone_from(&old.active);
        }
        self.written.clone_from(&before.written);
        self.health = before.health;
        self.last_error.clone_from(&before.last_error);
        self.last_evaluation_ms = before.last_evaluation_ms;
    }
}
