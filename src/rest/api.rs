//! The routes below `/v1`, and health. Each handler converts, calls the server once, and converts back.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Map, Value};
#[cfg(test)]
use utoipa::OpenApi;
use utoipa::ToSchema;

use super::RestOptions;
use super::access::{self, Access};
use super::answer::{Json, Page, Written};
use super::body;
#[cfg(test)]
use super::document::{Bearer, Bodies, Problems};
use super::events;
use super::http::whole_body;
use super::metrics;
use super::model::{self, Part, Peers, Server, Session, Stream, Streams, Target};
use super::nginx;
use super::noalbs;
use super::page;
use super::problem::Problem;
use super::request::{Body, Query, SessionPath, StreamPath, TargetPath, names, segment};
use super::settings::{self, StreamSettings, TargetChanges, TargetSettings};
use crate::config::TargetConfig;
use crate::error::{Failure, RRError};
use crate::server::figures::Stats;
use crate::server::{RRRestOut, RRServer};
use crate::session::State as ObjectState;
use crate::stream::event::Id;

type Answer<T> = Result<T, Problem>;
type Shared = Arc<RRServer>;

/// Deadline of an orderly end if the request gives none, in ms.
const DEADLINE_MS: u32 = 5_000;

/// How often a change of settings begins anew because others change them at the same time: each such time, one of the
/// others is done.
const MOST_TRIES: usize = 100;

/// The OpenAPI document, made from the handlers and types here. The file that is served was made from it, so no memory
/// is needed to make it again; a test compares the two.
#[cfg(test)]
#[derive(OpenApi)]
#[openapi(
    info(
        title = "rrelay",
        description = "Control of a running relay. Send the token as `Authorization: Bearer TOKEN`."
    ),
    modifiers(&Bearer, &Bodies, &Problems),
    security(("token" = [])),
    paths(
        get_server,
        get_stats,
        events::get_events,
        get_streams,
        get_stream,
        put_stream,
        delete_stream,
        add_target,
        add_source,
        update_target,
        get_sessions,
        get_session,
        delete_session,
        reconnect_session,
        get_targets,
        get_target,
        delete_target,
        retry_target,
        switch,
        drain,
        upgrade,
        get_metrics,
        get_stat,
        noalbs::get_noalbs,
        control,
        get_control,
        healthz,
        readyz,
    ),
    components(schemas(Problem), responses(Problem))
)]
pub(crate) struct Document;

/// The routes with the check of the token, for a listener.
pub(crate) fn guarded(server: Shared, access: Access, options: RestOptions) -> Router {
    let check = move |request: Request, next: Next| {
        let refused = access.check(request.method(), request.uri(), request.headers()).err();
        async move {
            let mut response = match refused {
                Some(problem) => problem.into_response(),
                None => next.run(request).await,
            };
            access::harden(response.headers_mut());
            response
        }
    };
    routes(server).layer(Extension(options)).layer(middleware::from_fn(whole_body)).layer(middleware::from_fn(check))
}

/// The routes without access rules, for a host that has checked the request itself.
pub(crate) fn routes(server: Shared) -> Router {
    Router::new()
        .route("/v1/server", get(get_server))
        .route("/v1/stats", get(get_stats))
        .route("/v1/events", get(events::get_events))
        .route("/v1/streams", get(get_streams))
        .route("/v1/streams/{app}/{key}", get(get_stream).put(put_stream).delete(delete_stream))
        .route("/v1/streams/{app}/{key}/targets", get(get_targets).post(add_target))
        .route("/v1/streams/{app}/{key}/sources", post(add_source))
        .route("/v1/streams/{app}/{key}/targets/{id}", get(get_target).patch(update_target).delete(delete_target))
        .route("/v1/streams/{app}/{key}/targets/{id}/retry", post(retry_target))
        .route("/v1/streams/{app}/{key}/switch", post(switch))
        .route("/v1/sessions", get(get_sessions))
        .route("/v1/sessions/{id}", get(get_session).delete(delete_session))
        .route("/v1/sessions/{id}/reconnect", post(reconnect_session))
        .route("/v1/upgrade", post(upgrade))
        .route("/v1/drain", post(drain))
        .route("/v1/openapi.json", get(openapi))
        .route("/metrics", get(get_metrics))
        .route("/stat", get(get_stat))
        .route("/noalbs", get(noalbs::get_noalbs))
        .route("/control/{section}/{method}", get(get_control).post(control))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(page::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(axum::extract::DefaultBodyLimit::max(body::MAX_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), here))
        .with_state(server)
}

