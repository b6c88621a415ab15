//! Work on a task of its own. What is in flight at an endpoint holds one of the requests that it stands at once; were it polled only
//! when its owner has time, an owner that waits for another answer of the same endpoint would wait for itself.

use tokio::task::JoinHandle;

use super::PipelineError;

/// Ends the work with its owner.
pub(super) struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    /// What came of it.
    ///
    /// # Errors
    /// [`PipelineError::Worker`] where it panicked.
    pub(super) async fn done(mut self) -> Result<T, PipelineError> {
        self.ended().await
    }

    /// The same, for an owner that waits for other things too, and drops the task once it has ended.
    ///
    /// # Errors
    /// As of [`Task::done`].
    pub(super) async fn ended(&mut self) -> Result<T, PipelineError> {
        (&mut self.0).await.map_err(|error| PipelineError::Worker(error.to_string()))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins it at once.
pub(super) fn begin<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(tokio::spawn(work))
}

/// Goes on whatever its owner waits for, and ends when its owner drops it.
///
/// # Errors
/// [`PipelineError::Worker`] where it panicked.
pub(super) async fn apart<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, PipelineError> {
    begin(work).done().await
}
