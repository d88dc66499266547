//! The list of effects that a session returns.

use super::{Dialect, Effect};

/// The effects of one event, in the order in which the connection applies them.
#[derive(Debug)]
#[must_use = "effects do nothing unless the connection applies them"]
pub(crate) struct Effects<D: Dialect>(Vec<Effect<D>>);

impl<D: Dialect> Effects<D> {
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

impl<D: Dialect> From<Effect<D>> for Effects<D> {
    fn from(effect: Effect<D>) -> Self {
        Self(vec![effect])
    }
}

impl<D: Dialect, const N: usize> From<[Effect<D>; N]> for Effects<D> {
    fn from(effects: [Effect<D>; N]) -> Self {
        Self(effects.into())
    }
}

impl<D: Dialect> From<Option<Effect<D>>> for Effects<D> {
    fn from(effect: Option<Effect<D>>) -> Self {
        effect.into_iter().collect()
    }
}

impl<D: Dialect> FromIterator<Effect<D>> for Effects<D> {
    fn from_iter<I: IntoIterator<Item = Effect<D>>>(effects: I) -> Self {
        Self(effects.into_iter().collect())
    }
}

impl<D: Dialect> IntoIterator for Effects<D> {
    type Item = Effect<D>;
    type IntoIter = std::vec::IntoIter<Effect<D>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
