//! The names of a session, and the form in which its record keeps them: one block of memory, since most of a dozen names
//! are empty, and thousands of players wait with theirs for hours.

/// Names as the peer gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Application.
    pub app: Vec<u8>,
    /// The application that it was connected to, if that is another than the one it asked for.
    pub app_given: Option<Vec<u8>>,
    /// Stream key.
    pub key: Vec<u8>,
    /// The stream key that it asked for, if `key` was given to it instead.
    pub key_asked: Vec<u8>,
    /// The arguments after the application, as far as `query` has them.
    pub app_query: Vec<u8>,
    /// The arguments after the application and the key, if they are not part of the name: credentials, which are never
    /// shown.
    pub query: Vec<u8>,
    /// The program that the peer claims to be (flashVer), up to `MAX_STATEMENT_BYTES`, as the page and the program in it.
    pub agent: Vec<u8>,
    /// The url that it dialled, up to `MAX_TC_URL_BYTES` before arguments that are part of it.
    pub tc_url: Vec<u8>,
    /// The arguments of that url.
    pub tc_query: Vec<u8>,
    /// The page of a player in a browser, as the player says.
    pub page_url: Vec<u8>,
    /// The program in that page.
    pub swf_url: Vec<u8>,
    /// The Enhanced RTMP capabilities that it claims.
    pub caps_ex: u32,
    /// For a source: the streams through which its media comes, separated by commas.
    pub via: Vec<u8>,
}

/// Longer names together are kept as they are: a block for them would be a large allocation, which may fail.
const MAX_PACKED_BYTES: usize = 4096;

/// The names as a record keeps them.
#[derive(Debug)]
pub(super) enum KeptNames {
    /// The texts in one block, each after its length in two bytes.
    Packed { texts: Box<[u8]>, has_app_given: bool, caps_ex: u32 },
    /// Names that are too long for a block.
    Long(Box<Names>),
}

impl Default for KeptNames {
    fn default() -> Self {
        Self::Packed { texts: Box::default(), has_app_given: false, caps_ex: 0 }
    }
}

impl From<Names> for KeptNames {
    fn from(names: Names) -> Self {
        let Names { app, app_given, key, key_asked, app_query, query, agent, tc_url, .. } = &names;
        let Names { tc_query, page_url, swf_url, caps_ex, via, .. } = &names;
        let given = app_given.as_deref().unwrap_or_default();
        let all: [&[u8]; 12] =
            [app, given, key, key_asked, app_query, query, agent, tc_url, tc_query, page_url, swf_url, via];
        let bytes = all.iter().map(|text| size_of::<u16>() + text.len()).sum();
        if bytes > MAX_PACKED_BYTES {
            return Self::Long(Box::new(names));
        }
        let mut texts = Vec::with_capacity(bytes);
        for text in all {
            texts.extend_from_slice(&(text.len() as u16).to_le_bytes());
            texts.extend_from_slice(text);
        }
        Self::Packed { texts: texts.into_boxed_slice(), has_app_given: app_given.is_some(), caps_ex: *caps_ex }
    }
}

impl KeptNames {
    /// The names.
    pub(super) fn get(&self) -> Names {
        let (mut rest, has_app_given, caps_ex) = match self {
            Self::Packed { texts, has_app_given, caps_ex } => (&**texts, *has_app_given, *caps_ex),
            Self::Long(names) => return Names::clone(names),
        };
        let mut next = || {
            let Some((len, texts)) = rest.split_first_chunk() else { return Vec::new() };
            let (text, others) = texts.split_at_checked(u16::from_le_bytes(*len).into()).unwrap_or_default();
            rest = others;
            text.to_vec()
        };
        Names {
            app: next(),
            app_given: Some(next()).filter(|_| has_app_given),
            key: next(),
            key_asked: next(),
            app_query: next(),
            query: next(),
            agent: next(),
            tc_url: next(),
            tc_query: next(),
            page_url: next(),
            swf_url: next(),
            via: next(),
            caps_ex,
        }
    }

    /// The Enhanced RTMP capabilities that the peer claims.
    pub(super) fn caps_ex(&self) -> u32 {
        match self {
            Self::Packed { caps_ex, .. } => *caps_ex,
            Self::Long(names) => names.caps_ex,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_whole_however_many_and_long_they_are() {
        let text = |text: &str| text.as_bytes().to_vec();
        let names = Names {
            app: text("app"),
            app_given: Some(Vec::new()),
            key: text("key"),
            key_asked: text("key_asked"),
            app_query: text("app_query"),
            query: text("query"),
            agent: text("agent"),
            tc_url: text("tc_url"),
            tc_query: text("tc_query"),
            page_url: text("page_url"),
            swf_url: text("swf_url"),
            caps_ex: 7,
            via: text("via"),
        };
        let sparse = Names { key: text("key"), ..Names::default() };
        let long = Names { swf_url: vec![b'x'; MAX_PACKED_BYTES], ..names.clone() };
        for names in [names, sparse, long, Names::default()] {
            let kept = KeptNames::from(names.clone());
            assert_eq!((kept.get(), kept.caps_ex()), (names.clone(), names.caps_ex));
        }
        assert_eq!(KeptNames::default().get(), Names::default());
    }
}
