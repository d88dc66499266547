//! The response to `/negotiate`, and the negotiation of the protocol version.

use std::time::Duration;

use serde::Serialize;

use super::Settings;

/// The response to `/negotiate`. Wire: the members are in the order of ASP.NET SignalR. Times are in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NegotiateResponse<'a> {
    pub(super) url: &'a str,
    pub(super) connection_token: String,
    pub(super) connection_id: &'a str,
    keep_alive_timeout: Option<f64>,
    disconnect_timeout: f64,
    connection_timeout: f64,
    try_web_sockets: bool,
    pub(super) protocol_version: String,
    transport_connect_timeout: f64,
    long_poll_delay: f64,
}

impl<'a> NegotiateResponse<'a> {
    pub(super) fn new(settings: &Settings, url: &'a str, id: &'a str, token: String, version: &Version) -> Self {
        Self {
            url,
            connection_token: token,
            connection_id: id,
            keep_alive_timeout: settings.keep_alive.map(|period| (period * 2).as_secs_f64()),
            disconnect_timeout: settings.disconnect_timeout.as_secs_f64(),
            connection_timeout: settings.connection_timeout.as_secs_f64(),
            try_web_sockets: true,
            protocol_version: version.text.clone(),
            transport_connect_timeout: settings.transport_connect_timeout.as_secs_f64(),
            long_poll_delay: Duration::as_secs_f64(&settings.long_poll_delay),
        }
    }
}

/// The protocol version of a client, limited to the supported range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    text: String,
    parts: Vec<u32>,
}

/// Wire: a malformed version counts as the oldest. The newest is the version of SignalR 2.4.
const MIN_VERSION: [u32; 2] = [1, 2];
const MAX_VERSION: [u32; 2] = [2, 0];

/// Wire: since this version, clients send a start request, which runs OnConnected.
const FIRST_WITH_START: [u32; 2] = [1, 4];

impl Version {
    /// The requested version, limited to the supported range. A supported version is echoed as it was written, since
    /// clients compare it with the version that they have requested.
    pub(super) fn negotiate(requested: Option<&str>) -> Self {
        let parse = |text: &str| Some(Self { text: text.to_owned(), parts: parse_parts(text)? });
        match requested.and_then(parse) {
            Some(version) if version.parts.as_slice() > MAX_VERSION.as_slice() => Self::from_parts(MAX_VERSION),
            Some(version) if version.parts.as_slice() >= MIN_VERSION.as_slice() => version,
            Some(_) | None => Self::from_parts(MIN_VERSION),
        }
    }

    fn from_parts([major, minor]: [u32; 2]) -> Self {
        Self { text: format!("{major}.{minor}"), parts: vec![major, minor] }
    }

    /// True if the client sends a start request, which runs OnConnected.
    pub(super) fn sends_start(&self) -> bool {
        self.parts.as_slice() >= FIRST_WITH_START.as_slice()
    }
}

/// Wire: two to four numbers of at most 31 bits.
fn parse_parts(text: &str) -> Option<Vec<u32>> {
    let number = |part: &str| {
        let is_plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| part.parse().ok()).flatten().filter(|number| i32::try_from(*number).is_ok())
    };
    let parts = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    (2..=4).contains(&parts.len()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_versions_are_echoed() {
        let cases = [
            ("1.0", "1.2"),
            ("1.1", "1.2"),
            ("1.2", "1.2"),
            ("1.3", "1.3"),
            ("1.5", "1.5"),
            ("2.0", "2.0"),
            ("2.1", "2.0"),
            ("10.0", "2.0"),
            ("1.10", "1.10"),
            ("1.3.5", "1.3.5"),
            ("1.5.0.0", "1.5.0.0"),
            ("2.0.1", "2.0"),
            ("0.0", "1.2"),
        ];
        for (requested, answer) in cases {
            assert_eq!(Version::negotiate(Some(requested)).text, answer, "{requested}");
        }
    }

    #[test]
    fn malformed_version_is_the_oldest() {
        let none = ["", "1", "abc", "-1.0", "2.", ".5", "1.5.", "1.4x", "1,5", "1.2.3.4.5", "2.0-x", "99999999999.0"];
        for requested in none {
            assert_eq!(Version::negotiate(Some(requested)).text, "1.2", "{requested}");
        }
        assert_eq!(Version::negotiate(None).text, "1.2");
    }

    #[test]
    fn start_request_exists_since_1_4() {
        for (requested, is_sent) in [("1.2", false), ("1.3.9", false), ("1.4", true), ("1.10", true), ("2.1", true)] {
            assert_eq!(Version::negotiate(Some(requested)).sends_start(), is_sent, "{requested}");
        }
    }
}
