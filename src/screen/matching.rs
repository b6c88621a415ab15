//! From activities to alerts.

use alloy::primitives::{Address, B256};

use super::alert::{Alert, Direction, alert_id};
use super::rules::{EntryFacts, Facts, Touches};
use super::triage::triage;
use super::watchlist::{WatchEntry, Watchlist};
use crate::chain::VerifiedBlock;
use crate::decode::Activity;

/// Every alert of a block, in the order of the activities; of one activity, the giving side first. An address on several lists
/// makes one alert.
pub fn screen(chain_id: u64, block: &VerifiedBlock, activities: &[Activity], watchlist: &Watchlist) -> Vec<Alert> {
    let signer = |activity: &Activity| {
        let index = activity.location.tx_index? as usize;
        block.transactions().get(index).map(|tx| tx.signer)
    };
    screen_activities(chain_id, (block.hash(), block.header().timestamp), activities, signer, watchlist)
}

/// Every alert of activities of a block with that hash and time, in their order. `signer` tells who signed an activity's transaction.
pub fn screen_activities(
    chain_id: u64,
    (block, timestamp): (B256, u64),
    activities: &[Activity],
    signer: impl Fn(&Activity) -> Option<Address>,
    watchlist: &Watchlist,
) -> Vec<Alert> {
    let mut alerts = Vec::new();
    if watchlist.is_empty() {
        return alerts;
    }
    let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
    let place = Place { chain_id, timestamp, watchlist };
    for activity in activities {
        place.alerts_of(activity, block, || signer(activity), &mut alerts);
    }
    alerts
}

/// Where and when, and what is watched.
struct Place<'a> {
    chain_id: u64,
    timestamp: i64,
    watchlist: &'a Watchlist,
}

impl Place<'_> {
    fn alerts_of(
        &self,
        activity: &Activity,
        block: B256,
        signer: impl Fn() -> Option<Address>,
        alerts: &mut Vec<Alert>,
    ) {
        let sides = activity.parties().map(|side| (side, side.map_or(&[][..], |side| self.watchlist.get(&side))));
        if sides.iter().all(|(_, entries)| entries.is_empty()) {
            return;
        }
        let sides = sides.map(|(side, entries)| (side, self.in_force(entries)));
        // Both sides tell: own wallets and blocked ones at once is another thing than either.
        let touches = Touches::of(sides.iter().flat_map(|(_, entries)| entries.iter().map(|entry| entry.kind)));
        for (side, matched) in sides {
            let Some(watched) = side.filter(|_| !matched.is_empty()) else { continue };
            let triage = triage(activity, signer(), touches);
            let direction = direction(activity, watched);
            let entries: Vec<_> = matched
                .iter()
                .map(|entry| EntryFacts {
                    kind: entry.kind,
                    designation: entry.designation(self.timestamp),
                    marks: self.watchlist.marks(entry.id),
                })
                .collect();
            let facts = Facts {
                chain_id: self.chain_id,
                entries: &entries,
                touches,
                direction,
                kind: activity.kind,
                asset: activity.asset,
                token_id: activity.token_id,
                amount: activity.amount,
                triage: triage.class,
            };
            alerts.push(Alert {
                id: alert_id(self.chain_id, block, &activity.location, watched),
                watched,
                direction,
                severity: self.watchlist.rules().rate(&facts).severity,
                matched: matched.iter().map(|entry| (entry.id, entry.designation(self.timestamp))).collect(),
                triage,
                activity: activity.clone(),
            });
        }
    }

    fn in_force<'a>(&self, entries: &'a [WatchEntry]) -> Vec<&'a WatchEntry> {
        entries.iter().filter(|entry| entry.covers(self.timestamp)).collect()
    }
}

