//! Work on a task of its own. What is in flight at an endpoint holds one of the requests that it stands at once; were it polled only
//! when its owner has time, an owner that waits for another answer of the same endpoint would wait for itself.

use tokio::task::JoinHandle;

use super::PipelineError;

/// Ends the work with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Goes on whatever its owner waits for, and ends when its owner drops it.
///
/// # Errors
/// [`PipelineError::Worker`] where it panicked.
pub(super) async fn apart<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, PipelineError> {
    let mut task = Task(tokio::spawn(work));
    (&mut task.0).await.map_err(|error| PipelineError::Worker(error.to_string()))
}
