//! Checks of the hubs, endpoints and settings of an engine, and the errors that they return.

use std::time::Duration;

use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connection::RejoinSettings,
    hub::Hub,
    ids::{check_name, truncated},
    web::InvalidBasePath,
};

/// The longest duration that can be set. It is practically endless, and additions to a clock do not overflow.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The smallest limit of a message, in bytes: a handshake has 33 bytes, or a few more if a client formats it with
/// spaces.
const MIN_MESSAGE_LIMIT: usize = 64;

/// Why an engine cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two hubs have the same name; clients do not distinguish case.
    #[error("two hubs are named `{0}`, ignoring case")]
    DuplicateHub(String),
    /// The name of a hub contains a dot. Classic groups are named `hub.group`, so it would be ambiguous.
    #[error("the hub name `{0}` contains a dot, which separates hub and group in the names of classic groups")]
    HubNameContainsDot(String),
    /// The name of a hub or of a hub method has more than 256 characters. The text contains its beginning.
    #[error("the name `{0}…` of a hub or hub method has more than 256 characters")]
    NameTooLong(String),
    /// An endpoint serves a hub that was not added.
    #[error("the endpoint `{path}` serves the hub `{hub}`, which was not added to the engine")]
    UnknownHub {
        /// The path of the endpoint.
        path: String,
        /// The missing hub.
        hub: String,
    },
    /// Two endpoints have the same path; paths do not distinguish case.
    #[error("two endpoints have the path `{0}`, ignoring case")]
    DuplicatePath(String),
    /// The base path is not a path prefix.
    #[error("base_path: {0}")]
    InvalidBasePath(#[from] InvalidBasePath),
    /// A duration is zero, but must not be.
    #[error("`{0}` must be longer than 0 s")]
    ZeroDuration(&'static str),
    /// A duration is too long.
    #[error("`{0}` must be at most 100 years")]
    DurationTooLong(&'static str),
    /// A rejoin policy names a hub that was not added. Policies use the registered case of the name.
    #[error("`rejoin.policies` names the hub `{0}`, which does not exist; the name must match in case")]
    UnknownPolicyHub(String),
    /// The message limit is too small for a handshake.
    #[error("`aspnetcore.max_message` must be at least {MIN_MESSAGE_LIMIT} bytes, so that a handshake fits")]
    MaxMessageTooSmall,
    /// The settings violate a rule of SignalR 2.x clients.
    #[error("invalid settings for classic clients: {0}")]
    InvalidClassicSettings(&'static str),
    /// The rejoin token of a classic client could expire before the client reconnects in time.
    #[error(
        "`rejoin.lifetime` must be at least {0:?}: a token is replaced after half of its lifetime, and the other half \
         must cover the longest disconnection of a classic client"
    )]
    RejoinLifetimeTooShort(Duration),
    /// No actix system runs on this thread.
    #[error(
        "no actix system is running on this thread; build the engine inside one, for example under `#[actix_web::main]`"
    )]
    NoActixSystem,
}

pub(super) fn check_hubs(hubs: &[Hub]) -> Result<(), BuildError> {
    for (index, hub) in hubs.iter().enumerate() {
        for name in hub.method_names().into_iter().chain([&**hub.name()]) {
            check_name("hub", name).map_err(|_| BuildError::NameTooLong(truncated(name, 20).to_owned()))?;
        }
        if hub.name().contains('.') {
            return Err(BuildError::HubNameContainsDot(hub.name().to_string()));
        }
        // The same comparison as in the lookup of hubs by classic clients.
        let name = hub.name().to_lowercase();
        if hubs[..index].iter().any(|earlier| earlier.name().to_lowercase() == name) {
            return Err(BuildError::DuplicateHub(hub.name().to_string()));
        }
    }
    Ok(())
}

pub(super) fn check_endpoints(
    aspnetcore: &[Endpoint],
    classic: &[classic::Endpoint],
    hubs: &[Hub],
) -> Result<(), BuildError> {
    let aspnetcore = aspnetcore.iter().map(|endpoint| (endpoint.path(), std::slice::from_ref(endpoint.hub())));
    let classic = classic.iter().map(|endpoint| (endpoint.path(), endpoint.hubs().unwrap_or_default()));
    let mut paths = Vec::new();
    for (path, served) in aspnetcore.chain(classic) {
        let normalized = path.trim_matches('/').to_lowercase();
        if paths.contains(&normalized) {
            return Err(BuildError::DuplicatePath(path.to_owned()));
        }
        paths.push(normalized);
        if let Some(unknown) = served.iter().find(|name| !hubs.iter().any(|hub| hub.name() == *name)) {
            return Err(BuildError::UnknownHub { path: path.to_owned(), hub: unknown.to_string() });
        }
    }
    Ok(())
}

