//! The contents of requests: names and ids in their paths, arguments, JSON. Malformed ones are answered with a
//! [`Problem`], never with axum's own answer.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use super::path;
use super::problem::Problem;
use super::settings;
use crate::error::{Failure, RRError};
use crate::server::RRServer;
use crate::server::slots::{kind, kind_of};
use crate::stream::event::Id;

/// Most pairs behind `?`; no route has more than five arguments.
const MAX_PAIRS: usize = 64;

type Answer<T> = Result<T, Problem>;
type Shared = Arc<RRServer>;

/// A segment of a path, counted from `v1` as 1. Names are found by their position, since a stream may have a route's
/// name.
pub(crate) fn segment(uri: &Uri, place: usize) -> &str {
    uri.path().split('/').nth(place).unwrap_or_default()
}

/// Application and key in `/v1/streams/{app}/{key}...`, whether that stream exists or not.
pub(crate) fn names(uri: &Uri) -> (Vec<u8>, Vec<u8>) {
    (path::decoded(segment(uri, 3)), path::decoded(segment(uri, 4)))
}

/// The stream that a path names.
pub(crate) struct StreamPath(pub(crate) Id);

impl FromRequestParts<Shared> for StreamPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Answer<Self> {
        let (app, key) = names(&parts.uri);
        Ok(Self(server.stream_find(&app, &key)?))
    }
}

/// The id at this position of a path.
fn id_at(uri: &Uri, place: usize, of: u8) -> Answer<Id> {
    let id = segment(uri, place).parse::<Id>().ok().filter(|&id| kind_of(id) == of);
    Ok(id.ok_or_else(|| Failure::ours(RRError::NotFound, format!("{}: not an id of that kind", uri.path())))?)
}

/// A session in `/v1/sessions/{id}...`.
pub(crate) struct SessionPath(pub(crate) Id);

impl<S: Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        id_at(&parts.uri, 3, kind::SESSION).map(Self)
    }
}

/// A target in `/v1/streams/{app}/{key}/targets/{id}...`, of that stream.
pub(crate) struct TargetPath(pub(crate) Id);

impl FromRequestParts<Shared> for TargetPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Answer<Self> {
        let StreamPath(stream) = StreamPath::from_request_parts(parts, server).await?;
        let target = id_at(&parts.uri, 6, kind::TARGET)?;
        if server.info(target)?.stream != stream {
            return Err(Failure::ours(RRError::NotFound, "the target is another stream's").into());
        }
        Ok(Self(target))
    }
}

/// The arguments after `?`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // Where they are collected, many small ones would need a large piece of memory.
        let pairs = parts.uri.query().map_or(0, |query| query.split('&').count());
        if pairs > MAX_PAIRS {
            return Err(Failure::ours(RRError::Arg, format!("there are more than {MAX_PAIRS} arguments")).into());
        }
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(args)) => Ok(Self(args)),
            Err(rejection) => Err(Failure::ours(RRError::Arg, rejection.body_text()).into()),
        }
    }
}

/// A JSON object as body; without a body it is `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, RRError::Limit, rejection.body_text()))?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let refused = |why: &dyn std::fmt::Display| {
            Failure::ours(RRError::Arg, format!("this route does not accept the body: {why}")).into()
        };
        settings::object(bytes).map(Self).map_err(|error| refused(&error))
    }
}
