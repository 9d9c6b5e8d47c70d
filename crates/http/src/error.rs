//! Errors as the originals answer them.

use crate::json::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use vigie_engine::{EngineError, QueryError, QueryErrorKind};

/// An error in Prometheus' envelope.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl ApiError {
    /// 400 `bad_data`.
    pub fn bad_data(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }

    /// 400 `bad_data`, in the words that Prometheus puts before what is wrong with a parameter.
    pub fn invalid_parameter(name: &str, reason: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    /// 404 `not_found`.
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::NOT_FOUND, kind: "not_found", message: message.into() }
    }

    /// 500 `internal`.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "internal",
            message: message.into(),
        }
    }

    /// 500 `unavailable`, as Prometheus answers where something was not switched on.
    pub fn switched_off(message: impl Into<String>) -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "unavailable",
            message: message.into(),
        }
    }

    /// 503 `unavailable`.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "unavailable",
            message: message.into(),
        }
    }

    /// The words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        let (code, kind) = match error.kind {
            QueryErrorKind::BadData => (400, "bad_data"),
            QueryErrorKind::Execution => (422, "execution"),
            QueryErrorKind::Canceled => (499, "canceled"),
            QueryErrorKind::Timeout => (503, "timeout"),
            QueryErrorKind::Internal => (500, "internal"),
        };
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ApiError { status, kind, message: error.message }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> ApiError {
        match error {
            EngineError::Refused(message) => ApiError::bad_data(message),
            EngineError::Unavailable(message) => ApiError::unavailable(message),
            error => ApiError::internal(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut json = Json::default();
        json.raw(r#"{"status":"error","errorType":"#)
            .text(self.kind)
            .raw(r#","error":"#)
            .text(&self.message)
            .raw("}");
        (self.status, [(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
    }
}

/// An error as Loki answers a question: plain text, without the line's end that a push's has.
#[derive(Debug)]
pub struct LokiError(pub ApiError);

impl<E: Into<ApiError>> From<E> for LokiError {
    fn from(error: E) -> LokiError {
        LokiError(error.into())
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response {
        // Loki answers 400 for every question that is wrong or too large, whatever the reason.
        let status = match self.0.status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            StatusCode::SERVICE_UNAVAILABLE if self.0.kind == "timeout" => {
                StatusCode::GATEWAY_TIMEOUT
            }
            status => status,
        };
        (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], self.0.message).into_response()
    }
}
