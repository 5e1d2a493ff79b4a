//! Media for the tests: files made once per test run, and the command lines of publishers and players.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::flv::{self, Tag};
use super::program::{Program, Room};

/// Options that make ffmpeg's FLV muxer write the same to a file and to a server: without fields that it would fill in
/// at the end.
const SAME_EVERYWHERE: [&str; 4] = ["-f", "flv", "-flvflags", "no_duration_filesize"];

/// Six seconds of H.264 (two B-frames, key frames of more than a chunk) and AAC.
pub(crate) struct Media {
    /// The file to publish.
    pub(crate) file: PathBuf,
    /// The messages that ffmpeg sends when it publishes the file.
    pub(crate) published: Vec<Tag>,
}

/// With a key frame each second.
pub(crate) fn media() -> &'static Media {
    static MEDIA: OnceLock<Media> = OnceLock::new();
    MEDIA.get_or_init(|| make("seconds", "25"))
}

/// With one key frame, the first.
pub(crate) fn one_group() -> &'static Media {
    static MEDIA: OnceLock<Media> = OnceLock::new();
    MEDIA.get_or_init(|| make("one-group", "1000"))
}

fn make(name: &str, group: &str) -> Media {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-media");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join(format!("{name}.flv"));
    let picture = "testsrc2=size=640x360:rate=25,noise=alls=30";
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=440"]);
    command.args(["-t", "6", "-c:v", "libx264", "-preset", "superfast", "-bf", "2", "-crf", "40", "-g", group]);
    command.args([
        "-x264-params",
        "ipratio=4",
        "-keyint_min",
        group,
        "-sc_threshold",
        "0",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
    ]);
    command.args(SAME_EVERYWHERE).arg(&file);
    run(&mut command);
    let published = as_ffmpeg_publishes(&file, &[], &folder.join(format!("{name}-published.flv")));
    let large = published.iter().filter(|tag| tag.is_key_frame()).all(|tag| tag.body.len() > 60_000);
    assert!(large, "key frames take more than one chunk");
    Media { file, published }
}

fn run(command: &mut Command) {
    let output = command.output().expect("ffmpeg is installed (tests/setup.sh)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The messages that ffmpeg sends when it publishes `file` with these options, by the same muxer to a file.
pub(crate) fn as_ffmpeg_publishes(file: &Path, options: &[&str], to: &Path) -> Vec<Tag> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-y", "-i"]).arg(file).args(["-c", "copy"]).args(options);
    run(command.args(SAME_EVERYWHERE).arg(to));
    flv::read(to)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own folders have plain names")
}

/// ffmpeg publishes a file six times as fast as it plays.
pub(crate) fn ffmpeg_publishes(room: &Room, name: &str, media: &Media, url: &str) -> Program {
    ffmpeg_publishes_with(room, name, media, &["-readrate", "6"], &[], url)
}

/// ffmpeg publishes a file with input options that set its pace, and output options.
pub(crate) fn ffmpeg_publishes_with(
    room: &Room,
    name: &str,
    media: &Media,
    pace: &[&str],
    options: &[&str],
    url: &str,
) -> Program {
    let mut args = vec!["-hide_banner", "-nostdin"];
    args.extend(pace);
    args.extend(["-i", text(&media.file), "-c", "copy"]);
    args.extend(options);
    args.extend(SAME_EVERYWHERE);
    args.push(url);
    room.start(name, "ffmpeg", &args)
}

/// rtmpdump keeps everything it gets, with the times it came with.
pub(crate) fn rtmpdump_plays(room: &Room, name: &str, url: &str) -> (Program, PathBuf) {
    let file = room.file(&format!("{name}.flv"));
    // The key is given apart, because rtmpdump reads a `?` in a url in its own way.
    let (server, key) = url.rsplit_once('/').expect("a url has a key");
    let program = room.start(name, "rtmpdump", &["--live", "-r", server, "-y", key, "-o", text(&file)]);
    (program, file)
}

/// ffmpeg plays into a file. It muxes anew: metadata and end of sequence are its own, and times begin at 0.
pub(crate) fn ffmpeg_plays(room: &Room, name: &str, url: &str) -> (Program, PathBuf) {
    let file = room.file(&format!("{name}.flv"));
    let args = ["-hide_banner", "-nostdin", "-copyts", "-i", url, "-c", "copy", "-f", "flv", text(&file)];
    (room.start(name, "ffmpeg", &args), file)
}

/// GStreamer plays into a file with one of its two sources.
pub(crate) fn gstreamer_plays(room: &Room, name: &str, source: &str, url: &str) -> (Program, PathBuf) {
    let sink = format!("filesink buffer-mode=unbuffered location={name}.flv");
    let program = gstreamer(room, name, &format!("{source} location={url} ! {sink}"));
    (program, room.file(&format!("{name}.flv")))
}

/// A GStreamer pipeline.
pub(crate) fn gstreamer(room: &Room, name: &str, pipeline: &str) -> Program {
    let mut args = vec!["-e", "-q"];
    args.extend(pipeline.split_whitespace());
    room.start(name, "gst-launch-1.0", &args)
}
