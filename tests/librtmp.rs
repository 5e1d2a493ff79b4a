//! librtmp's face: its exports, its behaviour for programs that know librtmp's headers, and the distribution's own
//! programs on it.

#![cfg(feature = "librtmp")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

#[path = "librtmp/basic_server.rs"]
mod basic_server;
#[path = "librtmp/differ.rs"]
mod differ;
#[path = "librtmp/film.rs"]
mod film;
#[path = "librtmp/host.rs"]
mod host;
#[path = "librtmp/hostile.rs"]
mod hostile;
#[path = "support/ingest.rs"]
mod ingest;
#[path = "librtmp/installed.rs"]
mod installed;
#[path = "librtmp/linked.rs"]
mod linked;
#[path = "librtmp/logins.rs"]
mod logins;
#[path = "librtmp/programs.rs"]
mod programs;
#[path = "librtmp/promises.rs"]
mod promises;
#[path = "librtmp/prototypes.rs"]
mod prototypes;
#[path = "librtmp/publish_file.rs"]
mod publish_file;
#[path = "librtmp/python.rs"]
mod python;
#[path = "librtmp/resume.rs"]
mod resume;
#[path = "librtmp/rtmpsrv.rs"]
mod rtmpsrv;
#[path = "librtmp/slow.rs"]
mod slow;
#[path = "librtmp/surface.rs"]
mod surface;
#[path = "librtmp/swf.rs"]
mod swf;
#[path = "librtmp/talk.rs"]
mod talk;
#[path = "librtmp/transports.rs"]
mod transports;
#[path = "librtmp/tunnels.rs"]
mod tunnels;
