//! Who may publish and play, by the peer's address. Rules apply in the order given and the first match decides, as with
//! nginx-rtmp's `allow` and `deny`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::value::{Setting, Value};
use crate::error::Result;

/// Most rules in force at one time: each publish and each play walks the list.
pub const MAX_ACCESS_RULES: usize = 4_096;

/// One rule: `allow` or `deny`, `publish` or `play` or neither for both, and a network, an address or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Whether the rule allows the peers that it matches, or denies them.
    pub allow: bool,
    /// Whether the rule is for publishing (true) or playing (false); `None`: for both.
    pub publishes: Option<bool>,
    /// The addresses that the rule matches; `None`: every peer, also one without an address.
    pub network: Option<IpNet>,
}

impl AccessRule {
    /// Whether the rule matches this peer and what it wants to do.
    pub fn fits(&self, publishes: bool, ip: Option<IpAddr>) -> bool {
        self.publishes.is_none_or(|mine| mine == publishes)
            && self.network.is_none_or(|network| ip.is_some_and(|ip| network.contains(&ip)))
    }
}

impl FromStr for AccessRule {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let allow = match words.next() {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err("begins with neither allow nor deny"),
        };
        let mut next = words.next();
        let publishes = match next {
            Some("publish") => Some(true),
            Some("play") => Some(false),
            _ => None,
        };
        if publishes.is_some() {
            next = words.next();
        }
        let network = match next {
            Some("all") => None,
            Some(address) => Some(network(address).ok_or("has no address, network (10.0.0.0/8, fd00::/8) or all")?),
            None => return Err("has no address: a network (10.0.0.0/8, fd00::/8) or all"),
        };
        match words.next() {
            Some(_) => Err("has text after its address"),
            None => Ok(Self { allow, publishes, network }),
        }
    }
}

/// A network, or a single address. Host bits beyond the prefix are ignored, as nginx does. IPv4 peers that arrive on an
/// IPv6 socket count as IPv4, and networks are treated likewise.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    match network.addr().to_canonical() {
        IpAddr::V4(address) if network.prefix_len() >= 96 => IpNet::new(address.into(), network.prefix_len() - 96).ok(),
        _ => Some(network),
    }
}

/// Settings of who may publish and play.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// The rules in their order. A peer that no rule matches is allowed.
    pub rules: Vec<AccessRule>,
    /// A file of the stream keys that may publish, one a line; `None`: any key may.
    pub publish_keys: Option<String>,
}

impl AccessConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`](crate::error::RRError::Arg) with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        let given = Setting::new(name, value);
        match name {
            "rules" => {
                let texts = given.texts(MAX_ACCESS_RULES)?;
                let rule = |text: &String| {
                    let why = |why| given.refuse(&format!("has \"{text}\", which {why}"));
                    text.parse().map_err(why)
                };
                self.rules = texts.iter().map(rule).collect::<Result<_>>()?;
            }
            "publish_keys" => self.publish_keys = given.owned_text()?,
            _ => return Err(given.unknown("server's access")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> AccessRule {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_rule_fits_those_in_its_network() {
        let private = rule("allow publish 10.0.0.0/8");
        assert!(private.fits(true, ip("10.1.2.3")));
        assert!(!private.fits(false, ip("10.1.2.3")), "it is about publishing");
        for other in [ip("11.0.0.1"), ip("::1"), ip("::10.1.2.3"), None] {
            assert!(!private.fits(true, other), "{other:?}");
        }
        let both = rule(" deny\t2001:db8::/32 ");
        assert!(!both.allow && both.fits(true, ip("2001:db8::1")) && both.fits(false, ip("2001:db8:ffff::1")));
        assert!(!both.fits(true, ip("2001:db9::1")) && !both.fits(true, ip("32.1.13.184")));
        let one = rule("deny play 192.0.2.7");
        assert!(one.fits(false, ip("192.0.2.7")) && !one.fits(false, ip("192.0.2.6")));
        assert!(rule("allow 192.0.2.7/24").fits(false, ip("192.0.2.200")), "bits beyond the prefix are ignored");
        assert!(rule("allow ::ffff:192.0.2.0/120").fits(true, ip("192.0.2.1")));
        assert!(rule("allow 0.0.0.0/0").fits(true, ip("1.2.3.4")) && !rule("allow 0.0.0.0/0").fits(true, ip("::1")));
        for anybody in [ip("1.2.3.4"), ip("::1"), None] {
            assert!(rule("deny all").fits(true, anybody) && rule("deny play all").fits(false, anybody));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        let mut config = AccessConfig::default();
        for (text, reason) in [
            ("", "neither"),
            ("permit all", "neither"),
            ("10.0.0.0/8", "neither"),
            ("allow", "no address"),
            ("allow publish", "no address"),
            ("deny record all", "no address"),
            ("deny play 10.0.0.0/33", "no address"),
            ("deny play localhost", "no address"),
            ("deny play 10.0.0.1 10.0.0.2", "after"),
        ] {
            let failure = config.set("rules", Value::Texts(&[text.to_owned()])).unwrap_err();
            let names = format!("rules has \"{text}\"");
            assert!(failure.text.starts_with(&names) && failure.text.contains(reason), "{failure}");
        }
        let many = vec!["deny all".to_owned(); MAX_ACCESS_RULES + 1];
        assert!(config.set("rules", Value::Texts(&many)).unwrap_err().text.contains("more than"));
        config.set("rules", Value::Texts(&many[1..])).unwrap();
        assert_eq!(config.rules.len(), MAX_ACCESS_RULES);
    }
}
