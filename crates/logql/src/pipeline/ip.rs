//! `ip("10.0.0.0/8")`: addresses, networks and ranges, found anywhere in a text.

use std::net::{IpAddr, Ipv6Addr};

/// An address, a network or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPattern {
    is_v6: bool,
    low: u128,
    high: u128,
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (false, u32::from(v4).into()),
        IpAddr::V6(v6) => (true, v6.into()),
    }
}

impl IpPattern {
    /// Parses what stands between the quotes, with Loki's error.
    pub fn parse(text: &str) -> Result<IpPattern, String> {
        Self::parse_parts(text)
            .ok_or_else(|| format!("ip: invalid pattern: {}", vigie_model::go_quote(text)))
    }

    fn parse_parts(text: &str) -> Option<IpPattern> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let (is_v6, low) = number(address);
            return Some(IpPattern { is_v6, low, high: low });
        }
        if let Some((low, high)) = text.split_once('-') {
            let (low, high) = (number(low.parse().ok()?), number(high.parse().ok()?));
            if low.0 != high.0 || low.1 > high.1 {
                return None;
            }
            return Some(IpPattern { is_v6: low.0, low: low.1, high: high.1 });
        }
        let (address, bits) = text.split_once('/')?;
        let (is_v6, address) = number(address.parse().ok()?);
        let (bits, width): (u32, u32) = (bits.parse().ok()?, if is_v6 { 128 } else { 32 });
        if bits > width {
            return None;
        }
        let hosts = if width == bits { 0 } else { u128::MAX >> (128 - (width - bits)) };
        let low = address & !hosts;
        Some(IpPattern { is_v6, low, high: low | hosts })
    }

    fn holds(&self, text: &[u8]) -> bool {
        let Some(address) =
            std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok())
        else {
            return false;
        };
        let (is_v6, value) = match address {
            // An IPv4 pattern does not see an IPv4 address written the IPv6 way.
            IpAddr::V6(v6) => (true, <u128 as From<Ipv6Addr>>::from(v6)),
            v4 => number(v4),
        };
        is_v6 == self.is_v6 && (self.low..=self.high).contains(&value)
    }

    /// Whether an address in `line` is in the pattern. As Loki does, a run of address characters is
    /// taken as a whole: `1.2.3.4.5` holds no address.
    pub fn found_in(&self, line: &[u8]) -> bool {
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            let length = if looks_like_v4(rest) {
                span(rest, |b| b.is_ascii_digit() || b == b'.')
            } else if looks_like_v6(rest) {
                span(rest, |b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
            } else {
                at += 1;
                continue;
            };
            if self.holds(&rest[..length]) {
                return true;
            }
            at += length + 1;
        }
        false
    }
}

fn span(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|b| accept(**b)).count()
}

fn looks_like_v4(text: &[u8]) -> bool {
    text.len() > 3 && text[0].is_ascii_digit() && text[1..4].contains(&b'.')
}

fn looks_like_v6(text: &[u8]) -> bool {
    (text.starts_with(b"::"))
        || (text.len() > 4 && text[0].is_ascii_hexdigit() && text[1..5].contains(&b':'))
}
