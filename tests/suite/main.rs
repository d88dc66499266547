//! The outer ring of tests: a real server on a port of the system's choice, and clients that are not ours.
//!
//! Clients of npm and PyPI, and the browser, are installed by `tests/run`; where one is missing its tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that fails by it says where")]

#[path = "../../examples/conformance/identity.rs"]
mod identity;
#[path = "../../examples/conformance/rooms.rs"]
mod rooms;
#[path = "../../examples/conformance/values.rs"]
mod values;

mod support;

mod architecture;
mod classic_browser;
mod classic_channels;
mod classic_clients;
mod classic_groups;
mod classic_wire;
mod draining;
mod generations;
mod groups;
mod handshaking;
mod invoking;
mod kills;
mod limits;
mod memory;
mod modules;
mod negotiating;
mod node_client;
mod page;
mod python_client;
mod rejoining;
mod stalled_readers;
mod users;
mod wire;
