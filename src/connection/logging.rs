//! The log lines of a connection.

use log::debug;

use super::{ClientFault, ConnectError, Ending, Reason, state::ConnectionState};
use crate::client_log::{Cause, optional};

impl ConnectionState {
    /// Logs that the client was admitted.
    pub(super) fn log_connected(&self) {
        let handle = self.handle();
        let (info, user) = (&handle.info, handle.user.as_deref().unwrap_or_default());
        debug!(
            conn:% = handle.id, user:? = user, address:% = optional(info.remote), dialect = info.dialect,
            transport = info.transport(); "connected"
        );
    }

    /// Logs a fault of the client.
    pub(super) fn log_fault(&self, ClientFault { cause, hub, method, reason }: &ClientFault) {
        let own_hub = self.handle().hub.as_deref();
        let (hub, method) = (optional(hub.as_deref().or(own_hub)), optional(method.as_deref()));
        self.handle().log(*cause, &[("hub", &hub), ("method", &method), ("reason", reason)]);
    }

    /// Logs why the client was not admitted, if it was not.
    pub(super) fn log_refused<T>(&self, outcome: &Result<T, ConnectError>) {
        if let Err(ConnectError { error, .. }) = outcome {
            let hub = optional(self.handle().hub.as_ref());
            self.handle().log(Cause::ConnectionRefused, &[("hub", &hub), ("reason", error)]);
        }
    }

    /// Logs the end of the connection. An end that its client caused by a fault has been logged with the fault.
    pub(super) fn log_ended(&self, Ending { reason, error, .. }: &Ending) {
        let handle = self.handle();
        let error = error.as_ref().map(ToString::to_string).unwrap_or_default();
        debug!(conn:% = handle.id, reason = reason.name(), error:? = error; "disconnected");
        let hub = optional(handle.hub.as_ref());
        match reason {
            Reason::TooSlow => {
                let backlog = handle.backlog();
                let reason = format_args!("{} messages with {} bytes wait for it", backlog.items, backlog.bytes);
                handle.log(Cause::ClientTooSlow, &[("hub", &hub), ("reason", &reason)]);
            }
            Reason::TimedOut => handle.log(Cause::ClientSilent, &[("hub", &hub), ("reason", &error)]),
            Reason::Crashed => handle.log(Cause::ConnectionPanic, &[("hub", &hub)]),
            Reason::Stopped
            | Reason::Deleted
            | Reason::Lost
            | Reason::Aborted
            | Reason::Drained
            | Reason::Faulted
            | Reason::Expired
            | Reason::Refused => {}
        }
    }
}
