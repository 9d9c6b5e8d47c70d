//! The section `otlp` of prometheus.yml (`OTLPConfig` of Prometheus' `config/config.go`).

use crate::error::ConfigError;
use crate::yaml::{Source, Spanned, or_default};
use serde::Deserialize;
use std::collections::BTreeSet;
use vigie_codec::otlp_metrics::{Promote, Settings, Strategy};

/// The section as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Otlp {
    promote_all_resource_attributes: Option<Spanned<bool>>,
    #[serde(deserialize_with = "or_default")]
    promote_resource_attributes: Vec<Spanned<String>>,
    #[serde(deserialize_with = "or_default")]
    ignore_resource_attributes: Vec<Spanned<String>>,
    translation_strategy: Option<Spanned<String>>,
    keep_identifying_resource_attributes: bool,
    convert_histograms_to_nhcb: bool,
    promote_scope_metadata: bool,
    label_name_underscore_sanitization: Option<bool>,
    label_name_preserve_multiple_underscores: Option<bool>,
}

/// The section as used; what is wrong is said in Prometheus' words.
pub(crate) fn read(source: &Source<'_>, written: &Otlp) -> Result<Settings, ConfigError> {
    let defaults = Settings::default();
    let strategy = match &written.translation_strategy {
        None => defaults.strategy,
        Some(name) if name.value.is_empty() => defaults.strategy,
        Some(name) => Strategy::parse(&name.value).ok_or_else(|| {
            let words = format!("unsupported OTLP translation strategy {:?}", name.value);
            source.wrong_at(name, words)
        })?,
    };
    let promotes_all = written.promote_all_resource_attributes.as_ref().filter(|all| all.value);
    let promote = match (promotes_all, written.ignore_resource_attributes.first()) {
        (Some(all), _) if !written.promote_resource_attributes.is_empty() => {
            return Err(source.wrong_at(
                all,
                "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
            ));
        }
        (Some(_), _) => Promote::AllBut(names(
            source,
            &written.ignore_resource_attributes,
            ("ignore_resource_attributes", "ignored"),
        )?),
        (None, Some(ignored)) => {
            return Err(source.wrong_at(
                ignored,
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
            ));
        }
        (None, None) => Promote::Only(names(
            source,
            &written.promote_resource_attributes,
            ("promote_resource_attributes", "promoted"),
        )?),
    };
    Ok(Settings {
        strategy,
        promote,
        keep_identifying: written.keep_identifying_resource_attributes,
        histograms_to_nhcb: written.convert_histograms_to_nhcb,
        promote_scope: written.promote_scope_metadata,
        key_before_underscore: written
            .label_name_underscore_sanitization
            .unwrap_or(defaults.key_before_underscore),
        keep_underscores: written
            .label_name_preserve_multiple_underscores
            .unwrap_or(defaults.keep_underscores),
        ..defaults
    })
}

/// Names of attributes, each once and none empty.
fn names(
    source: &Source<'_>,
    written: &[Spanned<String>],
    (key, adjective): (&str, &str),
) -> Result<BTreeSet<String>, ConfigError> {
    let mut out = BTreeSet::new();
    for name in written {
        let trimmed = name.value.trim();
        let wrong = |what: String| source.wrong_at(name, format!("invalid '{key}': {what}"));
        if trimmed.is_empty() {
            return Err(wrong(format!("empty {adjective} OTel resource attribute")));
        }
        if !out.insert(trimmed.to_owned()) {
            return Err(wrong(format!(
                "duplicated {adjective} OTel resource attribute {trimmed:?}"
            )));
        }
    }
    Ok(out)
}
