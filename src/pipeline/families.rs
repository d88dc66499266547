//! State of token families that the tokens do not carry. It survives restarts of the pipeline's actor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::TokenGroups;

/// The maximum number of families whose groups are kept. The oldest entry is
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
}
