//! Decodes MessagePack messages of ASP.NET Core SignalR clients.

#![no_main]

use hubcast::testkit::core_message_pack;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(core_message_pack, input));
