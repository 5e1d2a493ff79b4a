//! Promises of the settings: each knows its range, and a refusal has the setting's name and the reason.

use super::*;
use crate::error::{RRError, Result};

fn refused(result: Result<()>, words: &str) {
    let failure = result.expect_err(words);
    assert_eq!(failure.kind, RRError::Arg, "{failure}");
    assert!(failure.text.contains(words), "{failure}: not \"{words}\"");
}

#[test]
fn a_number_out_of_its_range_is_refused_with_name_range_and_reason() {
    let mut stream = StreamConfig::default();
    let lag = stream.set("queue_bytes", Value::Number(12));
    refused(lag, "queue_bytes is 12, allowed are 65536 to 1073741824: less than one message");
    refused(stream.set("nice", Value::Number(-21)), "nice is -21, allowed are -20 to 19: ");
    refused(stream.set("grace_ms", Value::Number(i128::MAX)), "grace_ms is ");
    let mut server = ServerConfig::default();
    refused(server.set("mem_limit", Value::Number(1)), "mem_limit is 1, the least is 1048576: a single key frame");
    assert_eq!((stream, server), (StreamConfig::default(), ServerConfig::default()), "what is refused changes nothing");
}

#[test]
fn streams_that_share_their_threads_cannot_have_what_is_of_a_thread_of_their_own() {
    let mut server = ServerConfig::default();
    let nice = StreamConfig { nice: 5, ..StreamConfig::default() };
    let cpus = StreamConfig { cpus: vec![1], ..StreamConfig::default() };
    assert!(server.may_have(&nice).is_ok() && server.may_have(&cpus).is_ok());
    refused(server.set("threads", Value::Number(257)), "threads is 257, allowed are 1 to 256: ");
    server.set("threads", Value::Number(2)).unwrap();
    refused(server.may_have(&nice), "nice needs a stream with threads of its own");
    refused(server.may_have(&cpus), "cpus needs a stream with threads of its own");
    assert!(server.may_have(&StreamConfig::default()).is_ok());
    server.set("threads", Value::Off).unwrap();
    assert!(server.may_have(&nice).is_ok());
}

#[test]
fn workers_have_settings_only_where_streams_run_in_processes() {
    let mut server = ServerConfig::default();
    refused(server.set("isolate", Value::Number(2)), "isolate is 2, not one of RR_ISOLATE_*");
    refused(server.set("worker_memory", Value::Number(1 << 20)), "worker_memory is 1048576, the least is 33554432: ");
    refused(server.set("worker_files", Value::Number(3)), "worker_files is 3, allowed are 64 to 1048576: ");
    refused(server.set("worker_hung_ms", Value::Number(1_000)), "worker_hung_ms is 1000, allowed are 2000 to 600000: ");
    refused(server.set("worker", Value::Text(&"x".repeat(4_097))), "worker has 4097 bytes");
    refused(server.set("worker_dir", Value::Text(&"x".repeat(4_097))), "worker_dir has 4097 bytes");
    refused(
        server.set("worker_orphan_ms", Value::Number(999)),
        "worker_orphan_ms is 999, allowed are 1000 to 86400000: ",
    );
    for (name, value) in [
        ("worker", Value::Text("/usr/bin/worker")),
        ("worker_memory", Value::Number(64 << 20)),
        ("worker_files", Value::Number(64)),
        ("worker_hung_ms", Value::Off),
        ("worker_dir", Value::Text("/run/workers")),
        ("worker_orphan_ms", Value::Number(5_000)),
    ] {
        let mut server = ServerConfig { threads: Some(2), ..ServerConfig::default() };
        server.set(name, value).unwrap();
        refused(server.clone().checked().map(drop), &format!("{name} needs streams in processes of their own"));
        server.set("isolate", Value::Number(1)).unwrap();
        if name == "worker_orphan_ms" {
            refused(server.clone().checked().map(drop), "worker_orphan_ms needs a folder");
            server.set("worker_dir", Value::Text("/run/workers")).unwrap();
        }
        let server = server.checked().unwrap();
        let placed = StreamConfig { nice: 5, cpus: vec![1], ..StreamConfig::default() };
        assert!(server.may_have(&placed).is_ok(), "a process has its priority and CPUs, whatever threads are shared");
        assert!(server.worker.media_bytes().is_none_or(|bytes| bytes + bytes / 4 < 64 << 20));
    }
}

