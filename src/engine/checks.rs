//! What an engine cannot be built of, and why.

use std::time::Duration;

use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connection::RejoinSettings,
    hub::Hub,
};

/// The longest span of time that can be set: whoever wants no end is well served by it, and no clock overflows.
pub(crate) const LONGEST_SPAN: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The shortest limit of a message: a handshake of 33 bytes, with room for a client that writes it with blanks.
const LEAST_MESSAGE: usize = 64;

/// Why an engine cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There are two hubs of a name that clients cannot tell apart.
    #[error("there are two hubs named `{0}`")]
    DuplicateHub(String),
    /// Classic groups are named `hub.group`, which a dot in a hub's name would make ambiguous.
    #[error("the hub name `{0}` contains a dot")]
    DottedHub(String),
    /// An endpoint serves a hub that was not given.
    #[error("the endpoint `{path}` serves the hub `{hub}`, which there is not")]
    UnknownHub {
        /// Where the endpoint is.
        path: String,
        /// What it serves.
        hub: String,
    },
    /// Two endpoints are at paths that clients cannot tell apart.
    #[error("there are two endpoints at `{0}`")]
    DuplicatePath(String),
    /// A span of time that nothing can wait for.
    #[error("`{0}` must be longer than nothing, and 100 years at most")]
    Span(&'static str),
    /// A policy of rejoining is set for a hub that was not given; policies name hubs in their registered case.
    #[error("`rejoin.policies` names the hub `{0}`, which there is not")]
    PolicyOfNoHub(String),
    /// Messages of clients may be so short that no handshake fits.
    #[error("`aspnetcore.max_message` must be at least {LEAST_MESSAGE} bytes, or no client could shake hands")]
    ShortMessages,
    /// Settings for clients of SignalR 2.x that they cannot live with.
    #[error("the settings for classic clients do not fit: {0}")]
    ClassicSettings(&'static str),
    /// A classic client that comes back in time would bring a token that has run out.
    #[error(
        "`rejoin.lifetime` must be at least {0:?}: a token is replaced at half of its life, and the other half has to \
         last while a classic client is away"
    )]
    ShortLifetime(Duration),
    /// Nothing runs actors here.
    #[error("an engine is built inside a running actix system, such as `#[actix_web::main]` makes")]
    NoSystem,
}

pub(super) fn hubs(hubs: &[Hub]) -> Result<(), BuildError> {
    for (place, hub) in hubs.iter().enumerate() {
        if hub.name().contains('.') {
            return Err(BuildError::DottedHub(hub.name().to_string()));
        }
        // As classic clients' names are looked up.
        let name = hub.name().to_lowercase();
        if hubs[..place].iter().any(|earlier| earlier.name().to_lowercase() == name) {
            return Err(BuildError::DuplicateHub(hub.name().to_string()));
        }
    }
    Ok(())
}

pub(super) fn endpoints(endpoints: &[Endpoint], mounts: &[classic::Endpoint], hubs: &[Hub]) -> Result<(), BuildError> {
    let own = endpoints.iter().map(|endpoint| (endpoint.path(), std::slice::from_ref(endpoint.hub())));
    let several = mounts.iter().map(|mount| (mount.path(), mount.hubs().unwrap_or_default()));
    let mut paths = Vec::new();
    for (path, served) in own.chain(several) {
        let place = path.trim_matches('/').to_lowercase();
        if paths.contains(&place) {
            return Err(BuildError::DuplicatePath(path.to_owned()));
        }
        paths.push(place);
        if let Some(unknown) = served.iter().find(|name| !hubs.iter().any(|hub| hub.name() == *name)) {
            return Err(BuildError::UnknownHub { path: path.to_owned(), hub: unknown.to_string() });
        }
    }
    Ok(())
}

/// Everything that is wrong with settings, for an engine that has these hubs.
pub(crate) fn settings(
    hubs: &[Hub],
    rejoin: &RejoinSettings,
    core: &aspnetcore::Settings,
    classic: &classic::Settings,
) -> Vec<BuildError> {
    let unknown = rejoin.policies.iter().filter(|(name, _)| !hubs.iter().any(|hub| hub.name() == name));
    let policies = unknown.map(|(name, _)| Err(BuildError::PolicyOfNoHub(name.to_string())));
    let others = [core_settings(core), classic_settings(classic), span("rejoin.lifetime", rejoin.lifetime)];
    policies.chain(others).filter_map(Result::err).collect()
}

/// Whether tokens outlast the absence of a classic client, where such are served.
pub(crate) fn lifetime(rejoin: &RejoinSettings, classic: &classic::Settings) -> Result<(), BuildError> {
    let least = classic.longest_absence().saturating_mul(2);
    if rejoin.lifetime < least { Err(BuildError::ShortLifetime(least)) } else { Ok(()) }
}

fn core_settings(settings: &aspnetcore::Settings) -> Result<(), BuildError> {
    if settings.max_message.is_some_and(|limit| limit < LEAST_MESSAGE) {
        return Err(BuildError::ShortMessages);
    }
    span("aspnetcore.keep_alive", settings.keep_alive)?;
    span("aspnetcore.client_timeout", settings.client_timeout)?;
    span("aspnetcore.handshake_timeout", settings.handshake_timeout)?;
    span("aspnetcore.disconnect_timeout", settings.disconnect_timeout)?;
    span("aspnetcore.send_timeout", settings.send_timeout)
}

