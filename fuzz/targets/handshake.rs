//! Decodes handshakes of ASP.NET Core SignalR clients.

#![no_main]

use hubcast::testkit::handshake;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(handshake, input));