#[test]
fn texts_of_targets_have_a_longest_length() {
    let mut target = TargetConfig::default();
    for (name, most, why) in [
        ("url", 8_192, "no server takes"),
        ("key", 4_096, "no server takes"),
        ("ca_file", 4_096, "no file has"),
        ("pin_sha256", 64, "SHA-256 has"),
        ("username", 1_024, "nobody has"),
        ("password", 1_024, "nobody has"),
    ] {
        target.set(name, Value::Text(&"x".repeat(most))).unwrap();
        let refusal = format!("{name} has {} bytes, at most {most} are allowed: {why}", most + 1);
        refused(target.set(name, Value::Text(&"x".repeat(most + 1))), &refusal);
    }
    refused(target.set("key", Value::Bytes(&[b'x'; 4_097])), "key has 4097 bytes");
    target.set("backup_urls", Value::Texts(&["x".repeat(8_192)])).unwrap();
    refused(target.set("backup_urls", Value::Texts(&["x".repeat(8_193)])), "backup_urls has 8193 bytes");
}

#[test]
fn a_value_of_another_kind_or_a_name_that_no_setting_has_is_refused() {
    let mut target = TargetConfig::default();
    refused(target.set("queue_ms", Value::Text("long")), "queue_ms must be a number");
    refused(target.set("url", Value::Number(1)), "url must be text");
    refused(target.set("url", Value::Default), "url must be given");
    refused(target.set("insecure", Value::Number(2)), "insecure is 2, allowed are 0 and 1");
    refused(target.set("backup_urls", Value::Text("rtmp://b/live")), "backup_urls must be a list");
    refused(target.set("slow_policy", Value::Off), "slow_policy is 4294967295, not one of RR_SLOW_*");
    refused(target.set("media", Value::Flag(true)), "media must be a list of audio, video, data");
    refused(target.set("media", Value::Number(8)), "media has unknown bits: 0x8");
    refused(target.set("gop_ms", Value::Number(1)), "gop_ms: a target has no such setting");
    refused(StreamConfig::default().set("ask", Value::Default), "ask: a stream has no such setting");
    refused(ServerConfig::default().set("user", Value::Number(1)), "user: a server has no such setting");
    refused(Decision::default().set("key", Value::Default), "key: a decision has no such setting");
}

#[test]
fn default_and_off_are_what_each_setting_makes_of_them() {
    let mut target = TargetConfig { retry_jitter_pct: 7, idle_ms: Some(1), send_ms: None, ..TargetConfig::default() };
    target.set("retry_jitter_pct", Value::Default).unwrap();
    target.set("idle_ms", Value::Off).unwrap();
    target.set("send_ms", Value::Off).unwrap();
    target.set("merge_ms", Value::Off).unwrap();
    assert_eq!((target.retry_jitter_pct, target.idle_ms), (20, None));
    assert_eq!(
        (target.send_ms, target.merge_ms),
        (Some(OFF), Some(0)),
        "off does not take the server's or the stream's time"
    );
    refused(target.set("queue_bytes", Value::Off), "queue_bytes cannot be off");
    let mut stream = StreamConfig::default();
    stream.set("gop_ms", Value::Off).unwrap();
    assert_eq!(stream.checked().gop_bytes, 0, "a group of no time is no group");
}

#[test]
fn settings_that_do_not_hold_together_are_refused() {
    let target = |min, max| TargetConfig {
        url: "rtmp://a/live".to_owned(),
        retry_min_ms: min,
        retry_max_ms: max,
        ..TargetConfig::default()
    };
    assert!(target(5, 5).checked().is_ok());
    refused(target(6, 5).checked().map(drop), "retry_min_ms (6) is above retry_max_ms (5)");
    refused(TargetConfig::default().checked().map(drop), "url must be given");
    let name = vec![b'a'; MAX_NAME_BYTES + 1];
    refused(Decision::default().set("rename", Value::Bytes(&name)), "rename is longer than 4096 bytes");
    refused(Decision::default().set("rename", Value::Bytes(b"a\0b")), "rename is longer than 4096 bytes, or has NUL");
    for empty in ["", "/"] {
        refused(Decision::default().set("rename", Value::Text(empty)), "rename is empty");
    }
}
