//! The dialect of nginx-rtmp's notify module (`ngx_rtmp_notify_module.c`, 1.1.4): the fields of a form, in nginx-rtmp's
//! order, and an answer whose status decides by its first digit.
//!
//! Differences, and their reasons: a peer's `?args` cannot repeat a field of ours, because back ends that use the last
//! of two would believe the peer; bytes that an address cannot hold are percent-encoded in them. If the url already has
//! a query, GET adds its fields with `&`. An answer counts as soon as it has arrived, not when its connection closes. A
//! redirect may name a host, also over TLS. A refused peer is told so. No question is asked about the relay's own targets
//! and sources, while nginx-rtmp asks about its relays.

use axum::body::Bytes;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Uri, Version};
use md5::{Digest, Md5};

use super::{About, Call, SoFar, Verdict};
use crate::config::{Decision, MAX_NAME_BYTES, TargetConfig, Value};
use crate::error::{Failure, RRError, Result};
use crate::mask::mask_url;
use crate::proto::command::Part;
use crate::rest::answer::Buffer;
use crate::rest::client::Reply;
use crate::rest::nginx::{client_number, host_of};
use crate::server::hooks::Wanted;
use crate::stream::record::Names;

/// The names of the form's fields, which `?args` may not use.
const FIELDS: [&str; 18] = [
    "app",
    "flashver",
    "swfurl",
    "tcurl",
    "pageurl",
    "addr",
    "epoch",
    "clientid",
    "call",
    "name",
    "type",
    "start",
    "duration",
    "reset",
    "time",
    "timestamp",
    "recorder",
    "path",
];

/// The request of a call.
///
/// # Errors
/// [`RRError::Arg`] if the url and the fields do not make a valid address; those of [`Buffer::asked`].
pub(super) fn request(url: &str, call: &Call, get: bool) -> Result<Request<Bytes>> {
    let no_address = |error: &dyn std::fmt::Display| Failure::ours(RRError::Arg, format!("{}: {error}", mask_url(url)));
    let joint = if url.contains('?') { '&' } else { '?' };
    let before = if get { format!("{url}{joint}") } else { String::new() };
    let form = form(call, &before)?;
    let address = if get { form.clone() } else { Bytes::copy_from_slice(url.as_bytes()) };
    let uri = Uri::from_maybe_shared(address).map_err(|error| no_address(&error))?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let body = if get { Bytes::new() } else { form };
    Request::builder()
        .method(if get { Method::GET } else { Method::POST })
        .uri(uri)
        .version(Version::HTTP_10)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONNECTION, "Close")
        .header(CONTENT_LENGTH, body.len())
        .body(body)
        .map_err(|error| no_address(&error))
}

/// The fields of a call, in nginx-rtmp's order, the peer's args last; `before` stands before them.
///
/// # Errors
/// Those of [`Buffer::asked`].
fn form(call: &Call, before: &str) -> Result<Bytes> {
    let form = Form::behind(before);
    match call {
        Call::Ask(about, Wanted::Connect) => {
            let epoch_ms = about.session.counters.started_us / 1_000;
            // nginx-rtmp has 32 bits for them.
            common(form, about).number("epoch", epoch_ms as u32).text("call", b"connect").args(&about.names.app_query)
        }
        Call::Ask(about, Wanted::Publish { kind }) => {
            let (name, args) = asked(&about.names);
            of_client(form, about, "publish").text("name", name).text("type", kind).args(args)
        }
        Call::Ask(about, Wanted::Play { part: Part { start, duration, reset } }) => {
            let (name, args) = asked(&about.names);
            // nginx-rtmp prints the player's own numbers in 32 bits without a sign, and 0 for what it leaves out.
            let number = |sent: &Option<i64>| sent.unwrap_or_default() as u32;
            let form = of_client(form, about, "play").text("name", name).number("start", number(start));
            form.number("duration", number(duration)).number("reset", u8::from(*reset == Some(true))).args(args)
        }
        Call::Update(act) => {
            let (name, args) = asked(&act.about.names);
            let form = of_client(form, &act.about, if act.publishes { "update_publish" } else { "update_play" });
            let SoFar { ran, stats } = act.so_far();
            let form = form.number("time", ran.as_secs()).number("timestamp", stats.last_ts_ms as i32);
            form.text("name", name).args(args)
        }
        Call::Done(act, _) => {
            let (name, args) = asked(&act.about.names);
            of_client(form, &act.about, if act.publishes { "publish_done" } else { "play_done" })
                .text("name", name)
                .args(args)
        }
        // nginx-rtmp has no such hook.
        Call::Target(event) => form
            .text("app", &event.app)
            .text("call", b"target_state")
            .text("name", &event.key)
            .text("url", mask_url(&String::from_utf8_lossy(&event.url)).as_bytes())
            .text("state", event.state.name().as_bytes())
            .args(&[]),
    }
}

