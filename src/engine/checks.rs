//! Checks of the hubs, endpoints and settings of an engine. Each returns all faults that it finds.

use std::time::Duration;

use super::BuildFault;
use crate::{
    aspnetcore, classic,
    connection::RejoinSettings,
    hub::{Hub, filters::Registration},
    ids::{MAX_HUB_NAME_LENGTH, MAX_NAME_LENGTH, MAX_NODE_NAME_LENGTH, truncated},
};

/// The longest duration that can be set. It is practically endless, and additions to a clock do not overflow.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The smallest limit of a message, in bytes: a handshake has 33 bytes, or a few more if a client formats it with
/// spaces.
pub(super) const MIN_MESSAGE_LIMIT: usize = 64;

/// The maximum length of the name of a filter, in characters. It is a label of metrics.
const MAX_FILTER_NAME_LENGTH: usize = 64;

pub(super) fn hub_faults(hubs: &[Hub]) -> Vec<BuildFault> {
    let mut found = Vec::new();
    if hubs.is_empty() {
        found.push(BuildFault::NoHubs);
    }
    for (index, hub) in hubs.iter().enumerate() {
        found.extend(hub_name_faults(hub));
        // The same comparison as in the lookup of hubs by classic clients.
        let name = hub.name().to_lowercase();
        if hubs[..index].iter().any(|earlier| earlier.name().to_lowercase() == name) {
            found.push(BuildFault::DuplicateHub(hub.name().to_string()));
        }
        found.extend(method_faults(hub));
    }
    found
}

fn hub_name_faults(hub: &Hub) -> impl Iterator<Item = BuildFault> {
    let name = hub.name();
    let empty = name.is_empty().then_some(BuildFault::EmptyHubName);
    let dotted = name.contains('.').then(|| BuildFault::HubNameContainsDot(name.to_string()));
    [empty, dotted, name_length_fault(name, MAX_HUB_NAME_LENGTH)].into_iter().flatten()
}

fn method_faults(hub: &Hub) -> impl Iterator<Item = BuildFault> {
    let name = || hub.name().to_string();
    let names = hub.method_names().into_iter();
    let invalid = names.filter_map(move |method| match method {
        "" => Some(BuildFault::EmptyMethodName(name())),
        method => name_length_fault(method, MAX_NAME_LENGTH),
    });
    let duplicates = hub.duplicate_methods().iter().cloned();
    let duplicates = duplicates.map(move |method| BuildFault::DuplicateMethod { hub: name(), method });
    let missing = hub.missing_states().map(move |(method, state)| BuildFault::MissingState {
        hub: name(),
        method: method.to_owned(),
        state: state.name(),
    });
    invalid.chain(duplicates).chain(missing)
}

fn name_length_fault(name: &str, limit: usize) -> Option<BuildFault> {
    let is_too_long = name.chars().nth(limit).is_some();
    is_too_long.then(|| BuildFault::NameTooLong(truncated(name, 20).to_owned()))
}

/// The fault of the name of a node.
pub(crate) fn node_fault(name: &str) -> Option<BuildFault> {
    match name.len() {
        0 => Some(BuildFault::EmptyNodeName),
        length if length > MAX_NODE_NAME_LENGTH => Some(BuildFault::NodeNameTooLong(length)),
        _ => None,
    }
}

/// The faults of the filters of the engine and of its hubs.
pub(super) fn filter_faults(global: &[Registration], hubs: &[Hub]) -> Vec<BuildFault> {
    let all: Vec<_> = global.iter().chain(hubs.iter().flat_map(Hub::filters)).collect();
    let mut found = Vec::new();
    for (index, Registration { name, options, .. }) in all.iter().enumerate() {
        if all[..index].iter().any(|earlier| earlier.name == *name) {
            found.push(BuildFault::DuplicateFilter(name.clone()));
        }
        if name.is_empty() || name.chars().nth(MAX_FILTER_NAME_LENGTH).is_some() {
            found.push(BuildFault::InvalidFilterName(truncated(name, MAX_FILTER_NAME_LENGTH).to_owned()));
        }
        if options.budget.is_zero() || options.budget > MAX_DURATION {
            found.push(BuildFault::InvalidFilterBudget(name.clone()));
        }
    }
    found
}

