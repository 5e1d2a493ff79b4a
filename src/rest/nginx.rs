//! The pages of nginx-rtmp that tools read and call: `/stat` (XML) and `/control`.
//!
//! The form is that of nginx-rtmp-module 1.1.4 (`ngx_rtmp_stat_module.c`, `ngx_rtmp_control_module.c`). Some readers
//! use element names and some positions, so the order is the same. One `server` has all applications, and `bw_*` are
//! bits per second.

use std::fmt::Write as _;

use super::answer::Buffer;
use super::model::{ByStream, fourcc};
use crate::error::{Failure, RRError, Result};
use crate::server::figures::Stats;
use crate::server::report::Info;
use crate::server::slots::kind;
use crate::server::{RRRestOut, RRServer};
use crate::session::{Role, State};
use crate::stream::event::Id;

/// XML elements, one after another. The buffer remembers that it has no room, so nothing here looks at a single write.
#[derive(Debug)]
struct Xml<'a>(&'a mut Buffer);

impl Xml<'_> {
    fn raw(&mut self, parts: &[&str]) {
        for part in parts {
            let _ = self.0.push(part.as_bytes());
        }
    }

    /// Text of an element: markup characters are escaped; control characters and bytes above 127 become spaces, as in
    /// nginx-rtmp.
    fn escaped(&mut self, bytes: &[u8]) {
        let is_plain = |byte: &u8| matches!(byte, 0x20..0x7f) && !b"<>&\"'".contains(byte);
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let plain = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
            let (shown, len): (&[u8], usize) = match first {
                _ if plain > 0 => (&rest[..plain], plain),
                b'<' => (b"&lt;", 1),
                b'>' => (b"&gt;", 1),
                b'&' => (b"&amp;", 1),
                b'"' => (b"&quot;", 1),
                b'\'' => (b"&apos;", 1),
                _ => (b" ", 1),
            };
            let _ = self.0.push(shown);
            rest = &rest[len..];
        }
    }

    fn begin(&mut self, name: &str) {
        self.raw(&["<", name, ">"]);
    }

    fn end(&mut self, name: &str) {
        self.raw(&["</", name, ">"]);
    }

    fn text(&mut self, name: &str, bytes: &[u8]) {
        self.begin(name);
        self.escaped(bytes);
        self.end(name);
    }

    fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.begin(name);
        let _ = write!(self.0, "{number}");
        self.end(name);
    }

    fn empty(&mut self, name: &str, stands: bool) {
        if stands {
            self.raw(&["<", name, "/>"]);
        }
    }

    fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.begin(name);
        inner(self);
        self.end(name);
        self.raw(&["\n"]);
    }

    /// Rates and sums, in the order that readers by position rely on.
    fn traffic(&mut self, stats: &Stats) {
        self.number("bw_in", bits(stats.kbps_in));
        self.number("bytes_in", stats.bytes_in);
        self.number("bw_out", bits(stats.kbps_out));
        self.number("bytes_out", stats.bytes_out);
    }
}

/// Bits per second, limited to 32 bits because readers use no more.
fn bits(kbps: u32) -> u32 {
    kbps.saturating_mul(1_000)
}

fn age_ms(stats: &Stats, now_us: i64) -> i64 {
    (now_us - stats.started_us).max(0) / 1_000
}

/// Writes `/stat`.
///
/// # Errors
/// [`RRError::NoMem`].
pub(crate) fn stat(server: &RRServer, now_us: i64, text: &mut Buffer) -> Result<()> {
    let all = server.stats(0)?;
    let clients = ByStream::new(server, 0, kind::SESSION)?;
    let ids = server.list(0, kind::STREAM)?;
    let mut streams: Vec<(Vec<u8>, Id)> = Vec::new();
    streams.try_reserve_exact(ids.len()).map_err(|_| Failure::from(RRError::NoMem))?;
    streams.extend(ids.iter().filter_map(|&id| Some((server.info(id).ok()?.app, id))));
    // Those of one application come one after another. A stable sort would need memory of its own.
    streams.sort_unstable();
    let mut xml = Xml(text);
    xml.raw(&["<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n"]);
    xml.within("rtmp", |xml| {
        xml.text("nginx_version", b"rrelay");
        xml.text("nginx_rtmp_version", env!("CARGO_PKG_VERSION").as_bytes());
        xml.text("compiler", b"rustc");
        xml.text("built", b"");
        xml.number("pid", std::process::id());
        xml.number("uptime", age_ms(&all, now_us) / 1_000);
        xml.number("naccepted", server.accepted());
        xml.traffic(&all);
        xml.within("server", |xml| {
            // nginx-rtmp lists the applications of its configuration. Here any application will do; without streams,
            // one without a name stands for all, because some readers report a server without any as an error.
            if streams.is_empty() {
                xml.within("application", |xml| application(xml, server, &[], &clients, now_us));
            }
            for streams in streams.chunk_by(|(one, _), (other, _)| one == other) {
                xml.within("application", |xml| application(xml, server, streams, &clients, now_us));
            }
        });
    });
    Ok(())
}

