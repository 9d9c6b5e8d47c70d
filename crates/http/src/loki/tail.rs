//! `tail`: the lines of a query as they arrive, over a WebSocket.
//!
//! The [`Hub`] sees every push once it is stored and puts the lines of streams that match into the
//! queue of each tail, shared, not copied for each. A tail runs its pipeline over its queue on its own task, so
//! a slow client slows nobody. A queue is bounded: lines that do not fit are counted and named in
//! `dropped_entries`, as Loki names them.
//!
//! A tail begins with the newest `limit` lines since `start`; lines that arrive while these are read
//! stand in the queue too and are told apart there. With `delay_for`, lines wait that many seconds
//! and leave in the order of their instants, so that late ones find their place.

use super::push::header;
use super::query::{categorizes, write_stream};
use super::{parse_time_ns, query};
use crate::error::{ApiError, LokiError};
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, now_ns};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{self, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::UPGRADE;
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use vigie_engine::{LogObserver, PushBatch};
use vigie_logql::{Expr, Followed, Follower, Stream};
use vigie_model::limits::QUERY_TIMEOUT_MS;
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher};

/// Most tails at once.
pub const TAILS_MAX: usize = 128;
/// Most lines that wait for one client.
const WAITING_MAX: usize = 20_000;
/// Most bytes of lines that wait for one client.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most lines in one message.
const LINES_PER_MESSAGE_MAX: usize = 1000;
/// Most dropped lines that are named; the others are only gone.
const NAMED_MAX: usize = 1000;
/// Longest `delay_for`, in seconds.
const DELAY_MAX_S: u64 = 5;
/// A client that says nothing is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A client that takes a message no faster than this is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines that arrive within this go out together.
const GATHER: Duration = Duration::from_millis(50);

/// Everybody who follows lines.
#[derive(Default)]
pub struct Hub {
    tails: RwLock<Vec<Weak<Tail>>>,
    count: AtomicUsize,
}

/// Lines of one stream of one push.
struct Arrived {
    labels: Labels,
    entries: Vec<LogEntry>,
    at: Instant,
}

#[derive(Default)]
struct Queue {
    arrived: VecDeque<Arc<Arrived>>,
    lines: usize,
    bytes: usize,
    dropped: Vec<(Labels, i64)>,
}

/// One client.
struct Tail {
    matchers: Vec<Matcher>,
    queue: Mutex<Queue>,
    wake: Notify,
}

impl Tail {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, arrived: &Arc<Arrived>) {
        let bytes: usize = arrived.entries.iter().map(|entry| entry.line.len()).sum();
        let mut queue = self.queue();
        if queue.lines + arrived.entries.len() > WAITING_MAX
            || queue.bytes + bytes > WAITING_BYTES_MAX
        {
            let room = NAMED_MAX.saturating_sub(queue.dropped.len());
            let lost = arrived.entries.iter().take(room);
            queue.dropped.extend(lost.map(|entry| (arrived.labels.clone(), entry.ts_ns)));
        } else {
            queue.lines += arrived.entries.len();
            queue.bytes += bytes;
            queue.arrived.push_back(arrived.clone());
        }
        drop(queue);
        self.wake.notify_one();
    }
}

impl LogObserver for Hub {
    fn stored(&self, batches: &[PushBatch<'_>]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        let tails: Vec<Arc<Tail>> = tails.iter().filter_map(Weak::upgrade).collect();
        for batch in batches {
            let mut arrived: Option<Arc<Arrived>> = None;
            let wanted = |tail: &&Arc<Tail>| {
                tail.matchers.iter().all(|matcher| matcher.matches_labels(batch.labels))
            };
            for tail in tails.iter().filter(wanted) {
                let arrived = arrived.get_or_insert_with(|| {
                    Arc::new(Arrived {
                        labels: batch.labels.clone(),
                        entries: batch.entries.to_vec(),
                        at: Instant::now(),
                    })
                });
                tail.offer(arrived);
            }
        }
    }
}

/// A tail's place in the hub, left when it is dropped.
struct Place {
    hub: Arc<Hub>,
    tail: Arc<Tail>,
}

impl Hub {
    fn join(self: &Arc<Hub>, matchers: &[Matcher]) -> Result<Place, ApiError> {
        let mut tails = self.tails.write().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|tail| tail.strong_count() > 0);
        let asked = tails.len() + 1;
        if asked > TAILS_MAX {
            return Err(ApiError::bad_data(format!(
                "max concurrent tail requests limit exceeded, count > limit ({asked} > {TAILS_MAX})"
            )));
        }
        let (queue, wake) = (Mutex::default(), Notify::new());
        let tail = Arc::new(Tail { matchers: matchers.to_vec(), queue, wake });
        tails.push(Arc::downgrade(&tail));
        self.count.store(tails.len(), Ordering::Release);
        Ok(Place { hub: self.clone(), tail })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tails = self.hub.tails.write().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|tail| !std::ptr::eq(tail.as_ptr(), &raw const *self.tail));
        self.hub.count.store(tails.len(), Ordering::Release);
    }
}

