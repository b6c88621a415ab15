//! SIGINT and SIGTERM ask for a stop: the block in hand is finished. A second one, or five seconds, ends the process at once:
//! whatever was not committed is taken again next time.

use std::time::Duration;

use tokio::sync::watch;

/// Whether a stop was asked for.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    _keep: std::sync::Arc<watch::Sender<bool>>,
}

/// The contract allows five seconds from the signal to the exit.
const PATIENCE: Duration = Duration::from_millis(4500);

impl Shutdown {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// Where the system lets no handler be set.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (sender, requested) = watch::channel(false);
        let sender = std::sync::Arc::new(sender);
        let keep = sender.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: finishing the block in hand");
            sender.send_replace(true);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
            std::process::exit(0);
        });
        Ok(Self { requested, _keep: keep })
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Ends when it is asked for.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        let _ = requested.wait_for(|stop| *stop).await;
    }
}
