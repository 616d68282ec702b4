//! Responses of an upstream.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: ([u8; 4], &[u8])| tokenrill_fuzz::responses::check(
    &input.0, input.1
));
