//! Killed at any moment and started again, it ends up with what it would have had, once each.

use std::time::Duration;

use crate::common::{Node, Place, timeless_all};

/// A number in a range, the same series each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn killed_fifty_times_while_the_chain_moves_it_ends_as_if_never_killed() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a"), (b, "b")]);
    let mut dice = Dice(7);
    let mut sent = 0u128;
    for kill in 0..50 {
        let watcher = place.watch(&node.url, &["--from-block", "0", "--poll-interval", "0.02"]);
        for _ in 0..dice.roll(6) {
            sent += 1;
            node.send(a, Some(b), sent, "0x");
            std::thread::sleep(Duration::from_millis(dice.roll(20)));
        }
        if kill % 10 == 9 {
            node.rpc("anvil_reorg", serde_json::json!([1 + dice.roll(4), []]));
        }
        std::thread::sleep(Duration::from_millis(dice.roll(120)));
        watcher.kill();
    }
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let quiet = Place::watching(&[(a, "a"), (b, "b")]);
    let mut watcher = quiet.watch(&node.url, &["--from-block", "0"]);
    quiet.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let (killed, quiet_alerts) = (timeless_all(&place.alerts(&[])), timeless_all(&quiet.alerts(&[])));
    assert!(killed.len() > 100, "{}", killed.len());
    let ids = |alerts: &[serde_json::Value]| alerts.iter().map(|a| a["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&killed), ids(&quiet_alerts));
    assert_eq!(place.status()["coverage"], quiet.status()["coverage"]);
}
