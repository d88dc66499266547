//! The checks of the engine, run on the settings before the service opens anything.

use std::borrow::Cow;

use super::Settings;
use crate::{BuildError, chat, engine::checks};

impl Settings {
    /// Every error for which the engine would refuse these settings.
    pub(super) fn build_errors(&self) -> Vec<BuildError> {
        let rejoin = self.rejoin.settings(&self.store);
        let classic = self.classic.clone().into();
        let mut found = checks::settings_errors(&[chat::hub()], &rejoin, &self.aspnetcore.clone().into(), &classic);
        found.extend(checks::check_rejoin_lifetime(&rejoin, &classic).err());
        found
    }
}

/// The keys that an error involves, first the key to report.
pub(super) fn keys_of(error: &BuildError) -> Vec<Cow<'static, str>> {
    match error {
        BuildError::ZeroDuration(key) | BuildError::DurationTooLong(key) => vec![(*key).into()],
        BuildError::UnknownPolicyHub(hub) => vec![format!("rejoin.policies.{hub}").into()],
        BuildError::InvalidBasePath(_) => vec!["base_path".into()],
        BuildError::MaxMessageTooSmall => vec!["aspnetcore.max_message".into()],
        BuildError::InvalidClassicSettings(_) => vec!["classic.disconnect_timeout".into(), "classic.keep_alive".into()],
        BuildError::RejoinLifetimeTooShort(_) => vec!["rejoin.lifetime".into(), "classic.disconnect_timeout".into()],
        // These concern hubs and endpoints, which no setting names.
        BuildError::DuplicateHub(_)
        | BuildError::HubNameContainsDot(_)
        | BuildError::UnknownHub { .. }
        | BuildError::DuplicatePath(_)
        | BuildError::NameTooLong(_)
        | BuildError::NoActixSystem => Vec::new(),
    }
}
