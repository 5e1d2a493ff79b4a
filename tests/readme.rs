//! README.md and docs/interop.md are right: their programs are taken out of the pages, built, run and used, and their
//! ways to link are tried with an installation in a folder.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rrelay::config::TargetConfig;
use rrelay::error::RRError;
use rrelay::server::{ListenOptions, State};
use support::c::{As, build, deps, good, root, workshop};
use support::program::{Program, Room};
use support::rml::{Client, key_frame, sequence_header};
use support::server::Relay;
use support::{PATIENCE, until};

/// The code blocks of the page in one language.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks: Vec<String> = blocks.collect();
    assert!(!blocks.is_empty(), "the page has no {language}");
    blocks
}

/// The commands of the page that call a program, with their continuation lines.
fn commands(program: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("README.md")).unwrap().replace("\\\n", " ");
    let is_one = |line: &&str| line.strip_prefix("    ").is_some_and(|command| command.starts_with(program));
    page.lines().filter(is_one).map(str::to_owned).collect()
}

/// The port that a program says to publish to.
fn port_of(program: &Program) -> u16 {
    until("the program listens", || {
        let words = program.words();
        let (_, rest) = words.split_once("rtmp://127.0.0.1:")?;
        rest.split_once('/')?.0.parse().ok()
    })
}

/// A publisher that has sent something.
fn published(port: u16) -> Client {
    let mut publisher = Client::publish(port, "show");
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    publisher
}

/// Publishes to a program of the page and waits until the program reports that; the publisher stays.
fn publish(program: &Program, said: &str) -> Client {
    let publisher = published(port_of(program));
    until("the program says that the stream is live", || program.words().contains(said).then_some(()));
    publisher
}

/// `make install` into a folder, with the library of this build.
fn installation(name: &str) -> PathBuf {
    let built = workshop(&format!("readme-{name}-target"));
    let prefix = workshop(&format!("readme-{name}-prefix"));
    fs::create_dir_all(built.join("release")).unwrap();
    for library in ["librrelay.so", "librrelay.a"] {
        let link = built.join("release").join(library);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(deps().join(library), link).unwrap();
    }
    for program in ["rr_server", "release/rrelay-worker"] {
        fs::write(built.join(program), "").unwrap();
    }
    let script = root().join("packaging/install.sh");
    let at = |folder: &str| prefix.join(folder).into_os_string();
    let output = Command::new(script)
        .args([built.as_os_str(), env!("CARGO_PKG_VERSION").as_ref(), "0".as_ref(), "".as_ref(), prefix.as_os_str()])
        .args([at("lib"), at("include"), at("bin")])
        .output()
        .unwrap();
    good(&output, "install.sh");
    prefix
}

/// Asserts that a program built against an installation runs: with a wrong address it reports that and ends.
fn runs(program: &Path, prefix: &Path) {
    let output = Command::new(program)
        .arg("no address")
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .output()
        .expect("it is there");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("address"), "{output:?}");
}

#[test]
fn the_c_program_relays_and_pushes() {
    let room = Room::new("readme-c");
    let source = room.file("relay.c");
    fs::write(&source, blocks("c").concat()).unwrap();
    let program = build("readme-c", &[source], As::C99);
    let other = Relay::new();
    let program = room.start("relay", program.to_str().unwrap(), &["127.0.0.1:0", &other.url("show")]);
    let _publisher = publish(&program, "STREAM live/show: IN_PROGRESS");
    other.has_messages("show", 2);
    until("the program says that it pushes", || {
        program.words().contains("TARGET live/show: IN_PROGRESS").then_some(())
    });
}

