//! `${VAR}` and `${VAR:-default}` in a file's text (Loki's `--config.expand-env`).

use crate::error::ConfigError;

/// Replaces every variable; `$$` is a dollar sign. `lookup` answers for the environment.
pub(crate) fn expand(
    file: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((inner, after)) =
            after.strip_prefix('{').and_then(|inner| inner.split_once('}'))
        {
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            let value = lookup(name)
                .filter(|value| !value.is_empty())
                .or_else(|| default.map(str::to_owned));
            out.push_str(&value.ok_or_else(|| ConfigError::Variable {
                file: file.to_owned(),
                line: out.lines().count().max(1),
                variable: name.to_owned(),
            })?);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_missing_ones_named() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        let cases =
            [("x ${A} ${B:-2} $$ $1", Ok("x 1 2 $ $1")), ("a\nb ${B}", Err("f:2: the variable B"))];
        for (text, wanted) in cases {
            match (expand("f", text, &lookup), wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(got), Err(wanted)) => assert!(got.to_string().starts_with(wanted), "{got}"),
                (got, wanted) => panic!("{text}: {got:?} against {wanted:?}"),
            }
        }
    }
}
