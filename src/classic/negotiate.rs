//! What a client that negotiates is told, and which protocol version it is told.

use std::time::Duration;

use serde::Serialize;

use super::Settings;

/// The answer to a negotiation. Wire: the order of the members is the original's; times are in seconds.
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

/// The protocol version that a client and we agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    text: String,
    parts: Vec<u32>,
}

/// Wire: what is no version counts as the oldest; the newest is what SignalR 2.4 speaks.
const OLDEST: [u32; 2] = [1, 2];
const NEWEST: [u32; 2] = [2, 0];

/// Wire: from this version on a client asks for its OnConnected itself.
const WITH_START: [u32; 2] = [1, 4];

impl Version {
    /// Agrees on what a client has asked for, as far as it lies between the oldest and the newest. Clients
    /// compare the answer with what they have asked for, so it is echoed letter for letter.
    pub(super) fn agreed(asked: Option<&str>) -> Self {
        let read = |text: &str| Some(Self { text: text.to_owned(), parts: parts_of(text)? });
        match asked.and_then(read) {
            Some(version) if version.parts.as_slice() > NEWEST.as_slice() => Self::fixed(NEWEST),
            Some(version) if version.parts.as_slice() >= OLDEST.as_slice() => version,
            Some(_) | None => Self::fixed(OLDEST),
        }
    }

    fn fixed([major, minor]: [u32; 2]) -> Self {
        Self { text: format!("{major}.{minor}"), parts: vec![major, minor] }
    }

    /// True if the client asks for its OnConnected itself.
    pub(super) fn asks_for_start(&self) -> bool {
        self.parts.as_slice() >= WITH_START.as_slice()
    }
}

/// Wire: two to four numbers of at most 31 bits.
fn parts_of(text: &str) -> Option<Vec<u32>> {
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
    fn a_version_is_echoed_as_far_as_it_is_spoken() {
        let agreed = [
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
        for (asked, answer) in agreed {
            assert_eq!(Version::agreed(Some(asked)).text, answer, "{asked}");
        }
    }

    #[test]
    fn what_is_no_version_counts_as_the_oldest() {
        let none = ["", "1", "abc", "-1.0", "2.", ".5", "1.5.", "1.4x", "1,5", "1.2.3.4.5", "2.0-x", "99999999999.0"];
        for asked in none {
            assert_eq!(Version::agreed(Some(asked)).text, "1.2", "{asked}");
        }
        assert_eq!(Version::agreed(None).text, "1.2");
    }

    #[test]
    fn clients_ask_for_their_start_from_one_dot_four_on() {
        for (asked, asks) in [("1.2", false), ("1.3.9", false), ("1.4", true), ("1.10", true), ("2.1", true)] {
            assert_eq!(Version::agreed(Some(asked)).asks_for_start(), asks, "{asked}");
        }
    }
}
