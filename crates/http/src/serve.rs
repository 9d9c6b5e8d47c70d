//! Listeners and connections: how many, how long they may take to ask, and how they end.

use crate::starting;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;
use vigie_engine::Progress;

/// Most connections at once on one listener (Prometheus' `web.max-connections`).
const CONNECTIONS_MAX: usize = 512;
/// Connections that wait for a place, in the system's queue: where the library's 128 are full, the
/// system cuts clients off without a word. (The system may have a lower limit of its own.)
const WAITING_MAX: u32 = 4096;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request, and how much of a body is read ahead.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// How long nobody is accepted after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an open connection may take to finish when the program stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a port. The error is the system's; the caller knows what the port was for.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As the library does: a restart need not wait for the connections of the last run.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// What a listener answers with: nothing but 503 until the stores are open, so that a client that
/// comes early is told how far the start is instead of kept waiting.
#[derive(Clone, Default)]
pub struct Door(Arc<Answering>);

#[derive(Default)]
struct Answering {
    router: OnceLock<Router>,
    progress: Mutex<Option<Progress>>,
}

impl Door {
    /// A door that is open from the start.
    pub fn open_with(router: Router) -> Door {
        let door = Door::default();
        door.open(router);
        door
    }

    /// From now on `router` answers. A door opens once.
    pub fn open(&self, router: Router) {
        assert!(self.0.router.set(router).is_ok(), "a door opens once");
    }

    /// Until the door opens, this is how far the start is.
    pub fn tell(&self, progress: Progress) {
        *self.0.progress.lock() = Some(progress);
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        match self.0.router.get() {
            Some(router) => router.clone().oneshot(request.map(Body::new)).await,
            None => Ok(starting::answer(request.uri().path(), *self.0.progress.lock())),
        }
    }
}

/// Serves until `stop` says true, then lets open connections finish.
pub async fn serve(listener: TcpListener, door: Door, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let (door, stop) = (door.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, door, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: give those in use a moment to close.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIMEOUT, places.acquire_many(all)).await.is_err() {
        tracing::debug!("connections that did not finish in time are cut");
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn connection(stream: TcpStream, door: Door, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| door.answer(request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the program's side is gone, which is an end too.
    drop(stop.wait_for(|stop| *stop).await);
}
