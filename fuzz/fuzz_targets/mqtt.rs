#![no_main]

#[path = "../../crates/shaddock-protocol/tests/it/fuzz_dialects.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::mqtt(data));
