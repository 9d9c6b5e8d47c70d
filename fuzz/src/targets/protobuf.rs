//! What strangers send as protobuf beside pushes: pages of metrics and questions of remote read.
//!
//! Seeds are written field by field here, because the program itself only reads these messages.

use crate::Target;
use vigie_codec::exposition::protobuf::{Page, Wants};
use vigie_codec::exposition::{Entry, Format, parse};
use vigie_codec::remote_read;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "exposition_protobuf", run: page, seeds: pages },
        Target {
            name: "remote_read",
            run: |data| {
                let Ok(request) = remote_read::decode(data) else { return };
                assert!(request.queries.len() <= remote_read::QUERIES_MAX, "more than are taken");
                let many =
                    |query: &remote_read::Query| query.matchers.len() > remote_read::MATCHERS_MAX;
                assert!(!request.queries.iter().any(many), "more conditions than are taken");
            },
            seeds: questions,
        },
    ]
}

/// The text that a page is turned into is text that the scraper reads.
fn page(data: &[u8]) {
    for (native, classic_beside) in [(false, false), (true, false), (true, true)] {
        let Ok(page) = Page::read(data, Wants { native, classic_beside, starts: classic_beside })
        else {
            continue;
        };
        let mut samples = 0;
        let read = parse(&page.text, Format::Text, &mut |entry| {
            samples += usize::from(matches!(entry, Entry::Sample(_)));
        });
        assert!(read.is_ok(), "the text of a page is not read: {read:?}");
        assert_eq!(page.text.is_empty(), samples == 0, "every line is a sample");
        for one in &page.natives {
            assert!(
                native && one.histogram.validate().is_ok(),
                "an invalid histogram is handed on"
            );
        }
    }
}

/// A field of a message: its number and its bytes, a text or a message.
fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    varint(out, value);
}

fn put_double(out: &mut Vec<u8>, number: u8, value: f64) {
    out.push(number << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out);
    out
}

fn pair(name: &str, value: &str) -> Vec<u8> {
    message(|out| {
        put(out, 1, name.as_bytes());
        put(out, 2, value.as_bytes());
    })
}

/// A family with its length in front: name, help, kind, metrics.
fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let body = message(|out| {
        put(out, 1, name.as_bytes());
        put(out, 2, b"help");
        put_number(out, 3, kind);
        metrics.iter().for_each(|metric| put(out, 4, metric));
    });
    message(|out| {
        varint(out, body.len() as u64);
        out.extend_from_slice(&body);
    })
}

/// A metric with a label and one field that holds its value.
fn metric(number: u8, value: &[u8]) -> Vec<u8> {
    message(|out| {
        put(out, 1, &pair("path", "/a\"b\\c\n"));
        put(out, number, value);
        put_number(out, 6, 1_700_000_000_123);
    })
}

fn pages() -> Vec<Vec<u8>> {
    let value = message(|out| put_double(out, 1, 0.5));
    let exemplar = message(|out| {
        put(out, 1, &pair("trace_id", "a1"));
        put_double(out, 2, 0.7);
    });
    let counter = message(|out| {
        put_double(out, 1, 3e10);
        put(out, 2, &exemplar);
    });
    let summary = message(|out| {
        put_number(out, 1, 4);
        put_double(out, 2, 1.5);
        let quantile = message(|out| {
            put_double(out, 1, 0.99);
            put_double(out, 2, f64::NAN);
        });
        put(out, 3, &quantile);
    });
    let span = message(|out| {
        put_number(out, 1, 3);
        put_number(out, 2, 2);
    });
    let histogram = message(|out| {
        put_number(out, 1, 6);
        put_double(out, 2, 4.5);
        let bucket = message(|out| {
            put_number(out, 1, 5);
            put_double(out, 2, 1.0);
            put(out, 3, &exemplar);
        });
        put(out, 3, &bucket);
        put_number(out, 5, 6);
        put_double(out, 6, 0.001);
        put_number(out, 7, 1);
        put(out, 12, &span);
        put_number(out, 13, 4);
        put_number(out, 13, 2);
    });
    let all = [
        family("requests_total", 0, &[metric(3, &counter)]),
        family("up", 1, &[metric(2, &value), metric(2, &value)]),
        family("latency", 2, &[metric(4, &summary)]),
        family("anything", 3, &[metric(5, &value)]),
        family("seconds", 4, &[metric(7, &histogram)]),
        family("widths", 5, &[metric(7, &histogram)]),
    ];
    let mut pages = all.to_vec();
    pages.push(all.concat());
    pages
}

fn questions() -> Vec<Vec<u8>> {
    let matcher = |kind, name: &str, value: &str| {
        message(|out| {
            put_number(out, 1, kind);
            put(out, 2, name.as_bytes());
            put(out, 3, value.as_bytes());
        })
    };
    let query = message(|out| {
        put_number(out, 1, 1_700_000_000_000);
        put_number(out, 2, 1_700_000_060_000);
        put(out, 3, &matcher(0, "__name__", "up"));
        put(out, 3, &matcher(1, "job", ""));
        put(out, 3, &matcher(2, "instance", "a.*|b"));
        put(out, 3, &matcher(3, "zone", ".+"));
    });
    let old = message(|out| put(out, 1, &query));
    let streamed = message(|out| {
        put(out, 1, &query);
        put(out, 1, &query);
        put(out, 2, &[1, 0]);
        put_number(out, 2, 1);
    });
    vec![old, streamed]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_understood() {
        for (at, bytes) in pages().iter().enumerate() {
            let page =
                Page::read(bytes, Wants { native: true, classic_beside: true, starts: true })
                    .unwrap();
            assert!(!page.text.is_empty(), "page {at}");
        }
        let all = pages().pop().unwrap();
        let page =
            Page::read(&all, Wants { native: true, classic_beside: true, starts: true }).unwrap();
        assert_eq!((page.families.len(), page.natives.len()), (6, 2));
        assert!(page.exemplars.len() >= 2);
        for bytes in questions() {
            let request = remote_read::decode(&bytes).unwrap();
            assert!(request.queries.iter().all(|query| query.matchers.len() == 4));
        }
    }
}