/// Carries requests that change something out only where the streams are. While another process takes over, they wait
/// until it is known where that is; this thread, which answers others as well, waits for no lock meanwhile.
async fn here(State(server): State<Shared>, request: Request, next: Next) -> Response {
    if request.method().is_safe() && !request.uri().path().starts_with("/control/") {
        return next.run(request).await;
    }
    // As long as it is there, no stream moves, so the answer says what was done.
    let _begun = super::begun(&server).await;
    if server.has_moved() {
        let text = "another process has taken over: ask again, and it answers";
        return Problem::from(Failure::ours(RRError::Again, text)).into_response();
    }
    next.run(request).await
}

// ---- what requests carry

/// The stream's names in a path, for the document; [`StreamPath`] finds the stream.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes them")]
struct Names {
    /// Application, percent-encoded; `%2F` if it is empty.
    #[param(example = "live")]
    app: String,
    /// Stream key, percent-encoded; `%2F` if it is empty.
    #[param(example = "show")]
    key: String,
}

/// The time that an orderly end may take.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Deadline {
    /// In ms; 5000 if it is not given.
    deadline_ms: Option<u32>,
}

/// The url to which a session is sent, and the reason.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reconnect {
    /// The url to connect to; without it, the same url again.
    url: Option<String>,
    /// Text for people.
    #[serde(default)]
    text: String,
}

/// The publisher that is to become the live one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// The id of the session or source, as text.
    source: String,
}

/// The manner in which the server is to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Drain {
    /// The url to which peers that understand E-RTMP are asked to connect.
    reconnect_url: Option<String>,
    /// The time that the stop may take, in ms; 5000 if it is not given.
    deadline_ms: Option<u32>,
}

/// The manner in which a session is ended.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Kick {
    /// The reason, for people and logs.
    text: Option<String>,
    /// For this time, in ms, at most a day, peers from its address may not do the same (publish or play) on the same
    /// stream. Without it, the peer may come back at once.
    ban_ms: Option<u32>,
}

// ---- handlers

/// The server.
#[utoipa::path(get, path = "/v1/server", responses((status = 200, body = Server)))]
async fn get_server(State(server): State<Shared>) -> Answer<Json<Server>> {
    Ok(Json(model::server(&server)?))
}

/// The sums of all streams.
#[utoipa::path(get, path = "/v1/stats", responses((status = 200, body = Stats)))]
async fn get_stats(State(server): State<Shared>) -> Answer<Json<Stats>> {
    Ok(Json(server.stats(0)?))
}

/// All streams, or a part of the list.
#[utoipa::path(
    get, path = "/v1/streams", params(Part),
    responses(
        (status = 200, body = [Stream<'_>]), (status = 400, response = Problem),
        (status = 507, response = Problem)
    )
)]
async fn get_streams(State(server): State<Shared>, Query(part): Query<Part>) -> Answer<Written> {
    static PAGE: Page = Page::json();
    PAGE.of_json(&Streams::new(&server, part)?)
}

/// One stream, with its sessions and targets.
#[utoipa::path(
    get, path = "/v1/streams/{app}/{key}",
    params(Names),
    responses((status = 200, body = Stream<'_>), (status = 404, response = Problem))
)]
async fn get_stream(State(server): State<Shared>, StreamPath(id): StreamPath) -> Answer<Written> {
    static PAGE: Page = Page::json();
    PAGE.of_json(&Peers::of(&server, id)?.stream(id)?)
}

