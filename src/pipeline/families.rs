//! What is known of rejoin families beside their tokens. It outlives the pipeline's actor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Claims, TokenGroups};
use crate::ids::ConnectionId;

/// Of how many families something is remembered: a list that was too long for a token, who has spent one last. The
/// oldest is forgotten first; its client is put back into what is stored alone.
const REMEMBERED: usize = 10_000;

/// What is known of families, the latest of them.
struct Recent<T> {
    of: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn put(&mut self, family: &str, known: T) {
        if self.of.insert(family.to_owned(), known).is_none() {
            self.order.push_back(family.to_owned());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

/// See the module's documentation. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Families(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The groups of families whose lists are too long for a token.
    lists: Recent<TokenGroups>,
    /// The epoch that was spent last, and by which connection.
    spent: Recent<(u64, ConnectionId)>,
}

impl Families {
    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic leaves behind is at worst short of a family.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember(&self, family: &str, groups: TokenGroups) {
        self.known().lists.put(family, groups);
    }

    pub(super) fn list_of(&self, family: &str) -> Option<TokenGroups> {
        self.known().lists.of.get(family).cloned()
    }

    /// Takes note of who has spent a token.
    pub(super) fn spend(&self, claims: &Claims, connection: &ConnectionId) {
        self.known().spent.put(&claims.family, (claims.epoch, connection.clone()));
    }

    /// Lets `connection` have spent a token in place of whoever did, if that one `has_ended` and it was the last of
    /// its family; false if it may not.
    pub(super) fn spend_again(
        &self,
        claims: &Claims,
        connection: &ConnectionId,
        has_ended: impl FnOnce(&ConnectionId) -> bool,
    ) -> bool {
        let mut known = self.known();
        let last = known.spent.of.get(&claims.family).filter(|(epoch, _)| *epoch == claims.epoch);
        let may = last.is_some_and(|(_, spender)| has_ended(spender));
        if may {
            known.spent.put(&claims.family, (claims.epoch, connection.clone()));
        }
        may
    }
}
