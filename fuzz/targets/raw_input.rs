//! Passes bytes of clients to an endpoint without a hub protocol.

#![no_main]

use hubcast::testkit::raw_input;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(raw_input, input));