/// Makes a stream that exists with or without peers, or changes settings of the one that exists. Settings that the body
/// does not name are the server's for a new stream, and stay as they are in one that exists. `clock`, `nice`, `cpus`
/// and `relay_threads` cannot change while the stream runs (409; then nothing has changed). The request can be repeated.
#[utoipa::path(
    put, path = "/v1/streams/{app}/{key}",
    params(Names), request_body = StreamSettings,
    responses((status = 200, body = Stream<'_>), (status = 400, response = Problem), (status = 409, response = Problem))
)]
async fn put_stream(
    State(server): State<Shared>,
    uri: Uri,
    Body(StreamSettings(settings)): Body<StreamSettings>,
) -> Answer<Response> {
    let (app, key) = names(&uri);
    let id = if settings.is_empty() {
        RRRestOut::CreateStream { app, key, config: None }.carry_out(&server)?
    } else {
        changed_stream(&server, (&app, &key), &settings)?
    };
    Ok(Json(Peers::of(&server, id)?.stream(id)?).into_response())
}

/// Makes a stream with settings, or changes these in the one that exists.
fn changed_stream(server: &RRServer, (app, key): (&[u8], &[u8]), settings: &Map<String, Value>) -> Answer<Id> {
    carried_out(server, || {
        let found = server.stream_find(app, key).and_then(|id| Ok((id, server.stream_config(id)?)));
        Ok(match found {
            Err(_) => {
                let config = Some(Box::new(settings::stream(server.default_stream_config(), settings)?));
                // It was made meanwhile.
                (RRRestOut::CreateStream { app: app.to_vec(), key: key.to_vec(), config }, &[RRError::Exists])
            }
            Ok((stream, was)) => {
                let config = Box::new(settings::stream(was.clone(), settings)?);
                // Another request has changed it, or it has ended.
                let raced = &[RRError::Again, RRError::NotFound];
                (RRRestOut::ChangeStream { stream, was: Box::new(was), config }, raced)
            }
        })
    })
}

/// Makes a request of how things are now and carries it out; both anew where it fails with one of the errors beside it,
/// which say that things have changed in between.
fn carried_out(server: &RRServer, request: impl Fn() -> Answer<(RRRestOut, &'static [RRError])>) -> Answer<Id> {
    let mut tries = 0;
    loop {
        let (request, raced) = request()?;
        tries += 1;
        match request.carry_out(server) {
            Err(failure) if raced.contains(&failure.kind) && tries < MOST_TRIES => {}
            done => return Ok(done?),
        }
    }
}

/// Pushes a stream to another server. The body has settings by the names of `rr_target_config`.
#[utoipa::path(
    post, path = "/v1/streams/{app}/{key}/targets",
    params(Names), request_body = TargetSettings,
    responses((status = 201, body = Target), (status = 400, response = Problem), (status = 404, response = Problem))
)]
async fn add_target(
    State(server): State<Shared>,
    StreamPath(stream): StreamPath,
    Body(TargetSettings(settings)): Body<TargetSettings>,
) -> Answer<(StatusCode, Json<Target>)> {
    let config = Box::new(settings::target(TargetConfig::default(), &settings)?);
    added(&server, RRRestOut::AddTarget { stream, config })
}

/// Pulls a stream from another server. The body has settings by the names of `rr_target_config`.
#[utoipa::path(
    post, path = "/v1/streams/{app}/{key}/sources",
    params(Names), request_body = TargetSettings,
    responses((status = 201, body = Target), (status = 400, response = Problem), (status = 404, response = Problem), (status = 422, response = Problem))
)]
async fn add_source(
    State(server): State<Shared>,
    StreamPath(stream): StreamPath,
    Body(TargetSettings(settings)): Body<TargetSettings>,
) -> Answer<(StatusCode, Json<Target>)> {
    let config = Box::new(settings::target(TargetConfig::default(), &settings)?);
    added(&server, RRRestOut::AddSource { stream, config })
}

