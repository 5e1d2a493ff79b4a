//! Programs with windows, on virtual screens: VLC, mpv and ffplay play, OBS publishes.

use std::path::Path;
use std::process::Command;

use rrelay::server::kind;
use rrelay::session::Role;

use crate::http::served;
use crate::support::flv::{self, AUDIO, Tag, VIDEO};
use crate::support::media::{ffmpeg_publishes_with, media, rtmpdump_plays};
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::until;

/// Pictures and pieces of sound that ffprobe finds in a file.
fn packets_in(file: &Path) -> (usize, usize) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "packet=codec_type", "-of", "csv=p=0"]).arg(file);
    let output = command.output().expect("ffprobe is installed (tests/setup.sh)");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = |what| words.lines().filter(|line| line.trim_end_matches(',') == what).count();
    (count("video"), count("audio"))
}

fn frames_of(tags: &[Tag], kind: u8) -> usize {
    tags.iter().filter(|tag| tag.is_frame() && tag.kind == kind).count()
}

/// Publishes six seconds, as fast as they play, for a player that waits.
fn show(room: &Room, relay: &Relay) {
    relay.has_players("show", 1);
    ffmpeg_publishes_with(room, "publisher", media(), &["-re"], &[], &relay.url("show")).ends_well();
}

/// Starts VLC, which does not run as root: root starts it as the user nobody, with its output file open already.
fn vlc(room: &Room, url: &str, file: &Path) -> Program {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let nobody = if is_root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let out = "#standard{access=file,mux=ts,dst=-}";
    let line = format!("exec {nobody} vlc -I dummy \"$0\" --sout '{out}' vlc://quit > \"$1\"");
    room.start("vlc", "env", &["HOME=/nonexistent", "sh", "-c", &line, url, file.to_str().unwrap()])
}

/// Asserts that VLC plays everything that comes from this address.
fn vlc_plays(room: &Room, relay: &Relay, url: &str) {
    let file = room.file("vlc.ts");
    let mut player = vlc(room, url, &file);
    show(room, relay);
    player.ends_well();
    let published = &media().published;
    let ((pictures, sound), (all, all_sound)) =
        (packets_in(&file), (frames_of(published, VIDEO), frames_of(published, AUDIO)));
    // At the stream's end VLC leaves out the last packets that it has read.
    assert!((all - 12..=all).contains(&pictures), "{pictures} of {all}");
    assert!((all_sound - 24..=all_sound).contains(&sound), "{sound} of {all_sound}");
}

#[test]
fn vlc_plays_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("vlc"), Relay::new());
    vlc_plays(&room, &relay, &relay.url("show"));
}

#[test]
fn vlc_plays_over_http_what_ffmpeg_publishes() {
    let (room, (relay, url)) = (Room::new("vlc-http"), served());
    vlc_plays(&room, &relay, &url);
}

#[test]
fn mpv_plays_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("mpv"), Relay::new());
    let args = ["--no-config", "--vo=null", "--ao=null", "--stream-record=mpv.mkv", &relay.url("show")];
    let mut player = room.start("mpv", "mpv", &args);
    show(&room, &relay);
    player.ends_well();
    let published = &media().published;
    assert_eq!(packets_in(&room.file("mpv.mkv")), (frames_of(published, VIDEO), frames_of(published, AUDIO)));
}

#[test]
fn ffplay_plays_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("ffplay"), Relay::new());
    let url = relay.url("show");
    let args = ["SDL_VIDEODRIVER=dummy", "SDL_AUDIODRIVER=dummy", "ffplay", "-autoexit", "-stats", &url];
    let mut player = room.start("ffplay", "env", &args);
    show(&room, &relay);
    player.ends_well();
    let words = player.words();
    // "   5.96 A-V:  0.001 fd=   0 ...", once for each picture that was shown.
    let clocks = words.split("A-V:").filter_map(|before| before.split_whitespace().last()?.parse::<f64>().ok());
    let last = clocks.fold(0.0, f64::max);
    assert!((5.0..7.0).contains(&last), "its clock came to {last}:\n{words}");
}

/// OBS with a profile that publishes a small black picture and silence, on a screen of its own.
struct Studio {
    obs: Program,
    _screen: Program,
}

