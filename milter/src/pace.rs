//! How long each side may take: limits, and the clocks that watch them. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// The limits of a server, all settable. [`Limits::default`] fits Postfix and Sendmail with their own defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. One more is taken and closed at once, which tells the MTA more than silence in the
    /// backlog. Postfix has one for each smtpd and cleanup process (100 each by default).
    pub connections: usize,
    /// From connecting to the offer. MTAs send it at once.
    pub first_packet: Duration,
    /// From the first byte of a packet to its last. MTAs write packets whole.
    pub mid_frame: Duration,
    /// Between two packets. An SMTP client may take its time; what libmilter waits too.
    pub idle: Duration,
    /// Until the MTA takes what is written.
    pub write: Duration,
    /// For a handler's answer before the end of the message. Sendmail waits 10 s.
    pub answer: Duration,
    /// Between two requests for patience while the handler looks at a complete message. Sendmail waits 10 s.
    pub progress: Duration,
    /// For a handler's verdict at the end of the message, however patient the MTA. Sendmail waits 300 s in all, and
    /// a client that gives up would bring the message again.
    pub verdict: Duration,
    /// For the messages in hand when the server is to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1_000,
            first_packet: Duration::from_secs(10),
            mid_frame: Duration::from_secs(30),
            idle: Duration::from_secs(7_210),
            write: Duration::from_secs(30),
            answer: Duration::from_secs(8),
            progress: Duration::from_secs(5),
            verdict: Duration::from_secs(90),
            drain: Duration::from_secs(30),
        }
    }
}

/// What a connection waits for from the MTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The offer.
    FirstPacket,
    /// The rest of a packet.
    MidFrame,
    /// Another packet.
    Idle,
}

impl Waiting {
    fn limit(self, limits: &Limits) -> Duration {
        match self {
            Waiting::FirstPacket => limits.first_packet,
            Waiting::MidFrame => limits.mid_frame,
            Waiting::Idle => limits.idle,
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiting::FirstPacket => "milter negotiation",
            Waiting::MidFrame => "rest of a packet",
            Waiting::Idle => "packet",
        })
    }
}

/// Watches how long the MTA takes to send.
#[derive(Debug)]
pub struct ReadClock {
    waiting: Waiting,
    since: Instant,
}

impl ReadClock {
    /// A connection has come.
    pub fn new(now: Instant) -> ReadClock {
        ReadClock { waiting: Waiting::FirstPacket, since: now }
    }

    /// Nothing can be done but wait for `waiting`; `progressed` says whether a packet was taken since this was
    /// last called. Gives the time when the wait is over. The first packet's wait is one, whatever trickles in.
    pub fn wait(&mut self, now: Instant, waiting: Waiting, progressed: bool, limits: &Limits) -> Instant {
        if waiting != self.waiting || progressed && waiting != Waiting::FirstPacket {
            *self = ReadClock { waiting, since: now };
        }
        self.since + self.waiting.limit(limits)
    }

    /// What is waited for.
    pub fn waiting(&self) -> Waiting {
        self.waiting
    }
}

/// Watches how long a verdict takes, and keeps the MTA patient.
#[derive(Debug)]
pub struct VerdictClock {
    end: Instant,
    next: Instant,
    interval: Duration,
}

/// What is due while a handler is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask the MTA for patience.
    Progress,
    /// Give up.
    TooLong,
}

impl VerdictClock {
    /// The message is complete.
    pub fn new(now: Instant, limits: &Limits) -> VerdictClock {
        VerdictClock { end: now + limits.verdict, next: now + limits.progress, interval: limits.progress }
    }

    /// When to ask [`VerdictClock::due`] again.
    pub fn next(&self) -> Instant {
        self.next.min(self.end)
    }

    /// What is due now.
    pub fn due(&mut self, now: Instant) -> Due {
        if now >= self.end {
            Due::TooLong
        } else if now >= self.next {
            self.next = now + self.interval;
            Due::Progress
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn each_wait_has_its_limit() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut clock = ReadClock::new(start);
        let mut wait = |at, waiting, progressed| {
            clock.wait(start + seconds(at), waiting, progressed, &limits).duration_since(start).as_secs()
        };
        assert_eq!(wait(0, Waiting::FirstPacket, false), 10);
        assert_eq!(wait(9, Waiting::FirstPacket, false), 10, "a trickle of bytes gains no time");
        assert_eq!(wait(9, Waiting::FirstPacket, true), 10, "nor do macros before the offer");
        assert_eq!(wait(9, Waiting::Idle, true), 7_219);
        assert_eq!(wait(20, Waiting::MidFrame, false), 50);
        assert_eq!(wait(49, Waiting::MidFrame, false), 50, "a trickle of bytes gains no time");
        assert_eq!(wait(49, Waiting::MidFrame, true), 79, "the next packet has its own");
        assert_eq!(wait(60, Waiting::Idle, true), 7_270);
        assert_eq!(wait(61, Waiting::Idle, true), 7_271);
    }

    #[test]
    fn pitfall_20_patience_is_asked_for_every_five_seconds_until_the_limit() {
        let (start, limits) = (Instant::now(), Limits::default());
        for (work, asked, given_up) in
            [(4, 0, false), (9, 1, false), (30, 6, false), (89, 17, false), (300, 17, true)]
        {
            let mut clock = VerdictClock::new(start, &limits);
            let mut count = 0;
            let mut too_long = false;
            while !too_long && clock.next() <= start + seconds(work) {
                match clock.due(clock.next()) {
                    Due::Progress => count += 1,
                    Due::TooLong => too_long = true,
                    Due::Nothing => panic!("next() came too early"),
                }
            }
            assert_eq!((count, too_long), (asked, given_up), "{work} s of work");
        }
        assert_eq!(VerdictClock::new(start, &limits).due(start + seconds(4)), Due::Nothing);
    }
}
