//! A test in a cell: this program runs again for only one test, with its own network and hosts file, so that the test
//! decides which addresses names have and when packets are lost. A cell needs Linux namespaces: root, or a system that
//! grants them to everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the hosts file for a test in its cell.
const HOSTS: &str = "RR_FAULTS_HOSTS";

/// Brings loopback up, puts the hosts file in its place with nothing asked before it, and becomes the test.
const SCRIPT: &str = r#"
set -eu
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
mount --bind "$1" /etc/hosts
[ ! -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf
shift 2
exec "$@"
"#;

/// The names a test in its cell can look up.
pub(crate) struct Names(PathBuf);

impl Names {
    /// From now on `name` has these addresses and no others.
    pub(crate) fn lead(&self, name: &str, addresses: &[&str]) {
        let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {name}\n")).collect();
        fs::write(&self.0, lines.concat()).unwrap();
    }
}

/// Sets a cell's network "up" or "down"; while it is down, all packets are lost, and connections get no error.
pub(crate) fn network(state: &str) {
    let script = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo \"$1\"";
    let status = Command::new("sh").args(["-c", script, "sh", state]).status().unwrap();
    assert!(status.success(), "ip link set lo {state}: {status}");
}

/// Runs `body` in a cell; `test` is the whole name of the test that calls.
pub(crate) fn in_a_cell(test: &str, body: impl FnOnce(&Names)) {
    if let Some(hosts) = std::env::var_os(HOSTS) {
        return body(&Names(hosts.into()));
    }
    let kind = kind_of_cell();
    let folder = format!("{}-{}", test.replace("::", "-"), std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults").join(folder);
    fs::create_dir_all(&folder).unwrap();
    let (hosts, order) = (folder.join("hosts"), folder.join("nsswitch.conf"));
    fs::write(&hosts, "").unwrap();
    fs::write(&order, "hosts: files\n").unwrap();
    let output = Command::new("unshare")
        .args(kind)
        .args(["sh", "-c", SCRIPT, "sh"])
        .args([&hosts, &order, &std::env::current_exe().unwrap()])
        .args(["--exact", test, "--nocapture"])
        .env(HOSTS, &hosts)
        .output()
        .unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned()).concat();
    assert!(output.status.success() && words.contains("1 passed"), "in its cell, {}:\n{words}", output.status);
}

/// The namespaces that this machine allows: as its root, or as root of a cell.
fn kind_of_cell() -> &'static [&'static str] {
    const KINDS: [&[&str]; 2] = [&["--mount", "--net"], &["--user", "--map-root-user", "--mount", "--net"]];
    let mut words = Vec::new();
    for kind in KINDS {
        let script = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && mount --bind /etc/hosts /etc/hosts";
        let output = Command::new("unshare").args(kind).args(["sh", "-c", script]).output();
        match output {
            Ok(output) if output.status.success() => return kind,
            Ok(output) => words.push(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => words.push(format!("unshare: {error}")),
        }
    }
    panic!(
        "this test needs a network and a hosts file of its own, and this machine gives neither: run it as root, or \
         where user namespaces are granted; unshare and ip are installed by tests/setup.sh.\n{}",
        words.concat()
    );
}