impl Studio {
    fn new(room: &Room, relay: &Relay) -> Self {
        let basic = room.file(".config/obs-studio/basic");
        let write = |name: &str, text: &str| {
            let path = basic.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let names = "Profile=show\nProfileDir=show\nSceneCollection=show\nSceneCollectionFile=show\n";
        write("../global.ini", &format!("[General]\nFirstRun=true\nEnableAutoUpdates=false\n[Basic]\n{names}"));
        write(
            "profiles/show/basic.ini",
            "[General]\nName=show\n[Output]\nMode=Simple\nReconnect=true\nRetryDelay=1\nMaxRetries=20\n\
             [SimpleOutput]\nVBitrate=300\nABitrate=96\nStreamEncoder=x264\nPreset=ultrafast\n\
             [Video]\nBaseCX=320\nBaseCY=180\nOutputCX=320\nOutputCY=180\nFPSType=0\nFPSCommon=10\n",
        );
        let server = format!("rtmp://127.0.0.1:{}/live", relay.port);
        write(
            "profiles/show/service.json",
            &format!(r#"{{"type":"rtmp_custom","settings":{{"server":"{server}","key":"show","use_auth":false}}}}"#),
        );
        write(
            "scenes/show.json",
            r#"{"name":"show","current_scene":"Scene","current_program_scene":"Scene","scene_order":[{"name":"Scene"}],
                "sources":[{"id":"scene","name":"Scene","settings":{"items":[],"id_counter":0}}]}"#,
        );
        let screen =
            room.start("screen", "Xvfb", &["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]);
        let number = until("the screen has a number", || {
            let words = screen.words();
            words.lines().find_map(|line| line.trim().parse::<u32>().ok()).filter(|_| words.ends_with('\n'))
        });
        let home = room.file("");
        let folder = |name: &str| format!("{name}={}", home.display());
        let vars = [folder("HOME"), folder("XDG_RUNTIME_DIR"), folder("XDG_CONFIG_HOME") + ".config"];
        let display = format!("DISPLAY=:{number}");
        let mut args: Vec<&str> = vars.iter().map(String::as_str).collect();
        args.extend([&*display, "LIBGL_ALWAYS_SOFTWARE=1", "obs", "--startstreaming", "--multi"]);
        args.extend([
            "--profile",
            "show",
            "--collection",
            "show",
            "--disable-updater",
            "--disable-missing-files-check",
        ]);
        Self { obs: room.start("obs", "env", &args), _screen: screen }
    }
}

/// Lets a player join now, and waits until it has so many pictures, from headers and a key frame on, in the order of
/// time.
fn somebody_plays(room: &Room, relay: &Relay, name: &str, pictures: usize) {
    let (player, file) = rtmpdump_plays(room, name, &relay.url("show"));
    let tags = until(&format!("{pictures} pictures and as much sound"), || {
        let tags = flv::read_so_far(&file);
        (frames_of(&tags, VIDEO) >= pictures && frames_of(&tags, AUDIO) >= pictures).then_some(tags)
    });
    drop(player);
    let headers = tags.iter().take_while(|tag| tag.is_header()).count();
    assert!(tags.first().is_some_and(Tag::is_metadata) && headers >= 3, "{headers} headers begin it");
    assert!(tags.iter().find(|tag| tag.is_frame() && tag.kind == VIDEO).is_some_and(Tag::is_key_frame));
    let times: Vec<u32> = tags.iter().filter(|tag| tag.is_frame()).map(|tag| tag.ts_ms).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_obs_publishes_arrives_and_it_comes_back_when_it_was_cut_off() {
    let (room, relay) = (Room::new("obs"), Relay::new());
    let mut studio = Studio::new(&room, &relay);
    until("it publishes", || (relay.count("show", Role::Publisher) == 1).then_some(()));
    somebody_plays(&room, &relay, "first", 15);
    let sessions = relay.server.list(relay.stream("show").unwrap(), kind::SESSION).unwrap();
    let publisher = sessions.into_iter().find(|&id| relay.server.info(id).is_ok_and(|is| is.role == Role::Publisher));
    let publisher = publisher.unwrap();
    relay.server.session_close(publisher, "to see whether it comes back", 0).unwrap();
    until("it has gone", || relay.server.info(publisher).is_err().then_some(()));
    until("it has come back", || (relay.count("show", Role::Publisher) == 1).then_some(()));
    somebody_plays(&room, &relay, "second", 15);
    assert!(studio.obs.is_running(), "{}", studio.obs.words());
}
