//! The JSON form as nearly every client writes it, read in one pass over the body's bytes.
//!
//! What is unusual in any way (another member, a value that is no text, an escape of a code point, a
//! sign before a timestamp, an error) is not understood here: [`decode`] gives up, and the general
//! reader beside it reads the whole body, with Loki's words for its errors. What is understood here
//! reads the same there; a test compares the two over real, changed and hostile bodies.

use super::json::metadata;
use super::labels::checked_pairs;
use super::{ITEMS_MAX, PAIRS_MAX, PushRequest, PushStream};
use memchr::memchr2;
use vigie_model::{Labels, LogEntry};

/// Decodes a body; `None` when it is not understood.
pub(super) fn decode(body: &[u8]) -> Option<PushRequest> {
    let mut scan = Scan { rest: body, items: 0, text: Vec::new() };
    scan.take(b'{')?;
    if scan.raw_text()? != b"streams" {
        return None;
    }
    scan.take(b':')?;
    let mut streams = Vec::new();
    scan.list(|scan| {
        streams.push(scan.stream()?);
        Some(())
    })?;
    scan.take(b'}')?;
    scan.blanks();
    scan.rest.is_empty().then_some(PushRequest { streams })
}

struct Scan<'a> {
    rest: &'a [u8],
    /// Streams, entries and labels so far.
    items: usize,
    /// A text without its escapes.
    text: Vec<u8>,
}

impl<'a> Scan<'a> {
    fn blanks(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if self.peek() != Some(byte) {
            return None;
        }
        self.rest = &self.rest[1..];
        Some(())
    }

    fn count(&mut self) -> Option<()> {
        self.items += 1;
        (self.items <= ITEMS_MAX).then_some(())
    }

    fn list(&mut self, mut each: impl FnMut(&mut Scan<'a>) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            each(self)?;
            if self.peek()? == b']' {
                return self.take(b']');
            }
            self.take(b',')?;
        }
    }

    /// A text without escapes.
    fn raw_text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let end = memchr2(b'"', b'\\', self.rest)?;
        let text = &self.rest[..end];
        self.rest = self.rest[end..].strip_prefix(b"\"")?;
        Some(text)
    }

    /// The same, where only UTF-8 without control characters may stand.
    fn clean_text(&mut self) -> Option<&'a str> {
        let text = self.raw_text()?;
        let text = std::str::from_utf8(text).ok()?;
        (!text.bytes().any(|byte| byte < b' ')).then_some(text)
    }

    fn stream(&mut self) -> Option<PushStream> {
        self.count()?;
        self.take(b'{')?;
        let (mut labels, mut entries) = (None, None);
        loop {
            let name = self.raw_text()?;
            self.take(b':')?;
            match name {
                b"stream" if labels.is_none() => {
                    let pairs = self.pairs()?.into_iter();
                    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    labels = Some(checked_pairs(owned.collect()).ok()?);
                }
                b"values" if entries.is_none() => {
                    let mut list = Vec::new();
                    self.list(|scan| {
                        list.push(scan.entry()?);
                        Some(())
                    })?;
                    entries = Some(list);
                }
                _ => return None,
            }
            if self.peek()? == b'}' {
                self.take(b'}')?;
                return Some(PushStream { labels: labels?, entries: entries? });
            }
            self.take(b',')?;
        }
    }

    fn pairs(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        let mut pairs = Vec::new();
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.take(b'}')?;
            return Some(pairs);
        }
        loop {
            let name = self.clean_text()?;
            self.take(b':')?;
            pairs.push((name, self.clean_text()?));
            self.count()?;
            if pairs.len() >= PAIRS_MAX {
                return None;
            }
            if self.peek()? == b'}' {
                self.take(b'}')?;
                return Some(pairs);
            }
            self.take(b',')?;
        }
    }

    fn entry(&mut self) -> Option<LogEntry> {
        self.take(b'[')?;
        let digits = self.raw_text()?;
        if digits.is_empty() {
            return None;
        }
        let ts_ns = digits.iter().try_fold(0i64, |sum, byte| {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })?;
        self.take(b',')?;
        let line = self.line()?;
        let mut labels = Labels::default();
        if self.peek()? == b',' {
            self.take(b',')?;
            labels = metadata(&self.pairs()?);
        }
        self.take(b']')?;
        self.count()?;
        Some(LogEntry { ts_ns, line, metadata: labels })
    }

    /// A line, its escapes undone. Eight bytes at a time: a line of JSON has an escape at every name
    /// and value, so that a search for the next one would stop before it has begun.
    fn line(&mut self) -> Option<Vec<u8>> {
        self.take(b'"')?;
        let (text, body) = (&mut self.text, self.rest);
        text.clear();
        let mut at = 0;
        loop {
            if let Some(word) = body.get(at..).and_then(<[u8]>::first_chunk::<8>) {
                let marks = marks(u64::from_le_bytes(*word));
                text.extend_from_slice(word);
                if marks == 0 {
                    at += 8;
                    continue;
                }
                let plain = marks.trailing_zeros() as usize / 8;
                text.truncate(text.len() - 8 + plain);
                at += plain;
            }
            let byte = match *body.get(at)? {
                b'"' => {
                    self.rest = &body[at + 1..];
                    return Some(text.as_slice().to_vec());
                }
                b'\\' => {
                    at += 1;
                    match *body.get(at)? {
                        mark @ (b'"' | b'\\' | b'/') => mark,
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'b' => 8,
                        b'f' => 12,
                        _ => return None,
                    }
                }
                byte => byte,
            };
            text.push(byte);
            at += 1;
        }
    }
}