#[test]
fn the_certificate_that_the_page_makes_is_trusted_by_its_file_and_by_its_pin() {
    let room = Room::new("readme-certificate");
    // The page has a host of its own; this machine's name is localhost.
    let commands = commands("openssl").join("\n").replace("relay.example.com", "localhost");
    let output = Command::new("sh").arg("-ec").arg(&commands).current_dir(room.file("")).output().unwrap();
    good(&output, &commands);
    let pin = String::from_utf8(output.stdout).unwrap();
    let far = Relay::new();
    far.server.set_tls(&room.file("chain.pem"), &room.file("key.pem")).unwrap();
    let port = far.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let near = Relay::new();
    let stream = near.server.stream_create(b"live", b"show", None).unwrap();
    let _publisher = published(near.port);
    let file = room.file("chain.pem").to_str().unwrap().to_owned();
    for (key, trusts) in [
        ("file", TargetConfig { ca_file: Some(file), ..TargetConfig::default() }),
        (
            "pin",
            TargetConfig { pin_sha256: pin.split_whitespace().next().map(str::to_owned), ..TargetConfig::default() },
        ),
    ] {
        let url = format!("rtmps://localhost:{port}/live/{key}");
        near.server.target_add(stream, TargetConfig { url, ..trusts }).unwrap();
        far.has_messages(key, 2);
    }
    // Without either it is a stranger's.
    let url = format!("rtmps://localhost:{port}/live/stranger");
    let target = near.server.target_add(stream, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    let refused = near.event("it is refused", |event| event.target == target && event.state == State::Failed);
    assert_eq!(refused.error, Some(RRError::Cert));
}

#[test]
fn the_python_program_relays() {
    let room = Room::new("readme-python");
    let source = room.file("relay.py");
    fs::write(&source, blocks("python").concat()).unwrap();
    let library = format!("LD_LIBRARY_PATH={}", workshop("readme-python").display());
    // When the tests are started in the background, SIGINT may be ignored.
    let start = |name, at: &str| {
        room.start(name, "env", &["--default-signal=INT", &library, "python3", source.to_str().unwrap(), at])
    };
    let mut program = start("relay", "127.0.0.1:0");
    let port = port_of(&program);
    let _publisher = publish(&program, "STREAM live show IN_PROGRESS");
    // A key is any bytes: the program prints one that is no UTF-8, and goes on.
    let play = format!("exec rtmpdump -q --live -o /dev/null -r \"$(printf 'rtmp://127.0.0.1:{port}/live/caf\\351')\"");
    let _player = room.start("player", "sh", &["-c", &play]);
    program.says("STREAM live caf\u{fffd} IDLE");
    let _other = Client::publish(port, "other");
    program.says("STREAM live other ");
    // A port in use is a failure.
    let mut second = start("second", &format!("127.0.0.1:{port}"));
    assert_eq!(second.ends_within(PATIENCE).code(), Some(1), "{}", second.words());
    // Ctrl-C ends it, as a user expects.
    program.interrupt();
    program.ends_well();
    assert!(!program.words().contains("Traceback"), "{}", program.words());
}

#[test]
fn the_installed_server_finds_the_installed_worker() {
    let prefix = installation("worker");
    let room = Room::new("readme-worker");
    let server = prefix.join("bin/rr_server");
    let options = ["--addr", "127.0.0.1", "--port", "0", "--isolate", "process"];
    let program = room.start("server", server.to_str().unwrap(), &options);
    let _publisher = publish(&program, ": tracks avc1");
    // Started by a user, it says what it is for.
    let output = Command::new(prefix.join("lib/rrelay/rrelay-worker")).output().unwrap();
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("--isolate process"));
}

