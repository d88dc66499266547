//! Limits of the number of connections: of the process, of each user and of each client address.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{ids::UserId, metrics::Metrics};

/// The maximum numbers of connections. A client beyond one of them is refused until another connection ends. Connections
/// that wait for their client to return count too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of the process. Default 100,000, which need about 1 GB of memory. A client beyond it gets status 503.
    pub total: NonZeroUsize,
    /// Of each user. Default 1,000: more than the devices of a person, and too few to occupy the process. A client
    /// beyond it gets status 429. Anonymous clients have no such limit.
    pub per_user: Option<NonZeroUsize>,
    /// Of each client address; an IPv6 network of 64 bits counts as one address. Default none, because all clients
    /// behind a proxy can have its address. A client beyond it gets status 429.
    pub per_address: Option<NonZeroUsize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let at_most = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self { total: at_most(100_000), per_user: Some(at_most(1_000)), per_address: None }
    }
}

/// A limit is reached. The text is sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitReached {
    /// [`ConnectionLimits::total`].
    #[error("The server has no room for another connection. Try again later.")]
    Total,
    /// [`ConnectionLimits::per_user`].
    #[error("The user has too many connections.")]
    PerUser,
    /// [`ConnectionLimits::per_address`].
    #[error("There are too many connections from this address.")]
    PerAddress,
}

/// Counts connections, and refuses those beyond the limits. Clones share the same counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimiter {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Shared {
    limits: ConnectionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    users: HashMap<UserId, usize>,
    addresses: HashMap<IpAddr, usize>,
}

/// Permission for one connection. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    owner: Owner,
    shared: Arc<Shared>,
}

/// Whose limits a connection counts against.
#[derive(Clone, Debug)]
struct Owner {
    user: Option<UserId>,
    address: Option<IpAddr>,
}

impl Shared {
    /// After a panic under the lock, a count is at worst wrong by one.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionLimiter {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Arc<Metrics>) -> Self {
        Self { shared: Arc::new(Shared { limits, counts: Mutex::default() }), metrics }
    }

    /// Checks whether a client could connect now.
    ///
    /// # Errors
    /// The limit that is reached. The metrics count the refusal.
    pub(crate) fn check(&self, user: Option<&UserId>, address: Option<IpAddr>) -> Result<(), LimitReached> {
        let checked = self.shared.counts().check(&self.shared.limits, &Owner::new(user, address));
        checked.inspect_err(|_| self.metrics.connections_refused.increment())
    }

    /// Counts a connection of a client until the permit is dropped.
    ///
    /// # Errors
    /// The limit that is reached. The metrics count the refusal.
    pub(crate) fn acquire(
        &self,
        user: Option<&UserId>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, LimitReached> {
        let (mut counts, owner) = (self.shared.counts(), Owner::new(user, address));
        counts.check(&self.shared.limits, &owner).inspect_err(|_| self.metrics.connections_refused.increment())?;
        counts.add(&owner);
        drop(counts);
        Ok(ConnectionPermit { owner, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.counts().remove(&self.owner);
    }
}

impl Owner {
    fn new(user: Option<&UserId>, address: Option<IpAddr>) -> Self {
        Self { user: user.cloned(), address: address.map(network) }
    }
}

/// The part of an address that one client has to itself: a client with IPv6 usually has a network of 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Counts {
    fn check(&self, limits: &ConnectionLimits, owner: &Owner) -> Result<(), LimitReached> {
        if self.total >= limits.total.get() {
            return Err(LimitReached::Total);
        }
        if is_reached(&self.users, owner.user.as_ref(), limits.per_user) {
            return Err(LimitReached::PerUser);
        }
        if is_reached(&self.addresses, owner.address.as_ref(), limits.per_address) {
            return Err(LimitReached::PerAddress);
        }
        Ok(())
    }

    fn add(&mut self, owner: &Owner) {
        self.total += 1;
        increment(&mut self.users, owner.user.clone());
        increment(&mut self.addresses, owner.address);
    }

    fn remove(&mut self, owner: &Owner) {
        self.total -= 1;
        decrement(&mut self.users, owner.user.as_ref());
        decrement(&mut self.addresses, owner.address.as_ref());
    }
}

fn is_reached<K: Hash + Eq>(counts: &HashMap<K, usize>, key: Option<&K>, limit: Option<NonZeroUsize>) -> bool {
    let count = key.and_then(|key| counts.get(key)).copied().unwrap_or_default();
    key.is_some() && limit.is_some_and(|limit| count >= limit.get())
}

fn increment<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: Option<K>) {
    if let Some(key) = key {
        *counts.entry(key).or_default() += 1;
    }
}

/// Memory: a map that becomes empty gives back what a crowd has made it grow to.
fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: Option<&K>) {
    let Some((key, count)) = key.and_then(|key| Some((key, counts.get_mut(key)?))) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
    if counts.is_empty() {
        *counts = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(total: usize, per_user: usize, per_address: usize) -> ConnectionLimiter {
        let [total, per_user, per_address] =
            [total, per_user, per_address].map(|limit| NonZeroUsize::new(limit).unwrap());
        let limits = ConnectionLimits { total, per_user: Some(per_user), per_address: Some(per_address) };
        ConnectionLimiter::new(limits, Arc::default())
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn connection_beyond_total_is_refused_until_another_ends() {
        let limiter = limiter(2, 9, 9);
        let (first, _second) = (limiter.acquire(None, None).unwrap(), limiter.acquire(None, None).unwrap());
        assert_eq!(limiter.acquire(None, None).unwrap_err(), LimitReached::Total);
        assert_eq!(limiter.check(None, None), Err(LimitReached::Total));
        assert_eq!(limiter.metrics.connections_refused.get(), 2);
        drop(first);
        assert_eq!(limiter.check(None, None), Ok(()));
        assert!(limiter.acquire(None, None).is_ok());
    }

    #[test]
    fn each_user_has_its_own_limit() {
        let (limiter, ann, bob) = (limiter(9, 1, 9), UserId::from("ann"), UserId::from("bob"));
        let anns = limiter.acquire(Some(&ann), None).unwrap();
        assert_eq!(limiter.acquire(Some(&ann), None).unwrap_err(), LimitReached::PerUser);
        let _bobs = limiter.acquire(Some(&bob), None).unwrap();
        let _anonymous = [limiter.acquire(None, None).unwrap(), limiter.acquire(None, None).unwrap()];
        drop(anns);
        assert!(limiter.acquire(Some(&ann), None).is_ok());
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let limiter = limiter(9, 9, 1);
        let _held: Vec<_> =
            ["10.0.0.1", "10.0.0.2", "2001:db8::1"].map(|text| limiter.acquire(None, address(text)).unwrap()).into();
        for same in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::ffff:ffff:ffff:ffff"] {
            assert_eq!(limiter.check(None, address(same)), Err(LimitReached::PerAddress), "{same}");
        }
        for other in ["10.0.0.3", "2001:db8:0:1::1"] {
            assert_eq!(limiter.check(None, address(other)), Ok(()), "{other}");
        }
    }

    #[test]
    fn refused_connection_counts_against_no_limit() {
        let (limiter, ann, bob) = (limiter(9, 9, 1), UserId::from("ann"), UserId::from("bob"));
        let permit = limiter.acquire(Some(&ann), address("10.0.0.1")).unwrap();
        assert!(limiter.acquire(Some(&bob), address("10.0.0.1")).is_err());
        drop(permit);
        let counts = limiter.shared.counts();
        assert_eq!((counts.total, counts.users.len(), counts.addresses.len()), (0, 0, 0));
    }
}
