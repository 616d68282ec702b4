//! Requests that no client should send.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenrill_fuzz::dialects::check_request(data));