fn direction(activity: &Activity, watched: Address) -> Direction {
    match (activity.from == Some(watched), activity.to == Some(watched)) {
        (true, true) => Direction::Own,
        (true, false) => Direction::Out,
        (false, true) => Direction::In,
        (false, false) => Direction::Party,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{ActivityKind, Asset, Location, Plane, Position};
    use crate::screen::{ListKind, Severity, TriageClass};
    use alloy::primitives::U256;

    const FROM: Address = Address::with_last_byte(1);
    const TO: Address = Address::with_last_byte(2);

    /// Direction, severity and class of every alert of a transfer between the two, listed so; with an amount, or as bait.
    fn alerts(listed: &[(Address, ListKind)], bait: bool) -> Vec<(Direction, Severity, TriageClass)> {
        let entries = listed.iter().zip(1i64..).map(|((address, kind), id)| WatchEntry {
            id,
            address: *address,
            kind: *kind,
            listed_from: None,
            delisted_on: None,
            known_from: None,
            ended_on: None,
        });
        let watchlist = Watchlist::new(entries.collect(), 1);
        let location = Location { tx_index: Some(0), plane: Plane::Logs, position: Position::Log(0), sub_index: 0 };
        let activity = Activity {
            kind: ActivityKind::Erc20Transfer,
            location,
            from: Some(FROM),
            to: Some(TO),
            asset: Asset::Erc20(Address::with_last_byte(9)),
            amount: U256::from(u8::from(!bait)),
            token_id: None,
            frame: None,
            operator: None,
        };
        let mut alerts = Vec::new();
        let place = Place { chain_id: 1, timestamp: 0, watchlist: &watchlist };
        place.alerts_of(&activity, B256::ZERO, || Some(Address::with_last_byte(if bait { 7 } else { 1 })), &mut alerts);
        alerts.iter().map(|alert| (alert.direction, alert.severity, alert.triage.class)).collect()
    }

    #[test]
    fn own_wallets_and_blocked_ones_at_once_are_severe_on_both_sides() {
        use ListKind::{Advisory, Blocking, Internal, Own};
        use TriageClass::Value;
        let (out, inwards) = (Direction::Out, Direction::In);
        let severe = |side| (side, Severity::Severe, Value);
        assert_eq!(alerts(&[(FROM, Own), (TO, Blocking)], false), [severe(out), severe(inwards)]);
        assert_eq!(alerts(&[(TO, Own), (FROM, Blocking)], false), [severe(out), severe(inwards)]);
        assert_eq!(alerts(&[(FROM, Own), (FROM, Blocking)], false), [severe(out)], "an address on both lists");
        assert_eq!(
            alerts(&[(FROM, Own), (FROM, Internal), (TO, Blocking)], false),
            [severe(out), severe(inwards)],
            "what else the own wallet is listed on does not matter"
        );
        let medium = |side| (side, Severity::Medium, Value);
        assert_eq!(alerts(&[(FROM, Own), (TO, Advisory)], false), [medium(out), medium(inwards)]);
        let high = (inwards, Severity::High, Value);
        assert_eq!(alerts(&[(FROM, Internal), (TO, Blocking)], false), [medium(out), high], "each side for itself");
    }

    #[test]
    fn own_wallets_alone_are_no_alert_and_bait_is_never_severe() {
        use ListKind::{Blocking, Own};
        let own = |side| (side, Severity::Low, TriageClass::Own);
        assert_eq!(alerts(&[(FROM, Own)], false), [own(Direction::Out)]);
        assert_eq!(alerts(&[(FROM, Own), (TO, Own)], false), [own(Direction::Out), own(Direction::In)]);
        assert_eq!(alerts(&[(FROM, Own)], true), [own(Direction::Out)]);
        // Anybody can make a token say that an own wallet sent nothing to a blocked one.
        let bait = |side| (side, Severity::Low, TriageClass::ZeroValue);
        assert_eq!(alerts(&[(FROM, Own), (TO, Blocking)], true), [bait(Direction::Out), bait(Direction::In)]);
    }
}
