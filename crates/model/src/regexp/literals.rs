//! The texts without which a pattern cannot match: a store looks for them before anybody runs the
//! pattern, and mostly nobody has to.
//!
//! Three things are found, from the pattern's syntax tree:
//! * the whole language of a part of the pattern, when it is a handful of texts ([`exact`]);
//! * texts of which every match contains one ([`required`]), the longest that there are;
//! * whether the pattern matches every line that contains one of them ([`Literals::is_all`]), so that
//!   the texts *are* the pattern: `(?i)error`, `.*timeout.*`, `GET|POST`.

use super::translate;
use crate::blocks::AnyOf;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most texts.
const TEXTS_MAX: usize = 16;
/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// Shorter texts are not worth a search when the pattern runs all the same.
const TEXT_BYTES_MIN: usize = 2;
/// A class of more characters is no text.
const CLASS_MAX: usize = 8;
/// How deep a pattern is looked into.
const DEPTH_MAX: usize = 64;

/// The texts of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literals {
    /// Every line that matches contains one of these.
    pub any: AnyOf,
    /// Every line that contains one of these matches.
    pub is_all: bool,
}

/// One byte of a text, and whether the other case of the letter does as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    byte: u8,
    both_cases: bool,
}

type Text = Vec<Unit>;

/// The texts of a pattern in Go's syntax, looked for anywhere in a line; `None` if it has none that
/// help.
pub fn literals(pattern: &str) -> Option<Literals> {
    let translated = translate(pattern).ok()?;
    let hir = ParserBuilder::new().utf8(false).build().parse(&translated).ok()?;
    let (texts, is_all) = required(&hir, 0)?;
    of_texts(texts, is_all)
}

fn of_texts(texts: Vec<Text>, is_all: bool) -> Option<Literals> {
    let units = || texts.iter().flatten();
    let ignores_case = units().any(|unit| unit.both_cases);
    let is_letter = |unit: &Unit| unit.byte.is_ascii_alphabetic();
    // Looked for without regard to case, a letter that has one is found too often.
    let is_all = is_all && !(ignores_case && units().any(|u| is_letter(u) && !u.both_cases));
    let shortest = texts.iter().map(Vec::len).min()?;
    if shortest == 0 || (shortest < TEXT_BYTES_MIN && !is_all) {
        return None;
    }
    let texts = texts.iter().map(|text| text.iter().map(|unit| unit.byte).collect());
    Some(Literals { any: AnyOf::new(texts.collect(), ignores_case), is_all })
}

/// Texts of which every match contains one, and whether every line with one of them matches.
fn required(hir: &Hir, depth: usize) -> Option<(Vec<Text>, bool)> {
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(texts) = exact(hir, depth) {
        return (!texts.iter().any(Vec::is_empty)).then_some((texts, true));
    }
    match hir.kind() {
        HirKind::Capture(capture) => required(&capture.sub, depth + 1),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            let (texts, is_all) = required(&repetition.sub, depth + 1)?;
            Some((texts, is_all && repetition.min == 1))
        }
        HirKind::Alternation(branches) => {
            let (mut all, mut is_all) = (Vec::new(), true);
            for branch in branches {
                let (texts, of_branch) = required(branch, depth + 1)?;
                all.extend(texts);
                is_all &= of_branch;
            }
            (all.len() <= TEXTS_MAX).then_some((all, is_all))
        }
        HirKind::Concat(parts) => of_parts(parts, depth + 1),
        _ => None,
    }
}

/// The best texts of parts that follow each other.
fn of_parts(parts: &[Hir], depth: usize) -> Option<(Vec<Text>, bool)> {
    let may_be_empty = |part: &Hir| {
        part.properties().minimum_len() == Some(0) && part.properties().look_set().is_empty()
    };
    let mut best: Option<(Vec<Text>, bool)> = None;
    let mut offer = |texts: Vec<Text>, is_all: bool| {
        let score = |texts: &[Text]| {
            (texts.iter().map(Vec::len).min().unwrap_or(0), std::cmp::Reverse(texts.len()))
        };
        if best.as_ref().is_none_or(|(have, _)| score(&texts) > score(have)) {
            best = Some((texts, is_all));
        }
    };
    // What is left and right of the texts at hand may be nothing.
    let is_alone =
        |from: usize, to: usize| parts[..from].iter().chain(&parts[to..]).all(may_be_empty);
    let mut run: Option<(usize, Vec<Text>)> = None;
    for (at, part) in parts.iter().enumerate() {
        let Some(texts) = exact(part, depth) else {
            if let Some((from, run)) = run.take() {
                offer(run, is_alone(from, at));
            }
            if let Some((texts, is_all)) = required(part, depth) {
                offer(texts, is_all && is_alone(at, at + 1));
            }
            continue;
        };
        run = match run.take() {
            None => Some((at, texts)),
            Some((from, run)) => match product(&run, &texts) {
                Some(longer) => Some((from, longer)),
                None => {
                    offer(run, false);
                    Some((at, texts))
                }
            },
        };
    }
    if let Some((from, run)) = run {
        offer(run, is_alone(from, parts.len()));
    }
    best.filter(|(texts, _)| !texts.iter().any(Vec::is_empty))
}

