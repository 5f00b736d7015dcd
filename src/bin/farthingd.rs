//! The daemon: a milter that asks strangers for postage, and the post office behind it.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Postage for e-mail: the milter daemon and post office. See also farthing(1).
#[derive(Parser)]
#[command(name = "farthingd", version, max_term_width = 100)]
struct Args {
    /// The configuration [default: $FARTHING_CONFIG, else /etc/farthing/farthing.toml].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, keys, ledger and listeners, say every fault, and change nothing.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => return ExitCode::from(farthing::cli::usage::answer("farthingd", &e)),
    };
    farthing::service::main(args.config.as_deref(), args.check)
}