fn added(server: &RRServer, request: RRRestOut) -> Answer<(StatusCode, Json<Target>)> {
    let id = request.carry_out(server)?;
    Ok((StatusCode::CREATED, Json(model::target(server, id)?)))
}

/// Changes settings of a target or source; settings that the body does not name stay. A new url or key makes a new
/// connection.
#[utoipa::path(
    patch, path = "/v1/streams/{app}/{key}/targets/{id}",
    params(Names, ("id" = String, Path)), request_body = TargetChanges,
    responses((status = 200, body = Target), (status = 400, response = Problem), (status = 404, response = Problem))
)]
async fn update_target(
    State(server): State<Shared>,
    TargetPath(target): TargetPath,
    Body(TargetChanges(settings)): Body<TargetChanges>,
) -> Answer<Json<Target>> {
    carried_out(&server, || {
        let was = Box::new(server.target_config(target)?);
        let config = Box::new(settings::target(TargetConfig::clone(&was), &settings)?);
        // Another request has changed it.
        Ok((RRRestOut::UpdateTarget { target, was: Some(was), config }, &[RRError::Again]))
    })?;
    Ok(Json(model::target(&server, target)?))
}

/// Ends a stream: its publisher is closed, players and targets get the media that came before. If the stream is gone
/// already, that is not an error.
#[utoipa::path(
    delete, path = "/v1/streams/{app}/{key}",
    params(Names, Deadline),
    responses((status = 204, description = "It ends, or was not there"))
)]
async fn delete_stream(
    State(server): State<Shared>,
    stream: Result<StreamPath, Problem>,
    Query(deadline): Query<Deadline>,
) -> Answer<StatusCode> {
    let deadline_ms = deadline.deadline_ms.unwrap_or(DEADLINE_MS);
    gone(stream.and_then(|StreamPath(stream)| {
        RRRestOut::StopStream { stream, deadline_ms }.carry_out(&server)?;
        Ok(())
    }))
}

/// All sessions, or a part of the list.
#[utoipa::path(
    get, path = "/v1/sessions", params(Part),
    responses(
        (status = 200, body = [Session]), (status = 400, response = Problem),
        (status = 507, response = Problem)
    )
)]
async fn get_sessions(State(server): State<Shared>, Query(part): Query<Part>) -> Answer<Written> {
    static PAGE: Page = Page::json();
    PAGE.of_json(&model::sessions(&server, part)?)
}

/// One session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Session), (status = 404, response = Problem))
)]
async fn get_session(State(server): State<Shared>, SessionPath(id): SessionPath) -> Answer<Json<Session>> {
    Ok(Json(model::session(&server, id)?))
}

/// Closes a session, and bans its address for a while if `ban_ms` is given. If the session is gone already, that is not
/// an error.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", params(("id" = String, Path), Kick),
    responses(
        (status = 204, description = "It is closed, or was not there"),
        (status = 400, response = Problem), (status = 409, response = Problem), (status = 429, response = Problem)
    )
)]
async fn delete_session(
    State(server): State<Shared>,
    session: Result<SessionPath, Problem>,
    Query(kick): Query<Kick>,
) -> Answer<StatusCode> {
    let (text, ban_ms) = (kick.text.unwrap_or_default(), kick.ban_ms.unwrap_or_default());
    gone(session.and_then(|SessionPath(session)| {
        RRRestOut::CloseSession { session, text, ban_ms }.carry_out(&server)?;
        Ok(())
    }))
}

