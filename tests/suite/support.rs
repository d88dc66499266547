//! Test support: servers, clients, and helpers that wait with a timeout.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

mod audit_log;
mod classic_client;
mod client_process;
mod core_client;
mod core_requests;
mod event_log;
mod http;
mod reverse_proxy;
mod server;
mod service_process;
mod tls;

pub(crate) use audit_log::AuditLog;
pub(crate) use classic_client::{
    ClassicClient, NegotiatedConnection, STREAMING_TRANSPORTS, TRANSPORTS, percent_encoded,
};
pub(crate) use client_process::{ClientProcess, packages_folder, run_node, run_python, send_signal};
pub(crate) use core_client::{CloseMessage, CoreClient};
pub(crate) use core_requests::{NegotiatedCore, negotiate_token};
pub(crate) use event_log::EventLog;
pub(crate) use http::{HttpResponse, StreamingResponse, UPGRADE, http_request, http_request_with_body};
pub(crate) use reverse_proxy::ReverseProxy;
pub(crate) use server::{ECHO, Server};
pub(crate) use service_process::ServiceProcess;
pub(crate) use tls::Certificate;

/// The time limit of every single wait of a test. It is generous, so that a busy machine does not fail a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Awaits `future`; panics with the caller's location after [`TEST_TIMEOUT`].
#[track_caller]
pub(crate) fn with_timeout<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let location = std::panic::Location::caller();
    async move { timeout(TEST_TIMEOUT, future).await.unwrap_or_else(|_| panic!("timed out at {location}")) }
}

/// Polls `condition` until it is true. Other threads make it true soon and send no notification.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    wait_until_async(async || condition()).await;
}

/// Like [`wait_until`], for an asynchronous condition.
pub(crate) async fn wait_until_async(condition: impl AsyncFn() -> bool) {
    while !condition().await {
        tokio::task::yield_now().await;
    }
}
