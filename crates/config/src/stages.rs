//! promtail's pipeline stages, as they are written in `pipeline_stages`.
//!
//! A stage that promtail has and Vigie has not is refused by its name, with what to write instead.

use crate::yaml::DurationMs;
use serde::Deserialize;
use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, IntoDeserializer, MapAccess,
    VariantAccess, Visitor,
};
use std::collections::BTreeMap;
use std::fmt;

/// A stage and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedStage {
    /// `file:line`, for what is wrong with it.
    pub place: String,
    /// The stage.
    pub stage: Stage,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Docker's JSON lines.
    Docker(Nothing),
    /// The lines of a container runtime (CRI).
    Cri(Nothing),
    /// Named groups of an expression.
    Regex(Regex),
    /// Members of a JSON line.
    Json(Json),
    /// Keys of a logfmt line.
    Logfmt(Logfmt),
    /// Groups of an expression, written anew.
    Replace(Replace),
    /// A text written anew.
    Template(Template),
    /// Labels of what was found: label, source (its own name when none is given).
    Labels(Names),
    /// Structured metadata of what was found, likewise.
    #[serde(rename = "structured_metadata")]
    StructuredMetadata(Names),
    /// Labels as they are written.
    #[serde(rename = "static_labels")]
    StaticLabels(BTreeMap<String, Option<String>>),
    /// Labels that go.
    LabelDrop(Vec<String>),
    /// Labels that stay.
    LabelAllow(Vec<String>),
    /// The line's instant.
    Timestamp(Timestamp),
    /// The line's text.
    Output(Output),
    /// Lines that go.
    Drop(Drop),
    /// Stages for some of the lines.
    Match(Match),
    /// Labels that go into the line.
    Pack(Pack),
    /// A share of the lines.
    Sampling(Sampling),
    /// So many lines a second.
    Limit(Limit),
    /// Colours that go.
    Decolorize(Nothing),
    /// There is one tenant: accepted, and nothing is done.
    Tenant(Ignored),
}

/// The names of stages that are not there, and what to do.
const UNBUILT: [(&str, &str); 7] = [
    ("multiline", "lines are not joined: let the program write one line (JSON) for each event"),
    ("metrics", "metrics of lines are made by `logs.metrics` of vigie.yml"),
    ("geoip", "there is no database of addresses: leave it out"),
    ("eventlogmessage", "there is no Windows event log here: leave it out"),
    ("luhn", "write a `replace` stage for the numbers that must not be stored"),
    ("inspect", "leave it out"),
    ("pipeline", "write its stages here"),
];

/// A stage as it stands in a list: its name, a colon, its settings.
#[derive(Clone)]
pub(crate) struct One(pub(crate) Stage);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<One, D::Error> {
        struct OneKey;
        impl<'de> Visitor<'de> for OneKey {
            type Value = One;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stage: its name, a colon and its settings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<One, A::Error> {
                let name: Option<String> = map.next_key()?;
                let name = name.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                if let Some((_, advice)) = UNBUILT.iter().find(|(one, _)| *one == name) {
                    let words = format!("the stage `{name}` is not built: {advice}");
                    return Err(de::Error::custom(words));
                }
                let stage = map.next_value_seed(SettingsOf(name))?;
                match map.next_key::<String>()? {
                    None => Ok(One(stage)),
                    Some(other) => Err(de::Error::custom(format!(
                        "a stage has one name, and `{other}` is a second: begin it with a dash"
                    ))),
                }
            }
        }
        deserializer.deserialize_map(OneKey)
    }
}

fn nested<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Stage>, D::Error> {
    let list: Option<Vec<One>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().map(|one| one.0).collect())
}

/// Reads the settings of the stage of a name.
struct SettingsOf(String);

impl<'de> DeserializeSeed<'de> for SettingsOf {
    type Value = Stage;
    fn deserialize<D: Deserializer<'de>>(self, settings: D) -> Result<Stage, D::Error> {
        Stage::deserialize(Named { name: self.0, settings })
    }
}

/// A name and its settings, as serde wants an enum.
struct Named<D> {
    name: String,
    settings: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Named<D> {
    type Error = D::Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for Named<D> {
    type Error = D::Error;
    type Variant = Settings<D>;
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Settings<D>), D::Error> {
        let name: StringDeserializer<D::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Settings(self.settings)))
    }
}

