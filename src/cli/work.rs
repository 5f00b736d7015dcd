//! `farthing work`: a hashcash stamp, minted on all cores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::{Context, Exit, Failure, market::Names, progress::bar};
use crate::{
    address::Address,
    clock::unix_now,
    work::{BITS_MAX, MintError, Progress, all_cores, mint},
};

pub const EXAMPLES: &str = "Examples:
  farthing work --to bob@b.example                     as many bits as DNS asks for
  farthing work --to bob@b.example --bits 24 --header  a header field for the letter

Each bit more doubles the time. The stamp is good for one letter, for 28 days.";

/// How often the progress bar moves.
const REDRAWN: Duration = Duration::from_millis(100);
/// Full length of the progress bar, in steps.
const BAR_STEPS: u64 = 1_000;

/// For whom, and how much.
#[derive(Args)]
pub struct WorkArgs {
    /// The recipient.
    #[arg(long = "to", value_name = "ADDRESS")]
    recipient: Address,
    /// Bits of work [default: what the domain asks for in DNS].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(BITS_MAX)))]
    bits: Option<u32>,
    /// Print the whole header field, ready to stand in a letter.
    #[arg(long)]
    header: bool,
}

/// Carries it out.
///
/// # Errors
/// 1 when the domain takes no work, 65 when no stamp can name the address, 75 when DNS cannot say.
pub fn run(args: &WorkArgs, context: &Context) -> Result<(), Failure> {
    let bits = match args.bits {
        Some(bits) => bits,
        None => bits_asked(&args.recipient, context)?,
    };
    let resource = args.recipient.to_string();
    let minted = minted(&resource, bits).map_err(|e| Failure::new(Exit::Data, format!("{resource}: {e}")))?;
    let Minted { stamp, tried, seconds } = minted;
    let value = json!({ "to": resource, "bits": bits, "stamp": stamp, "tried": tried, "seconds": seconds });
    context
        .print(&value, || if args.header { format!("X-Hashcash: {stamp}\n") } else { format!("{stamp}\n") })
}

/// A stamp, and what it took.
pub struct Minted {
    /// The stamp.
    pub stamp: String,
    /// Counters looked at.
    pub tried: u64,
    /// Seconds.
    pub seconds: f64,
}

/// Mints on all cores, with a progress bar on a terminal.
///
/// # Errors
/// [`MintError`].
pub fn minted(resource: &str, bits: u32) -> Result<Minted, MintError> {
    let progress = Arc::new(Progress::default());
    let over = Arc::new(AtomicBool::new(false));
    let bar = thread::spawn({
        let (progress, over) = (progress.clone(), over.clone());
        move || show(bits, &progress, &over)
    });
    let begun = Instant::now();
    let minted = mint(resource, bits, unix_now(), all_cores(), &progress);
    over.store(true, Ordering::Release);
    bar.thread().unpark();
    // It only draws.
    let _ = bar.join();
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Minted { stamp: minted?, tried: progress.tried.load(Ordering::Relaxed), seconds })
}

fn bits_asked(recipient: &Address, context: &Context) -> Result<u32, Failure> {
    let domain = recipient.domain();
    let no =
        |what: &str| Failure::new(Exit::No, format!("{domain} {what}; name --bits to work all the same"));
    let policy = Names::new(context)?.policy(domain)?;
    let policy = policy.ok_or_else(|| no("says nothing of postage in DNS"))?;
    policy.work_bits.map(u32::from).ok_or_else(|| no("takes no work, only stamps (farthing buy)"))
}

/// Draws how far it is, on a terminal. Nobody knows when a stamp is found: the bar shows how many of a hundred would
/// have been found by now.
fn show(bits: u32, progress: &Progress, over: &AtomicBool) {
    let bar = bar("[{bar:14}] {wide_msg}");
    bar.set_length(BAR_STEPS);
    let begun = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    while !over.load(Ordering::Acquire) {
        let tried = progress.tried.load(Ordering::Relaxed) as f64;
        let expected = 2f64.powi(i32::try_from(bits).unwrap_or_default());
        let rate = tried / begun.elapsed().as_secs_f64().max(0.001);
        let found = 1.0 - (-tried / expected).exp();
        bar.set_position(steps(found));
        bar.set_message(format!(
            "{:.0} million tries a second, {} s; {bits} bits mostly take {:.0} s",
            rate / 1e6,
            begun.elapsed().as_secs(),
            expected / rate.max(1.0),
        ));
        thread::park_timeout(REDRAWN);
    }
    bar.finish_and_clear();
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a bar, between 0 and 1"
)]
fn steps(part: f64) -> u64 {
    (part.clamp(0.0, 1.0) * 1_000.0) as u64
}