/// The fields with which all requests begin.
fn common(form: Form, about: &About) -> Form {
    let names = &about.names;
    let tc_url = [&*names.tc_url, if names.tc_query.is_empty() { b"" } else { b"?" }, &*names.tc_query].concat();
    form.text("app", &names.app)
        .text("flashver", &names.agent)
        .text("swfurl", &names.swf_url)
        .text("tcurl", &tc_url)
        .text("pageurl", &names.page_url)
        .text("addr", host_of(&about.session.addr).as_bytes())
}

/// The fields with which requests about a stream begin.
fn of_client(form: Form, about: &About, call: &str) -> Form {
    common(form, about).number("clientid", client_number(about.session.id)).text("call", call.as_bytes())
}

/// The name that the peer asked for, and the args after it.
fn asked(names: &Names) -> (&[u8], &[u8]) {
    let key = if names.key_asked.is_empty() { &names.key } else { &names.key_asked };
    // Even if args are part of the key, they are separated here.
    if let Some(mark) = key.iter().position(|&byte| byte == b'?') {
        return (&key[..mark], &key[mark + 1..]);
    }
    let args = match names.query.strip_prefix(&*names.app_query) {
        Some(rest) if !names.app_query.is_empty() => rest.strip_prefix(b"&").unwrap_or(rest),
        _ => &names.query,
    };
    (key, args)
}

/// A form that is being written. The buffer remembers that it has no room, so nothing here looks at a single write.
struct Form {
    out: Buffer,
    /// Whether there is a field before the next one.
    has_fields: bool,
}

impl Form {
    fn behind(before: &str) -> Self {
        let mut out = Buffer::of_question();
        let _ = out.push(before.as_bytes());
        Self { out, has_fields: false }
    }

    fn joint(&mut self) {
        if std::mem::replace(&mut self.has_fields, true) {
            let _ = self.out.push(b"&");
        }
    }

    fn text(mut self, name: &str, value: &[u8]) -> Self {
        self.joint();
        let _ = self.out.push(name.as_bytes());
        let _ = self.out.push(b"=");
        escape(
            value,
            |byte| matches!(byte, b' ' | b'"' | b'#' | b'%' | b'&' | b'+' | b';' | b'<' | b'>' | b'?'),
            &mut self.out,
        );
        self
    }

    fn number(self, name: &str, number: impl std::fmt::Display) -> Self {
        self.text(name, number.to_string().as_bytes())
    }

    /// Adds the peer's own pairs, except those that would repeat one of our fields.
    fn args(mut self, args: &[u8]) -> Result<Bytes> {
        let own = args.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty() && !forges(pair));
        for pair in own {
            self.joint();
            escape(pair, |byte| matches!(byte, b' ' | b'#' | b'"' | b'<' | b'>'), &mut self.out);
        }
        self.out.asked()
    }
}

/// Writes bytes; those that are not visible ASCII, and those that `also` names, are percent-encoded.
fn escape(bytes: &[u8], also: impl Fn(u8) -> bool, out: &mut Buffer) {
    for byte in bytes {
        let _ = if byte.is_ascii_graphic() && !also(*byte) {
            out.push(std::slice::from_ref(byte))
        } else {
            out.push(format!("%{byte:02X}").as_bytes())
        };
    }
}

/// Whether a back end could mistake a peer's pair for one of our fields. Names are compared as PHP and others read
/// them: decoded, without leading spaces, up to a bracket, with dots and spaces as `_`; some back ends also split at
/// `;`.
fn forges(pair: &[u8]) -> bool {
    pair.split(|&byte| byte == b';').any(|part| {
        let name = part.split(|&byte| byte == b'=').next().unwrap_or_default();
        let spaced: Vec<u8> = name.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
        let name = decoded.trim_ascii_start().split(|&byte| matches!(byte, b'[' | 0)).next().unwrap_or_default();
        FIELDS.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name.trim_ascii_end()))
    })
}

/// The meaning of an answer to a question: the first digit of its status, and the target of a redirect.
///
/// # Errors
/// [`RRError::Rejected`] for 5xx and other unexpected statuses, [`RRError::Arg`] for an invalid name.
pub(super) fn verdict(call: &Call, reply: &Reply, relay_redirect: bool) -> Result<Verdict> {
    match reply.status / 100 {
        2 => Ok(Verdict::allow()),
        3 => match reply.location.as_deref().filter(|location| !location.is_empty()) {
            Some(location) => redirected(call, location, relay_redirect),
            None => Ok(Verdict::allow()),
        },
        4 => {
            let text = format!("{} denied it ({})", call.hook().name(), reply.status);
            Ok(Verdict::Deny { code: String::new(), text })
        }
        _ => Err(Failure::peers(RRError::Rejected, format!("the back end answered {}", reply.status))),
    }
}

