//! Back ends over HTTPS: a back end with a trusted certificate gets requests like any other; the others get none, and
//! the log gives the reason.

use rrelay::config::{Dialect, HooksConfig};
use rrelay::session::SessionConfig;

use super::backend::{Backend, json};
use super::live::{Client, until};
use super::secure::Papers;
use super::{Hooked, all};

fn publish(hooked: &Hooked) -> Result<Client, rrelay::error::Failure> {
    Client::configured(hooked.live.port, "show", true, &SessionConfig::default())
}

fn trusting(backend: &Backend, roots: &Papers) -> HooksConfig {
    let ca_file = Some(roots.certificate.to_str().unwrap().to_owned());
    HooksConfig { ca_file, ..all(backend, Dialect::Json) }
}

#[test]
fn a_back_end_whose_certificate_is_trusted_is_asked_and_notified() {
    let papers = Papers::new("hooks-tls");
    let backend = Backend::secure(&papers.certificate, &papers.key, |asked| match asked.path() {
        "/on_publish" => json(r#"{"action": "allow", "rename": "other"}"#),
        _ => json("{}"),
    });
    let hooked = Hooked::new(trusting(&backend, &papers));
    let publisher = publish(&hooked).unwrap();
    until("the stream has the name that the back end gave", || {
        hooked.live.server.stream_find(b"live", b"other").is_ok()
    });
    drop(publisher);
    until("the end is told", || backend.at("on_publish_done").len() == 1);
    assert_eq!(backend.at("on_connect").len(), 1);
}

#[test]
fn a_back_end_with_a_wrong_certificate_gets_no_request_and_the_log_gives_the_reason() {
    let [papers, others] = ["hooks-tls-wrong", "hooks-tls-others"].map(Papers::new);
    let backend = Backend::secure(&papers.certificate, &papers.key, |_| json("{}"));
    let by_name = backend.url("on_connect").replace("127.0.0.1", "localhost");
    for (roots, on_connect, reason) in
        [(&others, backend.url("on_connect"), "invalid peer certificate"), (&papers, by_name, "not valid for name")]
    {
        let hooked = Hooked::new(HooksConfig { on_connect: Some(on_connect), ..trusting(&backend, roots) });
        assert!(publish(&hooked).is_err(), "{reason}");
        hooked.live.line_with(&["on_connect", "certificate", reason]);
    }
    assert!(backend.asked().is_empty(), "{:?}", backend.asked());
}
