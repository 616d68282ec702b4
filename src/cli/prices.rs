//! `tokenrill prices import`: prints the prices of another's file in our own form.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::Complaint;
use crate::usage::import_prices;

/// Prints the prices of a file as a text for `prices.file`.
///
/// # Errors
///
/// When it can't be read, or has none.
pub(super) fn import(file: &Path) -> Result<ExitCode, Complaint> {
    let name = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("can't read {name}: {error}"))?;
    let prices = import_prices(&text).map_err(|error| format!("can't import {name}: {error}"))?;
    // Whoever closes the pipe has read enough.
    let _ = std::io::stdout().write_all(prices.as_bytes());
    Ok(ExitCode::SUCCESS)
}
