//! What no engine could be built of, found before anything is opened.

use std::borrow::Cow;

use super::Settings;
use crate::{
    BuildError, chat,
    engine::checks::{lifetime, settings},
};

impl Settings {
    /// What the engine of the service would be refused for.
    pub(super) fn build_errors(&self) -> Vec<BuildError> {
        let rejoin = self.rejoin.settings(&self.store);
        let classic = self.classic.clone().into();
        let mut found = settings(&[chat::hub()], &rejoin, &self.aspnetcore.clone().into(), &classic);
        found.extend(lifetime(&rejoin, &classic).err());
        found
    }
}

/// The keys that an error takes, the one to be named first.
pub(super) fn keys_of(error: &BuildError) -> Vec<Cow<'static, str>> {
    match error {
        BuildError::Span(key) => vec![(*key).into()],
        BuildError::PolicyOfNoHub(hub) => vec![format!("rejoin.policies.{hub}").into()],
        BuildError::ShortMessages => vec!["aspnetcore.max_message".into()],
        BuildError::ClassicSettings(_) => vec!["classic.disconnect_timeout".into(), "classic.keep_alive".into()],
        BuildError::ShortLifetime(_) => vec!["rejoin.lifetime".into(), "classic.disconnect_timeout".into()],
        // These are of hubs and endpoints, which no setting names.
        BuildError::DuplicateHub(_)
        | BuildError::DottedHub(_)
        | BuildError::UnknownHub { .. }
        | BuildError::DuplicatePath(_)
        | BuildError::NoSystem => Vec::new(),
    }
}
