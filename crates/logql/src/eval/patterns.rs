//! `patterns`: the shapes of lines, and how many lines of each came when.
//!
//! The way is Drain's (He et al., ICWS 2017), which Loki uses too: lines are cut into tokens, lines
//! with as many tokens and the same first ones are compared with the shapes known so far, and a line
//! joins the shape that it shares most tokens with; tokens that differ become `<_>`.
//! A token with a digit in it is a variable from the start.
//! Unlike Loki, nothing is learnt ahead: the shapes are those of the lines in the range, so that
//! they are there for old lines too. Shapes, tokens and lines have limits.

use super::{Budget, EvalError, LogSource, Options};
use std::collections::{BTreeMap, HashMap};
use vigie_model::blocks::{Direction, LogRange, StreamId};
use vigie_model::{Labels, Matcher};

/// Most shapes of one level.
const SHAPES_MAX: usize = 300;
/// Longer lines are passed over (Loki's `max_allowed_line_length`).
const LINE_BYTES_MAX: usize = 3000;
/// Lines with fewer or more tokens are passed over.
const TOKENS: std::ops::Range<usize> = 4..400;
/// The part of the tokens that must be equal.
const ALIKE: f64 = 0.5;
/// What stands for a token that differs.
const ANY: &str = "<_>";

/// A shape and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternCount {
    /// The text, for a `|>` filter.
    pub pattern: String,
    /// The lines' `detected_level`.
    pub level: String,
    /// Instants in seconds, multiples of the step, and the lines since each.
    pub counts: BTreeMap<i64, u64>,
}

struct Shape {
    tokens: Vec<String>,
    counts: BTreeMap<i64, u64>,
}

#[derive(Default)]
struct Tree {
    shapes: Vec<Shape>,
    places: HashMap<(usize, String), Vec<usize>>,
}

/// The shapes of the lines of a selector, those with most lines first.
///
/// # Errors
/// The limits of `options`, and what the store cannot read.
pub fn patterns(
    source: &dyn LogSource,
    matchers: &[Matcher],
    range: LogRange,
    step_s: i64,
    options: &Options,
) -> Result<Vec<PatternCount>, EvalError> {
    let mut blocks = source.select(matchers, range, Direction::Forward, &[])?;
    let mut budget = Budget::new(options);
    let mut trees: BTreeMap<String, Tree> = BTreeMap::new();
    let mut streams: HashMap<StreamId, Labels> = HashMap::new();
    let mut line = Vec::new();
    while let Some(block) = blocks.next_block() {
        let block = block?;
        for (row, ts_ns) in block.timestamps_ns().iter().enumerate() {
            block.line(row, &mut line)?;
            budget.line(line.len())?;
            let Ok(text) = std::str::from_utf8(&line) else { continue };
            let (metadata, id) = (block.metadata(row), block.stream(row));
            let stream = streams.entry(id).or_insert_with(|| blocks.labels(id));
            let level = metadata.get("detected_level").or_else(|| stream.get("detected_level"));
            let level = level.unwrap_or("unknown");
            if !trees.contains_key(level) {
                trees.insert(level.to_owned(), Tree::default());
            }
            if let Some(tree) = trees.get_mut(level) {
                let at_s = ts_ns.div_euclid(1_000_000_000);
                tree.learn(text, at_s - at_s.rem_euclid(step_s));
            }
        }
    }
    let mut all: Vec<PatternCount> =
        trees.into_iter().flat_map(|(level, tree)| tree.counts(&level)).collect();
    let lines = |one: &PatternCount| one.counts.values().sum::<u64>();
    all.sort_by_key(|one| (std::cmp::Reverse(lines(one)), one.pattern.clone()));
    Ok(all)
}

impl Tree {
    fn learn(&mut self, line: &str, at_s: i64) {
        if line.len() > LINE_BYTES_MAX {
            return;
        }
        let tokens = tokens(line);
        if !TOKENS.contains(&tokens.len()) {
            return;
        }
        let first = tokens.iter().find(|token| token.as_str() != ANY).cloned().unwrap_or_default();
        let place = self.places.entry((tokens.len(), first)).or_default();
        let best = place
            .iter()
            .map(|at| (alike(&self.shapes[*at].tokens, &tokens), *at))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let shape = match best.filter(|(alike, _)| *alike >= ALIKE) {
            Some((_, at)) => {
                let shape = &mut self.shapes[at];
                for (have, token) in shape.tokens.iter_mut().zip(&tokens) {
                    if have != token {
                        *have = ANY.to_owned();
                    }
                }
                shape
            }
            None if self.shapes.len() >= SHAPES_MAX => return,
            None => {
                place.push(self.shapes.len());
                self.shapes.push(Shape { tokens, counts: BTreeMap::new() });
                let last = self.shapes.len() - 1;
                &mut self.shapes[last]
            }
        };
        *shape.counts.entry(at_s).or_default() += 1;
    }

    fn counts(self, level: &str) -> Vec<PatternCount> {
        // Shapes that grew alike become one.
        let mut merged: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for shape in self.shapes {
            let counts = merged.entry(text(&shape.tokens)).or_default();
            for (at, lines) in shape.counts {
                *counts.entry(at).or_default() += lines;
            }
        }
        let count = |(pattern, counts)| PatternCount { pattern, level: level.to_owned(), counts };
        merged.into_iter().map(count).collect()
    }
}

/// The part of the tokens that are equal; one that differs already counts for nothing.
fn alike(shape: &[String], tokens: &[String]) -> f64 {
    let equal = shape.iter().zip(tokens).filter(|(have, token)| have == token).count();
    equal as f64 / shape.len() as f64
}

/// Words, and the characters between them one by one.
fn tokens(line: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(end);
        let variable = token.bytes().any(|byte| byte.is_ascii_digit());
        out.push(if variable { ANY.to_owned() } else { token.to_owned() });
        rest = after;
    }
    out
}

/// The tokens side by side; variables that touch become one, because a filter needs something
/// between two.
fn text(tokens: &[String]) -> String {
    let mut out = String::new();
    for token in tokens {
        if token != ANY || !out.ends_with(ANY) {
            out.push_str(token);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_shape_are_counted_together() {
        let mut tree = Tree::default();
        for (at, line) in [
            (0, "ts=2026-11-01T00:00:01Z level=info msg=\"request done\" path=/a status=200"),
            (0, "ts=2026-11-01T00:00:02Z level=info msg=\"request done\" path=/b status=500"),
            (10, "ts=2026-11-01T00:00:12Z level=info msg=\"request done\" path=/c status=404"),
            (10, "connection from 10.0.0.1 closed by peer"),
            (10, "short"),
        ] {
            tree.learn(line, at);
        }
        let counts = tree.counts("info");
        let told: Vec<_> =
            counts.iter().map(|one| (one.pattern.as_str(), one.counts.len())).collect();
        assert_eq!(
            told,
            [
                ("connection from <_> closed by peer", 1),
                ("ts=<_>:<_>:<_> level=info msg=\"request done\" path=<_> status=<_>", 2),
            ]
        );
        assert_eq!(counts[1].counts, BTreeMap::from([(0, 2), (10, 1)]));
    }

    #[test]
    fn shapes_have_a_limit() {
        let mut tree = Tree::default();
        for at in 0..SHAPES_MAX + 50 {
            let word = |n: usize| char::from(b'a' + (n % 26) as u8).to_string();
            let own = word(at) + &word(at / 26) + "x";
            tree.learn(&format!("{own} {own} {own} {own} {own}"), 0);
        }
        assert_eq!(tree.shapes.len(), SHAPES_MAX);
    }
}