/// Another name, or another server that the stream is pushed to or pulled from.
fn redirected(call: &Call, location: &str, relay_redirect: bool) -> Result<Verdict> {
    let mut decision = Decision::default();
    let scheme = |name: &str| location.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let relays = scheme("rtmp://") || scheme("rtmps://");
    let Call::Ask(_, wanted) = call else { return Ok(Verdict::allow()) };
    if !relays || *wanted == Wanted::Connect {
        if location.len() > MAX_NAME_BYTES {
            return Err(Failure::peers(RRError::Arg, "Location is too long for a name"));
        }
        decision.set("rename", Value::Bytes(location.as_bytes()))?;
        return Ok(Verdict::Allow(Box::new(decision)));
    }
    let mut config = TargetConfig::default();
    config.set("url", Value::Text(location))?;
    if relay_redirect {
        let name: String = Md5::digest(location).iter().map(|byte| format!("{byte:02x}")).collect();
        decision.rename = Some(name.into_bytes());
    }
    if matches!(wanted, Wanted::Publish { .. }) {
        decision.targets.push(config.checked()?);
    } else {
        // All players share one pull, which ends when they have gone.
        config.on_demand = true;
        decision.sources.push(config.checked()?);
    }
    Ok(Verdict::Allow(Box::new(decision)))
}

/// The reason why an answer to an update ends the session; `None`: the session goes on.
pub(super) fn ends(reply: &Reply, strict: bool) -> Option<String> {
    match reply.status / 100 {
        2 => None,
        3 if !strict => None,
        _ => Some(format!("on_update denied it ({})", reply.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::event::{Event, EventKind};

    #[test]
    fn args_bring_no_field_of_ours_a_second_time() {
        let form = |args: &str| Form::behind("").text("app", b"live").args(args.as_bytes()).unwrap();
        assert_eq!(form("k=v&x=1"), "app=live&k=v&x=1");
        for forged in [
            "app=other",
            "APP=other",
            "%61pp=other",
            "app[]=other",
            "app[x=other",
            "+app=other",
            "%20name=other",
            "app",
            "name=other",
            "addr=10.0.0.1",
            "call=play_done",
            "clientid=1",
            "x=1;name=other",
            "name%00x=1",
            "name+=1",
        ] {
            assert_eq!(form(&format!("k=v&{forged}&z=2")), "app=live&k=v&z=2", "{forged}");
        }
        assert_eq!(form("apple=1&rename=2&&"), "app=live&apple=1&rename=2", "others stay");
        assert_eq!(form("a=b c\r\nX: y#\u{e9}"), "app=live&a=b%20c%0D%0AX:%20y%23%C3%A9", "nothing leaves its line");
    }

    #[test]
    fn a_targets_url_shows_no_credentials() {
        let mut event = Event::new(EventKind::Target);
        event.url = b"rtmp://host/live?token=secret".to_vec();
        let form = form(&Call::Target(Box::new(event)), "").unwrap();
        let form = std::str::from_utf8(&form).unwrap();
        assert!(form.contains("&url=rtmp://host/live%3Ftoken=***&"), "{form}");
    }

    #[test]
    fn a_refusal_of_an_address_shows_no_credentials() {
        let mut event = Event::new(EventKind::Target);
        event.app = vec![b'a'; 70_000];
        let call = Call::Target(Box::new(event));
        let failure = request("http://me:hidden@host/hook?token=hidden", &call, true).unwrap_err();
        assert!(failure.text.contains("host/hook?token=***") && !failure.text.contains("hidden"), "{failure}");
    }

    #[test]
    fn values_are_escaped_as_nginx_does_and_so_that_all_make_an_address() {
        let form = Form::behind("").text("name", b"a b&c=d%e+f;g?h#i/j\xff\x00k").args(b"").unwrap();
        assert_eq!(form, "name=a%20b%26c=d%25e%2Bf%3Bg%3Fh%23i/j%FF%00k");
        let every: Vec<u8> = (0..=255).collect();
        let address = Form::behind("http://h/?").text("name", &every).args(&every).unwrap();
        assert!(Uri::from_maybe_shared(address.clone()).is_ok(), "{address:?}");
        let form =
            Form::behind("").number("start", -2_000_i64 as u32).number("duration", -1_i64 as u32).args(b"").unwrap();
        assert_eq!(form, "start=4294965296&duration=4294967295");
    }
}