struct Settings<D>(D);

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for Settings<D> {
    type Error = D::Error;
    fn unit_variant(self) -> Result<(), D::Error> {
        IgnoredAny::deserialize(self.0).map(drop)
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, D::Error> {
        seed.deserialize(self.0)
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }
}

/// A stage without settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nothing, D::Error> {
        let keys: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
        match keys.unwrap_or_default().keys().next() {
            Some(key) => Err(de::Error::custom(format!("the key `{key}` has no effect here"))),
            None => Ok(Nothing),
        }
    }
}

/// Settings that do not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ignored, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}

/// Names and where they come from.
pub type Names = BTreeMap<String, Option<String>>;

/// `regex`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regex {
    /// With named groups.
    pub expression: String,
    /// What it is looked for in; the line when it is not given.
    pub source: Option<String>,
}

/// `json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Name and path; the path is the name when it is not given.
    pub expressions: Names,
    /// What is read; the line when it is not given.
    pub source: Option<String>,
    /// Whether lines that are no JSON go.
    #[serde(default)]
    pub drop_malformed: bool,
}

/// `logfmt`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logfmt {
    /// Name and key; the key is the name when it is not given.
    pub mapping: Names,
    /// What is read; the line when it is not given.
    pub source: Option<String>,
}

/// `replace`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// Its groups are replaced.
    pub expression: String,
    /// Where; the line when it is not given.
    pub source: Option<String>,
    /// A template, whose `.Value` is the group's text.
    #[serde(default)]
    pub replace: String,
}

/// `template`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What is written anew, or made.
    pub source: String,
    /// A Go template, whose `.Value` is the text before.
    pub template: String,
}

/// `timestamp`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// Where the instant stands.
    pub source: String,
    /// Go's layout, or the name of one.
    pub format: String,
    /// Tried one after the other when the first does not fit.
    #[serde(default)]
    pub fallback_formats: Vec<String>,
    /// The zone of a text that names none.
    pub location: Option<String>,
    /// What to do when there is no instant.
    #[serde(default)]
    pub action_on_failure: OnFailure,
}

/// What a `timestamp` stage does without an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// A nanosecond after the line before.
    #[default]
    Fudge,
    /// Nothing: when it was read.
    Skip,
}

/// `output`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What becomes the line.
    pub source: String,
}

/// `drop`: all conditions that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// The names whose texts are looked at; the line when none is given.
    #[serde(default, deserialize_with = "one_or_many")]
    pub source: Vec<String>,
    /// Stands between the texts.
    pub separator: Option<String>,
    /// What they must be.
    pub value: Option<String>,
    /// What they must match.
    pub expression: Option<String>,
    /// How old the line must be, in milliseconds.
    #[serde(default, deserialize_with = "age")]
    pub older_than: Option<i64>,
    /// How many bytes it must have, more than.
    #[serde(default, deserialize_with = "bytes")]
    pub longer_than: Option<u64>,
    #[serde(default, rename = "drop_counter_reason")]
    _reason: Option<String>,
}

/// `match`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// LogQL: a selector and line filters.
    pub selector: String,
    /// For the lines that it finds.
    #[serde(default, deserialize_with = "nested")]
    pub stages: Vec<Stage>,
    /// Whether these go.
    #[serde(default)]
    pub action: Action,
    #[serde(default, rename = "pipeline_name")]
    _pipeline_name: Option<String>,
    #[serde(default, rename = "drop_counter_reason")]
    _reason: Option<String>,
}

/// What a `match` stage does with the lines that it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Its stages.
    #[default]
    Keep,
    /// They go.
    Drop,
}

/// `pack`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Labels and names that go into the line.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether the line gets the instant at which it is packed.
    #[serde(default = "yes")]
    pub ingest_timestamp: bool,
}

/// `sampling`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Between 0 and 1.
    pub rate: f64,
}

/// `limit`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Lines a second.
    pub rate: f64,
    /// Lines at once.
    pub burst: u32,
    /// Whether the others go; they are never held back.
    #[serde(default)]
    pub drop: bool,
}

fn yes() -> bool {
    true
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Texts::One(text)) => vec![text],
        Some(Texts::Many(texts)) => texts,
    })
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<DurationMs>::deserialize(deserializer)?.map(|age| age.0))
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Size::Bytes(bytes)) => Ok(Some(bytes)),
        Some(Size::Text(text)) => vigie_model::size::parse_size_bytes(&text.to_uppercase())
            .map(Some)
            .map_err(de::Error::custom),
    }
}
