//! Cuts the WebSockets of a client with stateful reconnect at any byte.

#![no_main]

use hubcast::testkit::stateful_reconnect;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(stateful_reconnect, input));
