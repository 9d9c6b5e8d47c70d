//! The language that people are told in: `language` of `vigie.yml`, or that of the environment.

use serde::de::{self, Deserialize, Deserializer};

/// A language that Vigie speaks. The UI follows the browser; this one is for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// `en` or `fr`.
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::French => "fr",
        }
    }

    /// The language of the environment: French when its locale is, else English.
    pub(crate) fn of_environment() -> Self {
        Language::of_locale(|name| std::env::var(name).ok())
    }

    /// As POSIX has it, the first of these that is set decides.
    fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable);
        let locale = set.find(|locale| !locale.is_empty()).unwrap_or_default();
        let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("fr") { Language::French } else { Language::English }
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "en" => Ok(Language::English),
            "fr" => Ok(Language::French),
            _ => {
                let reason = format!("messages are not written in {text:?} yet: write en or fr");
                Err(de::Error::custom(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Language;

    #[test]
    fn the_first_locale_that_is_set_decides() {
        for (all, messages, lang, wanted) in [
            (None, None, None, "en"),
            (None, None, Some("fr_BE.UTF-8"), "fr"),
            (None, None, Some("fr"), "fr"),
            (None, None, Some("fry_NL"), "en"),
            (Some(""), Some(""), Some("fr_FR"), "fr"),
            (Some("C.UTF-8"), None, Some("fr_FR"), "en"),
            (Some("fr_FR@euro"), Some("de_DE"), Some("en_GB"), "fr"),
            (None, Some("fr_CA"), Some("en_US"), "fr"),
        ] {
            let language = Language::of_locale(|name| {
                let value = match name {
                    "LC_ALL" => all,
                    "LC_MESSAGES" => messages,
                    _ => lang,
                };
                value.map(str::to_owned)
            });
            assert_eq!(language.code(), wanted, "{all:?} {messages:?} {lang:?}");
        }
    }
}
