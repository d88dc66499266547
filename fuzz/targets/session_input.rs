//! Decodes bytes that an ASP.NET Core SignalR client sends over any transport, such as the bodies of its POST requests.

#![no_main]

use hubcast::testkit::session_input;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(session_input, input));