/// The highest bit of each byte of a word that is a quote or a backslash; those above the first one
/// may be set for others too.
fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64))
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    const BODIES: [&str; 9] = [
        r#"{"streams":[{"stream":{"app":"a","b":"c"},"values":[["1","x"],["22","{\"a\":\"b\\\\n\",\"c\":1}"]]}]}"#,
        r#" { "streams" : [ { "values" : [ [ "5" , "a\tb\nlong enough for a word of eight bytes\/\r" ] ] , "stream" : { } } ] } "#,
        r#"{"streams":[{"stream":{"app":"a"},"values":[["1795690920000000000","x",{"trace":"7","a-b":""}],["99999999999999999999","",{}]]}]}"#,
        r#"{"streams":[]}"#,
        r#"{"streams":[{"stream":{"a":"\u00e9"},"values":[["1","\u00e9 \ud800 x"]]}]}"#,
        r#"{"streams":[{"stream":{"1x":"a"},"values":[["1","x"]]}],"other":1}"#,
        r#"{"streams":[{"stream":{"app":"a"},"values":[["-1","x"],[1,"x"],["1"]]}]}"#,
        r#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"2026-01-01T00:00:00Z","line":"x"}]}]}"#,
        "{\"streams\":[{\"stream\":{\"app\":\"a\"},\"values\":[[\"1\",\"tab\there\"]]}]}",
    ];

    #[test]
    fn what_is_understood_reads_the_same_in_general() {
        let mut understood = 0;
        let mut compare = |body: &[u8]| {
            if let Some(quick) = decode(body) {
                understood += 1;
                let general = json::decode(body);
                assert_eq!(general.as_ref(), Ok(&quick), "{}", String::from_utf8_lossy(body));
            }
        };
        let mut state = 7u64;
        let mut roll = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % end
        };
        for body in BODIES {
            compare(body.as_bytes());
            for _ in 0..3000 {
                let mut changed = body.as_bytes().to_vec();
                for _ in 0..=roll(2) {
                    let at = roll(changed.len());
                    match roll(3) {
                        0 => drop(changed.remove(at)),
                        1 => changed[at] = b"\"\\,:[]{}1a \xff\x01/ub"[roll(16)],
                        _ => changed.insert(at, b"\"\\,:[]{}1a \xff\x01/ub"[roll(16)]),
                    }
                }
                compare(&changed);
            }
        }
        assert!(understood > 1000, "{understood} bodies are understood");
    }

    #[test]
    fn quotes_and_backslashes_are_marked_wherever_they_stand() {
        for at in 0..8 {
            for byte in [b'"', b'\\'] {
                for fill in [b'a', 0, 0xff, b'!', b'#', b'[', b']'] {
                    let mut word = [fill; 8];
                    word[at] = byte;
                    let first = marks(u64::from_le_bytes(word)).trailing_zeros() as usize / 8;
                    assert_eq!(first, at, "{word:?}");
                    assert_eq!(marks(u64::from_le_bytes([fill; 8])), 0, "{fill}");
                }
            }
        }
    }
}
