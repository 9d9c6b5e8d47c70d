//! Alertmanager's routing tree: the first child that matches wins, unless it says `continue`;
//! a node that has no matching child takes the alert itself.

use crate::{Group, GroupId};
use vigie_config::alerting::Route;
use vigie_model::{Labels, Matcher};

/// One route that takes an alert, and the group that the alert falls into.
#[derive(Clone, Debug)]
pub struct RouteMatch<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Alertmanager's key of the group.
    pub group_key: String,
    /// The labels that make the group.
    pub group_labels: Labels,
    pub(crate) group_wait_ms: i64,
    pub(crate) group_interval_ms: i64,
    pub(crate) repeat_interval_ms: i64,
}

impl RouteMatch<'_> {
    pub(crate) fn group_id(&self) -> GroupId {
        (self.group_key.clone(), self.receiver.to_owned())
    }

    pub(crate) fn new_group(&self, now_ms: i64) -> Group {
        Group {
            key: self.group_key.clone(),
            receiver: self.receiver.to_owned(),
            labels: self.group_labels.clone(),
            alerts: Default::default(),
            next_flush_ms: now_ms + self.group_wait_ms,
            has_flushed: false,
            logs: Default::default(),
            group_wait_ms: self.group_wait_ms,
            group_interval_ms: self.group_interval_ms,
            repeat_interval_ms: self.repeat_interval_ms,
        }
    }
}

/// The routes that take an alert of these labels, in the tree's order.
pub fn route<'a>(root: &'a Route, labels: &Labels) -> Vec<RouteMatch<'a>> {
    let mut found = Vec::new();
    walk(root, labels, "", &mut found);
    found
}

/// The names of the receivers that an alert of these labels is routed to, in order, each once.
pub fn receivers(root: &Route, labels: &Labels) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for found in route(root, labels) {
        if !names.iter().any(|name| name == found.receiver) {
            names.push(found.receiver.to_owned());
        }
    }
    names
}

fn walk<'a>(node: &'a Route, labels: &Labels, parent_key: &str, found: &mut Vec<RouteMatch<'a>>) {
    if !node.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
        return;
    }
    let separator = if parent_key.is_empty() { "" } else { "/" };
    let key = format!("{parent_key}{separator}{}", matchers_text(&node.matchers));
    let before = found.len();
    for child in &node.routes {
        let so_far = found.len();
        walk(child, labels, &key, found);
        if found.len() > so_far && !child.continue_matching {
            break;
        }
    }
    if found.len() == before {
        let group_labels = match &node.group_by {
            None => labels.clone(),
            Some(names) => labels.only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        found.push(RouteMatch {
            receiver: &node.receiver,
            group_key: format!("{key}:{group_labels}"),
            group_labels,
            group_wait_ms: node.group_wait_ms,
            group_interval_ms: node.group_interval_ms,
            repeat_interval_ms: node.repeat_interval_ms,
        });
    }
}

/// Alertmanager's text of a list of matchers, which it keeps sorted.
fn matchers_text(matchers: &[Matcher]) -> String {
    let mut sorted: Vec<&Matcher> = matchers.iter().collect();
    sorted.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
    let texts: Vec<String> = sorted.iter().map(ToString::to_string).collect();
    format!("{{{}}}", texts.join(","))
}
