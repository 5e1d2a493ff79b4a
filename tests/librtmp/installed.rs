//! The results of `make librtmp` and `make install LIBRTMP=1`, for a program that knows nothing of this project.

use std::fs;
use std::process::Command;

use super::linked;
use crate::support::c::{good, root};
use crate::support::program::Room;

/// The output of a command.
fn said(command: &mut Command, what: &str) -> String {
    let output = command.output().expect(what);
    good(&output, what);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_library_goes_by_the_names_of_librtmp() {
    let library = linked::folder().join("librtmp.so.1");
    let dynamic = said(Command::new("readelf").arg("-d").arg(&library), "readelf");
    assert!(dynamic.contains("soname: [librtmp.so.1]"), "{dynamic}");
    assert!(!dynamic.contains("librrelay"), "it needs no second library: {dynamic}");
    assert_eq!(fs::read_link(linked::folder().join("librtmp.so")).unwrap().to_str(), Some("librtmp.so.1"));
}

#[test]
fn a_program_is_compiled_with_what_is_installed_and_runs_on_it() {
    let room = Room::new("librtmp-installed");
    let destination = room.file("destination");
    let mut install = Command::new(root().join("packaging/install-librtmp.sh"));
    install.arg(linked::folder()).arg(&destination);
    install.args(["/opt/rr", "/opt/rr/lib64", "/opt/rr/include"]);
    good(&install.output().unwrap(), "install-librtmp.sh");

    let lib = destination.join("opt/rr/lib64");
    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", "librtmp"]).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    flags.env("PKG_CONFIG_SYSROOT_DIR", &destination);
    let flags = said(&mut flags, "pkg-config");
    let include = destination.join("opt/rr/include");
    assert!(flags.contains(&format!("-I{}", include.display())), "{flags}");
    let version = said(
        Command::new("pkg-config").args(["--modversion", "librtmp"]).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig")),
        "pkg-config",
    );
    assert_eq!(version, "2.4\n", "what programs that ask for 2.4 need");

    // Nothing of the tree is named to the compiler, and the distribution's own headers come after the installed ones.
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Werror"]).arg(root().join("tests/librtmp/client.c"));
    cc.args(flags.split_whitespace()).arg("-o").arg(room.file("client"));
    good(&cc.output().unwrap(), "cc");
    let wanted = said(Command::new("readelf").arg("-d").arg(room.file("client")), "readelf");
    assert!(wanted.contains("[librtmp.so.1]"), "{wanted}");
    let mut client = Command::new(room.file("client"));
    let run = client.args(["play", "rtmp://127.0.0.1:1/app/key"]).env("LD_LIBRARY_PATH", &lib).output().unwrap();
    good(&run, "client");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "read 0\n");
    // The same program, statically linked.
    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", "--static", "librtmp"]).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    let flags = said(flags.env("PKG_CONFIG_SYSROOT_DIR", &destination), "pkg-config");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Werror"]).arg(root().join("tests/librtmp/client.c"));
    cc.args(flags.split_whitespace().map(|flag| if flag == "-lrtmp" { "-l:librtmp.a" } else { flag }));
    good(&cc.arg("-o").arg(room.file("static")).output().unwrap(), "cc");
    let wanted = said(Command::new("readelf").arg("-d").arg(room.file("static")), "readelf");
    assert!(!wanted.contains("librtmp") && !wanted.contains("librrelay"), "{wanted}");
    let run = Command::new(room.file("static")).args(["play", "rtmp://127.0.0.1:1/app/key"]).output().unwrap();
    good(&run, "the static client");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "read 0\n");

    for header in ["rtmp", "amf", "log", "http"] {
        let installed = fs::read(include.join(format!("librtmp/{header}.h"))).unwrap();
        assert!(installed == fs::read(root().join(format!("include/librtmp/{header}.h"))).unwrap(), "{header}.h");
    }
}
