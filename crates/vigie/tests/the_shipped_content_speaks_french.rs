//! Every text of the shipped dashboards and alerts has its French beside it, in French typography.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use vigie_config::rules::RuleKind;
use vigie_dashboards::Dashboard;
use vigie_http::content;
use vigie_model::Labels;
use vigie_template::{RuleContext, expand_annotation};

/// Words that PostgreSQL gave their names and French keeps.
const SAME_IN_FRENCH: [&str; 2] = ["commit", "rollback"];

fn dashboards() -> impl Iterator<Item = Dashboard> {
    content::under("dashboards/").map(|(_, text)| vigie_dashboards::normalise(text).unwrap().0)
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name).and_then(Value::as_str)
}

/// A text without what stands in `{{ }}` and in the braces of a query.
fn spoken(text: &str) -> String {
    let mut depth = 0;
    let mut spoken = String::new();
    for char in text.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => spoken.push(char),
            _ => {}
        }
    }
    spoken
}

/// Checks the typography of a French text.
fn assert_french(place: &str, french: &str) {
    assert!(!french.trim().is_empty(), "{place}: there is no French text");
    let spoken = spoken(french);
    assert!(!spoken.contains(['\'', '"']), "{place}: ’ and « » are French quotes: {french}");
    let chars: Vec<char> = spoken.chars().collect();
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let fixed = matches!(before, Some('\u{a0}' | '\u{202f}'));
        if matches!(char, ':' | ';' | '?' | '!' | '%' | '»') {
            assert!(fixed, "{place}: {char:?} needs a space that does not break: {french}");
        }
        if *char == '«' {
            assert_eq!(chars.get(at + 1), Some(&'\u{a0}'), "{place}: {french}");
        }
    }
}

/// Whether a legend says a word that a reader has to understand.
fn has_words(legend: &str) -> bool {
    let spoken = spoken(legend);
    let mut words = spoken.split(|char: char| !char.is_alphanumeric() && char != '_');
    words.any(|word| {
        let is_word = word.len() >= 2 && word.chars().all(|char| char.is_ascii_lowercase());
        is_word && !SAME_IN_FRENCH.contains(&word)
    })
}

fn places(template: &str) -> BTreeSet<&str> {
    template.split("{{").skip(1).filter_map(|part| part.split("}}").next()).collect()
}

/// The labels and values that a template of an alert shows.
fn variables(template: &str) -> BTreeSet<&str> {
    let words = template.split(|char: char| !char.is_alphanumeric() && !"$._".contains(char));
    words.filter(|word| word.starts_with("$labels.") || *word == "$value").collect()
}

#[test]
fn every_dashboard_and_panel_has_a_french_title_and_description() {
    let mut titles = BTreeSet::new();
    for dashboard in dashboards() {
        let title = text(&dashboard.rest, "title_fr").unwrap_or_default();
        assert_french(&dashboard.title, title);
        assert!(titles.insert(title.to_owned()), "{title} stands twice");
        let description = text(&dashboard.rest, "description_fr").unwrap_or_default();
        assert_french(&dashboard.title, description);
        for panel in dashboard.panels() {
            let place = format!("{} / {}", dashboard.title, panel.title);
            for name in ["title_fr", "description_fr"] {
                assert_french(&place, text(&panel.rest, name).unwrap_or_default());
            }
            assert_options_are_french(&place, &panel.rest);
        }
    }
    assert_eq!(titles.len(), 5);
}

/// What a panel says when it is empty, and what it calls the columns of its table.
fn assert_options_are_french(place: &str, panel: &Map<String, Value>) {
    let defaults = &panel["fieldConfig"]["defaults"];
    if let Some(said) = defaults["noValue"].as_str().filter(|said| has_words(said)) {
        let french = defaults["noValue_fr"].as_str();
        assert_french(place, french.unwrap_or_default());
        assert_ne!(french, Some(said), "{place}");
    }
    let transformations = panel.get("transformations").and_then(Value::as_array);
    for transformation in transformations.into_iter().flatten() {
        let options = &transformation["options"];
        let Some(names) = options["renameByName"].as_object() else { continue };
        for column in names.keys() {
            let french = options["renameByName_fr"][column].as_str();
            assert_french(&format!("{place}, column {column}"), french.unwrap_or_default());
        }
    }
}

#[test]
fn every_legend_with_words_has_a_french_one_with_the_same_labels() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for target in &panel.targets {
                let legend = text(&target.rest, "legendFormat").unwrap_or_default();
                let french = text(&target.rest, "legendFormat_fr");
                let place = format!("{} / {}: {legend}", dashboard.title, panel.title);
                assert!(french.is_some() || !has_words(legend), "{place}: no legendFormat_fr");
                if let Some(french) = french {
                    assert_french(&place, french);
                    assert_eq!(places(legend), places(french), "{place}");
                }
            }
        }
    }
}

/// The shipped alerts and their annotations.
fn alerts() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut alerts = BTreeMap::new();
    for (name, text) in content::under("rules/") {
        let groups = vigie_config::rule_groups(name, text, 15_000, &|_| Ok(())).unwrap();
        for rule in groups.into_iter().flat_map(|group| group.rules) {
            if let RuleKind::Alert { name, annotations, .. } = rule.kind {
                alerts.insert(name, annotations.into_iter().collect());
            }
        }
    }
    alerts
}

#[test]
fn every_alert_has_a_french_summary_and_description_with_the_same_values() {
    let alerts = alerts();
    assert_eq!(alerts.len(), 9);
    for (alert, annotations) in &alerts {
        for name in ["summary", "description"] {
            let find = |name: &str| annotations.get(name).map(String::as_str).unwrap_or_default();
            let (english, french) = (find(name), find(&format!("{name}_fr")));
            let place = format!("{alert} {name}");
            assert_french(&place, french);
            assert_eq!(variables(english), variables(french), "{place}");
        }
    }
}

#[test]
fn the_values_in_french_descriptions_are_written_as_french_writes_them() {
    let alerts = alerts();
    for (alert, value, said) in [
        ("API Down", 0.0, "(up\u{a0}=\u{a0}0)"),
        ("Database Down", 0.0, "(up\u{a0}=\u{a0}0)"),
        ("Disk Full", 0.0851, "Il reste 8,51\u{a0}% d’espace libre"),
        ("Disk Full", 0.0, "Il reste 0\u{a0}% d’espace libre"),
        ("High Error Rate", 12.5, "12,5 erreurs par seconde"),
        ("Memory Exhaustion", 99_000_000.0, "Il reste 94,41\u{a0}MiB de mémoire"),
        ("Memory Exhaustion", 0.0, "Il reste 0\u{a0}B de mémoire"),
        ("Slow API", 1.253, "plus de 1,253\u{a0}s sur"),
        ("High CPU", 0.05, "inactifs 5\u{a0}% du temps"),
        ("Database Connections High", 93.0, "93 connexions sont ouvertes"),
    ] {
        let context = RuleContext {
            name: alert.to_owned(),
            labels: Labels::from_pairs([("instance", "vps"), ("job", "koprogo-api")]),
            external_labels: Labels::default(),
            value,
            external_url: String::new(),
            now_ms: 0,
            query: None,
        };
        let text = expand_annotation(&alerts[alert]["description_fr"], &context).unwrap();
        assert!(text.contains(said), "{alert}: {text}");
    }
}