/// Every error of the settings, for an engine with these hubs.
pub(crate) fn settings_errors(
    hubs: &[Hub],
    rejoin: &RejoinSettings,
    aspnetcore: &aspnetcore::Settings,
    classic: &classic::Settings,
) -> Vec<BuildError> {
    let unknown = rejoin.policies.iter().filter(|(name, _)| !hubs.iter().any(|hub| hub.name() == name));
    let policies = unknown.map(|(name, _)| Err(BuildError::UnknownPolicyHub(name.to_string())));
    let others =
        [check_aspnetcore(aspnetcore), check_classic(classic), check_duration("rejoin.lifetime", rejoin.lifetime)];
    policies.chain(others).filter_map(Result::err).collect()
}

/// Checks that tokens outlast the longest disconnection of a classic client. Only for engines that serve them.
pub(crate) fn check_rejoin_lifetime(rejoin: &RejoinSettings, classic: &classic::Settings) -> Result<(), BuildError> {
    let least = classic.max_time_without_channel().saturating_mul(2);
    if rejoin.lifetime < least { Err(BuildError::RejoinLifetimeTooShort(least)) } else { Ok(()) }
}

fn check_aspnetcore(settings: &aspnetcore::Settings) -> Result<(), BuildError> {
    if settings.max_message.is_some_and(|limit| limit < MIN_MESSAGE_LIMIT) {
        return Err(BuildError::MaxMessageTooSmall);
    }
    check_duration("aspnetcore.keep_alive", settings.keep_alive)?;
    check_duration("aspnetcore.client_timeout", settings.client_timeout)?;
    check_duration("aspnetcore.handshake_timeout", settings.handshake_timeout)?;
    check_duration("aspnetcore.disconnect_timeout", settings.disconnect_timeout)?;
    check_duration("aspnetcore.send_timeout", settings.send_timeout)
}

fn check_classic(settings: &classic::Settings) -> Result<(), BuildError> {
    settings.fault().map_or(Ok(()), |fault| Err(BuildError::InvalidClassicSettings(fault)))?;
    check_duration("classic.disconnect_timeout", settings.disconnect_timeout)?;
    check_duration("classic.connection_timeout", settings.connection_timeout)?;
    check_duration("classic.transport_connect_timeout", settings.transport_connect_timeout)?;
    check_duration("classic.send_timeout", settings.send_timeout)?;
    check_duration_or_zero("classic.long_poll_delay", settings.long_poll_delay)
}

/// The time after which a client of ASP.NET Core SignalR that has received nothing disconnects, unless its application
/// sets another one (`serverTimeoutInMilliseconds`).
const STOCK_SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason why the settings, although valid, probably do not work with stock clients.
pub(super) fn keep_alive_warning(settings: &aspnetcore::Settings) -> Option<String> {
    let keep_alive = settings.keep_alive;
    (keep_alive >= STOCK_SERVER_TIMEOUT).then(|| {
        format!(
            "`aspnetcore.keep_alive` is {keep_alive:?}, but stock clients disconnect after {STOCK_SERVER_TIMEOUT:?} \
             without a message; set it to at most half of that, or set a longer server timeout in every client"
        )
    })
}

/// Checks a duration that must be longer than zero.
pub(super) fn check_duration(setting: &'static str, duration: Duration) -> Result<(), BuildError> {
    if duration.is_zero() { Err(BuildError::ZeroDuration(setting)) } else { check_duration_or_zero(setting, duration) }
}

