//! `/metrics` for Prometheus: one snapshot of the server's figures for each scrape.
//!
//! Labels have the ids of streams and targets; names and keys only if the host says so, because metrics are stored for
//! a long time and read by many people.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::answer::Buffer;
use super::model::{id_text, publisher_rtt_us};
use crate::error::{Failure, RRError, Result};
use crate::server::figures::Stats;
use crate::server::report::Info;
use crate::server::slots::kind;
use crate::server::{RRServer, WorkerCounts};
use crate::session::State;
use crate::stream::StreamName;
use crate::stream::event::Id;

/// The content type of the answer.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A kind of metric, and the function that makes it from a value.
type Metric<T, M> = (MetricType, fn(T) -> M);

/// The labels of an object, its figures, and whether it has media.
type Row = (Vec<(&'static str, String)>, Stats, bool);

/// The figures at one moment.
#[derive(Debug)]
struct Snapshot {
    server: Stats,
    streams: Vec<Row>,
    targets: Vec<Row>,
    players: usize,
    /// Where streams run in processes.
    workers: Option<WorkerCounts>,
}

/// A figure: its name without the prefix, its help text, its unit, and its place in the statistics.
struct Figure<T> {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    of: fn(&Stats) -> T,
}

const fn figure<T>(name: &'static str, help: &'static str, unit: Option<Unit>, of: fn(&Stats) -> T) -> Figure<T> {
    Figure { name, help, unit, of }
}

/// Counters of streams, and of the server as their sum.
const COUNTERS: [Figure<u64>; 6] = [
    figure("received", "Bytes that publishers sent, protocol included", Some(Unit::Bytes), |s| s.bytes_in),
    figure("sent", "Bytes to players and targets, protocol included", Some(Unit::Bytes), |s| s.bytes_out),
    figure("received_messages", "Messages that publishers sent", None, |s| s.msgs_in),
    figure("sent_messages", "Messages to players and targets", None, |s| s.msgs_out),
    figure("dropped_messages", "Messages that slow consumers did not get", None, |s| s.dropped_msgs),
    figure("clock_jumps", "Jumps of publishers' timestamps", None, |s| s.clock_jumps.into()),
];

/// Gauges of streams, and of the server as their sum.
const GAUGES: [Figure<f64>; 4] = [
    figure("received_bits_per_second", "Rate of publishers over two seconds", None, |s| f64::from(s.kbps_in) * 1e3),
    figure("sent_bits_per_second", "Rate to consumers over two seconds", None, |s| f64::from(s.kbps_out) * 1e3),
    figure("memory", "Memory of media", Some(Unit::Bytes), |s| s.queue_bytes as f64),
    figure("lag", "Age of the oldest byte that waits for a consumer", Some(Unit::Seconds), |s| {
        f64::from(s.queue_ms) / 1e3
    }),
];

/// Gauges that only a single stream has.
const STREAM_GAUGES: [Figure<f64>; 3] = [
    figure("frames_per_second", "Pictures a second over two seconds", None, |s| f64::from(s.fps_milli) / 1e3),
    figure("key_frame_interval", "Between the last two key frames", Some(Unit::Seconds), |s| {
        f64::from(s.key_interval_ms) / 1e3
    }),
    figure("round_trip", "TCP's smoothed round trip time to the publisher; 0: not known", Some(Unit::Seconds), |s| {
        f64::from(s.rtt_us) / 1e6
    }),
];

/// Counters of targets and sources.
const TARGET_COUNTERS: [Figure<u64>; 5] = [
    figure("received", "Bytes received, protocol included", Some(Unit::Bytes), |s| s.bytes_in),
    figure("sent", "Bytes sent, protocol included", Some(Unit::Bytes), |s| s.bytes_out),
    figure("dropped_messages", "Messages it did not get because it is slow", None, |s| s.dropped_msgs),
    figure("connects", "Connections made", None, |s| s.connects.into()),
    figure("failures", "Tries that failed and connections that were lost", None, |s| s.failures.into()),
];

/// Gauges of targets and sources.
const TARGET_GAUGES: [Figure<f64>; 4] = [
    figure("received_bits_per_second", "Rate from it over two seconds", None, |s| f64::from(s.kbps_in) * 1e3),
    figure("sent_bits_per_second", "Rate to it over two seconds", None, |s| f64::from(s.kbps_out) * 1e3),
    figure("lag", "Age of the oldest byte that waits", Some(Unit::Seconds), |s| f64::from(s.queue_ms) / 1e3),
    figure("round_trip", "TCP's smoothed round trip time", Some(Unit::Seconds), |s| f64::from(s.rtt_us) / 1e6),
];

/// Writes the text of one scrape; with `names`, streams and targets have their application and key as labels.
///
/// # Errors
/// [`RRError::NoMem`].
pub(crate) fn write(server: &RRServer, names: bool, text: &mut Buffer) -> Result<()> {
    let mut registry = Registry::with_prefix("rrelay");
    registry.register_collector(Box::new(snapshot(server, names)?));
    // The buffer remembers that it has no room.
    let _ = prometheus_client::encoding::text::encode(text, &registry);
    Ok(())
}

fn snapshot(server: &RRServer, names: bool) -> Result<Snapshot> {
    let named = |mut labels: Vec<(&'static str, String)>, info: &Info| {
        if names {
            labels.extend([("app", label(&info.app)), ("key", label(&info.key))]);
        }
        labels
    };
    let row = |id| -> Option<(Stats, Info)> { Some((server.stats(id).ok()?, server.info(id).ok()?)) };
    let stream = |id| {
        let (mut stats, info) = row(id)?;
        let stream = server.stream_named(&StreamName { app: info.app.clone(), key: info.key.clone() })?;
        stats.rtt_us = publisher_rtt_us(server, &stream).unwrap_or_default();
        Some((named(vec![("stream", id_text(id))], &info), stats, info.state == State::InProgress))
    };
    let target = |id| {
        let (stats, info) = row(id)?;
        let role = info.role.name().to_owned();
        let labels = vec![("target", id_text(id)), ("stream", id_text(info.stream)), ("role", role)];
        Some((named(labels, &info), stats, info.state == State::InProgress))
    };
    Ok(Snapshot {
        server: server.stats(0)?,
        players: server.list(0, kind::SESSION)?.len(),
        streams: table(&server.list(0, kind::STREAM)?, stream)?,
        targets: table(&server.list(0, kind::TARGET)?, target)?,
        workers: server.worker_counts(),
    })
}

/// A name as the value of a label. The encoder writes values as they are, so what would end the value or its line is
/// escaped here: peers choose the names.
fn label(name: &[u8]) -> String {
    let mut value = String::with_capacity(name.len());
    for char in String::from_utf8_lossy(name).chars() {
        match char {
            '\\' => value.push_str("\\\\"),
            '"' => value.push_str("\\\""),
            '\n' => value.push_str("\\n"),
            other => value.push(other),
        }
    }
    value
}

/// The rows of these objects, except those that end meanwhile.
fn table(ids: &[Id], row: impl Fn(Id) -> Option<Row>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    rows.try_reserve_exact(ids.len()).map_err(|_| Failure::from(RRError::NoMem))?;
    rows.extend(ids.iter().filter_map(|&id| row(id)));
    Ok(rows)
}

impl Snapshot {
    fn encode_all(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let server = [(Vec::new(), self.server)];
        let server = || server.iter().map(|(labels, stats)| (labels, stats));
        let (counter, gauge): (Metric<u64, _>, Metric<f64, _>) =
            ((MetricType::Counter, ConstCounter::new), (MetricType::Gauge, ConstGauge::new));
        for figure in &COUNTERS {
            family(encoder, "server", figure, counter, server())?;
            family(encoder, "stream", figure, counter, rows(&self.streams))?;
        }
        for figure in &GAUGES {
            family(encoder, "server", figure, gauge, server())?;
            family(encoder, "stream", figure, gauge, rows(&self.streams))?;
        }
        for figure in &STREAM_GAUGES {
            family(encoder, "stream", figure, gauge, rows(&self.streams))?;
        }
        for figure in &TARGET_COUNTERS {
            family(encoder, "target", figure, counter, rows(&self.targets))?;
        }
        for figure in &TARGET_GAUGES {
            family(encoder, "target", figure, gauge, rows(&self.targets))?;
        }
        let streams = self.streams.len() as f64;
        single(encoder, "streams", "Streams there are", streams)?;
        single(encoder, "sessions", "Connections that others opened", self.players as f64)?;
        single(encoder, "targets", "Targets and sources there are", self.targets.len() as f64)?;
        let live = |(_, _, live): &&Row| *live;
        single(encoder, "live_streams", "Streams with media", self.streams.iter().filter(live).count() as f64)?;
        single(
            encoder,
            "live_targets",
            "Targets that are sent media",
            self.targets.iter().filter(live).count() as f64,
        )?;
        let Some(WorkerCounts { started, crashed, hung }) = self.workers else { return Ok(()) };
        let count = |encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64| {
            ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        count(encoder, "workers_started", "Processes that were started for streams", started)?;
        count(encoder, "workers_crashed", "Those that ended by themselves or could not be started", crashed)?;
        count(encoder, "workers_hung", "Those that were killed because they did not answer", hung)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_all(&mut encoder)
    }
}

fn rows(rows: &[Row]) -> impl Iterator<Item = (&Vec<(&'static str, String)>, &Stats)> {
    rows.iter().map(|(labels, stats, _)| (labels, stats))
}

/// One figure of all objects of a kind; `metric` turns its value into the metric to encode.
fn family<'a, T, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    object: &str,
    figure: &Figure<T>,
    (kind, metric): Metric<T, M>,
    rows: impl Iterator<Item = (&'a Vec<(&'static str, String)>, &'a Stats)>,
) -> fmt::Result {
    let name = format!("{object}_{}", figure.name);
    let mut family = encoder.encode_descriptor(&name, figure.help, figure.unit.as_ref(), kind)?;
    for (labels, stats) in rows {
        let value = metric((figure.of)(stats));
        if labels.is_empty() {
            return value.encode(family);
        }
        value.encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn single(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use crate::log::LevelFilter;

    /// The value of a label, read as scrapers read it, and the rest of the line.
    fn read<'a>(line: &'a str, name: &str) -> (String, &'a str) {
        let begin = format!("{name}=\"");
        let rest = &line[line.find(&begin).unwrap() + begin.len()..];
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        loop {
            match chars.next().unwrap() {
                (at, '"') => return (value, &rest[at + 1..]),
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        }
    }

    #[test]
    fn names_of_peers_stay_within_their_labels() {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let (app, key) = ("li\"ve\\", "show\"} 1\nrrelay_streams 7\n\\");
        server.stream_create(app.as_bytes(), key.as_bytes(), None).unwrap();
        let mut text = Buffer::default();
        write(&server, true, &mut text).unwrap();
        let text = String::from_utf8(text.finish().unwrap().into()).unwrap();
        let of_stream: Vec<&str> = text.lines().filter(|line| line.starts_with("rrelay_stream_")).collect();
        assert_eq!(of_stream.len(), COUNTERS.len() + GAUGES.len() + STREAM_GAUGES.len(), "{text}");
        for line in of_stream {
            let (given_app, rest) = read(line, "app");
            let (given_key, rest) = read(rest, "key");
            assert_eq!((&*given_app, &*given_key), (app, key), "{line}");
            assert!(rest.strip_prefix("} ").is_some_and(|value| value.parse::<f64>().is_ok()), "{line}");
        }
        let counts = text.lines().filter(|line| line.starts_with("rrelay_streams "));
        assert_eq!(counts.collect::<Vec<_>>(), ["rrelay_streams 1.0"]);
    }
}
