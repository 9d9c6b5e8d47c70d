//! The log half of the grammar: selectors, line filters, parsers, label filters, formatters.

use super::lexer::Kind;
use super::{ParseError, Parsed, Parser};
use crate::ast::{
    Comparison, Extraction, FilterText, LabelChoice, LabelFilter, LabelSource, LineFilter, LineOp,
    Stage,
};
use crate::pipeline::pattern;
use crate::units::parse_go_float;
use std::collections::HashSet;
use vigie_model::{MatchOp, Matcher, regexp};

const TEXT_OR_IP: &str = "STRING or ip";
const MATCH_OPS: &str = "= or =~ or !~ or !=";

impl Parser {
    pub(super) fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect("{", "")?;
        let mut matchers = Vec::new();
        if self.accept("}") {
            return Ok(matchers);
        }
        let mut expecting = "IDENTIFIER or }";
        loop {
            let name = self.identifier(expecting)?;
            let op = self.match_op().ok_or_else(|| self.unexpected(MATCH_OPS))?;
            self.take();
            let value = self.string("STRING")?;
            matchers.push(self.matcher(name, op, value)?);
            if self.accept("}") {
                return Ok(matchers);
            }
            self.expect(",", "} or ,")?;
            expecting = "IDENTIFIER";
        }
    }

    fn match_op(&self) -> Option<MatchOp> {
        match self.kind() {
            Kind::Word("=") => Some(MatchOp::Equal),
            Kind::Word("!=") => Some(MatchOp::NotEqual),
            Kind::Word("=~") => Some(MatchOp::Regex),
            Kind::Word("!~") => Some(MatchOp::NotRegex),
            _ => None,
        }
    }

    fn line_op(&self) -> Option<LineOp> {
        match self.kind() {
            Kind::Word("|=") => Some(LineOp::Contains),
            Kind::Word("!=") => Some(LineOp::NotContains),
            Kind::Word("|~") => Some(LineOp::Regex),
            Kind::Word("!~") => Some(LineOp::NotRegex),
            Kind::Word("|>") => Some(LineOp::Pattern),
            Kind::Word("!>") => Some(LineOp::NotPattern),
            _ => None,
        }
    }

    /// Stages up to the first token that starts none; an `| unwrap` is left to the caller.
    pub(super) fn pipeline(&mut self) -> Parsed<Vec<Stage>> {
        let mut stages = Vec::new();
        loop {
            if self.line_op().is_some() {
                self.operation()?;
                stages.push(Stage::Line(self.line_filter()?));
            } else if self.is("|") && self.next_kind() != Kind::Word("unwrap") {
                self.operation()?;
                self.take();
                stages.push(self.stage()?);
            } else {
                return Ok(stages);
            }
        }
    }

    fn line_filter(&mut self) -> Parsed<LineFilter> {
        let op = self.line_op().ok_or_else(|| self.unexpected(""))?;
        self.take();
        let mut texts = Vec::new();
        loop {
            if matches!(op, LineOp::Regex | LineOp::NotRegex) {
                self.regex()?;
            }
            texts.push(self.filter_text()?);
            if !self.accept("or") {
                break;
            }
            self.operation()?;
        }
        Ok(LineFilter { op, texts })
    }

    fn filter_text(&mut self) -> Parsed<FilterText> {
        if let Kind::Function("ip", _) = self.kind() {
            return Ok(FilterText { text: self.ip_call()?, is_ip: true });
        }
        Ok(FilterText { text: self.string(TEXT_OR_IP)?, is_ip: false })
    }

    /// `ip("…")`
    fn ip_call(&mut self) -> Parsed<String> {
        self.take();
        self.expect("(", "(")?;
        let text = self.string("STRING")?;
        self.expect(")", ")")?;
        Ok(text)
    }

    /// What follows a `|`.
    fn stage(&mut self) -> Parsed<Stage> {
        let Kind::Word(word) = self.kind() else {
            return Ok(Stage::Label(self.label_filter("")?));
        };
        if matches!(word, "json" | "logfmt" | "regexp" | "pattern" | "unpack") {
            self.parser()?;
        }
        match word {
            "json" => {
                self.take();
                Ok(Stage::Json(self.extractions()?))
            }
            "logfmt" => self.logfmt(),
            "regexp" => {
                self.take();
                let text = self.string("STRING")?;
                self.regex()?;
                check_captures(&text)
                    .map_err(|e| ParseError::whole(format!("invalid regexp parser: {e}")))?;
                Ok(Stage::Regexp(text))
            }
            "pattern" => {
                self.take();
                let text = self.string("STRING")?;
                pattern::Pattern::parser(&text)
                    .map_err(|e| ParseError::whole(format!("invalid pattern parser: {e}")))?;
                Ok(Stage::Pattern(text))
            }
            "unpack" => {
                self.take();
                Ok(Stage::Unpack)
            }
            "line_format" => {
                self.take();
                Ok(Stage::LineFormat(self.string("STRING")?))
            }
            "label_format" => self.label_format(),
            "decolorize" => {
                self.take();
                Ok(Stage::Decolorize)
            }
            "drop" => {
                self.take();
                Ok(Stage::Drop(self.label_choices()?))
            }
            "keep" => {
                self.take();
                Ok(Stage::Keep(self.label_choices()?))
            }
            _ => Ok(Stage::Label(self.label_filter("")?)),
        }
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        self.take();
        let (mut strict, mut keep_empty) = (false, false);
        while self.kind() == Kind::Flag {
            match self.take().text.as_str() {
                "--strict" => strict = true,
                _ => keep_empty = true,
            }
        }
        Ok(Stage::Logfmt { strict, keep_empty, extractions: self.extractions()? })
    }

    /// `a, b="c.d"`, or nothing.
    fn extractions(&mut self) -> Parsed<Vec<Extraction>> {
        let mut extractions = Vec::new();
        if self.kind() != Kind::Ident {
            return Ok(extractions);
        }
        loop {
            let label = self.identifier("IDENTIFIER")?;
            let path = if self.accept("=") { self.string("STRING")? } else { label.clone() };
            extractions.push(Extraction { label, path });
            if !self.accept(",") {
                return Ok(extractions);
            }
        }
    }

    fn label_format(&mut self) -> Parsed<Stage> {
        self.take();
        let mut formats = Vec::new();
        loop {
            let target = self.identifier("IDENTIFIER")?;
            self.expect("=", "=")?;
            let source = match self.kind() {
                Kind::Ident => LabelSource::Rename(self.take().text),
                Kind::Str => LabelSource::Template(self.take().text),
                _ => return Err(self.unexpected("IDENTIFIER or STRING")),
            };
            formats.push((target, source));
            if !self.accept(",") {
                return Ok(Stage::LabelFormat(formats));
            }
        }
    }

    fn label_choices(&mut self) -> Parsed<Vec<LabelChoice>> {
        let mut choices = Vec::new();
        loop {
            let name = self.identifier("IDENTIFIER")?;
            choices.push(match self.match_op() {
                None => LabelChoice::Name(name),
                Some(op) => {
                    self.take();
                    let value = self.string("STRING")?;
                    LabelChoice::Match(self.matcher(name, op, value)?)
                }
            });
            if !self.accept(",") {
                return Ok(choices);
            }
        }
    }

    /// A label filter: `or` binds loosest, then `and`, `,` and mere juxtaposition.
    pub(super) fn label_filter(&mut self, expecting: &str) -> Parsed<LabelFilter> {
        let mut left = self.label_conjunction(expecting)?;
        while self.accept("or") {
            self.operation()?;
            let right = self.label_conjunction("IDENTIFIER or (")?;
            left = LabelFilter::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn label_conjunction(&mut self, expecting: &str) -> Parsed<LabelFilter> {
        let mut left = self.label_condition(expecting)?;
        loop {
            let joined = self.accept("and") || self.accept(",");
            if !joined && self.kind() != Kind::Ident && !self.is("(") {
                return Ok(left);
            }
            self.operation()?;
            let right = self.label_condition("IDENTIFIER or (")?;
            left = LabelFilter::And(Box::new(left), Box::new(right));
        }
    }

    fn label_condition(&mut self, expecting: &str) -> Parsed<LabelFilter> {
        if self.accept("(") {
            let inner = self.deeper(|parser| parser.label_filter("IDENTIFIER or ("))?;
            self.expect(")", "")?;
            return Ok(inner);
        }
        let name = self.identifier(expecting)?;
        let Kind::Word(word) = self.kind() else { return Err(self.unexpected("")) };
        let number_op = match word {
            "=~" | "!~" => {
                let op = if word == "=~" { MatchOp::Regex } else { MatchOp::NotRegex };
                self.take();
                let value = self.string("STRING")?;
                return Ok(LabelFilter::Text(self.matcher(name, op, value)?));
            }
            "=" | "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            _ => return Err(self.unexpected("")),
        };
        self.take();
        let takes_text = word == "=" || word == "!=";
        match self.kind() {
            Kind::Str if takes_text => {
                let op = if word == "=" { MatchOp::Equal } else { MatchOp::NotEqual };
                let value = self.take().text;
                Ok(LabelFilter::Text(self.matcher(name, op, value)?))
            }
            Kind::Function("ip", _) if takes_text => {
                Ok(LabelFilter::Ip { name, negative: word == "!=", pattern: self.ip_call()? })
            }
            _ => self.label_number(name, number_op),
        }
    }

    fn label_number(&mut self, name: String, op: Comparison) -> Parsed<LabelFilter> {
        match self.kind() {
            Kind::Duration => Ok(LabelFilter::Duration { name, op, ns: self.take().ns }),
            Kind::Bytes => Ok(LabelFilter::Bytes { name, op, size_bytes: self.take().size_bytes }),
            Kind::Number => Ok(LabelFilter::Number { name, op, value: self.number()? }),
            Kind::Word("-") | Kind::Word("+") => {
                let sign = if self.take().kind == Kind::Word("-") { -1.0 } else { 1.0 };
                if self.kind() != Kind::Number {
                    return Err(self.unexpected("NUMBER"));
                }
                Ok(LabelFilter::Number { name, op, value: sign * self.number()? })
            }
            _ => Err(self.unexpected("")),
        }
    }

    pub(super) fn number(&mut self) -> Parsed<f64> {
        let token = self.expect_kind(Kind::Number, "NUMBER")?;
        parse_go_float(&token.text)
            .map_err(|e| ParseError::whole(format!("unable to parse literal as a float: {e}")))
    }
}

/// Checks the expression of `| regexp`: it must compile, and name captures, each once.
fn check_captures(pattern: &str) -> Result<(), String> {
    let mut names = HashSet::new();
    for (at, _) in pattern.match_indices("(?") {
        let rest = &pattern[at + 2..];
        let Some(rest) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) else {
            continue;
        };
        let end = rest.bytes().take_while(|b| *b == b'_' || b.is_ascii_alphanumeric()).count();
        if !names.insert(&rest[..end]) {
            return Err(format!("duplicate extracted label name '{}'", &rest[..end]));
        }
    }
    let regex = regexp::in_line(pattern).map_err(|error| error.to_string())?;
    if regex.capture_names().flatten().next().is_none() {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok(())
}
