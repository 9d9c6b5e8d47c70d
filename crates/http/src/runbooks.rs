//! The shipped runbooks: front matter, and Markdown turned into safe HTML.

use crate::content;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// One runbook in one language.
pub struct Runbook {
    /// Its name in addresses.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// The alert it belongs to; empty when it belongs to none.
    pub alert: String,
    /// `high`, `medium` or empty.
    pub severity: String,
    /// `fr` or `en`.
    pub language: &'static str,
    body: &'static str,
}

impl Runbook {
    /// The body as HTML without any markup of its own: raw HTML is shown as text, and links lead to
    /// web addresses, to parts of the page or into Vigie.
    pub fn html(&self) -> String {
        let events =
            Parser::new_ext(self.body, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
                .map(safe);
        let mut out = String::new();
        html::push_html(&mut out, events);
        out
    }
}

/// All runbooks of a language, in order of their slugs.
pub fn list(language: &str) -> Vec<Runbook> {
    let (prefix, language) =
        if language == "fr" { ("runbooks/fr/", "fr") } else { ("runbooks/en/", "en") };
    content::under(prefix)
        .filter_map(|(name, text)| read(name.strip_suffix(".md")?, text, language))
        .collect()
}

/// One runbook.
pub fn find(slug: &str, language: &str) -> Option<Runbook> {
    list(language).into_iter().find(|runbook| runbook.slug == slug)
}

fn read(slug: &str, text: &'static str, language: &'static str) -> Option<Runbook> {
    let (front, body) = text.strip_prefix("---\n")?.split_once("\n---\n")?;
    let value = |name: &str| {
        let line = front.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("", str::trim).trim_matches('"').to_owned()
    };
    Some(Runbook {
        slug: slug.to_owned(),
        title: value("title"),
        alert: value("alert"),
        severity: value("severity"),
        language,
        body,
    })
}

fn safe(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe_address(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: safe_address(dest_url), title, id })
        }
        other => other,
    }
}

fn safe_address(address: CowStr<'_>) -> CowStr<'_> {
    let inside =
        address.starts_with('#') || (address.starts_with('/') && !address.starts_with("//"));
    let web = ["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme));
    if inside || web { address } else { CowStr::Borrowed("#") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_a_runbook_in_both_languages() {
        for language in ["fr", "en"] {
            let alerts: Vec<String> =
                list(language).into_iter().map(|runbook| runbook.alert).collect();
            for alert in [
                "API Down",
                "Database Down",
                "Disk Full",
                "High Error Rate",
                "Memory Exhaustion",
                "Slow API",
                "High CPU",
                "Database Connections High",
            ] {
                assert!(alerts.iter().any(|known| known == alert), "{language}: {alert}");
            }
        }
    }

    #[test]
    fn markdown_cannot_carry_markup_or_scripts() {
        let runbook = Runbook {
            slug: String::new(),
            title: String::new(),
            alert: String::new(),
            severity: String::new(),
            language: "en",
            body: "<script>x</script>\n\n[a](javascript:x) <b onclick=x> [b](/runbooks/x) [c](//evil)",
        };
        let html = runbook.html();
        assert!(
            !html.contains("<script")
                && !html.contains("<b ")
                && !html.contains("javascript:")
                && !html.contains("//evil"),
            "{html}"
        );
        assert!(html.contains("href=\"/runbooks/x\""), "{html}");
    }
}
