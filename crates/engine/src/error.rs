//! What an engine refuses, in words that can be shown.

/// A write or a listing that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The data is not acceptable; sending it again will not help.
    #[error("{0}")]
    Refused(String),
    /// The disk is full or broken; trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// Stored data could not be read.
    #[error(transparent)]
    Read(#[from] vigie_model::ReadError),
}

/// Prometheus' kinds of query errors, from which status codes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// 400: the question is wrong.
    BadData,
    /// 422: the question is right and cannot be answered.
    Execution,
    /// 499: the client has gone.
    Canceled,
    /// 503: it took too long.
    Timeout,
    /// 500: stored data could not be read.
    Internal,
}

/// A question that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What kind.
    pub kind: QueryErrorKind,
    /// The original's words.
    pub message: String,
}
