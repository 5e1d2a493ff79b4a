//! Shapes of load: the rows of the table.

/// The load on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) streams: usize,
    /// Players of each stream.
    pub(crate) players: usize,
    /// Rate of each stream, at most [`MOST_KBPS`].
    pub(crate) kbps: u32,
    /// Additional players of the first stream that read nothing.
    pub(crate) stalled: usize,
    /// Additional players of the first stream, whose ages do not count: what a large stream does to others.
    pub(crate) crowd: usize,
    /// Targets to which the server pushes the one stream.
    pub(crate) targets: usize,
    /// The server's collecting time.
    pub(crate) merge_ms: u32,
    /// Players come over TLS; every server is also measured without TLS.
    pub(crate) tls: bool,
    /// Players come over HTTP; every server is also measured with RTMP.
    pub(crate) http: bool,
    /// There is no publisher; memory is measured.
    pub(crate) idle: bool,
    /// Streams run in processes; every server is also measured without that.
    pub(crate) isolated: bool,
    /// The memory of a stream and the time of its first picture are measured too.
    pub(crate) starts: bool,
    /// Threads that send to each stream's players; every server is also measured with one. 0: as many as it has by itself.
    pub(crate) relay_threads: u32,
}

/// Largest rate at which a key frame is a single chunk.
const MOST_KBPS: u32 = 2_900;

const PLAIN: Shape = Shape {
    streams: 1,
    players: 0,
    kbps: 2_000,
    stalled: 0,
    crowd: 0,
    targets: 0,
    merge_ms: 0,
    tls: false,
    http: false,
    idle: false,
    isolated: false,
    starts: false,
    relay_threads: 0,
};

/// A row: its name on the command line, and whether the short bench has it.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) is_quick: bool,
}

/// All rows, in the order of the table. There are at most `idle` idle players.
pub(crate) fn rows(idle: usize) -> Vec<Row> {
    let row = |name: &str, is_quick, shape| Row { name: name.to_owned(), shape, is_quick };
    let one = |merge_ms| Shape { players: 200, merge_ms, ..PLAIN };
    let fifty = |merge_ms| Shape { streams: 50, players: 4, kbps: 1_000, merge_ms, ..PLAIN };
    let many = |streams| Shape { streams, players: 1, kbps: 200, ..PLAIN };
    vec![
        row("1x200", true, one(0)),
        row("1x200+25", true, one(25)),
        row("1x200+60", false, one(60)),
        row("1x200+250", false, one(250)),
        row("50x4", true, fifty(0)),
        row("50x4+10", false, fifty(10)),
        row("crowd", false, Shape { crowd: 200, ..fifty(0) }),
        row("200x1", true, many(200)),
        row("1000x1", false, many(1_000)),
        row("push50", true, Shape { targets: 50, ..PLAIN }),
        row("stalled", false, Shape { players: 80, stalled: 20, ..PLAIN }),
        row("rtmps20", false, Shape { players: 20, tls: true, ..PLAIN }),
        row("rtmps200", false, Shape { players: 200, tls: true, ..PLAIN }),
        row("rtmps50x4", false, Shape { tls: true, ..fifty(0) }),
        row("http200", false, Shape { players: 200, http: true, ..PLAIN }),
        row("processes", false, Shape { isolated: true, starts: true, ..fifty(0) }),
        row("1x4000", false, Shape { players: 4_000, kbps: 500, relay_threads: 2, ..PLAIN }),
        row("idle", false, Shape { players: idle, idle: true, ..PLAIN }),
    ]
}