/// What a client asked for.
struct Asked {
    expr: Expr,
    start_ns: i64,
    limit: usize,
    delay: Duration,
    categorize: bool,
}

/// `/loki/api/v1/tail`.
pub async fn tail(
    extract::State(state): extract::State<State>,
    request: axum::extract::Request,
) -> Result<Response, LokiError> {
    let params = Params::parse(request.uri().query().unwrap_or(""));
    let asked = ask(&params, categorizes(request.headers()))?;
    let follower =
        Follower::new(&asked.expr).map_err(|error| ApiError::bad_data(error.to_string()))?;
    let is_socket = header(request.headers(), UPGRADE.as_str()).eq_ignore_ascii_case("websocket");
    if !is_socket {
        let words = "Bad Request: websocket: the client is not using the websocket protocol: 'upgrade' token not found in 'Connection' header\n";
        return Ok((StatusCode::BAD_REQUEST, words).into_response());
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &state).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let place = state.tails().join(follower.matchers())?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        if let Err(error) = serve(socket, &state, asked, follower, &place.tail).await {
            tracing::debug!("a tail ended: {error}");
        }
    }))
}

fn ask(params: &Params, categorize: bool) -> Result<Asked, ApiError> {
    let expr = vigie_logql::parse(params.get("query").unwrap_or(""))
        .map_err(|error| ApiError::bad_data(error.to_string()))?;
    let delay_s = match params.get("delay_for") {
        Some(text) => text.parse::<u64>().map_err(|_| {
            ApiError::bad_data(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?,
        None => 0,
    };
    if delay_s > DELAY_MAX_S {
        return Err(ApiError::bad_data(format!("delay_for can't be greater than {DELAY_MAX_S}")));
    }
    let now_ns = now_ns();
    let start_ns = match params.get("start") {
        Some(text) => parse_time_ns(text).ok_or_else(|| {
            ApiError::bad_data(format!("could not parse 'start' parameter: cannot parse {text:?}"))
        })?,
        None => now_ns - 3_600_000_000_000,
    };
    let limit = query::limit(params)?;
    let delay = Duration::from_secs(delay_s);
    Ok(Asked { expr, start_ns, limit, delay, categorize })
}

/// What sets a line apart from every other.
type Mark = (i64, String, Vec<u8>);

async fn serve(
    mut socket: WebSocket,
    state: &State,
    asked: Asked,
    mut follower: Follower,
    tail: &Tail,
) -> Result<(), axum::Error> {
    let earlier = match earlier(state, &asked).await {
        Ok(earlier) => earlier,
        Err(error) => {
            let close = axum::extract::ws::CloseFrame {
                code: axum::extract::ws::close_code::ERROR,
                // A reason has at most 123 bytes.
                reason: error.message().chars().take(100).collect::<String>().into(),
            };
            return socket.send(Message::Close(Some(close))).await;
        }
    };
    let mut told: HashSet<Mark> = HashSet::new();
    let mut lines: Vec<Followed> = Vec::new();
    for stream in earlier {
        for row in stream.entries {
            told.insert((row.ts_ns, stream.labels.to_string(), row.line.clone()));
            let (labels, stream_labels) = (stream.labels.clone(), stream.stream_labels.clone());
            lines.push(Followed { labels, stream_labels, row });
        }
    }
    // What arrived up to here may be among the lines that were read.
    let read_at = Instant::now();
    send(&mut socket, &mut lines, &[], asked.categorize).await?;
    loop {
        let wait = wait_for(tail, asked.delay);
        tokio::select! {
            () = wait => {}
            heard = socket.recv() => match heard {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) => continue,
            },
            () = tokio::time::sleep(PING_EVERY) => {
                socket.send(Message::Ping(Vec::new().into())).await?;
                continue;
            }
        }
        let (arrived, dropped) = due(tail, asked.delay);
        for one in arrived {
            for entry in &one.entries {
                let Some(line) = follower.look(&one.labels, entry) else { continue };
                let mark = (line.row.ts_ns, line.labels.to_string(), line.row.line.clone());
                if one.at > read_at || !told.contains(&mark) {
                    lines.push(line);
                }
            }
            if one.at > read_at {
                told = HashSet::new();
            }
        }
        send(&mut socket, &mut lines, &dropped, asked.categorize).await?;
    }
}

/// The newest lines since the start.
async fn earlier(state: &State, asked: &Asked) -> Result<Vec<Stream>, ApiError> {
    let (engine, expr, limit) = (state.engine.clone(), asked.expr.clone(), asked.limit);
    let end_ns = now_ns().saturating_add(1_000_000_000);
    let range = LogRange { start_ns: asked.start_ns, end_ns };
    state
        .run_query(QUERY_TIMEOUT_MS, move |options| {
            engine.query_logs(&expr, range, Direction::Backward, limit, &options)
        })
        .await
}

/// Ends when something waits and has waited long enough.
async fn wait_for(tail: &Tail, delay: Duration) {
    loop {
        let first = {
            let queue = tail.queue();
            match queue.arrived.front() {
                Some(first) => Some(first.at),
                None if !queue.dropped.is_empty() => return,
                None => None,
            }
        };
        match first {
            Some(at) => return tokio::time::sleep_until(at + delay.max(GATHER)).await,
            None => tail.wake.notified().await,
        }
    }
}

/// What has waited long enough, and what did not fit.
fn due(tail: &Tail, delay: Duration) -> (Vec<Arc<Arrived>>, Vec<(Labels, i64)>) {
    let mut queue = tail.queue();
    let mut out = Vec::new();
    let now = Instant::now();
    while let Some(first) = queue.arrived.front().filter(|first| first.at + delay <= now).cloned() {
        queue.arrived.pop_front();
        queue.lines -= first.entries.len();
        queue.bytes -= first.entries.iter().map(|entry| entry.line.len()).sum::<usize>();
        out.push(first);
    }
    (out, std::mem::take(&mut queue.dropped))
}

/// Sends lines in the order of their instants, some at a time, and forgets them.
async fn send(
    socket: &mut WebSocket,
    lines: &mut Vec<Followed>,
    dropped: &[(Labels, i64)],
    categorize: bool,
) -> Result<(), axum::Error> {
    lines.sort_by_key(|line| line.row.ts_ns);
    let mut dropped = dropped;
    while !lines.is_empty() || !dropped.is_empty() {
        let some: Vec<Followed> = lines.drain(..lines.len().min(LINES_PER_MESSAGE_MAX)).collect();
        let body = message(some, std::mem::take(&mut dropped), categorize);
        let text = String::from_utf8_lossy(&body).into_owned();
        match tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into()))).await {
            Ok(sent) => sent?,
            Err(late) => return Err(axum::Error::new(late)),
        }
    }
    Ok(())
}

fn message(lines: Vec<Followed>, dropped: &[(Labels, i64)], categorize: bool) -> Vec<u8> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    for line in lines {
        let labels = if categorize { line.stream_labels.clone() } else { line.labels };
        let stream = streams.entry(labels.to_string()).or_insert_with(|| Stream {
            labels,
            stream_labels: line.stream_labels,
            entries: Vec::new(),
        });
        stream.entries.push(line.row);
    }
    let mut json = Json::default();
    json.raw(r#"{"streams":"#);
    json.list(streams.values(), |json, stream| write_stream(json, stream, categorize));
    if !dropped.is_empty() {
        json.raw(r#","dropped_entries":"#).list(dropped, |json, (labels, ts_ns)| {
            json.raw(r#"{"labels":"#).labels(labels);
            json.raw(&format!(r#","timestamp":"{ts_ns}"}}"#));
        });
    }
    if categorize {
        json.raw(r#","encodingFlags":["categorize-labels"]"#);
    }
    json.raw("}");
    json.into_bytes()
}
