//! Bodies that clients send: never larger, never slower than a limit.

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::StatusCode;
use std::time::Duration;

/// How long a client may take to send a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a body was not taken.
pub struct Refusal {
    /// 408 or 413.
    pub status: StatusCode,
    /// What was wrong.
    pub message: String,
}

/// The whole body, if it comes in time and has at most `bytes_max` bytes.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    read_in(BODY_TIMEOUT, body, bytes_max).await
}

async fn read_in(time: Duration, body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        message: format!("request body too large: limit: {bytes_max} bytes"),
    };
    // What is announced need not be waited for.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(time, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refusal {
            status: StatusCode::REQUEST_TIMEOUT,
            message: format!("the body did not come within {} s", time.as_secs()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A client that never goes on.
    struct Stalled;

    impl HttpBody for Stalled {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_is_refused_when_it_is_too_large_or_too_slow() {
        assert_eq!(read_body(Body::from("abcd"), 4).await.map_err(|r| r.status), Ok("abcd".into()));
        let large = read_body(Body::from("abcde"), 4).await.map_err(|r| r.status);
        assert_eq!(large, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let announced = read_in(Duration::ZERO, Body::from("abcde"), 4).await.map_err(|r| r.status);
        assert_eq!(announced, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let slow = read_in(Duration::ZERO, Body::new(Stalled), 4).await.map_err(|r| r.status);
        assert_eq!(slow, Err(StatusCode::REQUEST_TIMEOUT));
    }
}
