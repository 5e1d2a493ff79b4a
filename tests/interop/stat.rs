//! `/stat` and `/control` beside nginx-rtmp's: the page that its stat.xsl makes of `/stat` shows of a stream on our
//! server what it shows of the same stream on nginx, and the same calls of `/control` drop the same sessions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rrelay::rest::{Rest, RestOptions};

use crate::live::Client;
use crate::support::media::{ffmpeg_publishes_with, media};
use crate::support::nginx::Nginx;
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::until;

const TOKEN: &str = "token-of-tests";

/// The columns of a stream's row that state facts: its name, clients, codecs, size, rate and channels of the sound, and
/// whether it is active. The others have figures, and the rate of pictures, which nginx takes from metadata.
const FACTS: [usize; 8] = [0, 1, 2, 4, 6, 8, 9, 14];

/// The columns with figures: rates of video and audio, bytes in and out, rates in and out.
const FIGURES: [usize; 6] = [3, 7, 10, 11, 12, 13];

/// The columns of a client's row that do not change: state, address, program, and the addresses of the page and the file
/// that it names.
const CLIENT_FACTS: [usize; 5] = [1, 2, 3, 4, 5];

/// Programs have longer names than nginx keeps.
const NAME_BYTES: usize = 30;

/// A page: the texts of its cells, row by row.
#[derive(Debug)]
struct Page(Vec<Vec<String>>);

impl Page {
    /// The page that xsltproc makes of the statistics at this address.
    fn of(room: &Room, url: &str) -> Self {
        let xml = room.file("stat.xml");
        run(Command::new("curl").args(["-sS", "--fail", url, "-o"]).arg(&xml));
        let html = run(Command::new("xsltproc").arg("--nonet").args([stylesheet(), xml]));
        Self(html.split("<tr").skip(1).map(cells).collect())
    }

    fn row(&self, first: &str) -> Option<&[String]> {
        self.0.iter().map(Vec::as_slice).find(|row| row.first().is_some_and(|cell| cell == first))
    }

    fn facts_of_stream(&self) -> Option<Vec<&str>> {
        self.row("show").map(|row| FACTS.iter().map(|&column| row[column].as_str()).collect())
    }

    /// The stream's figures, if all are there and none is 0.
    fn figures(&self) -> Option<Vec<f64>> {
        let row = self.row("show")?;
        let figures =
            FIGURES.iter().map(|&column| row[column].split(' ').next().and_then(|number| number.parse().ok()));
        figures.collect::<Option<Vec<f64>>>().filter(|all| all.iter().all(|&figure| figure > 0.0))
    }

    /// The clients, publishers first; the rows of clients have ten cells.
    fn facts_of_clients(&self) -> Vec<Vec<&str>> {
        let rows = self.0.iter().filter(|row| row.len() == 10);
        let mut facts: Vec<Vec<_>> =
            rows.map(|row| CLIENT_FACTS.iter().map(|&column| begin(&row[column])).collect()).collect();
        facts.sort_by_key(|client| client[0] != "publishing");
        facts
    }
}

fn begin(cell: &str) -> &str {
    cell.get(..NAME_BYTES).unwrap_or(cell)
}

