//! The client's side of the publisher logins of Adobe and Limelight: the answer to the `_error` of a server that wants
//! a login.
//!
//! Both work the same way: the server refuses `connect` with a description that names the method, then refuses again
//! with a challenge; each time the client connects anew with a longer query after the application. No state is kept
//! between the tries: the application as it was sent tells how far the login has come, so there are at most two
//! answers. This module makes no connection and draws no random number. The protocols prescribe MD5; an eavesdropper on
//! an unencrypted connection can guess passwords from it.
//!
//! Sources: Adobe's "Flash Media Live Encoder authentication" as servers speak it (base64 of MD5 over user, salt and
//! password, then over that and the challenge); RFC 2617 section 3.2.2 for Limelight's, with the realm `live`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// The longest accepted value of a challenge, in bytes: the value goes out again in a query.
const MAX_VALUE: usize = 512;

/// The next step after a server's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Connect again with this query, see [`with_query`].
    Retry(Vec<u8>),
    /// The login is refused for good.
    Refused(Refusal),
    /// The refusal has nothing to do with a login.
    NotAuth,
}

/// Why another try of the login is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server wants a login, and user or password is empty.
    NoCredentials,
    /// The server does not know the user.
    NoSuchUser,
    /// The server did not accept the answer.
    WrongPassword,
    /// A method that is neither Adobe's nor Limelight's.
    UnknownMethod,
    /// A challenge that lacks a required value, or has one that is too long.
    Malformed,
}

impl Refusal {
    /// The refusal as a sentence for people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoCredentials => "the server wants a user and a password",
            Self::NoSuchUser => "the server does not know the user",
            Self::WrongPassword => "the server did not accept the password",
            Self::UnknownMethod => "the server wants an unknown login method",
            Self::Malformed => "the server's login challenge cannot be read",
        }
    }
}

/// The two methods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Adobe,
    Limelight,
}

impl Method {
    /// The method's parameter in queries and descriptions.
    fn parameter(self) -> &'static str {
        match self {
            Self::Adobe => "authmod=adobe",
            Self::Limelight => "authmod=llnw",
        }
    }
}

/// Decides what follows a refused `connect`: `app` as it was sent, `description` as the server gave it, `nonce` random.
///
/// User and password are not escaped, as every server expects; so they cannot contain a `&`.
pub(crate) fn answer(app: &[u8], user: &[u8], password: &[u8], description: &[u8], nonce: [u8; 4]) -> Answer {
    let method = if contains(description, b"authmod=adobe") {
        Method::Adobe
    } else if contains(description, b"authmod=llnw") {
        Method::Limelight
    } else if contains(description, b"authmod=") {
        return Answer::Refused(Refusal::UnknownMethod);
    } else {
        return Answer::NotAuth;
    };
    let sent = &app[bare(app).len()..];
    if contains(description, b"reason=nosuchuser") {
        return Answer::Refused(Refusal::NoSuchUser);
    }
    if contains(description, b"reason=authfailed") || contains(sent, b"&response=") {
        return Answer::Refused(Refusal::WrongPassword);
    }
    if user.is_empty() || password.is_empty() {
        return Answer::Refused(Refusal::NoCredentials);
    }
    if let Some(at) = find(description, b"?reason=needauth") {
        let challenge = Challenge(&description[at + 1..]);
        let query = match method {
            Method::Adobe => adobe(user, password, &challenge, nonce),
            Method::Limelight => limelight(bare(app), user, password, &challenge, nonce),
        };
        return query.map_or(Answer::Refused(Refusal::Malformed), Answer::Retry);
    }
    if !contains(description, b"need auth") {
        return Answer::Refused(Refusal::Malformed);
    }
    if !sent.is_empty() {
        return Answer::Refused(Refusal::WrongPassword); // the server asks for a user that it has been given already
    }
    Answer::Retry([method.parameter().as_bytes(), b"&user=", user].concat())
}

/// An application or tcUrl without the query of an earlier answer.
pub(crate) fn bare(app: &[u8]) -> &[u8] {
    let end = [b"?authmod=", b"&authmod="].iter().filter_map(|mark| find(app, *mark)).min();
    &app[..end.unwrap_or(app.len())]
}

/// An application or tcUrl with an answer appended, in place of an earlier one.
pub(crate) fn with_query(base: &[u8], query: &[u8]) -> Vec<u8> {
    let base = bare(base);
    let joint: &[u8] = if base.contains(&b'?') { b"&" } else { b"?" };
    [base, joint, query].concat()
}

