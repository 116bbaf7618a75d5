#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| llmpool::adapter::fuzz::stream_ollama(data));
