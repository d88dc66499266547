//! State of token families that the tokens do not carry. It survives restarts of the pipeline's actor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Claims, TokenGroups};
use crate::ids::ConnectionId;

/// The maximum number of families whose groups are kept, and of families whose last use is kept. The oldest entry is
/// discarded first. A client whose groups were discarded rejoins only its stored groups.
const MAX_FAMILIES: usize = 10_000;

/// A value for each of the most recent families.
struct Recent<T> {
    values: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn insert(&mut self, family: &str, value: T) {
        if self.values.insert(family.to_owned(), value).is_none() {
            self.order.push_back(family.to_owned());
        }
        if self.order.len() > MAX_FAMILIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

/// See the module's documentation. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Families(Arc<Mutex<FamilyState>>);

#[derive(Default)]
struct FamilyState {
    /// The groups of families whose lists are too long for a token.
    groups: Recent<TokenGroups>,
    /// The epoch that was used last, and the connection that used it.
    last_used: Recent<(u64, ConnectionId)>,
}

impl Families {
    fn lock(&self) -> MutexGuard<'_, FamilyState> {
        // After a panic the state lacks at most one family.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember_groups(&self, family: &str, groups: TokenGroups) {
        self.lock().groups.insert(family, groups);
    }

    pub(super) fn groups_of(&self, family: &str) -> Option<TokenGroups> {
        self.lock().groups.values.get(family).cloned()
    }

    /// Records the connection that has used a token.
    pub(super) fn record_use(&self, claims: &Claims, connection: &ConnectionId) {
        self.lock().last_used.insert(&claims.family, (claims.epoch, connection.clone()));
    }

    /// Transfers a used token to `connection` if the connection that used it `has_ended` and no later token of the
    /// family was used. Returns whether it did.
    pub(super) fn transfer_use(
        &self,
        claims: &Claims,
        connection: &ConnectionId,
        has_ended: impl FnOnce(&ConnectionId) -> bool,
    ) -> bool {
        let mut state = self.lock();
        let last = state.last_used.values.get(&claims.family).filter(|(epoch, _)| *epoch == claims.epoch);
        let is_transferred = last.is_some_and(|(_, previous)| has_ended(previous));
        if is_transferred {
            state.last_used.insert(&claims.family, (claims.epoch, connection.clone()));
        }
        is_transferred
    }
}
