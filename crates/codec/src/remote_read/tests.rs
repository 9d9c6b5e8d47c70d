//! Requests as Prometheus writes them, and what cannot be one.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use super::*;

fn message(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn request(kind: u64, value: &str) -> Vec<u8> {
    let matcher = message(|out| {
        put_number(out, 1, kind);
        put_bytes(out, 2, b"job");
        put_bytes(out, 3, value.as_bytes());
    });
    let query = message(|out| {
        put_number(out, 1, -5i64 as u64);
        put_number(out, 2, 1000);
        put_bytes(out, 3, &matcher);
        put_bytes(out, 4, &message(|out| put_number(out, 1, 15_000)));
    });
    message(|out| {
        put_bytes(out, 1, &query);
        put_bytes(out, 2, &[1, 0]);
    })
}

#[test]
fn questions_are_read_and_wrong_ones_are_named() {
    let read = decode(&request(2, "a|b")).unwrap();
    assert_eq!(read.accepted, [ResponseType::StreamedXorChunks, ResponseType::Samples]);
    let query = &read.queries[0];
    assert_eq!((query.start_ms, query.end_ms), (-5, 1000));
    assert_eq!((query.matchers[0].op, query.matchers[0].name.as_str()), (MatchOp::Regex, "job"));
    for (body, words) in [
        (request(4, "a"), "invalid matcher type"),
        (request(2, "("), "regexp"),
        (vec![0x0a, 9], "proto: unexpected EOF"),
    ] {
        let error = decode(&body).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let many = [0x0a, 0].repeat(QUERIES_MAX + 1);
    assert!(decode(&many).unwrap_err().to_string().contains("limit: 100"));
    let body = request(0, "x");
    for bit in 0..body.len() * 8 {
        let mut bad = body.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&bad);
    }
}

#[test]
fn a_frame_says_its_length_and_its_checksum() {
    let labels = Labels::from_pairs([("__name__", "up")]);
    let frame = encode_frame(3, &labels, &[vec![(1, 1.0), (2, 0.0)], vec![(9, 1.0)]]);
    let len = usize::from(frame[0]);
    assert_eq!(frame.len(), 1 + 4 + len);
    let crc = u32::from_be_bytes(frame[1..5].try_into().unwrap());
    assert_eq!(crc, crc32c::crc32c(&frame[5..]));
    assert_eq!(&frame[frame.len() - 2..], [0x10, 3]);
}
