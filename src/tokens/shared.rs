//! The key ring of a process, which can be replaced while the process runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::KeyRing;

/// The key ring in use. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SharedKeyRing(Arc<RwLock<Arc<KeyRing>>>);

impl SharedKeyRing {
    pub(crate) fn new(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// The key ring that signs and verifies now.
    pub(crate) fn current(&self) -> Arc<KeyRing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the key ring. Later tokens are signed and verified with `ring`.
    pub(crate) fn replace(&self, ring: KeyRing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{BadToken, Purpose};

    #[test]
    fn clones_use_the_replaced_key_ring() {
        let ring = |secrets: &[&str]| KeyRing::new(secrets).unwrap();
        let (old, new) = ("an old secret, long enough", "a new secret, long enough");
        let shared = SharedKeyRing::new(ring(&[old]));
        let (clone, token) = (shared.clone(), shared.current().seal(Purpose::Rejoin, b"rooms"));
        shared.replace(ring(&[new, old]));
        assert!(clone.current().open(Purpose::Rejoin, &token).is_ok());
        assert_eq!(clone.current().ids(), [ring(&[new]).ids(), ring(&[old]).ids()].concat());
        shared.replace(ring(&[new]));
        assert_eq!(clone.current().open(Purpose::Rejoin, &token), Err(BadToken::UnknownKey));
    }
}
