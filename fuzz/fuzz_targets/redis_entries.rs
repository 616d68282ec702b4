//! Entries of streams in Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u64, Vec<u16>, &[u8], (u8, u16, &[u8]))| {
    tokenrill_fuzz::entries::check(input.0, &input.1, input.2, input.3)
});