/// An application with its streams, each behind the application's name.
fn application(xml: &mut Xml<'_>, server: &RRServer, streams: &[(Vec<u8>, Id)], clients: &ByStream<'_>, now_us: i64) {
    xml.text("name", streams.first().map_or(b"", |(app, _)| app));
    xml.within("live", |xml| {
        let mut count = 0;
        for &(_, id) in streams {
            let Some((info, stats)) = facts(server, id) else { continue };
            count += stats.sessions;
            let clients = clients.of(id).iter().filter_map(|&(_, id)| facts(server, id));
            xml.within("stream", |xml| stream(xml, &info, &stats, clients, now_us));
        }
        xml.number("nclients", count);
    });
}

/// What is known of an object, unless it has ended.
fn facts(server: &RRServer, id: Id) -> Option<(Info, Stats)> {
    Some((server.info(id).ok()?, server.stats(id).ok()?))
}

fn stream(xml: &mut Xml<'_>, info: &Info, stats: &Stats, clients: impl Iterator<Item = (Info, Stats)>, now_us: i64) {
    let live = info.state == State::InProgress;
    xml.text("name", &info.key);
    xml.number("time", age_ms(stats, now_us));
    xml.traffic(stats);
    xml.number("bw_audio", bits(stats.audio_kbps));
    xml.number("bw_video", bits(stats.video_kbps));
    for (session, figures) in clients {
        xml.within("client", |xml| client(xml, &session, &figures, now_us));
    }
    meta(xml, info, stats);
    xml.number("nclients", stats.sessions);
    xml.empty("publishing", live);
    xml.empty("active", live);
}

fn client(xml: &mut Xml<'_>, info: &Info, stats: &Stats, now_us: i64) {
    xml.number("id", client_number(info.id));
    xml.text("address", host_of(&info.addr).as_bytes());
    xml.number("time", age_ms(stats, now_us));
    xml.text("flashver", &info.agent);
    for (name, url) in [("pageurl", &info.page_url), ("swfurl", &info.swf_url)] {
        // Arguments are credentials, of whichever site.
        let shown = url.split(|&byte| byte == b'?').next().unwrap_or_default();
        if !shown.is_empty() {
            xml.text(name, shown);
        }
    }
    xml.number("dropped", stats.dropped_msgs);
    // Not measured. nginx-rtmp, too, leaves it empty with `interleave on`.
    xml.text("avsync", b"");
    xml.number("timestamp", stats.last_ts_ms);
    xml.empty("publishing", info.role == Role::Publisher);
    xml.empty("active", info.state == State::InProgress);
}

/// The number of a connection for callbacks and `/control`: the low half of its id, which is unique among live objects.
pub(crate) fn client_number(id: Id) -> u64 {
    id & 0xffff_ffff
}

/// The facts of video and audio, if both are known, because readers expect both or neither.
fn meta(xml: &mut Xml<'_>, info: &Info, stats: &Stats) {
    let (Some(video), Some(audio)) = (info.video, info.audio) else { return };
    xml.within("meta", |xml| {
        xml.within("video", |xml| {
            xml.number("width", video.width);
            xml.number("height", video.height);
            xml.number("frame_rate", stats.fps_milli.div_ceil(1_000));
            xml.text("codec", video_name(info.video_codec).as_bytes());
            if info.video_codec == u32::from_be_bytes(*b"avc1") {
                xml.text("profile", avc_profile(video.profile).as_bytes());
                xml.number("compat", video.compatibility);
                xml.number("level", format!("{}.{}", video.level / 10, video.level % 10));
            }
        });
        xml.within("audio", |xml| {
            xml.text("codec", audio_name(info.audio_codec).as_bytes());
            xml.text("profile", aac_profile(audio.object_type).as_bytes());
            xml.number("channels", audio.channels);
            xml.number("sample_rate", audio.sample_rate);
        });
    });
}