fn classic_settings(settings: &classic::Settings) -> Result<(), BuildError> {
    settings.fault().map_or(Ok(()), |fault| Err(BuildError::ClassicSettings(fault)))?;
    span("classic.disconnect_timeout", settings.disconnect_timeout)?;
    span("classic.connection_timeout", settings.connection_timeout)?;
    span("classic.transport_connect_timeout", settings.transport_connect_timeout)?;
    span("classic.send_timeout", settings.send_timeout)?;
    pause("classic.long_poll_delay", settings.long_poll_delay)
}

/// A span of time that lasts.
pub(super) fn span(setting: &'static str, span: Duration) -> Result<(), BuildError> {
    if span.is_zero() { Err(BuildError::Span(setting)) } else { pause(setting, span) }
}

/// A span of time, which may be none.
fn pause(setting: &'static str, span: Duration) -> Result<(), BuildError> {
    if span > LONGEST_SPAN { Err(BuildError::Span(setting)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, EngineBuilder, RejoinSettings};

    fn error(builder: EngineBuilder) -> String {
        builder.build().expect_err("it does not fit").to_string()
    }

    fn chat() -> EngineBuilder {
        Engine::builder().hub("/chat", Hub::new("chat"))
    }

    #[actix::test]
    async fn hubs_and_endpoints_that_clients_cannot_tell_apart_or_that_there_are_not_are_refused() {
        assert_eq!(error(chat().hub("/other", Hub::new("Chat"))), "there are two hubs named `Chat`");
        let accented = chat().hub("/1", Hub::new("Überblick")).hub("/2", Hub::new("überblick"));
        assert_eq!(error(accented), "there are two hubs named `überblick`");
        assert_eq!(error(chat().hub("/other", Hub::new("a.b"))), "the hub name `a.b` contains a dot");
        for path in ["/chat", "Chat/", "chat"] {
            let expected = format!("there are two endpoints at `{}`", path.trim_end_matches('/'));
            assert_eq!(error(chat().hub(path, Hub::new("other"))), expected);
            assert_eq!(error(chat().classic(path)), expected);
        }
        let nowhere = "the endpoint `/x` serves the hub `nowhere`, which there is not";
        assert_eq!(error(chat().aspnetcore_endpoint(Endpoint::new("/x", &"nowhere".into()))), nowhere);
        assert_eq!(error(chat().classic_endpoint(classic::Endpoint::new("/x").only([&"nowhere".into()]))), nowhere);
        assert!(chat().hub("/chatter", Hub::new("other")).classic("/signalr").build().is_ok());
    }

    #[actix::test]
    async fn spans_of_time_that_do_not_last_or_that_no_clock_reaches_are_refused() {
        for span in [Duration::ZERO, LONGEST_SPAN + Duration::from_secs(1), Duration::MAX] {
            let keep_alive = aspnetcore::Settings { keep_alive: span, ..Default::default() };
            assert!(error(chat().aspnetcore_settings(keep_alive)).starts_with("`aspnetcore.keep_alive` must be"));
            let send_timeout = classic::Settings { send_timeout: span, ..Default::default() };
            assert!(error(chat().classic_settings(send_timeout)).starts_with("`classic.send_timeout` must be"));
            let lifetime = RejoinSettings { lifetime: span, ..Default::default() };
            assert!(error(chat().rejoin(lifetime)).starts_with("`rejoin.lifetime` must be"));
            assert!(error(chat().store_deadline(span)).starts_with("`store_deadline` must be"));
        }
        let rare = classic::Settings { keep_alive: Some(Duration::MAX), ..Default::default() };
        assert!(error(chat().classic_settings(rare)).starts_with("the settings for classic clients do not fit"));
    }

    #[actix::test]
    async fn policies_for_nobody_and_messages_too_short_for_a_handshake_are_refused() {
        let policies = vec![("Chat".into(), crate::pipeline::Policy::Store)];
        let told = "`rejoin.policies` names the hub `Chat`, which there is not";
        assert_eq!(error(chat().rejoin(RejoinSettings { policies, ..Default::default() })), told);
        let short = aspnetcore::Settings { max_message: Some(63), ..Default::default() };
        assert!(error(chat().aspnetcore_settings(short)).contains("at least 64 bytes"));
    }

    #[actix::test]
    async fn a_token_must_outlast_the_absence_of_a_classic_client_where_there_are_any() {
        let with = |seconds| RejoinSettings { lifetime: Duration::from_secs(seconds), ..Default::default() };
        // Away for 30 s and a grace of 5 s; a token is new for half of its life at least.
        assert!(error(chat().classic("/signalr").rejoin(with(69))).contains("at least 70s"));
        assert!(chat().classic("/signalr").rejoin(with(70)).build().is_ok());
        assert!(chat().rejoin(with(1)).build().is_ok());
        let polls = classic::Settings { long_poll_delay: Duration::from_secs(60), ..Default::default() };
        assert!(error(chat().classic("/signalr").classic_settings(polls).rejoin(with(179))).contains("at least 180s"));
    }

    #[actix::test]
    async fn the_longest_span_of_all_can_be_waited_for() {
        let settings = aspnetcore::Settings { keep_alive: LONGEST_SPAN, ..Default::default() };
        assert!(chat().aspnetcore_settings(settings).store_deadline(LONGEST_SPAN).build().is_ok());
        assert!(tokio::time::Instant::now().checked_add(LONGEST_SPAN * 2).is_some());
        assert!(std::time::SystemTime::now().checked_add(LONGEST_SPAN * 2).is_some());
    }

    #[test]
    fn an_engine_needs_a_running_system() {
        assert!(error(chat()).contains("#[actix_web::main]"));
    }
}