#[test]
fn programs_are_linked_by_pkg_config() {
    let prefix = installation("pkg-config");
    let room = Room::new("readme-link");
    fs::write(room.file("relay.c"), blocks("c").concat()).unwrap();
    let commands = blocks("sh").concat();
    let commands: Vec<&str> = commands.lines().filter(|line| line.starts_with("cc ")).collect();
    assert_eq!(commands.len(), 2, "one dynamic, one static");
    for command in commands {
        let output = Command::new("bash")
            .args(["-c", command])
            .current_dir(room.file(""))
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
            .output()
            .unwrap();
        good(&output, command);
        runs(&room.file("relay"), &prefix);
    }
    let server = Command::new(prefix.join("bin/rr_server")).arg("--version").output().unwrap();
    assert_eq!(server.stdout, concat!("rr_server ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
}

#[test]
fn programs_are_linked_by_cmake() {
    let prefix = installation("cmake");
    for library in ["rrelay::rrelay", "rrelay::static"] {
        let room = Room::new(&format!("readme-{}", library.replace("::", "-")));
        fs::write(room.file("relay.c"), blocks("c").concat()).unwrap();
        let text = blocks("cmake").concat();
        let link = "target_link_libraries(relay rrelay::rrelay)";
        assert!(text.contains(link));
        fs::write(room.file("CMakeLists.txt"), text.replace(link, &format!("target_link_libraries(relay {library})")))
            .unwrap();
        let prefix_path = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
        for args in [&["-B", "build", &prefix_path][..], &["--build", "build"]] {
            let output = Command::new("cmake").args(args).current_dir(room.file("")).output();
            good(&output.expect("cmake is installed (tests/setup.sh)"), &args.join(" "));
        }
        runs(&room.file("build/relay"), &prefix);
    }
}

#[test]
fn every_test_that_docs_interop_names_is_there() {
    let table = fs::read_to_string(root().join("docs/interop.md")).unwrap();
    let mut tests = String::new();
    let beside = ["src/proto/frame", "src/stream/egress/join"];
    for folder in ["tests", "tests/interop", "tests/librtmp", "tests/page"].into_iter().chain(beside) {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                tests.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut named = 0;
    for word in table.split('`').skip(1).step_by(2) {
        if word.ends_with(".rs") {
            let places = ["", "tests/interop"].map(|folder| root().join(folder).join(word));
            assert!(places.iter().any(|place| place.is_file()), "{word}");
        } else if word.matches('_').count() >= 2 && !word.starts_with("rr_") {
            let name = format!("fn {word}");
            assert!(tests.contains(&name), "there is no test {word}");
            named += 1;
        }
    }
    assert!(named >= 20, "only {named}");
}

/// The directives of nginx-rtmp-module 1.2, without those of HLS and DASH.
const DIRECTIVES: &str = "listen application timeout ping ping_timeout max_streams ack_window chunk_size max_queue \
    max_message out_queue out_cork busy publish_time_fix buflen allow deny exec exec_push exec_pull exec_publish \
    exec_publish_done exec_play exec_play_done exec_record_done exec_static exec_options exec_kill_signal respawn \
    respawn_timeout live meta interleave wait_key wait_video publish_notify play_restart drop_idle_publisher sync \
    idle_streams buffer stream_buckets record record_path record_suffix record_unique record_append record_lock \
    record_interval record_max_size record_max_frames record_notify recorder play play_temp_path play_local_path pull \
    push push_reconnect pull_reconnect relay_buffer session_relay on_connect on_disconnect on_play on_publish on_done \
    on_play_done on_publish_done on_record_done on_update notify_update_timeout notify_update_strict \
    notify_relay_redirect notify_method access_log log_format max_connections rtmp_stat rtmp_stat_stylesheet \
    rtmp_auto_push rtmp_auto_push_reconnect rtmp_socket_dir rtmp_control netcall_timeout netcall_buffer hls dash";

#[test]
fn each_directive_of_nginx_rtmp_has_its_row_and_what_takes_its_place_exists() {
    let table = fs::read_to_string(root().join("docs/from-nginx-rtmp.md")).unwrap();
    let options = fs::read_to_string(root().join("docs/rr_server.md")).unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).collect();
    let words = |text: &str| -> Vec<String> {
        let code = text.split('`').skip(1).step_by(2);
        code.flat_map(str::split_whitespace).map(|word| word.trim_end_matches(';').to_owned()).collect()
    };
    let named: Vec<String> = rows.iter().flat_map(|(theirs, _)| words(theirs)).collect();
    for directive in DIRECTIVES.split_whitespace() {
        assert!(named.iter().any(|name| name == directive), "{directive} has no row");
    }
    let ours = rows.iter().flat_map(|(_, ours)| words(ours)).filter(|word| word.starts_with("--"));
    let options_named: Vec<String> = ours.collect();
    assert!(options_named.len() >= 30, "{options_named:?}");
    for option in options_named {
        assert!(options.contains(&format!("`{option}")), "{option} is no option of rr_server");
    }
}