/// Checks a duration that can be zero.
fn check_duration_or_zero(setting: &'static str, duration: Duration) -> Result<(), BuildError> {
    if duration > MAX_DURATION { Err(BuildError::DurationTooLong(setting)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, EngineBuilder, RejoinSettings};

    fn error(builder: EngineBuilder) -> String {
        builder.build().expect_err("an invalid engine").to_string()
    }

    fn chat() -> EngineBuilder {
        Engine::builder().hub("/chat", Hub::new("chat"))
    }

    #[actix::test]
    async fn duplicate_or_unknown_hubs_and_endpoints_are_refused() {
        assert_eq!(error(chat().hub("/other", Hub::new("Chat"))), "two hubs are named `Chat`, ignoring case");
        let accented = chat().hub("/1", Hub::new("Überblick")).hub("/2", Hub::new("überblick"));
        assert_eq!(error(accented), "two hubs are named `überblick`, ignoring case");
        let dotted = "the hub name `a.b` contains a dot, which separates hub and group in the names of classic groups";
        assert_eq!(error(chat().hub("/other", Hub::new("a.b"))), dotted);
        for path in ["/chat", "Chat/", "chat"] {
            let expected = format!("two endpoints have the path `{}`, ignoring case", path.trim_end_matches('/'));
            assert_eq!(error(chat().hub(path, Hub::new("other"))), expected);
            assert_eq!(error(chat().classic(path)), expected);
        }
        let long = Hub::new("other").method(&"m".repeat(257), async || Ok(1));
        let beginning = "m".repeat(20);
        let too_long = format!("the name `{beginning}…` of a hub or hub method has more than 256 characters");
        assert_eq!(error(chat().hub("/other", long)), too_long);
        let nowhere = "the endpoint `/x` serves the hub `nowhere`, which was not added to the engine";
        assert_eq!(error(chat().aspnetcore_endpoint(Endpoint::new("/x", &"nowhere".into()))), nowhere);
        assert_eq!(error(chat().classic_endpoint(classic::Endpoint::new("/x").only([&"nowhere".into()]))), nowhere);
        assert!(chat().hub("/chatter", Hub::new("other")).classic("/signalr").build().is_ok());
    }

    #[actix::test]
    async fn zero_or_excessive_durations_are_refused() {
        for duration in [Duration::ZERO, MAX_DURATION + Duration::from_secs(1), Duration::MAX] {
            let keep_alive = aspnetcore::Settings { keep_alive: duration, ..Default::default() };
            assert!(error(chat().aspnetcore_settings(keep_alive)).starts_with("`aspnetcore.keep_alive` must be"));
            let send_timeout = classic::Settings { send_timeout: duration, ..Default::default() };
            assert!(error(chat().classic_settings(send_timeout)).starts_with("`classic.send_timeout` must be"));
            let lifetime = RejoinSettings { lifetime: duration, ..Default::default() };
            assert!(error(chat().rejoin(lifetime)).starts_with("`rejoin.lifetime` must be"));
            assert!(error(chat().store_deadline(duration)).starts_with("`store_deadline` must be"));
        }
        let rare = classic::Settings { keep_alive: Some(Duration::MAX), ..Default::default() };
        assert!(error(chat().classic_settings(rare)).starts_with("invalid settings for classic clients"));
    }

    #[test]
    fn keep_alive_at_timeout_of_stock_clients_is_a_warning() {
        let warning = |seconds| {
            let keep_alive = Duration::from_secs(seconds);
            keep_alive_warning(&aspnetcore::Settings { keep_alive, ..Default::default() })
        };
        assert_eq!(warning(29), None);
        assert!(warning(30).is_some_and(|text| text.contains("`aspnetcore.keep_alive` is 30s")));
    }

    #[actix::test]
    async fn error_of_a_duration_names_the_violated_bound() {
        let delay = classic::Settings { long_poll_delay: Duration::MAX, ..Default::default() };
        assert_eq!(error(chat().classic_settings(delay)), "`classic.long_poll_delay` must be at most 100 years");
        assert_eq!(error(chat().store_deadline(Duration::ZERO)), "`store_deadline` must be longer than 0 s");
    }

    #[actix::test]
    async fn malformed_base_path_is_refused() {
        let text = error(chat().base_path("app"));
        assert!(text.starts_with("base_path: `app` is not a path prefix; write it as `/app`"), "{text}");
        assert!(chat().base_path("/app/").build().is_ok());
    }

    #[actix::test]
    async fn unknown_policy_and_tiny_message_limit_are_refused() {
        let policies = vec![("Chat".into(), crate::pipeline::Policy::Store)];
        let expected = "`rejoin.policies` names the hub `Chat`, which does not exist; the name must match in case";
        assert_eq!(error(chat().rejoin(RejoinSettings { policies, ..Default::default() })), expected);
        let short = aspnetcore::Settings { max_message: Some(63), ..Default::default() };
        assert!(error(chat().aspnetcore_settings(short)).contains("at least 64 bytes"));
    }

    #[actix::test]
    async fn rejoin_lifetime_must_outlast_classic_disconnection() {
        let with = |seconds| RejoinSettings { lifetime: Duration::from_secs(seconds), ..Default::default() };
        // Disconnected for 30 s plus a grace of 5 s; a token is replaced after half of its lifetime.
        assert!(error(chat().classic("/signalr").rejoin(with(69))).contains("at least 70s"));
        assert!(chat().classic("/signalr").rejoin(with(70)).build().is_ok());
        assert!(chat().rejoin(with(1)).build().is_ok());
        let polls = classic::Settings { long_poll_delay: Duration::from_secs(60), ..Default::default() };
        assert!(error(chat().classic("/signalr").classic_settings(polls).rejoin(with(179))).contains("at least 180s"));
    }

    #[actix::test]
    async fn maximum_duration_does_not_overflow_clocks() {
        let settings = aspnetcore::Settings { keep_alive: MAX_DURATION, ..Default::default() };
        assert!(chat().aspnetcore_settings(settings).store_deadline(MAX_DURATION).build().is_ok());
        assert!(tokio::time::Instant::now().checked_add(MAX_DURATION * 2).is_some());
        assert!(std::time::SystemTime::now().checked_add(MAX_DURATION * 2).is_some());
    }

    #[test]
    fn engine_needs_a_running_actix_system() {
        assert!(error(chat()).contains("#[actix_web::main]"));
    }
}
