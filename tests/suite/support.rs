//! What the tests stand on: servers, clients, and the patience to wait for them.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

mod classic;
mod client;
mod diary;
mod foreign;
mod http;
mod process;
mod server;

pub(crate) use classic::{Classic, ClassicConnection, STREAMS, TRANSPORTS, escaped};
pub(crate) use client::{Client, Farewell};
pub(crate) use diary::Diary;
pub(crate) use foreign::{Conversation, node, python};
pub(crate) use http::{Download, HttpResponse, ask, ask_with};
pub(crate) use process::Process;
pub(crate) use server::Server;

/// How long anything may take before its test fails: far more than it does, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what has to come.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move { timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it never came: {place}")) }
}

/// Waits for something that nobody announces, and that comes within a few turns of another thread.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    until_async(async || holds()).await;
}

/// As [`until`], for what has to be asked.
pub(crate) async fn until_async(holds: impl AsyncFn() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}
