//! The addresses of a name: which are tried, in which order and at what intervals (RFC 8305, "Happy Eyeballs"). The tries
//! themselves are whoever's who connects.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Most addresses of one name that are tried: each try takes a descriptor as long as another may win.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// The try of the next address begins this long after the last one, if that has neither connected nor failed (RFC 8305,
/// section 5).
const STEP_MS: u64 = 250;

/// That interval where all of so many addresses are to be tried within a time that may be short.
pub(crate) fn step_ms(time_ms: u64, addresses: usize) -> u64 {
    STEP_MS.min(time_ms / (addresses as u64 + 1))
}

/// Alternates the families, each in the resolver's order, beginning with the family of its first choice (RFC 8305,
/// section 4).
pub(crate) fn alternate(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut order = VecDeque::with_capacity(one.len() + other.len());
    while !(one.is_empty() && other.is_empty()) {
        order.extend(one.pop_front());
        order.extend(other.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_choice_is_first() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let order = alternate(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]));
        assert_eq!(Vec::from(order), addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]));
    }

    #[test]
    fn all_addresses_have_their_turn_in_a_short_time_too() {
        assert_eq!(step_ms(10_000, 4), STEP_MS);
        for (time_ms, addresses) in [(300, 4), (1_000, MAX_ADDRESSES), (100, MAX_ADDRESSES)] {
            let last_ms = step_ms(time_ms, addresses) * (addresses as u64 - 1);
            assert!(0 < last_ms && last_ms < time_ms, "{time_ms} ms for {addresses}: the last begins at {last_ms} ms");
        }
        assert_eq!(step_ms(0, 4), 0, "at once where there is no time");
    }
}