/// `name=value&name=value` up to the first blank.
struct Challenge<'a>(&'a [u8]);

impl<'a> Challenge<'a> {
    /// A value, if it is present and not too long.
    fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte <= b' ').unwrap_or(self.0.len());
        let mut pairs = self.0[..end].split(|byte| *byte == b'&');
        let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))?;
        (value.len() <= MAX_VALUE).then_some(value)
    }
}

fn adobe(user: &[u8], password: &[u8], challenge: &Challenge<'_>, nonce: [u8; 4]) -> Option<Vec<u8>> {
    let salt = challenge.value(b"salt")?;
    let opaque = challenge.value(b"opaque");
    let theirs = opaque.filter(|value| !value.is_empty()).or_else(|| challenge.value(b"challenge"))?;
    let ours = hex(&nonce);
    let inner = STANDARD.encode(md5(&[user, salt, password]));
    let response = STANDARD.encode(md5(&[inner.as_bytes(), theirs, ours.as_bytes()]));
    let mut query = [b"authmod=adobe&user=", user].concat();
    for (name, value) in [("challenge", ours.as_bytes()), ("response", response.as_bytes())] {
        push(&mut query, name, value);
    }
    if let Some(opaque) = opaque {
        push(&mut query, "opaque", opaque);
    }
    Some(query)
}

fn limelight(app: &[u8], user: &[u8], password: &[u8], challenge: &Challenge<'_>, nonce: [u8; 4]) -> Option<Vec<u8>> {
    const COUNT: &[u8] = b"00000001";
    let theirs = challenge.value(b"nonce")?;
    let ours = hex(&nonce);
    let path = app.split(|byte| *byte == b'?').next().unwrap_or_default();
    let instance: &[u8] = if path.contains(&b'/') { b"" } else { b"/_definst_" };
    let who = hex(&md5(&[user, b":live:", password]));
    let what = hex(&md5(&[b"publish:/", path, instance]));
    let response =
        hex(&md5(&[who.as_bytes(), b":", theirs, b":", COUNT, b":", ours.as_bytes(), b":auth:", what.as_bytes()]));
    let mut query = [b"authmod=llnw&user=", user].concat();
    for (name, value) in
        [("nonce", theirs), ("cnonce", ours.as_bytes()), ("nc", COUNT), ("response", response.as_bytes())]
    {
        push(&mut query, name, value);
    }
    Some(query)
}

