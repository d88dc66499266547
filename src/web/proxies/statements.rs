//! The rules for reading the statements of trusted proxies.
//!
//! Each proxy appends to a list the address from which it has received the request. The list is read from its end: an
//! entry is believed if the peer that has appended it is trusted. Everything before the first entry of an untrusted peer
//! may be forged. `Forwarded` (RFC 7239) is split at every comma, quoted or not, so that an unbalanced quote of the
//! client cannot swallow what a proxy appends.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::{
    header::{HeaderMap, HeaderName, HeaderValue},
    uri::Authority,
};

use super::{
    ForwardingHeaders, TrustedProxies, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PREFIX, X_FORWARDED_PROTO, header,
};
use crate::web::BasePath;

/// What trusted proxies state about a request. A part that they do not state, or state in a wrong form, is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statements {
    /// The address of the client; its port is 0 if it is not stated. `None` if no address is stated.
    pub(super) client: Option<SocketAddr>,
    /// `http` or `https`.
    pub(super) scheme: Option<&'static str>,
    /// The host that the client used, with the port if the client sent it.
    pub(super) host: Option<HeaderValue>,
    /// What the proxies have removed from the front of the path.
    pub(super) prefix: Option<BasePath>,
}

impl Statements {
    /// Reads the statements of a trusted peer.
    pub(super) fn read(headers: &HeaderMap, peer: SocketAddr, proxies: &TrustedProxies) -> Self {
        let reads_forwarded = match proxies.headers {
            ForwardingHeaders::Either => {
                !headers.contains_key(X_FORWARDED_FOR) && headers.contains_key(header::FORWARDED)
            }
            ForwardingHeaders::XForwarded => false,
            ForwardingHeaders::Forwarded => true,
        };
        let read = if reads_forwarded { Self::read_forwarded } else { Self::read_x_forwarded };
        let (found, depth) = read(headers, peer, proxies);
        Self { prefix: read_prefix(headers, depth), ..found }
    }

    /// Returns the statements and the number of proxies that made them.
    fn read_x_forwarded(headers: &HeaderMap, peer: SocketAddr, proxies: &TrustedProxies) -> (Self, usize) {
        let (mut client, mut depth) = (peer, 0);
        for address in list(headers, &X_FORWARDED_FOR).into_iter().rev().map_while(parse_address) {
            if !proxies.trusts(client.ip()) {
                break;
            }
            (client, depth) = (address, depth + 1);
        }
        let stated = (depth > 0).then_some(client);
        let depth = depth.max(1);
        let scheme = nth_from_end(&list(headers, &X_FORWARDED_PROTO), depth).and_then(parse_scheme);
        let host = nth_from_end(&list(headers, &X_FORWARDED_HOST), depth).and_then(parse_host);
        (Self { client: stated, scheme, host, prefix: None }, depth)
    }

    fn read_forwarded(headers: &HeaderMap, peer: SocketAddr, proxies: &TrustedProxies) -> (Self, usize) {
        let (mut found, mut client, mut depth) = (Self::default(), peer, 0);
        for element in list(headers, &header::FORWARDED).into_iter().rev() {
            if !proxies.trusts(client.ip()) {
                break;
            }
            depth += 1;
            found.scheme = parameter(element, "proto").and_then(parse_scheme).or(found.scheme);
            found.host = parameter(element, "host").and_then(parse_host).or(found.host);
            // A proxy may hide the address (`unknown`, `_name`). What is before it cannot be believed then.
            let Some(address) = parameter(element, "for").and_then(parse_address) else { break };
            client = address;
            found.client = Some(client);
        }
        (found, depth.max(1))
    }
}

/// The entries of a header that is a list, which can be spread over several lines.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

/// The entry at `position` from the end, which is 1 for the last. A shorter list yields its first entry, because only
/// the outer proxies have added to it.
fn nth_from_end<'a>(list: &[&'a str], position: usize) -> Option<&'a str> {
    list.get(list.len().saturating_sub(position)).copied()
}

/// The value of a parameter of an element of `Forwarded`. Names are compared without case.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = parameters.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// An address with or without a port. An IPv6 address with a port is in brackets.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = || bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0));
    text.parse().ok().or_else(without_port)
}

/// Some proxies state the scheme of a WebSocket.
fn parse_scheme(text: &str) -> Option<&'static str> {
    match &*text.to_ascii_lowercase() {
        "http" | "ws" => Some("http"),
        "https" | "wss" => Some("https"),
        _ => None,
    }
}

fn parse_host(text: &str) -> Option<HeaderValue> {
    let authority: Authority = text.parse().ok()?;
    if authority.as_str().contains('@') { None } else { HeaderValue::from_str(authority.as_str()).ok() }
}

/// The prefixes that the last `depth` proxies have removed, the outermost first.
fn read_prefix(headers: &HeaderMap, depth: usize) -> Option<BasePath> {
    let prefixes = list(headers, &X_FORWARDED_PREFIX);
    let believed = &prefixes[prefixes.len().saturating_sub(depth)..];
    let parsed = believed.iter().map(|prefix| prefix.parse::<BasePath>().ok()).collect::<Option<Vec<_>>>()?;
    parsed.into_iter().reduce(|outer, inner| outer.join(&inner))
}
