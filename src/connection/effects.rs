//! The list of effects that a session returns.

use super::Effect;

/// The effects of one event, in the order in which the connection applies them.
#[derive(Debug)]
#[must_use = "effects do nothing unless the connection applies them"]
pub(crate) struct Effects<T>(Vec<Effect<T>>);

impl<T> Effects<T> {
    /// No effects.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// These effects, followed by `next`.
    pub(crate) fn then(mut self, next: impl Into<Self>) -> Self {
        self.append(next);
        self
    }

    /// Adds effects at the end.
    pub(crate) fn append(&mut self, next: impl Into<Self>) {
        let Self(mut next) = next.into();
        self.0.append(&mut next);
    }
}

impl<T> From<Effect<T>> for Effects<T> {
    fn from(effect: Effect<T>) -> Self {
        Self(vec![effect])
    }
}

impl<T, const N: usize> From<[Effect<T>; N]> for Effects<T> {
    fn from(effects: [Effect<T>; N]) -> Self {
        Self(effects.into())
    }
}

impl<T> From<Option<Effect<T>>> for Effects<T> {
    fn from(effect: Option<Effect<T>>) -> Self {
        effect.into_iter().collect()
    }
}

impl<T> FromIterator<Effect<T>> for Effects<T> {
    fn from_iter<I: IntoIterator<Item = Effect<T>>>(effects: I) -> Self {
        Self(effects.into_iter().collect())
    }
}

impl<T> IntoIterator for Effects<T> {
    type Item = Effect<T>;
    type IntoIter = std::vec::IntoIter<Effect<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
