//! How far a command is that reads much mail: one line on a terminal, and nothing anywhere else.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::mailbox::{folder::decoded, measure};

/// How often the line is written anew.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// Columns of the bar.
const BAR_COLUMNS: u64 = 14;
/// Columns of a folder's name: with it the line has at most 79, and no terminal folds it.
const FOLDER_COLUMNS: usize = 10;

/// How far it is.
pub struct Progress {
    /// Octets of all the mail; `None`: there is no terminal, nobody counted.
    total: Option<u64>,
    read: u64,
    passed_over: u64,
    begun: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// Over the mail below these paths, which is added up first if there is a terminal.
    pub fn over(paths: &[PathBuf]) -> Self {
        let total = std::io::stderr().is_terminal().then(|| {
            eprint!("looking how much mail there is");
            measure(paths)
        });
        let begun = Instant::now();
        Self { total, read: 0, passed_over: 0, begun, shown: total.map(|_| begun) }
    }

    /// So much of the mail was read, now in this folder.
    pub fn step(&mut self, octets: u64, folder: &str) {
        self.read = self.read.saturating_add(octets);
        let Some(total) = self.total else { return };
        if self.shown.is_none_or(|shown| shown.elapsed() >= SHOWN_EVERY) {
            let line = line(self.read, self.passed_over, total, self.begun.elapsed(), folder);
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
            self.shown = Some(Instant::now());
        }
    }

    /// So much was read before, and is not read now.
    pub fn pass_over(&mut self, octets: u64) {
        self.passed_over = self.passed_over.saturating_add(octets);
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// ` 34% [####----------] 3.1 GB of 9.2 GB, 45.0 MB/s, 2 min left  Lists`
fn line(read: u64, passed_over: u64, total: u64, elapsed: Duration, folder: &str) -> String {
    // Mail may come while it is read.
    let at = read.saturating_add(passed_over).min(total);
    let part =
        |of: u64| u64::try_from(u128::from(at) * u128::from(of) / u128::from(total.max(1))).unwrap_or(of);
    let full = usize::try_from(part(BAR_COLUMNS)).unwrap_or(0);
    let bar = "#".repeat(full) + &"-".repeat(BAR_COLUMNS as usize - full);
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = read.saturating_mul(1_000) / ms;
    let mut text = format!("{:>3}% [{bar}] {} of {}", part(100), size(at), size(total));
    if rate > 0 {
        text += &format!(", {}/s, {} left", size(rate), time((total - at) / rate));
    }
    // Letters of the Far East take two columns.
    let mut columns = 0;
    let fits = |c: &char| {
        columns += if *c < '\u{1100}' { 1 } else { 2 };
        columns <= FOLDER_COLUMNS
    };
    let folder: String = decoded(folder).chars().filter(|c| !c.is_control()).take_while(fits).collect();
    format!("{text}  {folder}")
}

/// `45.0 MB`
fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut tenths = octets / 100;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if tenths < 10_000 {
            break;
        }
        (tenths, unit) = (tenths / 1_000, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `2 min`
fn time(seconds: u64) -> String {
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_it_takes() {
        for (read, passed_over, total, seconds, want) in [
            (0, 0, 1_000_000, 0, "  0% [--------------] 0.0 kB of 1.0 MB  x"),
            (
                500_000_000,
                0,
                2_000_000_000,
                10,
                " 25% [###-----------] 500.0 MB of 2.0 GB, 50.0 MB/s, 30 s left  x",
            ),
            (
                1_000_000,
                3_000_000_000,
                10_000_000_000,
                1,
                " 30% [####----------] 3.0 GB of 10.0 GB, 1.0 MB/s, 2 h left  x",
            ),
            (900, 900, 1_000, 1, "100% [##############] 1.0 kB of 1.0 kB, 0.9 kB/s, 0 s left  x"),
            (0, 0, 0, 1, "  0% [--------------] 0.0 kB of 0.0 kB  x"),
        ] {
            assert_eq!(line(read, passed_over, total, Duration::from_secs(seconds), "x"), want);
        }
        let longest = line(999_900_000, 0, 999_900_000, Duration::from_secs(1), &"Entw&APw-rfe".repeat(9));
        assert!(longest.chars().count() <= 79 && longest.contains("Entwürfe"), "{longest}");
        assert_eq!(
            (size(999), size(1_500_000), time(99), time(120), time(9_000)),
            ("0.9 kB".into(), "1.5 MB".into(), "99 s".into(), "2 min".into(), "3 h".into())
        );
    }
}
