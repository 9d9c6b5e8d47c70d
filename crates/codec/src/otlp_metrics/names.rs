//! What OpenTelemetry's names, units and types become in Prometheus (`otlptranslator` of Prometheus:
//! `metric_namer.go`, `unit_namer.go`, `label_namer.go`).

/// Units by their UCUM code, and their words in a name.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];
/// What stands behind a `/`.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// What a name depends on besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// A sum that only rises.
    Counter,
    /// A gauge.
    Gauge,
    /// Everything else.
    Other,
}

/// Makes names.
#[derive(Clone, Copy, Debug)]
pub struct Namer {
    /// Whether characters that classic names cannot hold become `_`.
    pub escapes: bool,
    /// Whether units and types are appended.
    pub has_suffixes: bool,
    /// Whether a label that begins with one `_` gets `key` before it.
    pub key_before_underscore: bool,
    /// Whether several `_` in a row stay in the name of a label.
    pub keep_underscores: bool,
}

impl Namer {
    /// A metric's name; the error's words are upstream's.
    pub fn metric(&self, name: &str, unit: &str, kind: MetricType) -> Result<String, String> {
        let made = match (self.escapes, self.has_suffixes) {
            (true, true) => normalised(name, unit, kind),
            (true, false) => {
                let tokens = name.split(|c| !is_metric_char(c) && c != '_');
                let joined = tokens.filter(|one| !one.is_empty()).collect::<Vec<_>>().join("_");
                no_digit_first(joined)
            }
            (false, true) => with_suffixes(name, unit, kind),
            (false, false) => name.to_owned(),
        };
        if made.is_empty() {
            return Err(format!("normalization for metric {name:?} resulted in empty name"));
        }
        if self.escapes && made != name && made.chars().all(|c| c == '_') {
            return Err(format!(
                "normalization for metric {name:?} resulted in invalid name {made:?}"
            ));
        }
        Ok(made)
    }

    /// A label's name; the error's words are upstream's.
    pub fn label(&self, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("label name is empty".to_owned());
        }
        let only_underscores = |text: &str| text.chars().all(|c| c == '_');
        if !self.escapes {
            return match only_underscores(name) {
                true => Err(format!("label name {name:?} contains only underscores")),
                false => Ok(name.to_owned()),
            };
        }
        let mut made = self.clean_label(name);
        if made.starts_with(|c: char| c.is_ascii_digit()) {
            made.insert_str(0, "key_");
        } else if self.key_before_underscore && made.starts_with('_') && !made.starts_with("__") {
            made.insert_str(0, "key");
        }
        if only_underscores(&made) {
            return Err(format!(
                "normalization for label name {name:?} resulted in invalid name {made:?}"
            ));
        }
        Ok(made)
    }

    fn clean_label(&self, name: &str) -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        if self.keep_underscores {
            return name.chars().map(clean).collect();
        }
        let inner = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        match inner {
            Some(inner) => format!("__{}__", collapsed(inner.chars().map(clean))),
            None => collapsed(name.chars().map(clean)),
        }
    }
}

/// A unit in Prometheus' words: `By/s` is `bytes_per_second`.
pub fn unit_name(unit: &str, escapes: bool) -> String {
    let (mut main, mut per) = unit_parts(unit);
    if escapes {
        (main, per) = (clean_unit(&main), clean_unit(&per));
    }
    let both = match (main.is_empty(), per.is_empty()) {
        (false, false) => format!("{main}_{per}"),
        (false, true) => main,
        _ => per,
    };
    let both = both.strip_prefix('_').unwrap_or(&both);
    both.strip_suffix('_').unwrap_or(both).to_owned()
}

/// What a name can hold in its classic form, but for the underscore.
fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn collapsed(chars: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    for c in chars {
        if c != '_' || !out.ends_with('_') {
            out.push(c);
        }
    }
    out
}

fn clean_unit(unit: &str) -> String {
    let clean = collapsed(unit.chars().map(|c| if is_metric_char(c) { c } else { '_' }));
    clean.strip_prefix('_').map(str::to_owned).unwrap_or(clean)
}

/// The words of a unit, and those behind its `/` after `per_`. What is in braces says nothing.
fn unit_parts(unit: &str) -> (String, String) {
    let word = |table: &[(&str, &str)], text: &str| {
        let text = text.trim();
        if text.contains(['{', '}']) {
            return String::new();
        }
        let known = table.iter().find(|(code, _)| *code == text);
        known.map_or(text, |(_, word)| word).to_owned()
    };
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let per = word(&PER, per);
    (word(&UNITS, main), if per.is_empty() { per } else { format!("per_{per}") })
}

/// The name in words joined by `_`, with unit and type at the end.
fn normalised(name: &str, unit: &str, kind: MetricType) -> String {
    let tokens = name.split(|c| !is_metric_char(c)).filter(|token| !token.is_empty());
    let mut tokens: Vec<String> = tokens.map(str::to_owned).collect();
    let (main, per) = unit_parts(unit);
    add_unit(&mut tokens, clean_unit(&main), clean_unit(&per));
    let mut end_with = |word: &str| {
        tokens.retain(|token| token != word);
        tokens.push(word.to_owned());
    };
    match kind {
        MetricType::Counter => end_with("total"),
        // Counters of things are said to have the unit 1 too.
        MetricType::Gauge if unit == "1" => end_with("ratio"),
        _ => {}
    }
    no_digit_first(tokens.join("_"))
}

fn add_unit(tokens: &mut Vec<String>, main: String, per: String) {
    let per = match per.as_str() {
        "per_" => "",
        per => per.strip_suffix('_').unwrap_or(per),
    };
    let main_is_there = tokens.contains(&main);
    let per_is_there = tokens.iter().any(|token| token == per);
    let per = if per_is_there { "" } else { per };
    let main = match (main_is_there, per.is_empty()) {
        (true, _) => "",
        (false, true) => main.as_str(),
        (false, false) => main.strip_suffix('_').unwrap_or(&main),
    };
    let added: Vec<String> =
        [main, per].into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect();
    tokens.extend(added);
}

fn no_digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The name as it is, with unit and type at the end: `_unit_per_unit_total`.
fn with_suffixes(name: &str, unit: &str, kind: MetricType) -> String {
    let (main, per) = unit_parts(unit);
    let of_type = match kind {
        MetricType::Counter => "total",
        MetricType::Gauge if unit == "1" => "ratio",
        _ => "",
    };
    let mut made = name.to_owned();
    for suffix in [of_type, &per] {
        without_suffix(&mut made, suffix);
    }
    if !main.is_empty() && !made.ends_with(&main) {
        made = format!("{made}_{main}");
    }
    for suffix in [per.as_str(), of_type].into_iter().filter(|suffix| !suffix.is_empty()) {
        made = format!("{made}_{suffix}");
    }
    made
}

/// Takes a suffix and the character before it away, unless nothing would be left.
fn without_suffix(name: &mut String, suffix: &str) {
    let Some(rest) = name.strip_suffix(suffix).filter(|rest| rest.len() > 1) else { return };
    if !suffix.is_empty() {
        let end = rest.char_indices().next_back().map_or(0, |(at, _)| at);
        name.truncate(end);
    }
}
