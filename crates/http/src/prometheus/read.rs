//! `/api/v1/read`: remote read, for another Prometheus that keeps its history here.
//!
//! The answer is samples, or frames of XOR chunks when the client prefers them. A client that takes
//! both gets samples where native histograms are among the series, which only they can carry here.
//! Upstream's rules (`storage/remote/read_handler.go`): `external_labels` are taken out of the
//! conditions and put into the answers; stale markers are left out by neither side.

use crate::body::read_body;
use crate::error::ApiError;
use crate::state::State;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vigie_codec::compression::{UnpackError, pack_snappy, unpack_snappy};
use vigie_codec::remote_read::{
    Query, ReadSeries, Request, ResponseType, decode, encode_frame, encode_samples,
};
use vigie_codec::xor_chunk;
use vigie_engine::{Engine, EngineError};
use vigie_model::limits::{PUSH_BODY_BYTES_MAX, PUSH_DECODED_BYTES_MAX};
use vigie_model::{Labels, MatchOp, Matcher, Selection, TimeRange, is_absent};

/// A frame is sent when it has about this many bytes, as Prometheus does.
const FRAME_BYTES: usize = 1 << 20;
/// Frames that wait for a slow client.
const FRAMES_WAITING_MAX: usize = 4;

type Refusal = (StatusCode, String);

/// The handler.
pub async fn read(extract::State(state): extract::State<State>, body: Body) -> Response {
    match answer(&state, body).await {
        Ok(response) => response,
        Err((status, words)) => {
            (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words + "\n").into_response()
        }
    }
}

