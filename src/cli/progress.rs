//! How far a replay or a recording is: a bar where stderr is a terminal, else a line a minute in the log.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// How often a line is written where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Counts blocks and shows them.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    said: Instant,
    blocks: u64,
    /// How many there are to be, where that is known.
    of: Option<u64>,
    alerts: u64,
    /// Blocks that nobody read.
    holes: u64,
    /// Counts the bytes that come.
    received: Arc<AtomicU64>,
}

/// What is said of a run.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    blocks_per_s: u64,
    mb_per_s: u64,
    /// Until the end, as far as it goes on like that.
    left: Option<Duration>,
}

fn pace(elapsed: Duration, blocks: u64, of: Option<u64>, bytes: u64) -> Pace {
    let ms = elapsed.as_millis().max(1);
    let per_s = |count: u64| u64::try_from(u128::from(count) * 1000 / ms).unwrap_or(u64::MAX);
    let left = of.filter(|_| blocks > 0).map(|of| {
        let ms = u128::from(of.saturating_sub(blocks)) * ms / u128::from(blocks);
        Duration::from_secs(u64::try_from(ms / 1000).unwrap_or(u64::MAX))
    });
    Pace { blocks_per_s: per_s(blocks), mb_per_s: per_s(bytes) / 1_000_000, left }
}

/// What is written behind the bar. What matters most comes first: the line ends where the terminal does.
fn message(pace: &Pace, alerts: u64, holes: u64) -> String {
    let left = pace.left.map_or_else(String::new, |left| format!("{} left  ", HumanDuration(left)));
    format!("{left}{alerts} alerts  {}/s  {} MB/s  {holes} holes", pace.blocks_per_s, pace.mb_per_s)
}

impl Progress {
    /// Of so many blocks, where that is known; `received` counts the bytes that come.
    pub(super) fn new(of: Option<u64>, received: Arc<AtomicU64>) -> Self {
        let bar = (std::io::stderr().is_terminal() && !is_dumb_terminal()).then(|| bar(of));
        let now = Instant::now();
        Self { bar, begun: now, said: now, blocks: 0, of, alerts: 0, holes: 0, received }
    }

    /// A block is done, with so many new alerts.
    pub(super) fn block(&mut self, alerts: usize) {
        self.alerts += alerts as u64;
        self.blocks(1);
    }

    /// So many blocks are passed over. Where the end is known they count on the way to it.
    pub(super) fn not_read(&mut self, count: u64) {
        self.holes += count;
        if self.of.is_some() {
            self.blocks(count);
        }
    }

    /// So many blocks are done.
    pub(super) fn blocks(&mut self, count: u64) {
        self.blocks += count;
        if self.bar.is_none() && self.said.elapsed() < LINE_EVERY {
            return;
        }
        let bytes = self.received.load(Ordering::Relaxed);
        let pace = pace(self.begun.elapsed(), self.blocks, self.of, bytes);
        match &self.bar {
            Some(bar) => {
                bar.set_message(message(&pace, self.alerts, self.holes));
                bar.inc(count);
            }
            None => {
                self.said = Instant::now();
                let Pace { blocks_per_s, mb_per_s, left } = pace;
                let (blocks, of, alerts, holes) = (self.blocks, self.of, self.alerts, self.holes);
                let left = left.map(|left| HumanDuration(left).to_string());
                tracing::info!(blocks, of, blocks_per_s, mb_per_s, alerts, holes, left, "under way");
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether the terminal understands neither colours nor the moving of its cursor.
pub fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn bar(blocks: Option<u64>) -> ProgressBar {
    let bar = blocks.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = match blocks {
        Some(_) => "{bar:16} {pos}/{len} blocks  {wide_msg}",
        None => "{spinner} {pos} blocks  {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_no_wider_than_its_terminal() {
        use indicatif::{InMemoryTerm, ProgressDrawTarget};
        for columns in [40, 60, 80, 132] {
            for of in [Some(24_000_000), None] {
                let terminal = InMemoryTerm::new(10, columns);
                let bar = bar(of);
                bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
                let left = Some(Duration::from_secs(4000)).filter(|_| of.is_some());
                bar.set_message(message(&Pace { blocks_per_s: 12_345, mb_per_s: 650, left }, 1_234_567, 7_654_321));
                bar.inc(1_234_567);
                bar.tick();
                let shown = terminal.contents();
                assert_eq!(shown.lines().count(), 1, "{columns} columns: {shown:?}");
                assert!(shown.contains("1234567"), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_pace_is_of_the_whole_run_and_tells_what_is_left_where_the_end_is_known() {
        let left = |seconds| Some(Duration::from_secs(seconds));
        let at = |seconds, blocks, of, bytes| pace(Duration::from_secs(seconds), blocks, of, bytes);
        assert_eq!(at(10, 500, Some(1500), 650_000_000), Pace { blocks_per_s: 50, mb_per_s: 65, left: left(20) });
        assert_eq!(at(10, 500, None, 0), Pace { blocks_per_s: 50, mb_per_s: 0, left: None });
        assert_eq!(at(0, 0, Some(7), 0), Pace { blocks_per_s: 0, mb_per_s: 0, left: None }, "nothing is known yet");
        assert_eq!(at(10, 9, Some(5), 0).left, left(0), "more than was expected");
    }
}
