//! What `watch` and `replay` print while they run: alerts as JSON lines on stdout, a line each in the log, and a summary at the end.

use std::io::Write;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use super::Failure;
use super::alert_json::{AlertJson, ChainWords};
use super::present::clean;
use super::progress::Progress;
use crate::chain::canonical::Link;
use crate::ops::{Shutdown, StopReason};
use crate::pipeline::Observer;
use crate::screen::{Severity, TriageClass};
use crate::store::{Access, AlertFilter, Committed, Order, Store};

/// Alerts of a block that have a line each; an airdrop to a list would fill the log otherwise.
const MAX_LINES: usize = 10;
/// How often it is looked whether the reader of the output is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The problem of a command whose reader is gone.
pub(super) const OUTPUT_CLOSED: &str = "output_closed";

/// Tells of commits: each new alert as a JSON line where that is wanted, and a line in the log of what `watch` finds.
pub(super) struct CommitPrinter {
    json: bool,
    chain: ChainWords,
    /// Moved on at each block.
    pub(super) progress: Option<Progress>,
    /// New alerts have no lines in the log.
    pub(super) quiet: bool,
    /// New alerts so far, by severity.
    found: [u64; Severity::ALL.len()],
    /// What touched own wallets alone: stored, and not told of one by one.
    own: usize,
}

impl CommitPrinter {
    pub(super) fn new(json: bool, chain_id: u64) -> Self {
        Self { json, chain: ChainWords::of(chain_id), progress: None, quiet: false, found: Default::default(), own: 0 }
    }

    /// Says at the end what was not told of.
    pub(super) fn say_own(&self) {
        if self.own > 0 {
            tracing::info!(
                own = self.own,
                "stored and left out: what touches own wallets alone (bolo query --triage own)"
            );
        }
    }

    /// What was found, in words: `3 new alerts (1 severe, 2 medium)`.
    pub(super) fn summary(&self) -> String {
        summary(&self.found)
    }

    fn print(&self, store: &Store, link: &Link, rows: &[i64], most: usize) -> Result<(), Failure> {
        let filter = AlertFilter {
            from_block: Some(link.number),
            to_block: Some(link.number),
            rows: Some(rows.iter().take(most).copied().collect()),
            any_status: true,
            triage: TriageClass::ALL.iter().map(|(class, _)| *class).collect(),
            order: Order::Ascending,
            ..AlertFilter::default()
        };
        let mut out = std::io::stdout().lock();
        let mut lines = 0;
        store.each_alert::<Failure>(&filter, |row| {
            let alert = AlertJson::new(&row, &self.chain);
            if !self.quiet && lines < MAX_LINES {
                tracing::info!("{}", alert_line(&serde_json::to_value(&alert).unwrap_or_default()));
            }
            lines += 1;
            if self.json {
                out.write_all(&alert.line()?)?;
            }
            Ok(())
        })?;
        out.flush()?;
        if !self.quiet && rows.len() > MAX_LINES {
            let (more, block) = (rows.len() - MAX_LINES, link.number);
            tracing::info!("and {more} more alerts in this block (bolo query --from-block {block} --to-block {block})");
        }
        Ok(())
    }
}

impl Observer for CommitPrinter {
    fn committed(&mut self, store: &Store, link: &Link, committed: &Committed) -> std::io::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.block(committed.new_alerts.len());
        }
        self.own += committed.own;
        for (found, new) in self.found.iter_mut().zip(committed.by_severity) {
            *found += new;
        }
        tracing::debug!(block = link.number, hash = %link.hash, alerts = committed.new_alerts.len(), "block committed");
        let most = match (self.json, self.quiet) {
            (true, _) => usize::MAX,
            (false, false) => MAX_LINES,
            (false, true) => 0,
        };
        if committed.new_alerts.is_empty() || most == 0 {
            return Ok(());
        }
        match self.print(store, link, &committed.new_alerts, most) {
            Ok(()) => Ok(()),
            Err(failure) if failure.code == 0 => Err(std::io::ErrorKind::BrokenPipe.into()),
            Err(failure) => Err(std::io::Error::other(failure.message)),
        }
    }

    fn skipped(&mut self, _number: u64) {
        if let Some(progress) = &mut self.progress {
            progress.blocks(1);
        }
    }

    fn not_read(&mut self, blocks: u64) {
        if let Some(progress) = &mut self.progress {
            progress.not_read(blocks);
        }
    }
}

fn summary(found: &[u64]) -> String {
    let by_severity: Vec<_> = Severity::ALL
        .iter()
        .rev()
        .zip(found.iter().rev())
        .filter(|(_, count)| **count > 0)
        .map(|((severity, _), count)| format!("{count} {}", severity.name()))
        .collect();
    match found.iter().sum::<u64>() {
        0 => "no new alerts".to_owned(),
        1 => format!("1 new alert ({})", by_severity.join(", ")),
        all => format!("{all} new alerts ({})", by_severity.join(", ")),
    }
}

