//! Payloads that no upstream should send.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenrill_fuzz::dialects::check_stream(
    &dialect::gemini::DIALECT,
    data
));
