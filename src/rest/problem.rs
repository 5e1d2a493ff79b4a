//! Errors as JSON: problem details (RFC 9457) with the library's error name, its sentence and what to do.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{ToResponse, ToSchema};

use super::answer;
use crate::error::{Failure, RRError};

/// The error of a request (`application/problem+json`).
#[derive(Clone, Debug, Serialize, ToSchema, ToResponse)]
#[response(description = "A problem, in words", content_type = "application/problem+json")]
pub(crate) struct Problem {
    /// The HTTP status.
    #[schema(example = 404)]
    pub(crate) status: u16,
    /// The error of the C API: `RR_ERR_NOT_FOUND`.
    #[schema(example = "RR_ERR_NOT_FOUND")]
    pub(crate) error: &'static str,
    /// The error's sentence.
    pub(crate) title: String,
    /// The fault of this request, and how to correct it.
    pub(crate) detail: String,
}

/// What stands for a problem for which there is no memory.
const NO_MEMORY: &str =
    r#"{"status":503,"error":"RR_ERR_NOMEM","title":"out of memory","detail":"there is no memory for the answer"}"#;

impl Problem {
    /// A problem with one of the library's errors, and a status that differs from the error's usual one.
    pub(crate) fn new(status: StatusCode, kind: RRError, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), error: kind.name(), title: kind.sentence().to_owned(), detail: detail.into() }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = if failure.text.is_empty() { failure.kind.sentence().into() } else { failure.text };
        Self::new(status_of(failure.kind), failure.kind, detail)
    }
}

/// The HTTP status nearest in meaning to an error of the library.
fn status_of(kind: RRError) -> StatusCode {
    match kind {
        RRError::Arg | RRError::Version => StatusCode::BAD_REQUEST,
        RRError::NotFound => StatusCode::NOT_FOUND,
        RRError::State | RRError::Exists => StatusCode::CONFLICT,
        RRError::Again | RRError::NoMem | RRError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        RRError::Limit => StatusCode::TOO_MANY_REQUESTS,
        RRError::Auth | RRError::Rejected => StatusCode::FORBIDDEN,
        // A peer does not understand the request that it would get, or a source would get a setting that is only for
        // targets.
        RRError::Unsupported | RRError::Cert => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let no_memory = |_| Bytes::from_static(NO_MEMORY.as_bytes());
        let mut response = (status, answer::json(&self).unwrap_or_else(no_memory)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.error == RRError::Again.name() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"rrelay\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_ask_again_is_told_when() {
        let again = Problem::from(Failure::ours(RRError::Again, "soon")).into_response();
        assert_eq!((again.status().as_u16(), &again.headers()["retry-after"]), (503, &HeaderValue::from_static("1")));
    }

    #[test]
    fn what_stands_for_a_problem_without_memory_is_one() {
        let failure = Failure::ours(RRError::NoMem, "there is no memory for the answer");
        let body = answer::json(&Problem::from(failure)).unwrap();
        assert_eq!(body, NO_MEMORY.as_bytes());
    }
}
