//! Configurations.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tokenrill_fuzz::config_files::check(text));
