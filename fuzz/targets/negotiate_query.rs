//! Decodes queries of negotiate requests of ASP.NET Core SignalR clients.

#![no_main]

use hubcast::testkit::negotiate_query;
use hubcast_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(negotiate_query, input));