async fn answer(state: &State, body: Body) -> Result<Response, Refusal> {
    let body = read_body(body, PUSH_BODY_BYTES_MAX)
        .await
        .map_err(|refusal| (refusal.status, refusal.message))?;
    let body = unpack_snappy(&body, PUSH_DECODED_BYTES_MAX).map_err(|error| match error {
        UnpackError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        error => (StatusCode::BAD_REQUEST, error.to_string()),
    })?;
    let request = decode(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let external = state.loading.now().external_labels.clone();
    let engine = state.engine.clone();
    let (questions, own) = (request.clone(), external.clone());
    let selected = state.run(move || select(engine.as_ref(), &questions, &own));
    let selected = selected.await.map_err(of_error)?;
    let only_streamed = request.accepted == [ResponseType::StreamedXorChunks];
    let streamed = request.accepted.first() == Some(&ResponseType::StreamedXorChunks);
    let has_natives = selected.iter().any(has_natives);
    if only_streamed && has_natives {
        let words = "native histograms are only sent as samples: accept SAMPLES too";
        return Err((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    if streamed && !has_natives {
        return Ok(stream(state, selected, external));
    }
    let samples_max = state.engine.queries().limits().samples_max;
    let packed =
        state.run(move || samples(&selected, &external, samples_max)).await.map_err(of_error)?;
    let packed = packed.map_err(|words| (StatusCode::BAD_REQUEST, words))?;
    Ok(([(CONTENT_TYPE, "application/x-protobuf"), (CONTENT_ENCODING, "snappy")], packed)
        .into_response())
}

fn of_error(error: ApiError) -> Refusal {
    (error.status(), error.message().to_owned())
}

fn select(
    engine: &dyn Engine,
    request: &Request,
    external: &Labels,
) -> Result<Vec<Selection>, EngineError> {
    let of = |query: &Query| {
        let range = TimeRange { start_ms: query.start_ms, end_ms: query.end_ms };
        engine.select_metrics(&without_external(&query.matchers, external), range)
    };
    request.queries.iter().map(of).collect()
}

/// Conditions that ask for one of our own external labels are fulfilled by all we have.
fn without_external(matchers: &[Matcher], external: &Labels) -> Vec<Matcher> {
    let is_ours = |matcher: &&Matcher| {
        matcher.op == MatchOp::Equal && external.get(&matcher.name) == Some(matcher.value.as_str())
    };
    matchers.iter().filter(|matcher| !is_ours(matcher)).cloned().collect()
}

fn has_natives(selection: &Selection) -> bool {
    let mut groups = selection.groups.iter();
    groups.any(|group| (0..group.series().len()).any(|column| group.may_have_histograms(column)))
}

/// Where each series of a selection stands, in the order of its labels.
fn ordered(selection: &Selection, external: &Labels) -> Vec<(Labels, usize, usize)> {
    let mut series = Vec::new();
    for (at, group) in selection.groups.iter().enumerate() {
        for (column, id) in group.series().iter().enumerate() {
            let mut labels = selection.lookup.labels(*id).to_builder();
            for label in external {
                if labels.get(&label.name).is_none() {
                    labels.set(label.name.clone(), label.value.clone());
                }
            }
            series.push((labels.build(), at, column));
        }
    }
    series.sort_by(|left, right| left.0.cmp(&right.0));
    series
}

fn floats(
    selection: &Selection,
    (group, column): (usize, usize),
    values: &mut Vec<f64>,
) -> Result<Vec<(i64, f64)>, EngineError> {
    let group = &selection.groups[group];
    group.read(column, values)?;
    let samples = group.timestamps_ms().iter().copied().zip(values.iter().copied());
    Ok(samples.filter(|(_, value)| !is_absent(*value)).collect())
}

/// The whole answer, packed; the inner error is what the client asked too much.
fn samples(
    selected: &[Selection],
    external: &Labels,
    samples_max: u64,
) -> Result<Result<Vec<u8>, String>, EngineError> {
    let (mut results, mut count, mut values) = (Vec::new(), 0u64, Vec::new());
    for selection in selected {
        let mut found = Vec::new();
        for (labels, group, column) in ordered(selection, external) {
            let samples = floats(selection, (group, column), &mut values)?;
            let mut natives = Vec::new();
            let group = &selection.groups[group];
            group.read_histograms(column, &mut natives)?;
            let times = group.timestamps_ms();
            let histograms: Vec<_> =
                natives.into_iter().map(|(at, one)| (times[at], (*one).clone())).collect();
            count += (samples.len() + histograms.len()) as u64;
            if count > samples_max {
                return Ok(Err(format!("exceeded sample limit ({samples_max})")));
            }
            if !samples.is_empty() || !histograms.is_empty() {
                found.push(ReadSeries { labels, samples, histograms });
            }
        }
        results.push(found);
    }
    Ok(pack_snappy(&encode_samples(&results)).map_err(|error| error.to_string()))
}

/// Frames, made while the client reads them.
fn stream(state: &State, selected: Vec<Selection>, external: Labels) -> Response {
    let (sender, receiver) = channel(FRAMES_WAITING_MAX);
    let state = state.clone();
    tokio::spawn(async move {
        let failed = sender.clone();
        let done = state.run(move || {
            for (index, selection) in selected.iter().enumerate() {
                let sent = send_frames(selection, index, &external, &sender)?;
                if !sent {
                    break;
                }
            }
            Ok(())
        });
        if let Err(error) = done.await {
            // The status is sent already: an answer that ends early tells the client.
            let error = std::io::Error::other(error.message().to_owned());
            let _ = failed.send(Err(error)).await;
        }
    });
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    ([(CONTENT_TYPE, kind)], Body::new(Frames(receiver))).into_response()
}

/// A body that is made while it is sent.
struct Frames(Receiver<Result<Bytes, std::io::Error>>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|frame| frame.map(|frame| frame.map(Frame::data)))
    }
}

/// Sends the frames of one question; false when the client has gone.
fn send_frames(
    selection: &Selection,
    index: usize,
    external: &Labels,
    sender: &Sender<Result<Bytes, std::io::Error>>,
) -> Result<bool, EngineError> {
    let mut values = Vec::new();
    for (labels, group, column) in ordered(selection, external) {
        let samples = floats(selection, (group, column), &mut values)?;
        // A chunk of 120 samples of any value takes at most about 2 kB.
        let per_frame = xor_chunk::SAMPLES_MAX * (FRAME_BYTES / 2048);
        for samples in samples.chunks(per_frame) {
            let chunks: Vec<Vec<(i64, f64)>> =
                samples.chunks(xor_chunk::SAMPLES_MAX).map(<[_]>::to_vec).collect();
            let frame = encode_frame(index, &labels, &chunks);
            if sender.blocking_send(Ok(frame.into())).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
