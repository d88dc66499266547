//! End-to-end tests: a real server on a free port, and real clients, some of them third-party.
//!
//! `tests/run` installs the npm and PyPI clients and the browser. Without them, their tests fail.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test and reports its location")]

mod support;

mod actor_crashes;
mod architecture;
mod chat;
mod classic_browser;
mod classic_channels;
mod classic_clients;
mod classic_groups;
mod classic_http;
mod classic_input;
mod client_features;
mod client_log;
mod client_results;
mod compile_errors;
mod connection_limits;
mod disconnecting;
mod draining;
mod examples;
mod filters;
mod group_revocations;
mod groups;
mod groups_page;
mod handshake;
mod invocations;
mod key_rotation;
mod kill_rounds;
mod limits;
mod long_group_lists;
mod malformed_input;
mod memory;
mod message_pack;
mod mixed_clients;
mod names;
mod negotiation;
mod node_client;
mod node_names;
mod page;
mod path_prefixes;
mod posts;
mod presence;
mod python_client;
mod reconciling;
mod rejoin_filters;
mod rejoin_helper;
mod rejoin_policies;
mod rejoining;
mod request_heads;
mod reverse_proxies;
mod rust_client;
mod stalled_readers;
mod stateful_reconnect;
mod store_outages;
mod streams;
mod tls;
mod transports;
mod typescript_functional;
mod user_connections;
mod users;
mod websocket_conformance;
