//! A server's end of the two publisher logins: its answer to a `connect` with some application. The right responses are
//! computed here, from the protocols' descriptions.

#![allow(dead_code, reason = "each test program uses a part")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// Who may publish.
pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "secret";

const SALT: &str = "c2FsdA==";
const OPAQUE: &str = "b3BhcXVl";
const NONCE: &str = "bm9uY2U";

/// The reason for refusing a `connect` with this application; `None` accepts.
pub(crate) type Login = fn(app: &str) -> Option<String>;

/// Adobe's login.
pub(crate) fn adobe(app: &str) -> Option<String> {
    let challenge = format!("salt={SALT}&challenge={OPAQUE}&opaque={OPAQUE}");
    let right = |given: &dyn Fn(&str) -> String| {
        let salted = STANDARD.encode(Md5::digest(format!("{USER}{SALT}{PASSWORD}")));
        STANDARD.encode(Md5::digest(format!("{salted}{OPAQUE}{}", given("challenge"))))
    };
    answer(app, "adobe", &challenge, right)
}

/// Limelight's, which is the digest of RFC 2617 with `qop=auth`, the method `publish` and the realm `live`.
pub(crate) fn limelight(app: &str) -> Option<String> {
    let right = |given: &dyn Fn(&str) -> String| {
        let digest = |text: String| format!("{:x}", Md5::digest(text));
        let (who, what) =
            (digest(format!("{USER}:live:{PASSWORD}")), digest(format!("publish:/{}/_definst_", path(app))));
        digest(format!("{who}:{NONCE}:{}:{}:auth:{what}", given("nc"), given("cnonce")))
    };
    answer(app, "llnw", &format!("nonce={NONCE}"), right)
}

/// A login that asks for Adobe's method whatever the answer.
pub(crate) fn always_adobe(app: &str) -> Option<String> {
    answer(app, "adobe", &format!("salt={SALT}&challenge={OPAQUE}&opaque={OPAQUE}"), |_| String::new()).map(again)
}

/// A login that asks for Limelight's method whatever the answer.
pub(crate) fn always_limelight(app: &str) -> Option<String> {
    answer(app, "llnw", &format!("nonce={NONCE}"), |_| String::new()).map(again)
}

/// A login that asks for the two methods in turn, each time with a new challenge.
pub(crate) fn in_turn(app: &str) -> Option<String> {
    if app.contains("authmod=adobe") { limelight(app) } else { adobe(app) }
}

fn again(words: String) -> String {
    words.replace("reason=authfailed", "reason=needauth")
}

fn path(app: &str) -> &str {
    app.split('?').next().unwrap_or_default()
}

/// The common steps of both methods: `challenge` goes to the client in the second step, and `right` computes the
/// response that the client must give, from the values that it sends.
fn answer(
    app: &str,
    method: &str,
    challenge: &str,
    right: impl Fn(&dyn Fn(&str) -> String) -> String,
) -> Option<String> {
    let query = app.split_once('?').map_or("", |(_, query)| query);
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let refused = |words: String| Some(format!("[ AccessManager.Reject ] : [ {words}"));
    if value("authmod") != method || value("user").is_empty() {
        return refused(format!("code=403 need auth; authmod={method} ] : "));
    }
    let say =
        |reason: &str| refused(format!("authmod={method} ] : ?reason={reason}&user={}&{challenge}", value("user")));
    if value("user") != USER {
        return say("nosuchuser");
    }
    match value("response") {
        none if none.is_empty() => say("needauth"),
        given if given == right(&value) => None,
        _ => say("authfailed"),
    }
}
