//! Path patterns: `*`, `?`, `[a-z]`, `[!a]` and `{a,b}` inside a name, `**` for any number of
//! directories. Expanding one reads only the directories that the pattern can lead through.

use super::TailError;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Most patterns that the braces of one may stand for.
const ALTERNATIVES_MAX: usize = 64;
/// Most `**` in a pattern: each multiplies the ways in which a path may fit.
const ANY_DEPTHS_MAX: usize = 3;
/// Deepest directory below the one where `**` stands.
const DEPTH_MAX: usize = 16;
/// Most steps to match one name, so that `*a*a*a*a*b` cannot take the processor.
const STEPS_MAX: usize = 100_000;

/// One pattern without braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Literal(String),
    Name(Vec<Token>),
    AnyDepth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    AnyText,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    pub(super) fn parse_all(patterns: &[String]) -> Result<Vec<Pattern>, TailError> {
        let mut parsed = Vec::new();
        for pattern in patterns {
            let error = |reason: &str| TailError::Pattern {
                pattern: pattern.clone(),
                reason: reason.to_owned(),
            };
            if !pattern.starts_with('/') {
                return Err(error("it must begin with /"));
            }
            let mut alternatives = Vec::new();
            alternate(pattern, &mut alternatives).map_err(error)?;
            for alternative in alternatives {
                parsed.push(Pattern::parse(&alternative).map_err(error)?);
            }
        }
        Ok(parsed)
    }

    fn parse(pattern: &str) -> Result<Pattern, &'static str> {
        let names = pattern.split('/').filter(|name| !name.is_empty());
        let mut components: Vec<Component> = names.map(component).collect::<Result<_, _>>()?;
        if components.iter().filter(|c| **c == Component::AnyDepth).count() > ANY_DEPTHS_MAX {
            return Err("it has too many **");
        }
        if components.last() == Some(&Component::AnyDepth) {
            components.push(Component::Name(vec![Token::AnyText]));
        }
        Ok(Pattern { components })
    }

    /// Whether a path fits.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let names: Vec<&OsStr> = path.iter().skip(1).collect();
        path.is_absolute() && fits(&self.components, &names)
    }

    /// Adds the files that fit, sorted; `out` does not grow beyond `files_max`.
    pub(super) fn expand(&self, out: &mut Vec<PathBuf>, files_max: usize) {
        let before = out.len();
        walk(Path::new("/"), &self.components, 0, &mut |path| {
            if out.len() < files_max && !out.contains(&path) {
                out.push(path);
            }
        });
        out[before..].sort_unstable();
    }
}

/// The patterns that the braces of one stand for.
fn alternate(pattern: &str, out: &mut Vec<String>) -> Result<(), &'static str> {
    let Some(open) = pattern.find('{') else {
        if out.len() == ALTERNATIVES_MAX {
            return Err("its braces stand for too many patterns");
        }
        out.push(pattern.to_owned());
        return Ok(());
    };
    let rest = &pattern[open + 1..];
    let close = rest.find('}').ok_or("a { has no }")?;
    if rest[..close].contains('{') {
        return Err("braces stand inside braces");
    }
    for choice in rest[..close].split(',') {
        alternate(&format!("{}{choice}{}", &pattern[..open], &rest[close + 1..]), out)?;
    }
    Ok(())
}

fn component(name: &str) -> Result<Component, &'static str> {
    if name == "**" {
        return Ok(Component::AnyDepth);
    }
    let tokens = tokens(name)?;
    let literal: Option<String> = tokens
        .iter()
        .map(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        })
        .collect();
    Ok(literal.map_or(Component::Name(tokens), Component::Literal))
}

fn tokens(name: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::AnyText,
            '?' => Token::AnyChar,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or("it ends with \\")?),
            c => Token::Char(c),
        });
    }
    tokens.dedup_by(|a, b| *a == Token::AnyText && *b == Token::AnyText);
    Ok(tokens)
}

fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    const UNCLOSED: &str = "a [ has no ]";
    let negated = matches!(chars.clone().next(), Some('!' | '^'));
    if negated {
        chars.next();
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        match chars.next().ok_or(UNCLOSED)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            first => {
                let mut ahead = chars.clone();
                let last = match (ahead.next(), ahead.next()) {
                    (Some('-'), Some(last)) if last != ']' => {
                        *chars = ahead;
                        last
                    }
                    _ => first,
                };
                ranges.push((first, last));
            }
        }
    }
}

fn fits(components: &[Component], names: &[&OsStr]) -> bool {
    match (components.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Component::AnyDepth, rest)), _) => {
            (0..=names.len().min(DEPTH_MAX)).any(|skipped| fits(rest, &names[skipped..]))
        }
        (Some((component, rest)), Some((name, names))) => {
            name_fits(component, name) && fits(rest, names)
        }
        _ => false,
    }
}