/// All faults of the settings, for an engine with these hubs.
pub(crate) fn settings_faults(
    hubs: &[Hub],
    rejoin: &RejoinSettings,
    aspnetcore: &aspnetcore::Settings,
    classic: &classic::Settings,
) -> Vec<BuildFault> {
    let unknown = rejoin.policies.iter().filter(|(name, _)| !hubs.iter().any(|hub| hub.name() == name));
    let policies = unknown.map(|(name, _)| BuildFault::UnknownPolicyHub(name.to_string()));
    let lifetime = duration_fault("rejoin.lifetime", rejoin.lifetime);
    policies.chain(aspnetcore_faults(aspnetcore)).chain(classic_faults(classic)).chain(lifetime).collect()
}

/// The fault of a token lifetime that the longest disconnection of a classic client can exceed. Only for engines that
/// serve classic clients.
pub(crate) fn rejoin_lifetime_fault(rejoin: &RejoinSettings, classic: &classic::Settings) -> Option<BuildFault> {
    let least = classic.max_time_without_channel().saturating_mul(2);
    (rejoin.lifetime < least).then_some(BuildFault::RejoinLifetimeTooShort(least))
}

fn aspnetcore_faults(settings: &aspnetcore::Settings) -> impl Iterator<Item = BuildFault> {
    let is_too_small = settings.max_message.is_some_and(|limit| limit < MIN_MESSAGE_LIMIT);
    let durations = [
        duration_fault("aspnetcore.keep_alive", settings.keep_alive),
        duration_fault("aspnetcore.client_timeout", settings.client_timeout),
        duration_fault("aspnetcore.handshake_timeout", settings.handshake_timeout),
        duration_fault("aspnetcore.disconnect_timeout", settings.disconnect_timeout),
        duration_fault("aspnetcore.poll_timeout", settings.poll_timeout),
        duration_fault("aspnetcore.send_timeout", settings.send_timeout),
    ];
    is_too_small.then_some(BuildFault::MaxMessageTooSmall).into_iter().chain(durations.into_iter().flatten())
}