impl Row {
    /// STREAMSxPLAYERS@KBPS, with +MS behind it for the server's collecting time, and /rtmps for players over TLS.
    pub(crate) fn custom(text: &str) -> Option<Self> {
        let plain = text.strip_suffix("/rtmps");
        let (streams, rest) = plain.unwrap_or(text).split_once('x')?;
        let (players, rest) = rest.split_once('@')?;
        let (kbps, merge_ms) = rest.split_once('+').unwrap_or((rest, "0"));
        let shape = Shape {
            streams: streams.parse().ok().filter(|&streams| streams > 0)?,
            players: players.parse().ok().filter(|&players| players > 0)?,
            kbps: kbps.parse().ok().filter(|&kbps| (1..=MOST_KBPS).contains(&kbps))?,
            merge_ms: merge_ms.parse().ok()?,
            tls: plain.is_some(),
            ..PLAIN
        };
        Some(Self { name: text.to_owned(), shape, is_quick: true })
    }
}

impl Shape {
    /// The load in words, for the table.
    pub(crate) fn words(&self) -> String {
        let Self { streams, players, kbps, stalled, crowd, targets, merge_ms, tls, http, idle, isolated, .. } = *self;
        if idle {
            return format!("{players} idle players");
        }
        let rate = if kbps < 1_000 { format!("{kbps} kbit/s") } else { format!("{} Mbit/s", f64::from(kbps) / 1e3) };
        let mut words = match (streams, targets) {
            (_, 1..) => format!("push to {targets} targets"),
            (1, _) => format!("1 stream x {} players", players + stalled),
            _ => format!("{streams} streams x {players}"),
        };
        words += &format!(", {rate}");
        if stalled > 0 {
            words += &format!(", {stalled} of them stalled");
        }
        if crowd > 0 {
            words += &format!(", beside {crowd} more of the first stream");
        }
        if tls {
            words += ", RTMPS";
        }
        if http {
            words += ", HTTP-FLV";
        }
        if isolated {
            words += ", streams in processes";
        }
        if merge_ms > 0 {
            words += &format!(", collected for {merge_ms} ms");
        }
        words
    }

    /// The same load without what rrelay is compared with itself in, and the names of both; no names where there is
    /// nothing of that.
    pub(crate) fn kinds(&self) -> (Self, Option<&'static str>, Option<&'static str>) {
        let relay_threads = self.relay_threads.min(1);
        let plain = Self { tls: false, http: false, isolated: false, relay_threads, ..*self };
        let (without, with) = match self {
            Self { isolated: true, .. } => (Some("threads"), Some("processes")),
            Self { relay_threads: 2.., .. } => (Some("1 relay thread"), Some("2 relay threads")),
            Self { tls: true, .. } => (Some("plain"), Some("RTMPS")),
            Self { http: true, .. } => (Some("plain"), Some("HTTP-FLV")),
            _ => (None, None),
        };
        (plain, without, with)
    }

    /// As one word, for the load tool.
    pub(crate) fn to_words(self) -> String {
        let Self { streams, players, kbps, stalled, crowd, targets, merge_ms, relay_threads, .. } = self;
        let Self { tls, http, idle, isolated, starts, .. } = self;
        let flags = [tls, http, idle, isolated, starts].map(|flag| u8::from(flag).to_string()).join(",");
        format!("{streams},{players},{kbps},{stalled},{crowd},{targets},{merge_ms},{relay_threads},{flags}")
    }

    /// Reads the word of [`to_words`](Self::to_words).
    pub(crate) fn from_words(words: &str) -> Self {
        let numbers: Vec<u32> = words.split(',').map(|word| word.parse().expect("a number")).collect();
        let &[streams, players, kbps, stalled, crowd, targets, merge_ms, relay_threads, ref flags @ ..] =
            numbers.as_slice()
        else {
            panic!("\"{words}\" is no shape");
        };
        let &[tls, http, idle, isolated, starts] = flags else { panic!("\"{words}\" is no shape") };
        let [tls, http, idle, isolated, starts] = [tls, http, idle, isolated, starts].map(|flag| flag == 1);
        let [streams, players, stalled, crowd, targets] =
            [streams, players, stalled, crowd, targets].map(|number| number as usize);
        Self {
            streams,
            players,
            kbps,
            stalled,
            crowd,
            targets,
            merge_ms,
            tls,
            http,
            idle,
            isolated,
            starts,
            relay_threads,
        }
    }
}
