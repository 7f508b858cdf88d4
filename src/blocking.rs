//! Runs work that blocks, such as waiting for the disk, on a thread beside the runtime.

use tokio::task::{self, JoinError, JoinHandle};

/// Starts `work` on such a thread. In a simulation it runs at once, so that the order of everything is always the same.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(test)]
    if crate::faults::is_simulated() {
        let done = work();
        return task::spawn(async move { done });
    }
    task::spawn_blocking(work)
}

/// Runs `work` on such a thread, and waits for it.
///
/// # Errors
/// It panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    spawn(work).await
}