/// An alert in a line: how severe, what, who, how much, with whom, and where.
fn alert_line(alert: &Value) -> String {
    let text = |value: &Value, longest: usize| value.as_str().map(|text| clean(text, longest));
    let watched = &alert["watched"];
    let label = text(&watched["label"], 40).map(|label| format!("{label} ")).unwrap_or_default();
    let short = |address: &str| match (address.get(..8), address.get(address.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => address.to_owned(),
    };
    let who = watched["address"].as_str().map(short).unwrap_or_default();
    let direction = watched["direction"].as_str().unwrap_or_default();
    let symbol = text(&alert["asset"]["symbol"], 16)
        .or_else(|| alert["asset"]["contract"].as_str().map(short))
        .unwrap_or_default();
    let amount = match (&alert["token_id"], &alert["amount_display"]) {
        (Value::String(id), _) => format!("{} of {symbol} #{}", alert["amount"].as_str().unwrap_or("?"), clean(id, 20)),
        (_, Value::String(units)) => format!("{units} {symbol}"),
        _ => format!("{} base units of {symbol}", alert["amount"].as_str().unwrap_or("?")),
    };
    let side = if direction == "in" { "from" } else { "to" };
    let other = alert["counterparty"].as_str().map(|other| format!(" {side} {}", short(other))).unwrap_or_default();
    let class = alert["triage"]["class"].as_str().filter(|class| *class != "value");
    let class = class.map(|class| format!(" ({class})")).unwrap_or_default();
    let tx = alert["tx"]["hash"].as_str().map(|hash| format!(", tx {hash}")).unwrap_or_default();
    format!(
        "{} {}{class}: {label}{who} {direction}, {amount}{other}{tx}, block {}",
        alert["severity"].as_str().unwrap_or_default(),
        alert["kind"].as_str().unwrap_or_default(),
        alert["block"]["number"],
    )
}

/// Runs a command that may print alerts as JSON lines: it stops once nobody reads them, and its exit code says how it ended.
pub(super) async fn run_with_reader(
    db: &std::path::Path,
    command: &str,
    json: bool,
    shutdown: &Shutdown,
    work: impl Future<Output = Result<u8, Failure>>,
) -> Result<u8, Failure> {
    if json {
        stop_without_reader(shutdown);
    }
    let outcome = work.await;
    ending(db, command, json, shutdown, outcome)
}

/// Stops the command once nobody reads its output any more, also where there is nothing to print.
fn stop_without_reader(shutdown: &Shutdown) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        while !reader_is_gone() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        shutdown.stop(StopReason::OutputClosed);
    });
}