/// The texts of a row's cells, with single spaces.
fn cells(row: &str) -> Vec<String> {
    let text = |cell: &str| {
        let within = cell.split("</td>").next().unwrap_or_default();
        let texts: String = within.split('<').filter_map(|tag| Some(tag.split_once('>')?.1)).collect();
        texts.replace("&nbsp;", " ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    row.split("<td").skip(1).map(text).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("tests/setup.sh installs it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The file that tests/setup.sh has taken from nginx-rtmp's source.
fn stylesheet() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("nginx-rtmp/stat.xsl")
}

/// A publisher, and a player that names a page and a file, of the stream, for as long as the test runs.
fn peers(room: &Room, server: &str, url: &str) -> [Program; 2] {
    let publisher = format!("{server}-publisher");
    let publisher = ffmpeg_publishes_with(room, &publisher, media(), &["-re", "-stream_loop", "-1"], &[], url);
    let name = format!("{server}-player");
    let file = room.file(&format!("{name}.flv"));
    let (server, key) = url.rsplit_once('/').expect("a url has a key");
    let says = ["-p", "http://page.example/a&b", "-s", "http://page.example/player.swf"];
    let player = ["--live", "-r", server, "-y", key, "-o", file.to_str().expect("a path of ours is UTF-8")];
    [publisher, room.start(&name, "rtmpdump", &[&says[..], &player].concat())]
}

#[test]
fn the_page_of_stat_xsl_shows_of_our_streams_what_it_shows_of_those_of_nginx() {
    let (room, relay) = (Room::new("stat-page"), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let (nginx, stat) = Nginx::shows(&room);
    let _ours = peers(&room, "our", &relay.url("show"));
    let _theirs = peers(&room, "nginx", &format!("rtmp://127.0.0.1:{}/live/show", nginx.port));

    let page_of = |url: &str| {
        until(&format!("figures of the stream and two clients in {url}"), || {
            let page = Page::of(&room, url);
            (page.figures().is_some() && page.facts_of_clients().len() == 2).then_some(page)
        })
    };
    let their_page = page_of(&format!("http://127.0.0.1:{}/stat", stat.port));
    let url = format!("http://127.0.0.1:{port}/stat?token={TOKEN}");
    page_of(&url);
    let bytes = || relay.server.stats(relay.stream("show").unwrap()).unwrap().bytes_in as f64;
    let before = bytes();
    let our_page = page_of(&url);
    let after = bytes();

    assert_eq!(our_page.facts_of_stream(), their_page.facts_of_stream());
    assert_eq!(our_page.facts_of_clients(), their_page.facts_of_clients());
    assert_eq!(our_page.row("live streams"), their_page.row("live streams"));
    assert!(our_page.row("live").is_some() && their_page.row("live").is_some(), "{our_page:?} {their_page:?}");
    // And they are what ffmpeg publishes.
    let row = our_page.row("show").unwrap();
    assert!(row[2].starts_with("H264 High") && row[4] == "640x360" && row[6] == "AAC LC", "{row:?}");
    let unit = if row[10].ends_with(" MB") { 1024.0 * 1024.0 } else { 1024.0 };
    let shown = our_page.figures().unwrap()[2] * unit;
    assert!((before * 0.99 - unit..=after * 1.01 + unit).contains(&shown), "{before} {after} {row:?}");
}

/// The answers to calls of `/control` at an address, while a publisher and two players are on the server at a port.
fn answers(control: &str, port: u16) -> Vec<String> {
    let mut publisher = Client::new(port, "show", true);
    let mut players = [(); 2].map(|()| Client::new(port, "show", false));
    let call = |call: &str| {
        let (url, token) = (format!("{control}/{call}"), format!("Authorization: Bearer {TOKEN}"));
        let answer = run(Command::new("curl").args(["-sS", "-w", " %{http_code}", "-H", &token, &url]));
        format!("{call}: {answer}")
    };
    let mut answers = vec![
        call("drop/client?app=live&name=other"),
        call("drop/client?app=other&name=show"),
        call("drop/subscriber?app=live&name=show&addr=192.0.2.1"),
        call("drop/subscriber?app=live&name=show&addr=127.0.0.1"),
    ];
    players.iter_mut().for_each(Client::closed);
    answers.push(call("drop/publisher?app=live&name=show"));
    publisher.closed();
    answers.push(call("drop/client?app=live&name=show"));
    answers
}

#[test]
fn control_drops_and_counts_as_nginx_rtmp_does() {
    let (room, relay) = (Room::new("control"), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let (nginx, stat) = Nginx::shows(&room);
    let ours = answers(&format!("http://127.0.0.1:{port}/control"), relay.port);
    let theirs = answers(&format!("http://127.0.0.1:{}/control", stat.port), nginx.port);
    assert_eq!(ours, theirs);
    assert!(ours[3].ends_with(": 2 200") && ours[4].ends_with(": 1 200"), "{ours:?}");
}
