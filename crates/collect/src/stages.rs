//! promtail's pipeline stages: what becomes of a followed line before it is stored.
//!
//! A [`Stages`] is compiled once for a file and run once for a line. Parsing is LogQL's: `json`,
//! `logfmt`, `regex`, `decolorize`, `template` and `match` are stages of a query over the text at
//! hand, so that a line means the same on its way in and on its way out; templates know Loki's
//! functions. What a stage finds is kept by name beside the line (promtail's *extracted*), where
//! `labels`, `timestamp`, `output` and the others take it from.
//!
//! Nothing here fails on a line: what does not fit is left as it is, as in promtail.

mod compile;
#[cfg(test)]
mod tests;

use compile::{Compiled, Source};
use std::collections::BTreeMap;
use vigie_config::stages::PlacedStage;
use vigie_logql::Follower;
use vigie_model::{Labels, LogEntry};
use vigie_template::moment::Moment;

/// Most streams whose newest instant a `timestamp` stage remembers.
const STREAMS_MAX: usize = 10_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Names and texts.
pub(crate) type Texts = BTreeMap<String, String>;

/// The stages of one file, with what they remember of its lines.
#[derive(Default)]
pub struct Stages(Vec<Compiled>);

/// A line on its way through.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The line.
    pub line: String,
    /// Its instant.
    pub ts_ns: i64,
    /// The labels of its stream.
    pub labels: Texts,
    /// Its structured metadata.
    pub metadata: Texts,
    /// What was found in it.
    pub(crate) extracted: Texts,
}

impl Stages {
    /// Compiles stages; the error names the place of the one that is wrong.
    pub fn new(stages: &[PlacedStage]) -> Result<Stages, String> {
        let compiled = stages
            .iter()
            .map(|one| Compiled::new(&one.stage).map_err(|why| format!("{}: {why}", one.place)));
        Ok(Stages(compiled.collect::<Result<_, _>>()?))
    }

    /// Whether lines go through as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What becomes of a line of a stream; `None` when it goes.
    pub fn run(&mut self, stream: &Labels, line: &[u8], ts_ns: i64, now_ns: i64) -> Option<Item> {
        let labels: Texts =
            stream.iter().map(|one| (one.name.to_string(), one.value.to_string())).collect();
        let mut item = Item {
            line: String::from_utf8_lossy(line).into_owned(),
            ts_ns,
            extracted: labels.clone(),
            labels,
            metadata: Texts::new(),
        };
        self.0.iter_mut().all(|stage| stage.run(&mut item, now_ns)).then_some(item)
    }
}

impl Item {
    /// The text that a stage reads: the line, or what was found under a name.
    fn text(&self, source: &Source) -> Option<&str> {
        match source {
            None => Some(&self.line),
            Some(name) => self.extracted.get(name).map(String::as_str),
        }
    }

    /// The names of which something was found.
    fn found(&self, names: &[(String, String)]) -> Texts {
        let found = names.iter().filter_map(|(name, source)| {
            Some((
                name.clone(),
                self.extracted.get(source).filter(|text| !text.is_empty())?.clone(),
            ))
        });
        found.collect()
    }

