//! Requests that wait for the store, in turns: each key, such as a user, has one request in each round.
//!
//! It is pure: the actor passes the time. One key with many requests delays its own, and not those of other keys.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use tokio::time::Instant;

use super::deadline::WithDeadline;

/// See the module's documentation. Requests of one key keep their order.
pub(super) struct Turns<K, T> {
    /// Invariant: no queue is empty, and `turns` contains each key once.
    queues: HashMap<K, VecDeque<WithDeadline<T>>>,
    turns: VecDeque<K>,
    len: usize,
}

impl<K: Clone + Eq + Hash, T> Turns<K, T> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, key: K, request: WithDeadline<T>) {
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(key);
        }
        queue.push_back(request);
        self.len += 1;
    }

    /// Takes requests in turns, until the sum of their sizes reaches `max`.
    pub(super) fn take(&mut self, max: usize, size: impl Fn(&T) -> usize) -> Vec<WithDeadline<T>> {
        let (mut taken, mut total) = (Vec::new(), 0);
        while total < max
            && let Some(request) = self.take_one()
        {
            total += size(&request.value);
            taken.push(request);
        }
        taken
    }

    fn take_one(&mut self) -> Option<WithDeadline<T>> {
        let key = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let request = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.len -= usize::from(request.is_some());
        request
    }

    /// Takes the requests whose deadline is not after `now`. Takes time for each key.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired = Vec::new();
        self.queues.retain(|_, queue| {
            while queue.front().is_some_and(|request| request.deadline <= now) {
                expired.extend(queue.pop_front().map(|request| request.value));
            }
            !queue.is_empty()
        });
        self.turns.retain(|key| self.queues.contains_key(key));
        self.len -= expired.len();
        expired
    }

    /// The earliest deadline. Takes time for each key.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.queues.values().filter_map(VecDeque::front).map(|request| request.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Pushes requests of the named keys. The value is the key and its number, and the deadline follows the order.
    fn turns(start: Instant, keys: &str) -> Turns<char, (char, usize)> {
        let mut turns = Turns::new();
        for (number, key) in keys.chars().enumerate() {
            let deadline = start + Duration::from_secs(number as u64);
            turns.push(key, WithDeadline { deadline, value: (key, number) });
        }
        turns
    }

    fn values<T>(requests: Vec<WithDeadline<T>>) -> Vec<T> {
        requests.into_iter().map(|request| request.value).collect()
    }

    #[test]
    fn each_key_has_one_request_per_round() {
        let mut turns = turns(Instant::now(), "aaaabbc");
        assert_eq!(values(turns.take(5, |_| 1)), [('a', 0), ('b', 4), ('c', 6), ('a', 1), ('b', 5)]);
        assert_eq!((values(turns.take(5, |_| 1)), turns.len()), (vec![('a', 2), ('a', 3)], 0));
        assert!(turns.is_empty() && turns.next_deadline().is_none());
    }

    #[test]
    fn new_key_waits_for_one_round_only() {
        let mut turns = turns(Instant::now(), "aaab");
        assert_eq!(values(turns.take(1, |_| 1)), [('a', 0)]);
        turns.push('c', WithDeadline { deadline: Instant::now(), value: ('c', 9) });
        assert_eq!(values(turns.take(3, |_| 1)), [('b', 3), ('a', 1), ('c', 9)]);
    }

    #[test]
    fn large_request_fills_a_batch_by_itself() {
        let mut turns = turns(Instant::now(), "abcd");
        let size = |(key, _): &(char, usize)| if *key == 'b' { 100 } else { 1 };
        assert_eq!(values(turns.take(5, size)), [('a', 0), ('b', 1)]);
        assert_eq!((values(turns.take(5, size)), turns.len()), (vec![('c', 2), ('d', 3)], 0));
    }

    #[test]
    fn expired_requests_are_taken_at_their_deadline() {
        let start = Instant::now();
        let mut turns = turns(start, "abab");
        let mut expired = turns.take_expired(start + Duration::from_secs(2));
        expired.sort_unstable();
        assert_eq!(expired, [('a', 0), ('a', 2), ('b', 1)]);
        assert_eq!(turns.next_deadline(), Some(start + Duration::from_secs(3)));
        assert_eq!((values(turns.take(9, |_| 1)), turns.len()), (vec![('b', 3)], 0));
    }
}
