//! `notifications` and `notifications/live`.

use super::success;
use crate::json::Json;
use crate::notices::Notice;
use crate::state::{State, rfc3339};
use axum::body::{Body, Bytes};
use axum::extract;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// `/api/v1/notifications`: what is on.
pub async fn list(extract::State(state): extract::State<State>) -> Response {
    let notices = state.notices.list();
    success(
        |json| {
            json.list(&notices, write);
        },
        &[],
        &[],
    )
}

/// `/api/v1/notifications/live`: server-sent events, 204 when there is no place left.
pub async fn live(extract::State(state): extract::State<State>) -> Response {
    let Some(notices) = state.notices.subscribe() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut response = Body::new(Events(notices)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn write(json: &mut Json, notice: &Notice) {
    json.raw(r#"{"text":"#).text(&notice.text);
    json.raw(r#","date":"#).text(&rfc3339(notice.at_ms));
    json.raw(&format!(r#","active":{}}}"#, notice.active));
}

/// A body of one event for each notice; it ends when the hub closes.
struct Events(mpsc::Receiver<Notice>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|notice| {
            let notice = notice?;
            let mut json = Json::default();
            json.raw("data: ");
            write(&mut json, &notice);
            json.raw("\n\n");
            Some(Ok(Frame::data(json.into_bytes().into())))
        })
    }
}
