//! Decodes messages of ASP.NET SignalR clients.

#![no_main]

use hubcast::testkit::classic_message;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(classic_message, input));
