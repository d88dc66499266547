//! The values of the application that hub methods take as [`State<T>`](super::State).

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use super::Hub;

/// Values of the application, one for each type.
#[derive(Clone, Default)]
pub struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// The value of type `T`, if the hub has one.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }

    pub(super) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("States").field(&self.0.len()).finish()
    }
}

/// The type of a state that an extractor needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateType {
    id: TypeId,
    name: &'static str,
}

impl StateType {
    /// The type `T`.
    #[must_use]
    pub fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }

    /// The name of the type, for error texts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Hub {
    /// The names of methods that were registered again, ignoring case.
    pub(crate) fn duplicate_methods(&self) -> &[String] {
        &self.duplicate_methods
    }

    /// The states that methods need and the hub does not have, each with the name of the method.
    pub(crate) fn missing_states(&self) -> impl Iterator<Item = (&str, StateType)> {
        let required = self
            .methods
            .values()
            .flat_map(|(name, entry)| entry.required_states.iter().map(move |state| (&**name, *state)));
        required.filter(|(_, state)| !self.states.0.contains_key(&state.id))
    }
}
