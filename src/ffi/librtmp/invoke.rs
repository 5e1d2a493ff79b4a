//! Commands from a server, as a client acts on them.

use std::ffi::c_int;

use super::amf::Owned;
use super::amf_decode as decode;
use super::inner::Session;
use super::life::close_session;
use super::types::*;
use super::{calls, commands, connect, control, log, token};

/// Acts on one command. True if the command ended the stream.
pub(super) fn on_invoke(r: Session, body: &[u8]) -> bool {
    if body.first() != Some(&(AMF_STRING as u8)) {
        log::warning("a command does not begin with its name");
        return false;
    }
    let mut object = Owned(AMFObject::EMPTY);
    // SAFETY: the body outlives the object.
    if unsafe { decode::object(&mut object.0, body, false) }.is_err() {
        log::error("a command cannot be decoded");
        return false;
    }
    let object = &object.0;
    log::object(object);
    let method = object.string_at(0);
    let transaction = object.number_at(1);
    if log::wants(log::DEBUG) {
        log::debug(&format!("server invoking <{}>", String::from_utf8_lossy(method)));
    }
    match method {
        b"_result" => on_result(r, object, transaction),
        b"onBWDone" if r.m_nBWCheckCounter.get() == 0 => {
            commands::check_bandwidth(r);
        }
        b"onFCUnsubscribe" => {
            close_session(r, false);
            return true;
        }
        b"ping" => {
            commands::pong(r, transaction);
        }
        b"_onbwcheck" => {
            commands::check_bandwidth_result(r, transaction);
        }
        b"_onbwdone" => calls::forget(r, b"_checkbw"),
        b"_error" => on_error(r, object, transaction),
        b"close" => {
            log::error("rtmp server requested close");
            close_session(r, false);
        }
        b"onStatus" => return on_status(r, object),
        b"playlist_ready" => calls::forget(r, b"set_playlist"),
        _ => {}
    }
    false
}

/// Acts on the answer to a call of ours.
fn on_result(r: Session, object: &AMFObject, transaction: f64) {
    let Some(call) = calls::take(r, transaction) else {
        // Servers also answer calls for which no answer is expected: releaseStream and FCPublish.
        log::debug(&format!("received result id {transaction:.6} without matching request"));
        return;
    };
    log::debug(&format!("received result for method call <{}>", String::from_utf8_lossy(&call)));
    match &call[..] {
        b"connect" => on_connected(r, object),
        b"createStream" => {
            r.m_stream_id.set(object.number_at(3) as c_int);
            if r.is_publisher() {
                commands::publish(r);
            } else {
                if r.Link.lFlags.get() & RTMP_LF_PLST != 0 {
                    commands::set_playlist(r);
                }
                commands::play(r);
                control::send_buffer_length(r);
            }
        }
        b"play" | b"publish" => r.m_bPlaying.set(TRUE as u8),
        _ => {}
    }
}

/// How far the server may send ahead before there is a stream, in milliseconds.
const FIRST_BUFFER_MS: u32 = 300;

fn on_connected(r: Session, object: &AMFObject) {
    if !r.Link.token.get().is_empty()
        && let Some(challenge) = object.find(&|name| name == b"secureToken", 0)
        && let Some(response) = token::decode(r.Link.token.get().bytes(), challenge.string().bytes())
    {
        commands::secure_token_response(r, &response);
    }
    if r.is_publisher() {
        commands::release_stream(r);
        commands::fc_publish(r);
    } else {
        control::send_server_bandwidth(r);
        control::send_ctrl(r, 3, 0, FIRST_BUFFER_MS);
    }
    commands::create_stream(r);
    if !r.is_publisher() {
        if !r.Link.usherToken.get().is_empty() {
            commands::usher_token(r);
        }
        let path = r.Link.subscribepath.get();
        if !path.is_empty() {
            commands::fc_subscribe(r, path.bytes());
        } else if r.Link.lFlags.get() & RTMP_LF_LIVE != 0 {
            let path = r.Link.playpath.get();
            commands::fc_subscribe(r, path.bytes());
        }
    }
}

/// Acts on the failure of a call of ours, which may ask a publisher to log in.
fn on_error(r: Session, object: &AMFObject, transaction: f64) {
    // As in librtmp, a player's failed call stays in the table.
    let call = if r.is_publisher() { calls::take(r, transaction) } else { None };
    let description = object.find(&|name| name == b"description", 0).map_or(AVal::NULL, AMFObjectProperty::string);
    if r.is_publisher() && call.as_deref() == Some(b"connect") && connect::log_in(r, description.bytes()) {
        return;
    }
    let name = String::from_utf8_lossy(call.as_deref().unwrap_or_default()).into_owned();
    log::error(&format!("rtmp server sent error for <{name}> {}", description.shown()));
}

fn on_status(r: Session, object: &AMFObject) -> bool {
    let status = object.at(3).map_or(AMFObject::EMPTY, AMFObjectProperty::object);
    let code = status.named(b"code").map_or(AVal::NULL, AMFObjectProperty::string);
    if log::wants(log::DEBUG) {
        log::debug(&format!("onStatus: {}", code.shown()));
    }
    match code.bytes() {
        b"NetStream.Failed"
        | b"NetStream.Play.Failed"
        | b"NetStream.Play.StreamNotFound"
        | b"NetConnection.Connect.InvalidApp" => {
            log::error(&format!("Closing connection: {}", code.shown()));
            r.m_stream_id.set(-1);
            close_session(r, false);
        }
        b"NetStream.Play.Start" | b"NetStream.Play.PublishNotify" => {
            r.m_bPlaying.set(TRUE as u8);
            calls::forget(r, b"play");
        }
        b"NetStream.Publish.Start" => {
            r.m_bPlaying.set(TRUE as u8);
            calls::forget(r, b"publish");
        }
        b"NetStream.Play.Complete" | b"NetStream.Play.Stop" | b"NetStream.Play.UnpublishNotify" => {
            close_session(r, false);
            return true;
        }
        b"NetStream.Seek.Notify" => r.m_read.flags.set(r.m_read.flags.get() & !RTMP_READ_SEEKING),
        b"NetStream.Pause.Notify" if matches!(r.m_pausing.get(), 1 | 2) => {
            let stamp = r.m_pauseStamp.get() as c_int;
            commands::send_pause(r, false, stamp);
            r.m_pausing.set(3);
        }
        _ => {}
    }
    false
}