fn name_fits(component: &Component, name: &OsStr) -> bool {
    match component {
        Component::Literal(text) => name == OsStr::new(text),
        Component::AnyDepth => true,
        Component::Name(tokens) => {
            let name: Vec<char> = name.to_string_lossy().chars().collect();
            text_fits(tokens, &name)
        }
    }
}

/// Matches with one place to go back to: the last `*`.
fn text_fits(tokens: &[Token], text: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    for _ in 0..STEPS_MAX {
        match tokens.get(token) {
            None if at == text.len() => return true,
            Some(Token::AnyText) => {
                back = Some((token, at));
                token += 1;
                continue;
            }
            Some(single) if at < text.len() && char_fits(single, text[at]) => {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            _ => {}
        }
        match back {
            Some((star, taken)) if taken < text.len() => {
                back = Some((star, taken + 1));
                (token, at) = (star + 1, taken + 1);
            }
            _ => return false,
        }
    }
    false
}

fn char_fits(token: &Token, c: char) -> bool {
    match token {
        Token::Char(wanted) => *wanted == c,
        Token::AnyChar => true,
        Token::AnyText => false,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|&(first, last)| (first..=last).contains(&c)) != *negated
        }
    }
}

/// Hands every file below `dir` that fits to `found`. Directories that cannot be read hold none;
/// `**` does not follow symbolic links, which may lead in circles.
fn walk(dir: &Path, components: &[Component], depth: usize, found: &mut dyn FnMut(PathBuf)) {
    let Some((component, rest)) = components.split_first() else { return };
    match component {
        Component::Literal(name) => step(dir.join(name), rest, depth, found),
        Component::Name(_) => {
            for path in children(dir) {
                if path.file_name().is_some_and(|name| name_fits(component, name)) {
                    step(path, rest, depth, found);
                }
            }
        }
        Component::AnyDepth => {
            walk(dir, rest, depth, found);
            if depth == DEPTH_MAX {
                return;
            }
            for path in children(dir) {
                if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                    walk(&path, components, depth + 1, found);
                }
            }
        }
    }
}

fn step(path: PathBuf, rest: &[Component], depth: usize, found: &mut dyn FnMut(PathBuf)) {
    if !rest.is_empty() {
        walk(&path, rest, depth, found);
    } else if path.is_file() {
        found(path);
    }
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pattern: &str) -> Result<Vec<Pattern>, TailError> {
        Pattern::parse_all(&[pattern.to_owned()])
    }

    #[test]
    fn paths_fit_as_a_shell_s_would() {
        for (pattern, path, fits) in [
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/a.log.1", false),
            ("/var/log/*.log", "/var/log/sub/a.log", false),
            ("/var/log/**/*.log", "/var/log/a.log", true),
            ("/var/log/**/*.log", "/var/log/sub/deep/a.log", true),
            ("/var/log/**/x*.log", "/var/log/sub/y.log", false),
            ("/var/**/log/**/a", "/var/x/log/y/z/a", true),
            ("/a/{b,c}/d.{log,txt}", "/a/c/d.txt", true),
            ("/a/{b,c}/d.{log,txt}", "/a/e/d.txt", false),
            ("/a/[a-c]?", "/a/bz", true),
            ("/a/[!a-c]?", "/a/bz", false),
            ("/a/[]x]", "/a/]", true),
            ("/a/\\*", "/a/*", true),
            ("/a/\\*", "/a/b", false),
            ("/a/*é*", "/a/café au lait", true),
            ("/a/*a*b*c", "/a/xxaxxbxxbc", true),
            ("/a/*a*b*c", "/a/xxaxxbxxb", false),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/a", false),
            ("/a/*", "relative/a/b", false),
        ] {
            let matched = parse(pattern).unwrap().iter().any(|p| p.matches(Path::new(path)));
            assert_eq!(matched, fits, "{pattern} {path}");
        }
        let name = Path::new("/a/").join("a".repeat(200));
        assert!(!parse("/a/*a*a*a*a*a*a*a*ab").unwrap()[0].matches(&name));
    }

    #[test]
    fn patterns_that_are_none_say_why() {
        for (pattern, reason) in [
            ("relative/*.log", "must begin with /"),
            ("/a/{b", "a { has no }"),
            ("/a/{b,{c}}", "braces stand inside braces"),
            ("/**/a/**/b/**/c/**", "too many **"),
            ("/a/[b", "a [ has no ]"),
            ("/a/b\\", "ends with \\"),
            ("/{a,b,c,d,e}{a,b,c,d,e}{a,b,c,d,e}", "too many patterns"),
        ] {
            let error = parse(pattern).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
