//! One activity for one movement: contracts that follow several standards emit an event for each. What is left is the event of the
//! standard that comes first in [`Event`]; two movements that are alike stay two.

use std::collections::{HashMap, HashSet};

use alloy::primitives::{Address, Log, U256};

use super::activity::{Activity, Asset};

/// By which event a log shows a movement. Of a fungible movement the first that there is counts, of a token likewise; a token that moves
/// with units of the same contract is shown by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// ERC-20 `Transfer`.
    Fungible,
    /// ERC-404 `ERC20Transfer`.
    FungibleOfHybrid,
    /// `Transfer` with data.
    FungibleWithData,
    /// DSToken `Mint` or `Burn`.
    MintOrBurn,
    /// Of a standard that is not decoded, which should be shown by one of those before.
    Announced,
    /// ERC-721 `Transfer`.
    Token,
    /// ERC-404 `ERC721Transfer`, or an event of CryptoPunks.
    TokenOfHybrid,
    /// What no other event repeats.
    Other,
}

/// What tells one movement from another: emitter, sides, and amount or token id.
type Key = (Address, Option<Address>, Option<Address>, U256);

/// The events of a transaction that may repeat one another.
#[derive(Debug)]
pub(super) struct Repeats<'a> {
    first: usize,
    events: Vec<(usize, Event, &'a Log)>,
    /// One of them can be a repetition.
    any: bool,
}

impl<'a> Repeats<'a> {
    /// Of a transaction whose activities of logs begin at that place.
    pub(super) fn from(first: usize) -> Self {
        Self { first, events: Vec::new(), any: false }
    }

    /// An event that gave the activities of those places.
    pub(super) fn note(&mut self, event: Event, from: usize, to: usize, log: &'a Log) {
        if event == Event::Other || from == to {
            return;
        }
        // A plain transfer repeats nothing, unless tokens move as well.
        self.any |= !matches!(event, Event::Fungible | Event::Token)
            || self.events.last().is_some_and(|(_, last, _)| *last != event);
        self.events.push((from, event, log));
    }

    /// Takes out of the activities what repeats another, and what was only announced. Returns the logs of announcements that nothing
    /// else shows.
    pub(super) fn merge(self, activities: &mut Vec<Activity>) -> Vec<&'a Log> {
        if !self.any {
            return Vec::new();
        }
        let key = |place: usize| -> Key {
            let activity = &activities[place];
            (log_of(activity), activity.from, activity.to, activity.token_id.unwrap_or(activity.amount))
        };
        let sides = |(emitter, from, to, _): Key| (emitter, from, to);
        let mut shown: HashMap<(Key, bool), [u32; Event::Other as usize]> = HashMap::new();
        let (mut fungible, mut tokens) = (HashSet::new(), HashSet::new());
        for (place, event, _) in &self.events {
            let key = key(*place);
            shown.entry((key, event.is_token())).or_default()[*event as usize] += 1;
            match event {
                Event::Fungible | Event::FungibleOfHybrid => drop(fungible.insert(sides(key))),
                Event::Token | Event::TokenOfHybrid => drop(tokens.insert(sides(key))),
                _ => {}
            }
        }
        let mut seen: HashMap<(Key, Event), u32> = HashMap::new();
        let (mut gone, mut alone) = (HashSet::new(), Vec::new());
        for (place, event, log) in &self.events {
            let key = key(*place);
            // As many movements of that kind as the event before has that shows most of them.
            let before = shown.get(&(key, event.is_token())).map_or(0, |counts| {
                let first = if event.is_token() { Event::Token } else { Event::Fungible };
                counts[first as usize..*event as usize].iter().copied().max().unwrap_or(0)
            });
            let seen = seen.entry((key, *event)).or_default();
            *seen += 1;
            let repeats = *seen <= before
                || match event {
                    Event::Token | Event::TokenOfHybrid => fungible.contains(&sides(key)),
                    // A contract of tokens that says by `Mint` which, or how many, were made.
                    Event::MintOrBurn | Event::FungibleWithData => tokens.contains(&sides(key)),
                    _ => false,
                };
            if repeats || *event == Event::Announced {
                gone.insert(*place);
            }
            if !repeats && *event == Event::Announced {
                alone.push(*log);
            }
        }
        let mut place = 0;
        activities.retain(|_| {
            place += 1;
            place <= self.first || !gone.contains(&(place - 1))
        });
        alone
    }
}

impl Event {
    fn is_token(self) -> bool {
        matches!(self, Self::Token | Self::TokenOfHybrid)
    }
}

/// The contract that emitted the log of an activity.
fn log_of(activity: &Activity) -> Address {
    match activity.asset {
        Asset::Native => Address::ZERO,
        asset => asset.contract().unwrap_or_default(),
    }
}
