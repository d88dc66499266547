//! Whose turn it is: what changes one user's durable place in one group is done one after the other, in the store and
//! with the living, so that both end up saying the same.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    iter::repeat_with,
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use crate::store::Error;

/// How many changes can be under way at once. Two that have nothing to do with each other may have to share a turn.
const TURNS: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct KeyedMutex {
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
    patience: Duration,
}

impl KeyedMutex {
    /// Whoever comes waits for its turn so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { turns: repeat_with(Mutex::default).take(TURNS).collect(), hasher: RandomState::new(), patience }
    }

    /// Waits until nobody else changes `what`; until the answer is dropped, nobody else will.
    ///
    /// # Errors
    /// [`Error::Unavailable`], if whoever came before is held up by the store for too long.
    pub(crate) async fn of(&self, what: &impl Hash) -> Result<MutexGuard<'_, ()>, Error> {
        let place = self.hasher.hash_one(what) % self.turns.len() as u64;
        let turn = &self.turns[usize::try_from(place).expect("it is below the number of turns")];
        timeout(self.patience, turn.lock()).await.map_err(|_| Error::no_answer())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix::test]
    async fn whoever_wants_the_same_waits_and_gives_up_in_time() {
        tokio::time::pause();
        let turns = KeyedMutex::new(Duration::from_secs(5));
        let first = turns.of(&"ann").await.unwrap();
        assert!(turns.of(&"ann").now_or_never().is_none());
        assert!(matches!(turns.of(&"ann").await, Err(Error::Unavailable(_))));
        drop(first);
        assert!(turns.of(&"ann").await.is_ok());
    }

    #[actix::test]
    async fn most_who_want_something_else_do_not_wait() {
        let turns = KeyedMutex::new(Duration::from_secs(5));
        let held: Vec<_> = (0..TURNS / 4).filter_map(|user| turns.of(&user).now_or_never()).collect();
        assert!(held.len() > TURNS / 8, "{}", held.len());
    }
}