/// Asks a session's peer to connect again (E-RTMP).
#[utoipa::path(
    post, path = "/v1/sessions/{id}/reconnect", params(("id" = String, Path)), request_body = Reconnect,
    responses((status = 204, description = "It was asked"), (status = 404, response = Problem), (status = 422, response = Problem))
)]
async fn reconnect_session(
    State(server): State<Shared>,
    SessionPath(session): SessionPath,
    Body(reconnect): Body<Reconnect>,
) -> Answer<StatusCode> {
    let Reconnect { url, text } = reconnect;
    RRRestOut::ReconnectSession { session, url, text }.carry_out(&server)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The targets and sources of a stream.
#[utoipa::path(
    get, path = "/v1/streams/{app}/{key}/targets",
    params(Names),
    responses((status = 200, body = [Target]), (status = 404, response = Problem))
)]
async fn get_targets(State(server): State<Shared>, StreamPath(id): StreamPath) -> Answer<Written> {
    static PAGE: Page = Page::json();
    PAGE.of_json(&model::targets(&server, id)?)
}

/// One target or source.
#[utoipa::path(
    get, path = "/v1/streams/{app}/{key}/targets/{id}",
    params(Names, ("id" = String, Path)),
    responses((status = 200, body = Target), (status = 404, response = Problem))
)]
async fn get_target(State(server): State<Shared>, TargetPath(id): TargetPath) -> Answer<Json<Target>> {
    Ok(Json(model::target(&server, id)?))
}

/// Ends a target or source. If the target is gone already, that is not an error.
#[utoipa::path(
    delete, path = "/v1/streams/{app}/{key}/targets/{id}",
    params(Names, ("id" = String, Path), Deadline),
    responses((status = 204, description = "It ends, or was not there"))
)]
async fn delete_target(
    State(server): State<Shared>,
    target: Result<TargetPath, Problem>,
    Query(deadline): Query<Deadline>,
) -> Answer<StatusCode> {
    let deadline_ms = deadline.deadline_ms.unwrap_or(DEADLINE_MS);
    gone(target.and_then(|TargetPath(target)| {
        RRRestOut::StopTarget { target, deadline_ms }.carry_out(&server)?;
        Ok(())
    }))
}

/// Makes a target or source that waits, or has failed, connect now.
#[utoipa::path(
    post, path = "/v1/streams/{app}/{key}/targets/{id}/retry",
    params(Names, ("id" = String, Path)),
    responses((status = 204, description = "It tries"), (status = 404, response = Problem))
)]
async fn retry_target(State(server): State<Shared>, TargetPath(target): TargetPath) -> Answer<StatusCode> {
    RRRestOut::RetryTarget { target }.carry_out(&server)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a standby publisher the live one, from its next key frame on.
#[utoipa::path(
    post, path = "/v1/streams/{app}/{key}/switch",
    params(Names), request_body = Switch,
    responses((status = 204, description = "It will be live"), (status = 404, response = Problem), (status = 409, response = Problem))
)]
async fn switch(
    State(server): State<Shared>,
    StreamPath(stream): StreamPath,
    Body(Switch { source }): Body<Switch>,
) -> Answer<StatusCode> {
    let source = source.parse().map_err(|_| Failure::ours(RRError::Arg, "source: an id as text"))?;
    RRRestOut::Switch { stream, source }.carry_out(&server)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks the host to replace the running server by a new one, to which streams and connections go on. The host may be
/// one that cannot do that.
#[utoipa::path(
    post, path = "/v1/upgrade",
    responses((status = 202, description = "The host is asked"))
)]
async fn upgrade(State(server): State<Shared>) -> Answer<StatusCode> {
    RRRestOut::Upgrade.carry_out(&server)?;
    Ok(StatusCode::ACCEPTED)
}

