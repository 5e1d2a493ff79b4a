//! The measured servers: the minimal relay, builds of rr_server, nginx-rtmp. Each runs in a process of its own.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::{self, Report, Server};
use crate::shape::Shape;
use crate::system;
use crate::way::Way;

/// Where Debian and Ubuntu put the modules (libnginx-mod-rtmp, libnginx-mod-stream).
const NGINX_RTMP: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A server must listen within this time.
const LISTENS: Duration = Duration::from_secs(10);

/// A limit above the streams and players of any row.
const SESSIONS: &str = "30000";
const STREAMS: &str = "5000";

/// One measured server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// The relay without limits or checks.
    Minimal,
    /// rr_server, by its name in the table: the program, and options beside those of the row.
    Rrelay { name: String, program: PathBuf, options: Vec<String>, role: Role },
    /// nginx-rtmp with its defaults and one worker. It always sends at once, also in rows in which the others collect.
    Nginx,
}

/// What a build of rr_server is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// This tree's server, which the table compares with all others.
    Own,
    /// This tree's server with streams on a shared loop, in rows with several streams.
    SharedLoop,
    /// What this tree's server is compared with.
    Beside,
}

/// A self-signed certificate for 127.0.0.1 and its key, in files that are deleted with this object.
pub(crate) struct Papers {
    folder: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("rrelay-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let (certificate, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("an address");
        std::fs::write(&certificate, made.cert.pem()).expect("the folder is there");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("the folder is there");
        Self { folder, certificate, key }
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Contestant {
    /// NAME=PROGRAM, with options of its own behind it. A program that ends with .so is a library, for this tree's
    /// server.
    pub(crate) fn beside(text: &str, ours: &Path) -> Option<Self> {
        let (name, rest) = text.split_once('=')?;
        let mut words = rest.split_whitespace();
        let program = std::path::absolute(words.next()?).ok()?;
        let mut options: Vec<String> = words.map(str::to_owned).collect();
        let is_library = program.extension().is_some_and(|extension| extension == "so");
        if is_library {
            options.insert(0, format!("{PRELOADED}{}", program.display()));
        }
        let program = if is_library { ours.to_owned() } else { program };
        Some(Self::Rrelay { name: name.to_owned(), program, options, role: Role::Beside })
    }

    /// This tree's server.
    pub(crate) fn own(program: PathBuf) -> Self {
        Self::Rrelay { name: "rrelay".to_owned(), program, options: Vec::new(), role: Role::Own }
    }

    /// This tree's server with one loop for all streams.
    pub(crate) fn shared_loop(program: PathBuf) -> Self {
        let options: Vec<String> = ["--threads", "1"].map(str::to_owned).to_vec();
        Self::Rrelay { name: format!("rrelay {}", options.join(" ")), program, options, role: Role::SharedLoop }
    }

    pub(crate) fn is_rrelay(&self) -> bool {
        matches!(self, Self::Rrelay { .. })
    }

    pub(crate) fn has_role(&self, of: Role) -> bool {
        matches!(self, Self::Rrelay { role, .. } if *role == of)
    }

    /// Whether the table has a line for the server in this row.
    pub(crate) fn is_wanted(&self, shape: &Shape) -> bool {
        match self {
            Self::Rrelay { role: Role::SharedLoop, .. } => shape.streams > 1 && !shape.isolated,
            // It never collects, so the row without that has its figures. With several streams the two are compared.
            Self::Nginx if shape.merge_ms > 0 => shape.streams > 1,
            // They have none of these, or no threads that differ.
            Self::Minimal | Self::Nginx
                if shape.crowd > 0 || shape.http || shape.isolated || shape.relay_threads > 0 =>
            {
                false
            }
            Self::Minimal => !shape.tls,
            Self::Nginx => true,
            Self::Rrelay { .. } => true,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Minimal => "minimal",
            Self::Rrelay { name, .. } => name,
            Self::Nginx => "nginx-rtmp",
        }
    }

    /// Whether the server can run the row; the error names what is missing.
    pub(crate) fn can(&self, shape: &Shape) -> Result<(), String> {
        match self {
            Self::Nginx if shape.tls && !Path::new(NGINX_STREAM).exists() => {
                Err("nginx's stream module is not on this machine: apt install libnginx-mod-stream".to_owned())
            }
            Self::Nginx if !Path::new(NGINX_RTMP).exists() => {
                Err("it is not on this machine: apt install nginx libnginx-mod-rtmp".to_owned())
            }
            Self::Rrelay { program, .. } if !program.exists() => Err(format!("there is no {}", program.display())),
            _ => Ok(()),
        }
    }

    /// One round: starts a fresh server and the load tool, and ends both.
    pub(crate) fn run(&self, shape: &Shape, way: &Way, seconds: f64, papers: &Papers) -> Result<Report, String> {
        let [port, tls_port, http_port, sink_port] = free_ports();
        let mut command = self.command(shape, [port, tls_port, http_port, sink_port], papers)?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = system::pinned(&way.measured, || command.spawn());
        let child = child.map_err(|error| format!("{:?} cannot be started: {error}", command.get_program()))?;
        let mut running = Running(child);
        running.listens(port)?;
        if shape.tls {
            running.listens(tls_port)?;
        }
        let server = Server { pid: running.0.id(), port, tls_port, http_port, sink_port };
        system::pinned(&way.other, || load::start(server, shape, seconds, papers))
    }

    fn command(
        &self,
        shape: &Shape,
        [port, tls_port, http_port, sink_port]: [u16; 4],
        papers: &Papers,
    ) -> Result<Command, String> {
        let words = [port.to_string(), shape.merge_ms.to_string(), sink_port.to_string(), shape.targets.to_string()];
        Ok(match self {
            Self::Minimal => {
                let mut args = vec!["as", "minimal"];
                args.extend(words.iter().map(String::as_str));
                itself(&args)
            }
            Self::Rrelay { program, options, .. } => {
                let mut command = Command::new(program);
                command.args(["--addr", "127.0.0.1", "--port", &words[0], "--merge", &words[1], "--log", "off"]);
                command.args(["--max-sessions", SESSIONS, "--max-streams", STREAMS]);
                if shape.tls {
                    command.args(["--tls", &tls_port.to_string(), "--cert"]).arg(&papers.certificate);
                    command.arg("--key").arg(&papers.key);
                }
                if shape.relay_threads > 0 {
                    command.args(["--relay-threads", &shape.relay_threads.to_string()]);
                }
                if shape.isolated {
                    command.args(["--isolate", "process"]);
                }
                if shape.http {
                    command.args(["--http", &format!("127.0.0.1:{http_port}")]);
                }
                for target in 0..shape.targets {
                    command.args(["--push", &format!("rtmp://127.0.0.1:{sink_port}/live/t{target}")]);
                }
                for option in options {
                    match option.strip_prefix(PRELOADED) {
                        Some(library) => command.env("LD_PRELOAD", library),
                        None => command.arg(option),
                    };
                }
                command
            }
            Self::Nginx => nginx(shape, [port, tls_port, sink_port], papers).map_err(|error| error.to_string())?,
        })
    }
}

/// Marks an option that is a library, to be loaded before all others.
const PRELOADED: &str = "preloaded:";

fn nginx(shape: &Shape, [port, tls_port, sink_port]: [u16; 3], papers: &Papers) -> io::Result<Command> {
    let pushes: String =
        (0..shape.targets).map(|at| format!("push rtmp://127.0.0.1:{sink_port}/live/t{at}; ")).collect();
    let mut config = format!(
        "load_module {NGINX_RTMP};\ndaemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 32768; }}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; {pushes}}} }} }}\n"
    );
    if shape.tls {
        let (certificate, key) = (papers.certificate.display(), papers.key.display());
        config = format!(
            "load_module {NGINX_STREAM};\n{config}stream {{ server {{ listen 127.0.0.1:{tls_port} ssl; \
             ssl_certificate {certificate}; ssl_certificate_key {key}; proxy_pass 127.0.0.1:{port}; }} }}\n"
        );
    }
    let folder = papers.folder.join("nginx");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]).stderr(Stdio::null());
    Ok(command)
}

/// A server's process; it ends with this.
struct Running(Child);

impl Running {
    fn listens(&mut self, port: u16) -> Result<(), String> {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("it has ended: {status}"));
            }
            if begun.elapsed() > LISTENS {
                return Err("it does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports that are free now. If another program takes one, the server's start fails visibly.
fn free_ports<const N: usize>() -> [u16; N] {
    let bound = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"));
    bound.each_ref().map(|listener| listener.local_addr().expect("it is bound").port())
}

/// This program again, with other arguments.
pub(crate) fn itself(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a file"));
    command.args(args);
    command
}
