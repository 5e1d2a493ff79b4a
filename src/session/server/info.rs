//! A peer's fields of `connect`, kept for the host.

use crate::error::{Result, copied};
use crate::proto::command::{Call, Command, Connect};

/// The fields of a `connect`, and the whole body, for fields that have no name here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectInfo {
    /// `app`, query included.
    pub app: Vec<u8>,
    /// `tcUrl`
    pub tc_url: Vec<u8>,
    /// `flashVer`: the peer's program.
    pub flash_ver: Vec<u8>,
    /// `swfUrl`
    pub swf_url: Vec<u8>,
    /// `pageUrl`
    pub page_url: Vec<u8>,
    /// `objectEncoding`: 0 or 3.
    pub object_encoding: f64,
    /// `capsEx` (`CAPS_*` of [`crate::proto::command`]).
    pub caps_ex: u32,
    /// `fourCcList`
    pub four_cc_list: Vec<Vec<u8>>,
    /// `videoFourCcInfoMap`
    pub video_four_cc: Vec<(Vec<u8>, u32)>,
    /// `audioFourCcInfoMap`
    pub audio_four_cc: Vec<(Vec<u8>, u32)>,
    /// `rrVia`: the peer is a relay that asks through which streams media comes.
    pub asks_via: bool,
    /// The command's whole body, extra arguments included.
    pub raw: Vec<u8>,
    /// The message type of `raw`: 20 or 17.
    pub raw_type: u8,
}

impl ConnectInfo {
    /// Copies the named fields; `raw` stays empty.
    ///
    /// # Errors
    /// [`NoMem`](crate::error::RRError::NoMem).
    pub(super) fn new(connect: &Connect<'_>, raw_type: u8) -> Result<Self> {
        let masked = |&(code, mask): &(&[u8], u32)| copied(code).map(|code| (code, mask));
        let map = |list: &[(&[u8], u32)]| list.iter().map(masked).collect::<Result<Vec<_>>>();
        Ok(Self {
            app: copied(connect.app)?,
            tc_url: copied(connect.tc_url)?,
            flash_ver: copied(connect.flash_ver)?,
            swf_url: copied(connect.swf_url)?,
            page_url: copied(connect.page_url)?,
            object_encoding: connect.object_encoding,
            caps_ex: connect.caps_ex,
            four_cc_list: connect.four_cc_list.iter().map(|code| copied(code)).collect::<Result<_>>()?,
            video_four_cc: map(&connect.video_four_cc)?,
            audio_four_cc: map(&connect.audio_four_cc)?,
            asks_via: connect.asks_via,
            raw: Vec::new(),
            raw_type,
        })
    }

    /// Heap in use, in bytes.
    pub(in crate::session) fn heap_bytes(&self) -> usize {
        let texts = [&self.app, &self.tc_url, &self.flash_ver, &self.swf_url, &self.page_url, &self.raw];
        let codes = self.four_cc_list.iter().map(|code| size_of::<Vec<u8>>() + code.capacity());
        let maps = self.video_four_cc.iter().chain(&self.audio_four_cc);
        let masks = maps.map(|(code, _)| size_of::<(Vec<u8>, u32)>() + code.capacity());
        size_of::<Self>() + texts.iter().map(|text| text.capacity()).sum::<usize>() + codes.chain(masks).sum::<usize>()
    }

    /// The fields as they are in `raw`.
    pub(super) fn fields(&self) -> Connect<'_> {
        match Call::parse(self.raw_type, &self.raw).map(|call| call.command) {
            Ok(Command::Connect(connect)) => *connect,
            _ => Connect::default(),
        }
    }

    /// The application without its query, and without the trailing slash of some clients.
    pub fn app_name(&self) -> &[u8] {
        let name = split_query(&self.app).0;
        name.strip_suffix(b"/").unwrap_or(name)
    }

    /// The query of the application, or else of the url: some clients put it only into the url.
    pub fn query(&self) -> &[u8] {
        match split_query(&self.app).1 {
            [] => split_query(&self.tc_url).1,
            query => query,
        }
    }
}

fn split_query(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&bytes[..mark], &bytes[mark + 1..]),
        None => (bytes, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_and_its_query_are_told_apart_wherever_the_query_is() {
        let info = |app: &[u8], tc_url: &[u8]| ConnectInfo {
            app: app.to_vec(),
            tc_url: tc_url.to_vec(),
            ..Default::default()
        };
        let plain = info(b"live/", b"rtmp://h/live/");
        assert_eq!((plain.app_name(), plain.query()), (&b"live"[..], &b""[..]));
        let with_query = info(b"live?a=1?b", b"rtmp://h/live?c=2");
        assert_eq!((with_query.app_name(), with_query.query()), (&b"live"[..], &b"a=1?b"[..]));
        assert_eq!(info(b"live", b"rtmp://h/live?c=2").query(), b"c=2");
    }
}
