//! A back end of hooks: it keeps its requests, byte for byte, and answers as the test says.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `POST /on_publish HTTP/1.0`
    pub(crate) line: String,
    /// In their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The fields of the form, from the body or the address, in their order and still coded.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let in_address = self.line.split(' ').nth(1).and_then(|target| target.split_once('?')).map(|(_, query)| query);
        let form = if self.body.is_empty() { in_address.unwrap_or_default() } else { &self.body };
        let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

/// The reaction to a request.
pub(crate) enum Answer {
    /// Sends the bytes and closes the connection.
    Bytes(String),
    /// Sends the bytes; the connection stays open until the other side closes it.
    Open(String),
    /// Sends nothing until the other side closes.
    Silence,
    /// Closes the connection without an answer.
    Close,
}

/// An answer of this status.
pub(crate) fn status(status: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.0 {status}\r\n\r\n"))
}

/// 200 with a JSON object.
pub(crate) fn json(object: &str) -> Answer {
    let len = object.len();
    Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{object}"))
}

pub(crate) fn redirect(location: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.0 302 Found\r\nLocation: {location}\r\n\r\n"))
}

type Say = dyn Fn(&Asked) -> Answer + Send + Sync;

/// Starts the back end; its thread ends with the program.
pub(crate) struct Backend {
    pub(crate) port: u16,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Backend {
    pub(crate) fn new(say: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start("http", say, |socket, kept, say| serve(socket, kept, say))
    }

    /// One that speaks TLS with this certificate and key, PEM files.
    pub(crate) fn secure(
        certificate: &Path,
        key: &Path,
        say: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
        Self::start("https", say, move |socket, kept, say| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(rustls::StreamOwned::new(session, socket), kept, say);
        })
    }

    fn start(
        scheme: &'static str,
        say: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
        serve: impl Fn(TcpStream, &Mutex<Vec<Asked>>, &Say) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, asked, say, serve) = (
            listener.local_addr().unwrap().port(),
            Arc::<Mutex<Vec<Asked>>>::default(),
            Arc::new(say),
            Arc::new(serve),
        );
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (kept, say, serve) = (Arc::clone(&kept), Arc::<_>::clone(&say), Arc::<_>::clone(&serve));
                std::thread::spawn(move || serve(socket, &kept, &*say));
            }
        });
        Self { port, scheme, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}/{path}", self.scheme, self.port)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests for one path.
    pub(crate) fn at(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path() == format!("/{path}")).collect()
    }
}

fn serve(socket: impl Read + Write, kept: &Mutex<Vec<Asked>>, say: &Say) {
    let mut reader = BufReader::new(socket);
    let Some(asked) = read(&mut reader) else { return };
    let answer = say(&asked);
    kept.lock().unwrap().push(asked);
    let (bytes, stays) = match answer {
        Answer::Bytes(bytes) => (bytes, false),
        Answer::Open(bytes) => (bytes, true),
        Answer::Silence => (String::new(), true),
        Answer::Close => (String::new(), false),
    };
    // The other side may have gone.
    let _ = reader.get_mut().write_all(bytes.as_bytes());
    let _ = reader.get_mut().flush();
    if stays {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = || {
        let mut text = String::new();
        let read = reader.read_line(&mut text).ok()?;
        (read > 0).then(|| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let len = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; len.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line: first, headers, body: String::from_utf8(body).ok()? })
}
