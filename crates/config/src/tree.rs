//! YAML of any shape, read and written: keys stay in the order in which they stand.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write};

/// Any YAML.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Plain(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// The whole of it, in lines.
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    /// Writes a map or a list in lines of their own, indented by `depth`.
    fn write(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        // Writing to a String cannot fail.
        match self {
            Tree::Map(map) => {
                for (name, tree) in map {
                    let _ = write!(out, "{indent}{}:", scalar(name));
                    tree.write_after(depth, out);
                }
            }
            Tree::List(list) => {
                for tree in list {
                    let _ = write!(out, "{indent}-");
                    match tree {
                        Tree::Map(map) if !map.is_empty() => {
                            // The first key stands beside the dash.
                            let mut inner = String::new();
                            tree.write(depth + 1, &mut inner);
                            let _ = write!(out, " {}", inner.trim_start());
                        }
                        other => other.write_after(depth, out),
                    }
                }
            }
            other => other.write_after(depth, out),
        }
    }

    /// Writes what follows a colon or a dash.
    fn write_after(&self, depth: usize, out: &mut String) {
        let _ = match self {
            Tree::Null => writeln!(out, " null"),
            Tree::Plain(text) => writeln!(out, " {text}"),
            Tree::Text(text) => writeln!(out, " {}", scalar(text)),
            Tree::List(list) if list.is_empty() => writeln!(out, " []"),
            Tree::Map(map) if map.is_empty() => writeln!(out, " {{}}"),
            Tree::List(_) => {
                out.push('\n');
                self.write(depth, out);
                Ok(())
            }
            Tree::Map(_) => {
                out.push('\n');
                self.write(depth + 1, out);
                Ok(())
            }
        };
    }
}

/// A text as YAML reads it back: plain where nothing can be mistaken, else in double quotes.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && text.chars().all(word);
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    // `15s` and `1h30m` are texts too.
    let duration = text.ends_with(['s', 'm', 'h', 'd', 'w', 'y'])
        && text.chars().all(|c| c.is_ascii_digit() || "smhdwy".contains(c))
        && text.starts_with(|c: char| c.is_ascii_digit());
    if (plain && !reserved.contains(&text.to_ascii_lowercase().as_str())) || duration {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(AnyYaml)
    }
}

struct AnyYaml;

impl<'de> Visitor<'de> for AnyYaml {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
        Tree::deserialize(inner)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry::<String, Tree>()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}
