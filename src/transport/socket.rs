//! Handles to accepted sockets: the transport and the connection of a client disconnect it with them.
//!
//! A server of this crate ([`HttpServer`]) shares the one descriptor of a socket among the HTTP layer, the transport and
//! the handle ([`shared`]). An application that mounts the routes into a server of actix-web passes [`on_connect`] to it,
//! which duplicates the descriptor ([`duplicate`]), because that server keeps the socket to itself.
//!
//! [`HttpServer`]: crate::HttpServer

use std::time::Duration;

use actix_web::{HttpRequest, http::Version, rt::net::TcpStream};

use crate::client_log::{self, Cause};

mod duplicate;
mod shared;

use duplicate::DuplicateHandle;
pub(super) use duplicate::DuplicateSocket;
pub use duplicate::on_connect;
pub(crate) use shared::SharedTcp;
pub(super) use shared::WeakTcp;

/// A handle to the TCP socket of a request. It disconnects a client that does not read.
#[derive(Clone, Debug)]
pub(crate) struct SocketHandle(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Shared(WeakTcp),
    Duplicate(DuplicateHandle),
}

impl SocketHandle {
    /// The handle to a socket that a server of this crate has accepted.
    pub(super) fn shared(socket: WeakTcp) -> Self {
        Self(Kind::Shared(socket))
    }

    fn duplicate(socket: DuplicateHandle) -> Self {
        Self(Kind::Duplicate(socket))
    }

    /// The handle to the socket of `request`. `None` if the server keeps none, and over HTTP/2, where requests of other
    /// clients can share the socket.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        if request.version() == Version::HTTP_2 {
            return None;
        }
        let Some(handle) = request.conn_data::<Self>() else {
            // A Unix socket has no peer address and no handle.
            if request.peer_addr().is_some() {
                log_unprepared("find the socket", &"`hubcast::on_connect` is not registered, or was after `bind`");
            }
            return None;
        };
        match &handle.0 {
            Kind::Shared(_) => Some(handle.clone()),
            Kind::Duplicate(duplicate) => {
                Some(Self::duplicate(duplicate.clone().encrypted_if(request.app_config().secure())))
            }
        }
    }

    /// The second descriptor of the same socket for direct writes; `None` if it is encrypted, or if there is none.
    pub(super) fn plain_duplicate(&self) -> Option<DuplicateSocket> {
        match &self.0 {
            Kind::Shared(_) => None,
            Kind::Duplicate(duplicate) => duplicate.plain(),
        }
    }

    /// Waits until the peer has closed its side. Returns `false` if the socket cannot be watched.
    pub(crate) async fn peer_closed(&self) -> bool {
        match &self.0 {
            Kind::Shared(socket) => {
                socket.closed().await;
                true
            }
            Kind::Duplicate(duplicate) => duplicate.peer_closed().await,
        }
    }

    /// Shuts the socket down in both directions. All tasks that wait for it are woken.
    pub(crate) fn shut_down(&self) {
        match &self.0 {
            Kind::Shared(socket) => socket.shut_down(),
            Kind::Duplicate(duplicate) => duplicate.shut_down(),
        }
    }
}

/// The time after which the kernel drops a peer that acknowledges no sent data. A client without network neither
/// answers nor refuses data. By default the kernel would retransmit for about 15 minutes, during which the client would
/// count as a member of its groups.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sets the options of an accepted socket. Nagle's algorithm combined with delayed acknowledgements costs 40 ms whenever
/// two small messages follow each other.
fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        log_unprepared("set TCP_NODELAY", &error);
    }
    set_tcp_user_timeout(TCP_USER_TIMEOUT, stream);
}

#[cfg(target_os = "linux")]
fn set_tcp_user_timeout(timeout: Duration, stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        log_unprepared("set TCP_USER_TIMEOUT", &error);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_tcp_user_timeout(_: Duration, _: &TcpStream) {}

fn log_unprepared(operation: &'static str, reason: &dyn std::fmt::Display) {
    client_log::log(Cause::SocketNotConfigured, &[("operation", &operation), ("error", reason)]);
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
