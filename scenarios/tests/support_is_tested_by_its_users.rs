//! The scenarios' own tools, against each other.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use vigie_scenarios::{Receiver, http::encode, post};

#[test]
fn a_receiver_records_what_it_is_sent() {
    let receiver = Receiver::start();
    receiver.answer_with(202);
    let answer = post(receiver.port, "/x", "application/json", b"{\"a\":1}").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (202, "ok"));
    let received = receiver.received();
    assert_eq!(
        (received[0].request.as_str(), &received[0].json()["a"]),
        ("POST /x", &serde_json::json!(1))
    );
    assert_eq!(encode("a b\"é"), "a%20b%22%C3%A9");
}
