//! From activities to alerts.

use alloy::primitives::Address;

use super::alert::{Alert, Direction, alert_id};
use super::triage::{severity, triage};
use super::watchlist::Watchlist;
use crate::chain::VerifiedBlock;
use crate::decode::Activity;

/// Every alert of a block, in the order of the activities; of one activity, the giving side first. An address on several lists
/// makes one alert.
pub fn screen(chain_id: u64, block: &VerifiedBlock, activities: &[Activity], watchlist: &Watchlist) -> Vec<Alert> {
    if watchlist.is_empty() {
        return Vec::new();
    }
    let timestamp = i64::try_from(block.header().timestamp).unwrap_or(i64::MAX);
    let mut alerts = Vec::new();
    for activity in activities {
        for watched in activity.sides() {
            let matched: Vec<_> = watchlist.get(&watched).iter().filter(|entry| entry.covers(timestamp)).collect();
            let Some(strictest) = matched.first() else { continue };
            let signer = activity
                .location
                .tx_index
                .and_then(|index| block.transactions().get(index as usize))
                .map(|tx| tx.signer);
            let triage = triage(activity, signer);
            alerts.push(Alert {
                id: alert_id(chain_id, block.hash(), &activity.location, watched),
                watched,
                direction: direction(activity, watched),
                severity: severity(strictest.kind, triage.class),
                matched: matched.iter().map(|entry| (entry.id, entry.designation(timestamp))).collect(),
                triage,
                activity: activity.clone(),
            });
        }
    }
    alerts
}

fn direction(activity: &Activity, watched: Address) -> Direction {
    match (activity.from == Some(watched), activity.to == Some(watched)) {
        (true, true) => Direction::Own,
        (true, false) => Direction::Out,
        (false, true) => Direction::In,
        (false, false) => Direction::Party,
    }
}
