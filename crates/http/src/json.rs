//! The JSON of the originals, written straight into bytes: an answer of a million points is not
//! first a tree.

use vigie_model::Labels;
use vigie_model::value::format_value;

/// A body that grows.
#[derive(Default)]
pub struct Json(Vec<u8>);

impl Json {
    /// Text as it is.
    pub fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A quoted, escaped text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0..0x20 => b"",
                _ => continue,
            };
            self.0.extend_from_slice(&text.as_bytes()[from..at]);
            if escape.is_empty() {
                self.0.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            } else {
                self.0.extend_from_slice(escape);
            }
            from = at + 1;
        }
        self.0.extend_from_slice(&text.as_bytes()[from..]);
        self.0.push(b'"');
        self
    }

    /// A label set as an object.
    pub fn labels(&mut self, labels: &Labels) -> &mut Self {
        self.pairs(labels.iter().map(|label| (label.name.as_ref(), label.value.as_ref())))
    }

    /// Names and their texts as an object.
    pub fn pairs<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> &mut Self {
        self.0.push(b'{');
        for (at, (name, text)) in pairs.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            self.text(name).raw(":").text(text);
        }
        self.0.push(b'}');
        self
    }

    /// `[seconds,"value"]`, as Prometheus writes a sample.
    pub fn point(&mut self, ts_ms: i64, value: f64) -> &mut Self {
        self.raw("[").seconds(ts_ms).raw(",\"").raw(&float_text(value)).raw("\"]")
    }

    /// The same as Loki writes it: never with an exponent.
    pub fn plain_point(&mut self, ts_ms: i64, value: f64) -> &mut Self {
        self.raw("[").seconds(ts_ms).raw(",\"").raw(&format_value(value)).raw("\"]")
    }

    /// Milliseconds as seconds with at most three decimals.
    pub fn seconds(&mut self, ts_ms: i64) -> &mut Self {
        let (sign, abs) =
            if ts_ms < 0 { ("-", ts_ms.unsigned_abs()) } else { ("", ts_ms.unsigned_abs()) };
        let (whole, fraction) = (abs / 1000, abs % 1000);
        match fraction {
            0 => self.raw(&format!("{sign}{whole}")),
            _ => self.raw(&format!("{sign}{whole}.{fraction:03}")),
        }
    }

    /// A list of texts.
    pub fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.list(texts, |json, text| {
            json.text(text);
        })
    }

    /// A list, each item written by `item`.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Json, T),
    ) -> &mut Self {
        self.0.push(b'[');
        for (at, one) in items.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            item(self, one);
        }
        self.0.push(b']');
        self
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// The finished body.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A float as Prometheus' `jsonutil.MarshalFloat` writes it: Go's shortest form, with an exponent of
/// at least two digits, only below 1e-6 and from 1e21 on.
pub fn float_text(value: f64) -> String {
    let abs = value.abs();
    if !value.is_finite() || abs == 0.0 || (1e-6..1e21).contains(&abs) {
        return format_value(value);
    }
    float_exponent(value)
}

/// Go's `FormatFloat(v, 'e', -1, 64)`, which Prometheus uses for an alert's value: `1e+00`.
pub fn float_exponent(value: f64) -> String {
    if !value.is_finite() {
        return format_value(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_texts_are_written_as_prometheus_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-7, "1e-07"),
            (1.5e-10, "1.5e-10"),
            (1e21, "1e+21"),
            (123456789.0, "123456789"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(float_text(value), text);
        }
        for (value, text) in [
            (0.0, "0e+00"),
            (12.5, "1.25e+01"),
            (1e-7, "1e-07"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(float_exponent(value), text);
        }
        let mut json = Json::default();
        json.point(1_435_781_430_781, 1.0)
            .point(-1_500, 2.0)
            .point(5_000, 3.0)
            .plain_point(5_000, 1e-7)
            .text("a\"b\\c\n\u{1}é");
        assert_eq!(
            String::from_utf8(json.into_bytes()).unwrap(),
            r#"[1435781430.781,"1"][-1.500,"2"][5,"3"][5,"0.0000001"]"a\"b\\c\n\u0001é""#
        );
    }
}