    fn stream(&self) -> Labels {
        Labels::from_pairs(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

impl Compiled {
    /// Whether the line stays.
    fn run(&mut self, item: &mut Item, now_ns: i64) -> bool {
        match self {
            Compiled::Parse { source, query, names, drop_malformed } => {
                return parse(item, source, query, names, *drop_malformed);
            }
            Compiled::Replace { source, regex, query } => replace(item, source, regex, query),
            Compiled::Template { source, query } => {
                let mut data = item.extracted.clone();
                data.insert(
                    "Value".to_owned(),
                    item.extracted.get(source).cloned().unwrap_or_default(),
                );
                if let Some(text) = written(query, "", &data) {
                    match text.is_empty() {
                        true => item.extracted.remove(source),
                        false => item.extracted.insert(source.clone(), text),
                    };
                }
            }
            Compiled::Labels(names) => item.labels.extend(item.found(names)),
            Compiled::Metadata(names) => item.metadata.extend(item.found(names)),
            Compiled::Static(pairs) => item.labels.extend(pairs.iter().cloned()),
            Compiled::LabelDrop(names) => item.labels.retain(|name, _| !names.contains(name)),
            Compiled::LabelAllow(names) => item.labels.retain(|name, _| names.contains(name)),
            Compiled::Timestamp(stamp) => stamp.run(item, now_ns),
            Compiled::Output(source) => {
                if let Some(text) = item.extracted.get(source) {
                    item.line.clone_from(text);
                }
            }
            Compiled::Decolorize(query) => {
                if let Some(text) = written(query, &item.line, &Texts::new()) {
                    item.line = text;
                }
            }
            Compiled::Drop(test) => return !test.holds(item, now_ns),
            Compiled::Match { query, stages, drops } => {
                let entry = entry(&item.line, item.ts_ns);
                let stream = item.stream();
                let is_wanted = query.matchers().iter().all(|one| one.matches_labels(&stream))
                    && query.look(&stream, &entry).is_some();
                return match (is_wanted, *drops) {
                    (true, true) => false,
                    (true, false) => stages.iter_mut().all(|stage| stage.run(item, now_ns)),
                    (false, _) => true,
                };
            }
            Compiled::Pack { names, stamps } => pack(item, names, stamps.then_some(now_ns)),
            Compiled::Sampling(rate) => return share_of(item) < *rate,
            Compiled::Limit(bucket) => return bucket.takes(now_ns),
            Compiled::All(stages) => return stages.iter_mut().all(|one| one.run(item, now_ns)),
            Compiled::Nothing => {}
        }
        true
    }
}

fn entry(line: &str, ts_ns: i64) -> LogEntry {
    LogEntry { ts_ns, line: line.as_bytes().to_vec(), metadata: Labels::default() }
}

/// What a query of one formatting stage makes of a text, over these labels.
fn written(query: &mut Follower, text: &str, data: &Texts) -> Option<String> {
    let labels =
        Labels::from_pairs(data.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let row = query.look(&labels, &entry(text, 0))?.row;
    let failed = row.parsed.get("__error__").is_some_and(|error| !error.is_empty());
    (!failed).then(|| String::from_utf8_lossy(&row.line).into_owned())
}

fn parse(
    item: &mut Item,
    source: &Source,
    query: &mut Follower,
    names: &[(String, String)],
    drop_malformed: bool,
) -> bool {
    let Some(text) = item.text(source) else { return true };
    let Some(found) = query.look(&Labels::default(), &entry(text, 0)) else { return true };
    let parsed = found.row.parsed;
    if parsed.get("__error__").is_some_and(|error| !error.is_empty()) {
        return !drop_malformed;
    }
    for (name, own) in names {
        if let Some(text) = parsed.get(own).filter(|text| !text.is_empty()) {
            item.extracted.insert(name.clone(), text.to_owned());
        }
    }
    true
}

/// Every group of every match is written anew; named groups are found, too.
fn replace(item: &mut Item, source: &Source, regex: &regex::bytes::Regex, query: &mut Follower) {
    let Some(text) = item.text(source).map(str::to_owned) else { return };
    let (mut out, mut done, mut named) = (String::new(), 0, Texts::new());
    let mut data = item.extracted.clone();
    for captures in regex.captures_iter(text.as_bytes()) {
        for (group, name) in regex.capture_names().enumerate().skip(1) {
            let Some(part) = captures.get(group).filter(|part| part.start() >= done) else {
                continue;
            };
            // Groups are cut at characters of a text.
            let (Some(before), Some(own)) = (text.get(done..part.start()), text.get(part.range()))
            else {
                continue;
            };
            data.insert("Value".to_owned(), own.to_owned());
            let Some(new) = written(query, "", &data) else { return };
            out.push_str(before);
            out.push_str(&new);
            done = part.end();
            if let Some(name) = name {
                named.entry(name.to_owned()).or_insert(new);
            }
        }
    }
    if done == 0 && out.is_empty() {
        return;
    }
    out.push_str(text.get(done..).unwrap_or(""));
    match source {
        None => item.line = out,
        Some(name) => {
            item.extracted.insert(name.clone(), out);
        }
    }
    item.extracted.extend(named);
}

/// The line and some labels as one JSON object, which `| unpack` takes apart again.
fn pack(item: &mut Item, names: &[String], now_ns: Option<i64>) {
    let mut object = serde_json::Map::new();
    for name in names {
        let text = item.labels.remove(name).or_else(|| item.extracted.get(name).cloned());
        object.extend(text.map(|text| (name.clone(), text.into())));
    }
    object.insert("_entry".to_owned(), item.line.as_str().into());
    item.line = serde_json::Value::Object(object).to_string();
    item.ts_ns = now_ns.unwrap_or(item.ts_ns);
}

/// A number between 0 and 1 that the line itself gives: the same line is always in or out.
fn share_of(item: &Item) -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(item.line.as_bytes());
    hasher.write_i64(item.ts_ns);
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

/// So many lines a second, and so many at once.
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    left: f64,
    at_ns: Option<i64>,
}

impl Bucket {
    fn new(rate: f64, burst: f64) -> Bucket {
        Bucket { rate, burst, left: burst, at_ns: None }
    }

    fn takes(&mut self, now_ns: i64) -> bool {
        let passed_ns = self.at_ns.map_or(0, |at_ns| now_ns.saturating_sub(at_ns).max(0));
        self.at_ns = Some(now_ns);
        let earned = passed_ns as f64 / SECOND_NS as f64 * self.rate;
        self.left = (self.left + earned).min(self.burst);
        let takes = self.left >= 1.0;
        self.left -= if takes { 1.0 } else { 0.0 };
        takes
    }
}

/// A `timestamp` stage.
pub(crate) struct Stamp {
    source: String,
    formats: Vec<String>,
    zone: String,
    fudges: bool,
    newest: BTreeMap<Texts, i64>,
}

impl Stamp {
    fn run(&mut self, item: &mut Item, now_ns: i64) {
        let text = item.extracted.get(&self.source);
        let read = |text: &String| {
            self.formats.iter().find_map(|format| instant_ns(format, text, &self.zone, now_ns))
        };
        match text.and_then(read) {
            Some(ts_ns) => item.ts_ns = ts_ns,
            None if self.fudges => {
                // Nothing is known before the first line that says its instant.
                let Some(newest_ns) = self.newest.get(&item.labels) else { return };
                item.ts_ns = newest_ns.saturating_add(1);
            }
            None => return,
        }
        if self.fudges
            && (self.newest.len() < STREAMS_MAX || self.newest.contains_key(&item.labels))
        {
            self.newest.insert(item.labels.clone(), item.ts_ns);
        }
    }
}

/// An instant by one of promtail's names, or by a layout of Go; a layout without a year means this
/// year's.
fn instant_ns(format: &str, text: &str, zone: &str, now_ns: i64) -> Option<i64> {
    let scaled = |scale: i64| text.parse::<i64>().ok()?.checked_mul(scale);
    let layout = match format {
        "Unix" => match text.parse::<i64>() {
            Ok(seconds) => return seconds.checked_mul(SECOND_NS),
            Err(_) => return Some((text.parse::<f64>().ok()? * 1e9) as i64),
        },
        "UnixMs" => return scaled(1_000_000),
        "UnixUs" => return scaled(1_000),
        "UnixNs" => return scaled(1),
        "ANSIC" => "Mon Jan _2 15:04:05 2006",
        "UnixDate" => "Mon Jan _2 15:04:05 MST 2006",
        "RubyDate" => "Mon Jan 02 15:04:05 -0700 2006",
        "RFC822" => "02 Jan 06 15:04 MST",
        "RFC822Z" => "02 Jan 06 15:04 -0700",
        "RFC850" => "Monday, 02-Jan-06 15:04:05 MST",
        "RFC1123" => "Mon, 02 Jan 2006 15:04:05 MST",
        "RFC1123Z" => "Mon, 02 Jan 2006 15:04:05 -0700",
        "RFC3339" => "2006-01-02T15:04:05Z07:00",
        "RFC3339Nano" => "2006-01-02T15:04:05.999999999Z07:00",
        layout => layout,
    };
    if layout.contains("06") {
        return Moment::parse(layout, text, zone).map(|at| at.ns());
    }
    let year = Moment::from_ns(now_ns).format("2006");
    Moment::parse(&format!("2006 {layout}"), &format!("{year} {text}"), zone).map(|at| at.ns())
}
