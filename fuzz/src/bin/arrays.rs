#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxflow_fuzz::arrays(bytes));