fn classic_faults(settings: &classic::Settings) -> impl Iterator<Item = BuildFault> {
    let rule = settings.fault().map(BuildFault::InvalidClassicSettings);
    let durations = [
        duration_fault("classic.disconnect_timeout", settings.disconnect_timeout),
        duration_fault("classic.connection_timeout", settings.connection_timeout),
        duration_fault("classic.transport_connect_timeout", settings.transport_connect_timeout),
        duration_fault("classic.send_timeout", settings.send_timeout),
        duration_or_zero_fault("classic.long_poll_delay", settings.long_poll_delay),
    ];
    rule.into_iter().chain(durations.into_iter().flatten())
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

/// The fault of a duration that must be longer than zero.
pub(super) fn duration_fault(setting: &'static str, duration: Duration) -> Option<BuildFault> {
    if duration.is_zero() {
        return Some(BuildFault::ZeroDuration(setting));
    }
    duration_or_zero_fault(setting, duration)
}

/// The fault of a duration that can be zero.
pub(super) fn duration_or_zero_fault(setting: &'static str, duration: Duration) -> Option<BuildFault> {
    (duration > MAX_DURATION).then_some(BuildFault::DurationTooLong(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Caller, Engine, EngineBuilder, HubError, State,
        aspnetcore::Endpoint,
        filters::{BeforeInvoke, FilterOptions, on},
    };

    fn error(builder: EngineBuilder) -> String {
        builder.build().expect_err("an invalid engine").to_string()
    }

    fn chat() -> EngineBuilder {
        Engine::builder().hub("/chat", Hub::new("chat"))
    }

    #[actix::test]
    async fn duplicate_or_unknown_hubs_are_refused() {
        assert_eq!(error(chat().hub("/other", Hub::new("Chat"))), "two hubs are named `Chat`, ignoring case");
        let accented = chat().hub("/1", Hub::new("Überblick")).hub("/2", Hub::new("überblick"));
        assert_eq!(error(accented), "two hubs are named `überblick`, ignoring case");
        let nowhere = "the endpoint `/x` serves the hub `nowhere`, which was not added to the engine";
        assert_eq!(error(chat().aspnetcore_endpoint(Endpoint::new("/x", &"nowhere".into()))), nowhere);
        assert_eq!(error(chat().classic_endpoint(classic::Endpoint::new("/x").only([&"nowhere".into()]))), nowhere);
        assert!(chat().hub("/chatter", Hub::new("other")).classic("/signalr").build().is_ok());
    }

    #[actix::test]
    async fn names_that_clients_cannot_use_are_refused() {
        let dotted = "the hub name `a.b` contains a dot, which separates hub and group in the names of classic groups";
        assert_eq!(error(chat().hub("/other", Hub::new("a.b"))), dotted);
        assert_eq!(error(chat().hub("/other", Hub::new(""))), "a hub has an empty name");
        let nameless = Hub::new("other").method("", async || Ok(1));
        assert_eq!(error(chat().hub("/other", nameless)), "the hub `other` has a method with an empty name");
        assert_eq!(error(chat().node("")), "the name of the node is empty");
        assert_eq!(error(chat().node(&"ü".repeat(128))), "the name of the node has 256 bytes; it has at most 255");
        assert!(chat().node(&"n".repeat(255)).build().is_ok());
        let beginning = "m".repeat(20);
        let too_long = format!(
            "the name `{beginning}…` is too long: that of a hub has at most 128 characters, that of a method 256"
        );
        for hub in [Hub::new("other").method(&"m".repeat(257), async || Ok(1)), Hub::new(&"m".repeat(257))] {
            assert_eq!(error(chat().hub("/other", hub)), too_long);
        }
    }

    #[actix::test]
    async fn methods_of_equal_name_are_refused() {
        let hub = Hub::new("other").method("Add", async || Ok(1)).method("add", async || Ok(2));
        assert_eq!(error(chat().hub("/other", hub)), "the hub `other` has two methods named `add`, ignoring case");
    }

    #[actix::test]
    async fn faulty_filters_are_refused() {
        let pass = || on(async |event: BeforeInvoke| Ok(event));
        let of_hub = chat().hub("/other", Hub::new("other").filter("pass", pass()));
        for builder in [chat().filter("pass", pass()).filter("pass", pass()), of_hub.filter("pass", pass())] {
            assert_eq!(error(builder), "two filters are named `pass`; names of filters are unique in an engine");
        }
        assert_eq!(error(chat().filter("", pass())), "the name `` of a filter must have 1 to 64 characters");
        let too_long = format!("the name `{}` of a filter must have 1 to 64 characters", "ü".repeat(32));
        assert_eq!(error(chat().filter(&"ü".repeat(65), pass())), too_long);
        for budget in [Duration::ZERO, MAX_DURATION + Duration::from_secs(1)] {
            let options = FilterOptions { budget, ..FilterOptions::default() };
            let text = "the time budget of the filter `pass` must be longer than 0 s and at most 100 years";
            assert_eq!(error(chat().filter_with("pass", options, pass())), text);
        }
        let options = FilterOptions { budget: MAX_DURATION, ..FilterOptions::default() };
        assert!(chat().filter_with(&"ü".repeat(64), options, pass()).build().is_ok());
    }

    #[actix::test]
    async fn every_state_of_a_method_must_be_added() {
        let hub = || {
            let count = async |_: State<u64>, _: Caller, _: State<String>| Ok::<_, HubError>(());
            Hub::new("counter").method("Count", count)
        };
        let missing = "the method `Count` takes a `State<alloc::string::String>`, which the hub `counter` does not have; \
                       add it with `Hub::state`";
        assert_eq!(error(chat().hub("/counter", hub().state(1_u64))), missing);
        assert!(chat().hub("/counter", hub().state(1_u64).state(String::new())).build().is_ok());
    }

    #[test]
    fn all_faults_are_reported_together() {
        let expected = "the engine has 5 faults:\n  \
                        the engine has no hub; add one with `EngineBuilder::hub`\n  \
                        the path `signalr` of an endpoint does not begin with `/`\n  \
                        `aspnetcore.keep_alive` must be longer than 0 s\n  \
                        `store_deadline` must be longer than 0 s\n  \
                        no actix system is running on this thread; build the engine inside one, for example under \
                        `#[actix_web::main]`";
        let settings = aspnetcore::Settings { keep_alive: Duration::ZERO, ..Default::default() };
        let builder = Engine::builder().classic("signalr").aspnetcore_settings(settings).store_deadline(Duration::ZERO);
        let refused = builder.build().expect_err("an invalid engine");
        assert_eq!((refused.to_string().as_str(), refused.faults().len()), (expected, 5));
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
            let interval = chat().reconcile_interval(Some(duration));
            assert!(error(interval).starts_with("`reconcile_interval` must be"));
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
