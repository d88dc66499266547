//! The signals of the process. Only this module handles them.
//!
//! SIGTERM and SIGINT stop a server after a drain ([`stop_signal`]). SIGHUP reloads the certificate and the signing
//! keys of the service ([`reload_signals`]). Once a function was called, its signals no longer end the process by
//! themselves. The functions need a running tokio runtime.

use std::{future::Future, io};

use futures_util::{Stream, stream};
use tokio::signal::unix::{SignalKind, signal};

/// Returns a future that completes when the process receives SIGTERM, or SIGINT from its terminal.
///
/// # Errors
/// If signal handlers cannot be installed.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Returns a stream with an item for each SIGHUP. Signals that arrive before an item is taken count once.
///
/// # Errors
/// If the signal handler cannot be installed.
pub fn reload_signals() -> io::Result<impl Stream<Item = ()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(stream::poll_fn(move |cx| hang_up.poll_recv(cx)))
}