/// Stops the server in order.
#[utoipa::path(
    post, path = "/v1/drain", request_body = Drain,
    responses((status = 202, description = "It stops"))
)]
async fn drain(State(server): State<Shared>, Body(drain): Body<Drain>) -> Answer<StatusCode> {
    let deadline_ms = drain.deadline_ms.unwrap_or(DEADLINE_MS);
    RRRestOut::Drain { reconnect_url: drain.reconnect_url, deadline_ms }.carry_out(&server)?;
    Ok(StatusCode::ACCEPTED)
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
async fn get_metrics(State(server): State<Shared>, options: Option<Extension<RestOptions>>) -> Answer<Written> {
    static PAGE: Page = Page::new(metrics::CONTENT_TYPE);
    let names = options.is_some_and(|options| options.key_labels);
    PAGE.of_text(|text| metrics::write(&server, names, text))
}

/// Statistics in the form of nginx-rtmp's `/stat`.
#[utoipa::path(get, path = "/stat", responses((status = 200, body = String, content_type = "text/xml")))]
async fn get_stat(State(server): State<Shared>) -> Answer<Written> {
    static PAGE: Page = Page::new("text/xml");
    PAGE.of_text(|text| nginx::stat(&server, crate::net::clock::wall_us(), text))
}

/// The sessions on which nginx-rtmp's control acts; without any of these, on all.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes them; they are read by their names")]
struct Matching {
    /// Application.
    app: Option<String>,
    /// Stream key.
    name: Option<String>,
    /// The peer's address, without a port.
    addr: Option<String>,
    /// The session's number in `/stat` and in the callbacks.
    clientid: Option<String>,
    /// The name to which a redirect sends them.
    newname: Option<String>,
}

/// nginx-rtmp's control: `drop` or `redirect` of a `publisher`, `subscriber` or `client`, filtered by `app`, `name`,
/// `addr` and `clientid`. The answer is the number of matches.
#[utoipa::path(
    post, path = "/control/{section}/{method}",
    params(("section" = String, Path, example = "drop"), ("method" = String, Path, example = "publisher"), Matching),
    responses((status = 200, body = String), (status = 400, response = Problem), (status = 404, response = Problem))
)]
async fn control(
    State(server): State<Shared>,
    uri: Uri,
    Query(args): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Answer<String> {
    if !body.is_empty() {
        // Without them it would mean all sessions.
        return Err(Failure::ours(RRError::Arg, "arguments are read from the address, not from the body").into());
    }
    Ok(nginx::control(&server, segment(&uri, 2), segment(&uri, 3), &args)?)
}

/// nginx-rtmp's control by GET, because nginx-rtmp accepts any method.
#[utoipa::path(
    get, path = "/control/{section}/{method}",
    params(("section" = String, Path, example = "drop"), ("method" = String, Path, example = "publisher"), Matching),
    responses((status = 200, body = String), (status = 400, response = Problem), (status = 404, response = Problem))
)]
async fn get_control(
    server: State<Shared>,
    uri: Uri,
    args: Query<Vec<(String, String)>>,
    body: Bytes,
) -> Answer<String> {
    control(server, uri, args, body).await
}

/// `Document`, as it was written to a file.
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../docs/openapi.json"))
}

/// Answers as long as the process runs.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, description = "It does")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether new peers are accepted: the server listens and is not stopping.
#[utoipa::path(
    get, path = "/readyz", security(()),
    responses((status = 200, description = "They are"), (status = 503, description = "They are not"))
)]
async fn readyz(State(server): State<Shared>) -> (StatusCode, String) {
    let state = server.state();
    let ready = matches!(state, ObjectState::Accepting | ObjectState::InProgress);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n", state.name()))
}

async fn no_route(uri: Uri) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        RRError::NotFound,
        format!("{}: no such route; /v1/openapi.json names them all", uri.path()),
    )
    .into_response()
}

async fn no_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        RRError::Unsupported,
        "the route does not take this method; /v1/openapi.json names those that it takes",
    )
    .into_response()
}

/// The answer to a DELETE, which may be repeated: an object that is not found has been deleted already.
fn gone(done: Answer<()>) -> Answer<StatusCode> {
    match done {
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(StatusCode::NO_CONTENT),
        done => done.map(|()| StatusCode::NO_CONTENT),
    }
}