/// All texts that a part of a pattern matches, if they are few.
fn exact(hir: &Hir, depth: usize) -> Option<Vec<Text>> {
    if depth > DEPTH_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => {
            let units = literal.0.iter().map(|&byte| Unit { byte, both_cases: false });
            Some(vec![units.collect()]).filter(|texts: &Vec<Text>| fits(texts))
        }
        HirKind::Class(class) => of_class(class),
        HirKind::Capture(capture) => exact(&capture.sub, depth + 1),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.filter(|max| *max == repetition.min && *max <= 8)?;
            let texts = exact(&repetition.sub, depth + 1)?;
            (0..times).try_fold(vec![Vec::new()], |all, _| product(&all, &texts))
        }
        HirKind::Concat(parts) => parts
            .iter()
            .try_fold(vec![Vec::new()], |all, part| product(&all, &exact(part, depth + 1)?)),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(exact(branch, depth + 1)?);
            }
            Some(all).filter(|texts: &Vec<Text>| fits(texts))
        }
        HirKind::Look(_) => None,
    }
}

fn fits(texts: &[Text]) -> bool {
    texts.len() <= TEXTS_MAX && texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX)
}

/// Each of the texts, followed by each of the others.
fn product(left: &[Text], right: &[Text]) -> Option<Vec<Text>> {
    if left.len() * right.len() > TEXTS_MAX {
        return None;
    }
    let joined = |left: &Text, right: &Text| left.iter().chain(right).copied().collect();
    let all = left.iter().flat_map(|l| right.iter().map(move |r| joined(l, r))).collect();
    Some(all).filter(|texts: &Vec<Text>| fits(texts))
}

/// The characters of a small class; a letter in both cases is one.
fn of_class(class: &Class) -> Option<Vec<Text>> {
    let mut all: Vec<char> = Vec::new();
    match class {
        Class::Unicode(class) => {
            for range in class.iter() {
                all.extend((range.start()..=range.end()).take(CLASS_MAX + 1));
                if all.len() > CLASS_MAX {
                    return None;
                }
            }
        }
        Class::Bytes(class) => {
            for range in class.iter() {
                let bytes = (range.start()..=range.end()).take(CLASS_MAX + 1);
                all.extend(bytes.filter(u8::is_ascii).map(char::from));
                if all.len() > CLASS_MAX || !range.end().is_ascii() {
                    return None;
                }
            }
        }
    }
    let has_both = |one: char| {
        one.is_ascii_alphabetic()
            && all.contains(&one.to_ascii_lowercase())
            && all.contains(&one.to_ascii_uppercase())
    };
    let kept = all.iter().filter(|&&one| !(has_both(one) && one.is_ascii_uppercase()));
    let texts = kept.map(|&one| {
        let both_cases = has_both(one);
        one.encode_utf8(&mut [0; 4]).bytes().map(|byte| Unit { byte, both_cases }).collect()
    });
    Some(texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_there_are_any() {
        let cases: &[(&str, &[&str], bool, bool)] = &[
            ("error", &["error"], false, true),
            ("(?i)error", &["error"], true, true),
            ("(?i)disk", &["disk", "dis\u{212a}", "di\u{17f}k", "di\u{17f}\u{212a}"], true, true),
            (".*timeout.*", &["timeout"], false, true),
            ("GET|POST", &["GET", "POST"], false, true),
            ("(GET|POST) /api", &["GET /api", "POST /api"], false, true),
            ("status\":5[0-9]+", &["status\":5"], false, false),
            ("a.*longer", &["longer"], false, false),
            ("(warn)+", &["warn"], false, true),
            ("x{3}", &["xxx"], false, true),
            ("^error", &["error"], false, false),
            ("error$", &["error"], false, false),
            ("(?i)Time(out)?", &["time"], true, true),
            ("(?i:err)or", &["error"], true, false),
            ("5", &["5"], false, true),
            ("[ab]c", &["ac", "bc"], false, true),
        ];
        for (pattern, texts, ignores_case, is_all) in cases {
            let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            let wanted = Literals { any: AnyOf::new(texts, *ignores_case), is_all: *is_all };
            assert_eq!(literals(pattern), Some(wanted), "{pattern}");
        }
        for pattern in
            ["", ".*", "[0-9]+", "a*", "(a|)", "\\d+\\.\\d+", "5\\d", "(", "(?s).", "\\b"]
        {
            assert_eq!(literals(pattern), None, "{pattern}");
        }
    }

    /// Over all short lines of an alphabet that the patterns are made of.
    #[test]
    fn texts_agree_with_their_patterns() {
        let alphabet = ["a", "b", "A", "k", "\u{212a}", "-"];
        let mut lines = vec![String::new()];
        for _ in 0..4 {
            let longer = lines.iter().flat_map(|line| alphabet.map(|one| format!("{line}{one}")));
            lines = std::iter::once(String::new()).chain(longer).collect();
        }
        for pattern in [
            "ab",
            "(?i)ab",
            "(?i)ak",
            "a(b|k)",
            "(a|b)k-?",
            "ab.k",
            "(?i)a|bk",
            "(ab)+",
            "(ab){2}",
            "-*ab",
            "^ab",
            "ab$",
            "a[bk]-",
            "(?i)[ab]k",
            "(a|b|k)(a|b|k)",
            "\\bak",
            "(?:ab)?k-",
        ] {
            let regex = super::super::in_line(pattern).unwrap();
            let Some(Literals { any, is_all }) = literals(pattern) else {
                panic!("{pattern} has texts");
            };
            let finder = any.finder();
            for line in &lines {
                let (found, matches) = (finder.is_match(line), regex.is_match(line.as_bytes()));
                assert!(found || !matches, "{pattern} matches {line:?} without a text");
                assert!(matches || !found || !is_all, "{pattern} does not match {line:?}");
            }
        }
    }
}