/// Whether what is written to stdout can reach nobody: the other end of a pipe or socket is closed.
fn reader_is_gone() -> bool {
    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// How a command with `--json` ended: where its reader is gone, the problem is kept for `status`, and the exit code says so.
fn ending(
    db: &std::path::Path,
    command: &str,
    json: bool,
    shutdown: &Shutdown,
    outcome: Result<u8, Failure>,
) -> Result<u8, Failure> {
    // Stopped while it waited for another process: the block in hand is taken next time.
    let outcome = match (outcome, shutdown.reason()) {
        (Err(failure), Some(reason)) if failure.busy => {
            tracing::warn!("stopped while another process writes the database: the block in hand is taken next time");
            Ok(if command == "watch" { 0 } else { reason.exit_code() })
        }
        (outcome, _) => outcome,
    };
    // A signal that ends the whole pipeline ends the reader too: what was asked for is the stop.
    if let Some(reason @ (StopReason::Interrupt | StopReason::Terminate)) = shutdown.reason()
        && (outcome.is_ok() || matches!(&outcome, Err(failure) if failure.code == StopReason::OutputClosed.exit_code()))
    {
        return outcome.or_else(|_| Ok(if command == "watch" { 0 } else { reason.exit_code() }));
    }
    let closed = match &outcome {
        Ok(_) => shutdown.reason() == Some(StopReason::OutputClosed) || (json && reader_is_gone()),
        Err(failure) => failure.code == StopReason::OutputClosed.exit_code(),
    };
    if !closed {
        return outcome;
    }
    let what = match &outcome {
        Err(failure) => failure.message.clone(),
        Ok(_) => "its reader is gone".to_owned(),
    };
    let reason = format!("`bolo {command} --json` stopped: {what}. The alerts are stored: read them with `bolo query`");
    let noted = Store::open(db, Access::Write { durable: false })
        .and_then(|mut store| store.note_stop(Some((OUTPUT_CLOSED, command, &reason))));
    if let Err(error) = noted {
        tracing::warn!(%error, "the problem {OUTPUT_CLOSED} cannot be kept for `bolo status`");
    }
    Err(Failure::new(StopReason::OutputClosed.exit_code(), format!("{OUTPUT_CLOSED}: {reason}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_live_line_says_how_severe_who_how_much_with_whom_and_where() {
        let mut alert = json!({
            "severity": "severe", "kind": "erc20_transfer", "block": {"number": 17},
            "tx": {"hash": "0xaabb"}, "triage": {"class": "value"},
            "watched": {"address": "0x098B716B8Aaf21512996dC57EB0615e2383E2f96", "label": "Lazarus 1", "direction": "out"},
            "counterparty": "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B",
            "asset": {"symbol": "USDC", "contract": "0x01"}, "amount": "1234500000", "amount_display": "1234.5", "token_id": null,
        });
        assert_eq!(
            alert_line(&alert),
            "severe erc20_transfer: Lazarus 1 0x098B71…2f96 out, 1234.5 USDC to 0xa0e1c8…0E4B, tx 0xaabb, block 17"
        );
        alert["watched"]["direction"] = json!("in");
        alert["watched"]["label"] = Value::Null;
        alert["triage"]["class"] = json!("dust");
        alert["amount_display"] = Value::Null;
        assert_eq!(
            alert_line(&alert),
            "severe erc20_transfer (dust): 0x098B71…2f96 in, 1234500000 base units of USDC from 0xa0e1c8…0E4B, tx 0xaabb, block 17"
        );
        alert["token_id"] = json!("77");
        alert["tx"] = Value::Null;
        alert["counterparty"] = Value::Null;
        alert["asset"]["symbol"] = json!("a\u{1b}[31mb");
        assert_eq!(
            alert_line(&alert),
            "severe erc20_transfer (dust): 0x098B71…2f96 in, 1234500000 of a\\u{1b}[31mb #77, block 17"
        );
    }

    #[test]
    fn a_summary_counts_alerts_by_severity() {
        assert_eq!(summary(&[0, 0, 0, 0]), "no new alerts");
        assert_eq!(summary(&[0, 0, 0, 1]), "1 new alert (1 severe)");
        assert_eq!(summary(&[2, 0, 3, 1]), "6 new alerts (1 severe, 3 high, 2 low)");
    }

    /// A database, and a stop for that reason.
    fn stopped(reason: Option<StopReason>) -> (tempfile::TempDir, std::path::PathBuf, Shutdown) {
        let place = tempfile::tempdir().unwrap();
        let db = place.path().join("a.db");
        drop(Store::open(&db, Access::Write { durable: false }).unwrap());
        let shutdown = Shutdown::default();
        if let Some(reason) = reason {
            shutdown.stop(reason);
        }
        (place, db, shutdown)
    }

    #[test]
    fn a_signal_that_ends_the_reader_too_is_a_stop_and_no_closed_output() {
        let closed = || Err(Failure::new(StopReason::OutputClosed.exit_code(), "what was found cannot be printed"));
        for (reason, of_replay) in [(StopReason::Interrupt, 130), (StopReason::Terminate, 143)] {
            let (_place, db, shutdown) = stopped(Some(reason));
            assert_eq!(ending(&db, "watch", true, &shutdown, closed()), Ok(0), "{reason:?}");
            assert_eq!(ending(&db, "replay", true, &shutdown, closed()), Ok(of_replay), "{reason:?}");
            assert_eq!(ending(&db, "watch", true, &shutdown, Ok(0)), Ok(0));
            let other = Failure::new(5, "the disk is full");
            assert_eq!(
                ending(&db, "watch", true, &shutdown, Err(other.clone())),
                Err(other),
                "another end stays what it was"
            );
            let store = Store::open(&db, Access::Read).unwrap();
            assert!(!format!("{:?}", store.status()).contains(OUTPUT_CLOSED), "no problem is kept");
        }
        let (_place, db, shutdown) = stopped(Some(StopReason::OutputClosed));
        assert_eq!(ending(&db, "watch", true, &shutdown, Ok(0)).unwrap_err().code, 74);
        let (_place, db, shutdown) = stopped(None);
        assert_eq!(ending(&db, "replay", true, &shutdown, closed()).unwrap_err().code, 74);
    }

    #[test]
    fn a_stop_while_another_process_writes_is_in_order_whatever_the_failure_says() {
        // The path as it was opened is not always the one that was named: a link, say.
        for path in ["a.db", "/elsewhere/b.db", ""] {
            let busy = || Failure::from(crate::store::StoreError::Busy(path.into()));
            let (_place, db, shutdown) = stopped(Some(StopReason::Terminate));
            assert_eq!(ending(&db, "watch", false, &shutdown, Err(busy())), Ok(0), "{path:?}");
            assert_eq!(ending(&db, "replay", false, &shutdown, Err(busy())), Ok(143), "{path:?}");
            let (_place, db, running) = stopped(None);
            assert_eq!(ending(&db, "watch", false, &running, Err(busy())).unwrap_err().code, 5, "nobody stopped it");
            let locked = Failure::from(crate::store::StoreError::Locked(path.into()));
            assert_eq!(ending(&db, "watch", false, &shutdown, Err(locked)).unwrap_err().code, 5);
        }
    }
}
