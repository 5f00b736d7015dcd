//! How far a command is: a line on a terminal, and nothing anywhere else.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::mailbox::{folder::decoded, measure};

/// The line of a command that reads much mail; whatever does not fit is cut off at its end.
const READING: &str = "{percent:>3}% [{bar:14}] {decimal_bytes} of {decimal_total_bytes}, \
                       {decimal_bytes_per_sec}, {eta} left  {wide_msg}";

/// A bar with this line (`indicatif`'s templates). It is hidden where standard error is no terminal.
pub fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    style(&bar, template);
    bar
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("##-"));
    }
}

/// How far the reading of much mail is.
pub struct Progress {
    bar: ProgressBar,
    folder: String,
}

impl Progress {
    /// Over the mail below these paths, which is added up first if there is a terminal.
    pub fn over(paths: &[PathBuf]) -> Self {
        let bar = bar("{msg}").with_message("looking how much mail there is");
        if !bar.is_hidden() {
            bar.tick();
            bar.set_length(measure(paths));
            bar.set_message("");
            style(&bar, READING);
            bar.reset();
        }
        Self { bar, folder: String::new() }
    }

    /// So much of the mail was read, now in this folder.
    pub fn step(&mut self, octets: u64, folder: &str) {
        if self.folder != folder {
            folder.clone_into(&mut self.folder);
            self.bar.set_message(decoded(folder).chars().filter(|c| !c.is_control()).collect::<String>());
        }
        self.bar.inc(octets);
    }

    /// So much was read before, and is not read now.
    pub fn pass_over(&mut self, octets: u64) {
        self.bar.inc(octets);
        // What takes no time says nothing of the time that the rest takes.
        self.bar.reset_eta();
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal of 80 columns that remembers all that was written.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_how_far_it_is_and_where() {
        let screen = Screen::default();
        let bar = bar(READING);
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bar.set_length(2_000_000_000);
        let mut progress = Progress { bar, folder: String::new() };
        progress.pass_over(400_000_000);
        progress.step(100_000_000, &"Entw&APw-rfe\u{1b}".repeat(9));
        progress.bar.tick();
        let shown = screen.0.lock().unwrap().clone();
        let line = shown.lines().last().unwrap_or_default();
        assert!(line.starts_with(" 25% [####----------] 500.00 MB of 2.00 GB, "), "{shown}");
        assert!(line.contains(" left  EntwürfeEntwür") && !line.contains('\u{1b}'), "{shown}");
        assert!(line.chars().count() <= 80, "{shown}");
    }
}
