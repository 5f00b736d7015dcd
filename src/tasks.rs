//! What the daemon does beside the mail, kept going: a task that panics is told of in the log and begun again.
//!
//! For tasks that hold nothing but what the ledger holds. What listens for mail cannot be begun again here: its end is
//! told to whoever runs the daemon, who ends it too and leaves the start to the system.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

/// Before a task that panicked is begun again: a fault that stays costs a line of the log a minute.
pub const BEGIN_AGAIN: Duration = Duration::from_secs(60);

/// Keeps a task going until it ends by itself or `stopped` says so; `begin` begins it, and again `pause` after a panic.
pub fn keep_going<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    pause: Duration,
    mut stopped: watch::Receiver<bool>,
    begin: impl Fn(watch::Receiver<bool>) -> F + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Err(error) = tokio::spawn(begin(stopped.clone())).await {
            tracing::error!(task = name, %error, "a task of the daemon broke off; it is begun again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
    })
}

/// Runs a task whose end, by a panic too, wakes whoever waits for `ended`.
pub fn tell_end<F>(ended: &Arc<Notify>, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    struct Bell(Arc<Notify>);
    impl Drop for Bell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let bell = Bell(ended.clone());
    tokio::spawn(async move {
        let _rings_at_the_end = bell;
        task.await
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    /// A task that panics the first two times.
    fn begun(times: &Arc<AtomicU32>, pause: Duration, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
        let times = times.clone();
        keep_going("test", pause, stopped, move |_| {
            let time = times.fetch_add(1, SeqCst);
            async move { assert!(time >= 2, "panics") }
        })
    }

    #[tokio::test]
    async fn what_panics_is_begun_again_until_it_ends_by_itself() {
        let (times, (_stop, stopped)) = (Arc::default(), watch::channel(false));
        begun(&times, Duration::ZERO, stopped).await.unwrap();
        assert_eq!(times.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_the_pause() {
        let (times, (stop, stopped)) = (Arc::default(), watch::channel(false));
        let task = begun(&times, Duration::MAX, stopped);
        stop.send(true).unwrap();
        task.await.unwrap();
        assert_eq!(times.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn the_end_of_a_task_is_told_however_it_comes() {
        let ended = Arc::new(Notify::new());
        assert_eq!(tell_end(&ended, async { 7 }).await.unwrap(), 7);
        ended.notified().await;
        assert!(tell_end(&ended, async { panic!("panics") }).await.is_err());
        ended.notified().await;
    }
}
