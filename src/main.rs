//! The `tokenrill` binary: arguments in, exit code out. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;

/// Tokens are many and small: this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tokenrill::cli::run(tokenrill::cli::Arguments::parse())
}
