//! nginx in the foreground, in a folder and on a port of the test's own: with its RTMP module, or as the
//! server of HTTPS in front of one of HTTP.

use std::fs;

use super::program::{Program, Room};
use super::reserved::Reserved;
use super::until;

/// nginx that takes publishers at `/live`, records their streams and plays them; or that passes requests over TLS on.
pub(crate) struct Nginx {
    pub(crate) program: Program,
    pub(crate) port: u16,
    _reserved: Reserved,
}

impl Nginx {
    pub(crate) fn start(room: &Room) -> Self {
        let here = room.file("nginx");
        let here = here.display();
        let server = |port| {
            format!(
                "rtmp {{
                    server {{
                        listen 127.0.0.1:{port};
                        chunk_size 60000;
                        application live {{ live on; meta copy; record all; record_path {here}; }}
                        application vod {{ play {here}; }}
                    }}
                }}"
            )
        };
        Self::run(room, "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;", server)
    }

    /// Takes publishers and players at `/live`, and asks and tells back ends as `hooks` says.
    pub(crate) fn notifies(room: &Room, hooks: &str) -> Self {
        let server =
            |port| format!("rtmp {{ server {{ listen 127.0.0.1:{port}; {hooks} application live {{ live on; }} }} }}");
        Self::run(room, "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;", server)
    }

    /// Takes publishers and players at `/live`; shows them at `/stat` on the other port, and drops them at `/control`.
    pub(crate) fn shows(room: &Room) -> (Self, Reserved) {
        let stat = Reserved::new();
        let here = room.file("nginx");
        let here = here.display();
        let server = |port| {
            format!(
                "rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
                http {{
                    access_log off; client_body_temp_path {here}; proxy_temp_path {here}; fastcgi_temp_path {here};
                    uwsgi_temp_path {here}; scgi_temp_path {here};
                    server {{
                        listen 127.0.0.1:{};
                        location /stat {{ rtmp_stat all; }}
                        location /control {{ rtmp_control all; }}
                    }}
                }}",
                stat.port
            )
        };
        let nginx = Self::run(room, "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;", server);
        (nginx, stat)
    }

    /// nginx with `cert.pem` and `key.pem` of the room, which passes requests on to a server of HTTP on a port.
    pub(crate) fn secures(room: &Room, behind: u16) -> Self {
        let (certificate, key) = (room.file("cert.pem"), room.file("key.pem"));
        let (certificate, key) = (certificate.display(), key.display());
        let here = room.file("nginx");
        let here = here.display();
        let server = |port| {
            format!(
                "http {{
                    access_log off; client_body_temp_path {here}; proxy_temp_path {here}; fastcgi_temp_path {here};
                    uwsgi_temp_path {here}; scgi_temp_path {here};
                    server {{
                        listen 127.0.0.1:{port} ssl;
                        ssl_certificate {certificate};
                        ssl_certificate_key {key};
                        keepalive_requests 1000000;
                        location / {{ proxy_pass http://127.0.0.1:{behind}; client_max_body_size 0; }}
                    }}
                }}"
            )
        };
        Self::run(room, "", server)
    }

    /// Runs it with modules and a server on the port that is given.
    fn run(room: &Room, modules: &str, server: impl Fn(u16) -> String) -> Self {
        let reserved = Reserved::new();
        let port = reserved.port;
        let folder = room.file("nginx");
        fs::create_dir_all(&folder).unwrap();
        let (here, server) = (folder.display(), server(port));
        let config = format!(
            "{modules}
            daemon off; master_process off; pid {here}/pid; error_log {here}/error.log info;
            events {{ worker_connections 64; }}
            {server}"
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