fn avc_profile(profile: u8) -> &'static str {
    match profile {
        66 => "Baseline",
        77 => "Main",
        100 => "High",
        _ => "",
    }
}

fn aac_profile(object_type: u8) -> &'static str {
    match object_type {
        1 => "Main",
        2 => "LC",
        3 => "SSR",
        4 => "LTP",
        5 => "HE",
        29 => "HEv2",
        _ => "",
    }
}

fn video_name(codec: u32) -> &'static str {
    match fourcc(codec).as_str() {
        "avc1" => "H264",
        "hvc1" => "H265",
        "av01" => "AV1",
        "vp09" => "VP9",
        "vvc1" => "H266",
        _ => "unknown",
    }
}

fn audio_name(codec: u32) -> &'static str {
    match fourcc(codec).as_str() {
        "mp4a" => "AAC",
        ".mp3" => "MP3",
        "Opus" => "Opus",
        "fLaC" => "FLAC",
        "spex" => "Speex",
        _ => "unknown",
    }
}

/// Carries out `/control/drop/...` and `/control/redirect/...`; returns the number of matching connections as text.
///
/// # Errors
/// [`RRError::NotFound`] for a section or method that nginx-rtmp does not have, [`RRError::Arg`] if an argument is
/// missing.
pub(crate) fn control(server: &RRServer, section: &str, method: &str, args: &[(String, String)]) -> Result<String> {
    let arg = |name: &str| args.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let wanted = |role: Role| match method {
        "publisher" => matches!(role, Role::Publisher | Role::Standby),
        "subscriber" => role == Role::Player,
        // One that only asks to publish or play is in no list of nginx-rtmp's yet.
        _ => role != Role::None,
    };
    if !matches!(method, "publisher" | "subscriber" | "client") || !matches!(section, "drop" | "redirect") {
        return Err(Failure::ours(RRError::NotFound, format!("{section}/{method}: there is no such command")));
    }
    let newname = arg("newname");
    if section == "redirect" && newname.is_none_or(str::is_empty) {
        return Err(Failure::ours(RRError::Arg, "newname is missing"));
    }
    let mut count = 0;
    for id in server.list(0, kind::SESSION)? {
        let Ok(info) = server.info(id) else { continue };
        let address = host_of(&info.addr);
        let matches = wanted(info.role)
            // nginx-rtmp takes an empty application, and no other empty filter, as none.
            && arg("app").is_none_or(|app| app.is_empty() || app.as_bytes() == info.app)
            && arg("name").is_none_or(|name| name.as_bytes() == info.key)
            && arg("addr").is_none_or(|addr| addr == address)
            && arg("clientid").is_none_or(|number| number == client_number(id).to_string());
        if matches && act(server, id, &info, newname).is_ok() {
            count += 1;
        }
    }
    Ok(count.to_string())
}

/// Closes a session, or asks its peer to connect again under another name. nginx-rtmp renames a running session; here a
/// peer that understands reconnect requests is asked to reconnect, and any other peer is closed, so that its next
/// connect can be redirected.
fn act(server: &RRServer, session: Id, info: &Info, newname: Option<&str>) -> Result<Id> {
    let close = RRRestOut::CloseSession { session, text: "dropped by /control".to_owned(), ban_ms: 0 };
    let Some(newname) = newname else { return close.carry_out(server) };
    let tc_url = info.url.split('?').next().unwrap_or_default();
    let url = format!("{}/{newname}", tc_url.trim_end_matches('/'));
    let ask = RRRestOut::ReconnectSession { session, url: Some(url), text: "redirected by /control".to_owned() };
    match ask.carry_out(server) {
        Err(failure) if failure.kind == RRError::Unsupported => close.carry_out(server),
        asked => asked,
    }
}

/// An address without its port and brackets, as nginx shows it.
pub(crate) fn host_of(addr: &str) -> &str {
    addr.rsplit_once(':').map_or(addr, |(host, _)| host).trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests;
