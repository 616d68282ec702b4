//! The `tokenrill` binary: arguments in, exit code out. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;

/// Tokens are many and small: this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Streams hold a few kilobytes each, and huge pages would take two megabytes for the first of
    // them. Where they can't be switched off it is only memory.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    tokenrill::cli::run(tokenrill::cli::Arguments::parse())
}
