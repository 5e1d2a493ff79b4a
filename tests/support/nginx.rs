//! nginx with its RTMP module: in the foreground, in a folder of the test's own, on a port that is free.

use std::fs;

use socket2::{Domain, Socket, Type};

use super::program::{Program, Room};
use super::until;

/// A port that is ours and that nobody listens on. Whoever sets SO_REUSEADDR, as servers do, can listen on it while this
/// lives; until then connections to it are refused.
pub(crate) struct Reserved {
    pub(crate) socket: Socket,
    pub(crate) port: u16,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { socket, port }
    }
}

/// nginx that takes publishers at `/live`, records what they send and lets it be played.
pub(crate) struct Nginx {
    pub(crate) program: Program,
    pub(crate) port: u16,
    _reserved: Reserved,
}

impl Nginx {
    pub(crate) fn start(room: &Room) -> Self {
        let reserved = Reserved::new();
        let port = reserved.port;
        let folder = room.file("nginx");
        fs::create_dir_all(&folder).unwrap();
        let here = folder.display();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
            daemon off; master_process off; pid {here}/pid; error_log {here}/error.log info;
            events {{ worker_connections 64; }}
            rtmp {{
                server {{
                    listen 127.0.0.1:{port};
                    chunk_size 60000;
                    application live {{ live on; meta copy; record all; record_path {here}; }}
                    application vod {{ play {here}; }}
                }}
            }}"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let conf = folder.join("nginx.conf");
        let (here, conf) = (folder.to_str().unwrap(), conf.to_str().unwrap());
        let mut program = room.start("nginx", "/usr/sbin/nginx", &["-p", here, "-c", conf]);
        until("nginx listens", || {
            assert!(program.is_running(), "{}", program.words());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { program, port, _reserved: reserved }
    }
}
