//! What asks a long command to stop: SIGINT, SIGTERM, the terminal that hangs up, or a reader of its output that is gone. The block in
//! hand is finished. A second signal, or five seconds, ends the process at once: what was not committed is taken again next time.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The contract allows five seconds from the signal to the exit.
const PATIENCE: Duration = Duration::from_millis(4500);

/// Why a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM, or SIGHUP of a terminal.
    Terminate,
    /// The reader of the output is gone.
    OutputClosed,
}

impl StopReason {
    /// The exit code of a command that was stopped before its end: that of the signal as shells write it, or `EX_IOERR`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::OutputClosed => 74,
        }
    }
}

/// What a signal does to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Not known yet: the command line is still being read.
    Undecided,
    /// The command has nothing to finish.
    AtOnce,
    /// The command stops in order; whether a stop is its normal end, with exit code 0.
    InOrder { normal_end: bool },
}

/// Whether a stop was asked for, and why.
#[derive(Debug, Clone)]
pub struct Shutdown {
    reason: Arc<watch::Sender<Option<StopReason>>>,
    requested: Arc<AtomicBool>,
    manner: Arc<watch::Sender<Manner>>,
}

impl Default for Shutdown {
    /// One that no signal asks for.
    fn default() -> Self {
        Self {
            reason: Arc::new(watch::channel(None).0),
            requested: Arc::default(),
            manner: Arc::new(watch::channel(Manner::Undecided).0),
        }
    }
}

impl Shutdown {
    /// Listens for signals from now on, within a runtime. What they do is decided when the command is known.
    ///
    /// # Errors
    /// Where the system lets no handler be set.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = Signals::listen()?;
        let this = shutdown.clone();
        tokio::spawn(async move {
            let reason = signals.next().await;
            this.stop(reason);
            let mut manner = this.manner.subscribe();
            let decided = manner.wait_for(|manner| *manner != Manner::Undecided).await;
            let decided = decided.map_or(Manner::AtOnce, |manner| *manner);
            let code = match decided {
                Manner::Undecided | Manner::AtOnce => std::process::exit(reason.exit_code().into()),
                Manner::InOrder { normal_end: true } => 0,
                Manner::InOrder { normal_end: false } => reason.exit_code(),
            };
            tracing::info!("stopping: finishing the block in hand");
            tokio::select! {
                _ = signals.next() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
            std::process::exit(code.into());
        });
        Ok(shutdown)
    }

    /// A signal ends the process at once, with its exit code.
    pub fn end_at_once(&self) {
        self.manner.send_replace(Manner::AtOnce);
    }

    /// A signal stops the command in order. `normal_end` says that a stop is how the command ends when all is well.
    pub fn end_in_order(&self, normal_end: bool) {
        self.manner.send_replace(Manner::InOrder { normal_end });
    }

    /// Asks for a stop. The first reason counts.
    pub fn stop(&self, reason: StopReason) {
        self.reason.send_if_modified(|first| {
            let news = first.is_none();
            first.get_or_insert(reason);
            news
        });
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Why it was asked for; none where it was not.
    pub fn reason(&self) -> Option<StopReason> {
        *self.reason.borrow()
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Set once it is asked for, to be looked at where nothing can be awaited.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.requested.clone()
    }

    /// Ends when it is asked for.
    pub async fn requested(&self) {
        let _ = self.reason.subscribe().wait_for(Option::is_some).await;
    }
}

/// The signals that are listened for.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where SIGHUP was ignored when the process began, as under nohup: it stays ignored.
    hangup: Option<Signal>,
    /// SIGHUP means that the terminal is gone. Without a terminal it is what daemons are told to reload by.
    at_terminal: bool,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            // In the order in which they are likely to come first.
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            at_terminal: std::io::stdin().is_terminal() || std::io::stdout().is_terminal(),
        })
    }

    async fn next(&mut self) -> StopReason {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return StopReason::Terminate,
                _ = self.interrupt.recv() => return StopReason::Interrupt,
                _ = hangup => {
                    if self.at_terminal {
                        return StopReason::Terminate;
                    }
                    tracing::info!("SIGHUP is ignored: there is no terminal that hung up");
                }
            }
        }
    }
}

/// Whether SIGHUP is ignored already. Only Linux tells it without unsafe code; elsewhere it is taken not to be.
fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Of the text of proc_pid_status(5): bit n - 1 of the mask stands for signal n, and SIGHUP is 1.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_to_stop_counts() {
        let shutdown = Shutdown::default();
        assert_eq!((shutdown.reason(), shutdown.is_requested()), (None, false));
        shutdown.clone().stop(StopReason::OutputClosed);
        shutdown.stop(StopReason::Interrupt);
        shutdown.requested().await;
        assert_eq!(shutdown.reason(), Some(StopReason::OutputClosed));
        assert!(shutdown.is_requested() && shutdown.flag().load(Ordering::Relaxed));
    }

    #[test]
    fn a_hangup_that_is_ignored_is_seen_in_the_mask_of_the_process() {
        for (mask, ignored) in [
            ("0000000000000001", true),
            ("0000000000001001", true),
            ("0000000000001000", false),
            ("ffffffffffffffff", true),
            ("", false),
            ("zz", false),
        ] {
            assert_eq!(ignores_hangup(&format!("Name:\tbolo\nSigIgn:\t{mask}\nSigCgt:\t0\n")), ignored, "{mask}");
        }
        assert!(!ignores_hangup("Name:\tbolo\n"));
    }
}