fn push(query: &mut Vec<u8>, name: &str, value: &[u8]) {
    query.push(b'&');
    query.extend_from_slice(name.as_bytes());
    query.push(b'=');
    query.extend_from_slice(value);
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 4] = [0x0b, 0xad, 0xca, 0xfe];

    fn ask(app: &str, description: &str) -> Answer {
        answer(app.as_bytes(), b"joe", b"secret", description.as_bytes(), NONCE)
    }

    fn retry(query: &str) -> Answer {
        Answer::Retry(query.as_bytes().to_vec())
    }

    const ADOBE: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    const ADOBE_ASKS: &str = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=joe&salt=s4lt&challenge=chal==&opaque=op4q";
    const LLNW: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=llnw ] : ";
    const LLNW_ASKS: &str =
        "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=joe&nonce=dGhlbm9uY2U ";

    #[test]
    fn a_server_that_changes_its_mind_about_the_method_is_not_answered_for_ever() {
        assert_eq!(ask("live?authmod=adobe&user=joe", LLNW), Answer::Refused(Refusal::WrongPassword));
        assert_eq!(ask("live?authmod=llnw&user=joe", ADOBE), Answer::Refused(Refusal::WrongPassword));
    }

    #[test]
    fn the_first_refusal_is_answered_with_the_user() {
        assert_eq!(ask("live", ADOBE), retry("authmod=adobe&user=joe"));
        assert_eq!(ask("live", LLNW), retry("authmod=llnw&user=joe"));
    }

    /// The expected values come from Python's hashlib and base64.
    #[test]
    fn challenges_are_answered_as_others_compute_it() {
        assert_eq!(
            ask("live?authmod=adobe&user=joe", ADOBE_ASKS),
            retry("authmod=adobe&user=joe&challenge=0badcafe&response=qNVzeZbysaL/OTZ7Rev4sQ==&opaque=op4q")
        );
        let without = ADOBE_ASKS.replace("&opaque=op4q", "");
        assert_eq!(
            ask("live?authmod=adobe&user=joe", &without),
            retry("authmod=adobe&user=joe&challenge=0badcafe&response=GBdYG7cnPtx7IyHI4JJKlQ==")
        );
        assert_eq!(
            ask("live?authmod=llnw&user=joe", LLNW_ASKS),
            retry(
                "authmod=llnw&user=joe&nonce=dGhlbm9uY2U&cnonce=0badcafe&nc=00000001&response=5fe1a6890d18dc2aa5fc76a415d89e83"
            )
        );
        assert_eq!(
            ask("live/inst?a=b&authmod=llnw&user=joe", LLNW_ASKS),
            retry(
                "authmod=llnw&user=joe&nonce=dGhlbm9uY2U&cnonce=0badcafe&nc=00000001&response=c96ac9d741187c2b88a245e9cfc81a86"
            )
        );
    }

    #[test]
    fn no_server_gets_a_third_try() {
        for (first, second) in [(ADOBE, ADOBE_ASKS), (LLNW, LLNW_ASKS)] {
            let mut app = b"live".to_vec();
            for description in [first, second] {
                let Answer::Retry(query) = answer(&app, b"joe", b"secret", description.as_bytes(), NONCE) else {
                    panic!("a try was refused")
                };
                app = with_query(&app, &query);
            }
            for description in [first, second] {
                let last = answer(&app, b"joe", b"secret", description.as_bytes(), NONCE);
                assert_eq!(last, Answer::Refused(Refusal::WrongPassword));
            }
        }
        assert_eq!(ask("live?authmod=adobe&user=joe", ADOBE), Answer::Refused(Refusal::WrongPassword));
    }

    #[test]
    fn each_refusal_of_a_login_has_its_reason() {
        let says = |text: &str| ask("live?authmod=adobe&user=joe", text);
        assert_eq!(says("[ authmod=adobe ] : ?reason=nosuchuser"), Answer::Refused(Refusal::NoSuchUser));
        assert_eq!(says("[ authmod=adobe ] : ?reason=authfailed&opaque=x"), Answer::Refused(Refusal::WrongPassword));
        assert_eq!(says("[ code=403 need auth; authmod=other ]"), Answer::Refused(Refusal::UnknownMethod));
        assert_eq!(says("[ authmod=adobe ] : ?reason=weather"), Answer::Refused(Refusal::Malformed));
        for nothing in ["", "application not found", "[ AccessManager.Reject ]"] {
            assert_eq!(says(nothing), Answer::NotAuth);
        }
        assert_eq!(answer(b"live", b"", b"", ADOBE.as_bytes(), NONCE), Answer::Refused(Refusal::NoCredentials));
        assert_eq!(answer(b"live", b"joe", b"", ADOBE.as_bytes(), NONCE), Answer::Refused(Refusal::NoCredentials));
    }

    #[test]
    fn a_challenge_cut_anywhere_is_an_answer_or_a_verdict() {
        for whole in [ADOBE, ADOBE_ASKS, LLNW, LLNW_ASKS] {
            for end in 0..whole.len() {
                let _ = ask("live", &whole[..end]);
                let _ = ask("live", &whole[end..]);
            }
        }
        for missing in ["?reason=needauth", "?reason=needauth&salt=a", "?reason=needauth&challenge=a&opaque="] {
            let text = format!("[ authmod=adobe ] : {missing}");
            assert_eq!(ask("live", &text), Answer::Refused(Refusal::Malformed), "{missing}");
        }
        let long = format!("[ authmod=llnw ] : ?reason=needauth&nonce={}", "n".repeat(MAX_VALUE + 1));
        assert_eq!(ask("live", &long), Answer::Refused(Refusal::Malformed));
    }

    #[test]
    fn a_query_takes_the_place_of_an_older_one() {
        assert_eq!(with_query(b"live", b"authmod=adobe&user=a"), b"live?authmod=adobe&user=a");
        assert_eq!(with_query(b"live?x=1", b"authmod=adobe&user=a"), b"live?x=1&authmod=adobe&user=a");
        assert_eq!(with_query(b"live?authmod=adobe&user=a", b"authmod=llnw"), b"live?authmod=llnw");
        assert_eq!(with_query(b"live?x=1&authmod=adobe&user=a", b"authmod=llnw"), b"live?x=1&authmod=llnw");
        assert_eq!(bare(b"live?x=1&authmod=adobe"), b"live?x=1");
        assert_eq!(bare(b""), b"");
    }
}
