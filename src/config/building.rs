//! The checks of the engine, run on the settings before the service opens anything.

use std::borrow::Cow;

use super::Settings;
use crate::{
    BuildFault, chat,
    engine::{checks, paths},
};

impl Settings {
    /// Every fault for which the engine would refuse these settings.
    pub(super) fn build_faults(&self) -> Vec<BuildFault> {
        let rejoin = self.rejoin.settings(&self.store);
        let classic = self.classic.clone().into();
        let hubs = [chat::hub()];
        let mut found = checks::settings_faults(&hubs, &rejoin, &self.aspnetcore.clone().into(), &classic);
        found.extend(checks::rejoin_lifetime_fault(&rejoin, &classic));
        found.extend(checks::node_fault(&self.node));
        let endpoints = chat::endpoints(&hubs[0]);
        found.extend(paths::endpoint_faults(&[endpoints.0], &[endpoints.1], &hubs, &self.base_path));
        found
    }
}

/// The keys that a fault involves, first the key to report.
pub(super) fn keys_of(fault: &BuildFault) -> Vec<Cow<'static, str>> {
    match fault {
        BuildFault::ZeroDuration(key) | BuildFault::DurationTooLong(key) => vec![(*key).into()],
        BuildFault::UnknownPolicyHub(hub) => vec![format!("rejoin.policies.{hub}").into()],
        BuildFault::EmptyNodeName | BuildFault::NodeNameTooLong(_) => vec!["node".into()],
        // The endpoints of the service overlap only with a base path.
        BuildFault::InvalidBasePath(_) | BuildFault::OverlappingPaths { .. } => vec!["base_path".into()],
        BuildFault::MaxMessageTooSmall => vec!["aspnetcore.max_message".into()],
        BuildFault::InvalidClassicSettings(_) => vec!["classic.disconnect_timeout".into(), "classic.keep_alive".into()],
        BuildFault::RejoinLifetimeTooShort(_) => vec!["rejoin.lifetime".into(), "classic.disconnect_timeout".into()],
        // These concern hubs, filters and endpoints, which no setting names.
        BuildFault::NoHubs
        | BuildFault::DuplicateHub(_)
        | BuildFault::EmptyHubName
        | BuildFault::HubNameContainsDot(_)
        | BuildFault::UnknownHub { .. }
        | BuildFault::InvalidPath { .. }
        | BuildFault::DuplicatePath(_)
        | BuildFault::NameTooLong(_)
        | BuildFault::EmptyMethodName(_)
        | BuildFault::DuplicateMethod { .. }
        | BuildFault::MissingState { .. }
        | BuildFault::DuplicateFilter(_)
        | BuildFault::InvalidFilterName(_)
        | BuildFault::InvalidFilterBudget(_)
        | BuildFault::NoActixSystem => Vec::new(),
    }
}
