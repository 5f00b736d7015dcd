//! Accepting connections from several listeners, through trouble: too many open files must not end the
//! server, nor keep a processor busy.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error};

use crate::stream::Stream;

/// First pause after the system refused a connection for want of files or memory.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause: how late a connection may be taken once there is room again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two lines in the log about it.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Where connections come from.
pub(super) trait Accept {
    /// As `poll_accept` of tokio's listeners.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Option<SocketAddr>)>>;
}

/// A connection, and the number of the listener it came by.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: Stream,
    pub(super) address: Option<SocketAddr>,
    pub(super) listener: usize,
}

/// All listeners.
pub(super) struct Incoming<L> {
    listeners: Vec<L>,
    /// Which one is asked first, so that none is kept waiting by another.
    first: usize,
    pause: Option<Pause>,
    /// When trouble was last told.
    told: Option<Instant>,
}

struct Pause {
    length: Duration,
    until: Instant,
}

impl<L: Accept> Incoming<L> {
    pub(super) fn new(listeners: Vec<L>) -> Incoming<L> {
        Incoming { listeners, first: 0, pause: None, told: None }
    }

    /// The next connection. May be dropped while it waits; nothing is lost.
    pub(super) async fn accept(&mut self) -> Arrival {
        loop {
            if let Some(pause) = &self.pause {
                tokio::time::sleep_until(pause.until).await;
            }
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(arrival) => {
                    self.pause = None;
                    return arrival;
                }
                Err(error) if is_of_one_connection(&error) => {
                    debug!(%error, "a connection went before it was taken")
                }
                Err(error) => self.pause_for(&error),
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let count = self.listeners.len();
        for listener in (self.first..count).chain(0..self.first) {
            let Some(accept) = self.listeners.get(listener) else { continue };
            if let Poll::Ready(accepted) = accept.poll_accept(cx) {
                self.first = (listener + 1) % count;
                return Poll::Ready(accepted.map(|(stream, address)| Arrival { stream, address, listener }));
            }
        }
        Poll::Pending
    }

    fn pause_for(&mut self, error: &io::Error) {
        let now = Instant::now();
        let length = self.pause.as_ref().map_or(FIRST_PAUSE, |pause| LONGEST_PAUSE.min(pause.length * 2));
        self.pause = Some(Pause { length, until: now + length });
        if self.told.is_none_or(|told| now - told >= TELL_AGAIN) {
            self.told = Some(now);
            error!(%error, "cannot take milter connections (raise LimitNOFILE?); trying again");
        }
    }
}

/// Whether the error is about the connection that was to be taken and no other.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use tokio::net::UnixStream;

    use super::*;

    /// EMFILE, too many open files, on Linux.
    const EMFILE: i32 = 24;
    /// ECONNABORTED on Linux.
    const ECONNABORTED: i32 = 103;

    /// Gives what the script says, a connection for `None`, and then nothing for ever.
    struct Scripted(RefCell<VecDeque<Option<i32>>>);

    impl Accept for Scripted {
        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
            match self.0.borrow_mut().pop_front() {
                Some(Some(code)) => Poll::Ready(Err(io::Error::from_raw_os_error(code))),
                Some(None) => Poll::Ready(Ok((Stream::Unix(UnixStream::pair().unwrap().0), None))),
                None => Poll::Pending,
            }
        }
    }

    fn scripted(script: &[Option<i32>]) -> Scripted {
        Scripted(RefCell::new(script.iter().copied().collect()))
    }

    #[tokio::test(start_paused = true)]
    async fn pitfall_26_too_many_open_files_is_waited_out() {
        let mut script = vec![Some(EMFILE); 20];
        script.push(None);
        let mut incoming = Incoming::new(vec![scripted(&script)]);
        let start = Instant::now();
        incoming.accept().await;
        let waited = start.elapsed();
        assert!(waited > Duration::from_secs(10), "twenty failures cost {waited:?}, a busy loop");
        assert!(waited < Duration::from_secs(20), "twenty failures cost {waited:?}, too slow to come back");
    }

    #[tokio::test(start_paused = true)]
    async fn pitfall_26_a_connection_that_went_away_costs_no_time() {
        let mut incoming = Incoming::new(vec![scripted(&[Some(ECONNABORTED), Some(ECONNABORTED), None])]);
        let start = Instant::now();
        incoming.accept().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn listeners_take_turns() {
        let mut incoming = Incoming::new(vec![scripted(&[None; 3]), scripted(&[None; 3])]);
        let mut order = Vec::new();
        for _ in 0..6 {
            order.push(incoming.accept().await.listener);
        }
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }
}
