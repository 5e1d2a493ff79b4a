//! `/stat` and `/control`, as their readers see them.

use super::*;
use crate::config::ServerConfig;
use crate::fuzzing::tables::bytes;
use crate::log::LevelFilter;

fn server() -> RRServer {
    RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap()
}

fn stat(server: &RRServer, now_us: i64) -> String {
    let mut text = Buffer::default();
    super::stat(server, now_us, &mut text).unwrap();
    String::from_utf8(text.finish().unwrap().into()).unwrap()
}

/// The texts of all elements of this name, in order.
fn texts<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
}

#[test]
fn a_live_stream_has_what_readers_need() {
    let server = server();
    let id = server.stream_create(b"live", b"a<b>&\xff", None).unwrap();
    let write = |type_id, hex: &str| server.stream_write(id, type_id, 0, &bytes(hex), false).unwrap();
    write(9, "17000000000164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000668fba3cb22c0fdf8f800");
    assert!(texts(&stat(&server, 0), "meta").is_empty(), "with pictures alone there is none");
    write(8, "af00121056e500");
    let xml = stat(&server, crate::net::clock::wall_us());
    assert_eq!(xml.matches("<server>").count(), 1);
    assert_eq!(texts(&xml, "name"), ["live", "a&lt;b&gt;&amp; "]);
    for (name, text) in [
        ("width", "720"),
        ("height", "576"),
        ("compat", "0"),
        ("level", "3.0"),
        ("sample_rate", "44100"),
        ("channels", "2"),
        ("nclients", "0"),
    ] {
        assert_eq!(texts(&xml, name).first(), Some(&text), "{name} in {xml}");
    }
    assert_eq!(texts(&xml, "codec"), ["H264", "AAC"]);
    assert_eq!(texts(&xml, "profile"), ["High", "LC"]);
    // By position: the root's bytes_in first, then the stream's.
    assert_eq!(texts(&xml, "bytes_in").len(), 2);
    assert!(texts(&xml, "bw_video").iter().all(|text| text.parse::<u32>().is_ok()));
    assert!(xml.contains("<publishing/><active/>"));
}

#[test]
fn control_counts_and_refuses_what_is_not_there() {
    let server = server();
    assert_eq!(control(&server, "drop", "publisher", &[]).unwrap(), "0");
    assert_eq!(control(&server, "redirect", "client", &[]).unwrap_err().kind, RRError::Arg);
    for (section, method) in [("drop", "all"), ("record", "start"), ("", "")] {
        assert_eq!(control(&server, section, method, &[]).unwrap_err().kind, RRError::NotFound, "{section}/{method}");
    }
}
