//! The command line.

fn main() -> std::process::ExitCode {
    farthing::cli::main(std::env::args_os())
}
