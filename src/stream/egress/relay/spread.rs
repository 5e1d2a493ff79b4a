//! How a stream's players are spread over its relays. The first relay leads: it gets all players, and keeps each or gives
//! it to another relay, before anything is read from it or sent to it. It also starts the other relays.

use std::sync::Arc;

use super::Relay;
use super::consumers::Consumers;
use crate::error::{RRError, Result};
use crate::stream::egress::foreign::Registrations;
use crate::stream::egress::relay::pass::Pass;
use crate::stream::further_relays::RelayPlace;
use crate::stream::handover::Delivery;
use crate::stream::peer::Peer;
use crate::stream::relays::{LEAD, Spread};
use crate::stream::start;

impl Relay {
    pub(super) fn is_lead(&self) -> bool {
        self.number == LEAD
    }

    /// Gives a player to the relay with the fewest consumers, which may be started for it. Returns the player if it
    /// stays with this relay.
    pub(super) fn give_away(&mut self, peer: Peer) -> Option<Peer> {
        if !self.is_lead() {
            return Some(peer);
        }
        let number = self.emptiest();
        let relays = self.stream.relays();
        relays.came(number);
        if number == LEAD {
            return Some(peer);
        }
        let (back, _) = self.stream.hand_to_relay(number, Delivery::Player(peer)).err()?;
        relays.left(number);
        let Delivery::Player(peer) = back else { return None };
        relays.came(LEAD);
        Some(peer)
    }

    /// The relay with the fewest consumers: another one, if each has enough of them.
    fn emptiest(&mut self) -> usize {
        let relays = self.stream.relays();
        let (number, consumers) = relays.emptiest();
        let made = relays.made();
        if self.stream.stop_by_ms().is_some() {
            return number;
        }
        let Some(place) = self.spread.another(made, consumers, &self.stream.upcalls().further_relays()) else {
            return number;
        };
        let name = self.stream.masked_name();
        match self.start_another(made, place) {
            Ok(()) => {
                log::info!("{name} has {} relay threads from now on", made + 1);
                made
            }
            Err(failure) => {
                // A stream that ends starts none.
                if failure.kind != RRError::State {
                    log::warn!("{name} has no further relay thread: {failure}");
                }
                self.spread.put_off();
                number
            }
        }
    }

    fn start_another(&self, number: usize, place: RelayPlace) -> Result<()> {
        let relay = self.beside(number, place);
        self.stream.relays().link(number).start(self.stream.threading(), |spot, inbox| {
            start::run(&self.stream, "relayDataThread", spot, relay, inbox)
        })
    }

    /// A relay with this number that goes on from here beside this one.
    fn beside(&self, number: usize, place: RelayPlace) -> Self {
        Self {
            stream: Arc::clone(&self.stream),
            number,
            spread: Spread::none(),
            _place: place,
            join_index: self.join_index.clone(),
            consumers: Consumers::default(),
            over_tls: 0,
            registrations: Registrations::default(),
            has_waiting: false,
            live: self.live,
            told_end: self.told_end,
            media_ms: self.media_ms,
            has_idle_targets: false,
            filters_pending: false,
            flaw_told: true,
            missing_key_frame_warned_ms: None,
            pass: Pass::default(),
            timeouts: self.timeouts,
            via: self.via.clone(),
            via_changes: self.via_changes,
            settings_changes: self.settings_changes,
            is_pulled: false,
            tail: self.tail.clone(),
            offer: None,
            over: false,
        }
    }

    /// Sends an order that all relays take part in on its round, if it has just come: from the one that leads to the last
    /// one, and from there through the others back to the first. Returns an order that this relay is to carry out.
    pub(super) fn send_round(&self, mut order: Delivery) -> Option<Delivery> {
        if let Delivery::Export { of_others, .. } | Delivery::Offer { of_others, .. } = &mut order
            && of_others.is_none()
            && self.has_others()
        {
            *of_others = Some(Box::default());
            self.pass_on_order(order);
            return None;
        }
        Some(order)
    }

    /// Sends an order on its round to the relay that carries it out next. It is lost where a relay has ended.
    pub(super) fn pass_on_order(&self, order: Delivery) {
        let relays = self.stream.relays();
        let next = if self.is_lead() { relays.made() - 1 } else { self.number - 1 };
        let _ = self.stream.hand_to_relay(next, order);
    }

    /// Whether this relay leads others.
    pub(super) fn has_others(&self) -> bool {
        self.is_lead() && self.stream.relays().made() > 1
    }

    /// Gives the others, if this one leads any, something to do.
    pub(super) fn tell_others(&self, order: impl Fn() -> Delivery) {
        if self.is_lead() {
            for number in 1..self.stream.relays().made() {
                // One that has ended has nobody to do it for.
                let _ = self.stream.hand_to_relay(number, order());
            }
        }
    }
}
