//! The users whose presence this process follows: who is connected, who waits to be announced as online, and who has had
//! no connection for how long. Besides the users of this process, these are lost users: those of processes that have died.
//!
//! It is pure: the tracker passes the time. It is the queue of the tracker, too: each user is in it once, however often it
//! connects. It holds the connected users and at most [`MAX_AWAY`] others.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{ids::UserId, store::LastSeen};

/// The maximum number of users without a connection, about 20 MB. A user beyond it is forgotten without going offline.
const MAX_AWAY: usize = 100_000;

#[derive(Debug, Default)]
struct User {
    connections: usize,
    /// It waits to be announced.
    is_arriving: bool,
    /// Another process that has died announced it.
    is_lost: bool,
    /// Since when it has no connection, and when it counts as offline.
    away: Option<Away>,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    due: Instant,
    since: SystemTime,
}

/// A user whose last connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) user: UserId,
    pub(super) last_seen: SystemTime,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Table {
    window: Duration,
    users: HashMap<UserId, User>,
    /// Invariant: it has each user with `is_arriving` once.
    arriving: VecDeque<UserId>,
    /// Invariant: it has each user with `away`, by its due time.
    away: BTreeSet<(Instant, UserId)>,
}

impl Table {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, users: HashMap::new(), arriving: VecDeque::new(), away: BTreeSet::new() }
    }

    /// A connection of `user` has begun. Returns true if the user has to be announced. A lost user has to be, because only
    /// the other process has announced it.
    pub(super) fn connect(&mut self, user: &UserId) -> bool {
        if self.users.get(user).is_some_and(|known| known.is_lost) {
            self.forget(user);
        }
        match self.users.entry(user.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.connections += 1;
                if let Some(away) = known.away.take() {
                    self.away.remove(&(away.due, user.clone()));
                }
                false
            }
            Entry::Vacant(new) => {
                new.insert(User { connections: 1, is_arriving: true, ..User::default() });
                self.arriving.push_back(user.clone());
                true
            }
        }
    }

    /// A connection of `user` has ended. Returns false if the user was forgotten, because too many are away.
    pub(super) fn disconnect(&mut self, user: &UserId, now: Instant, at: SystemTime) -> bool {
        let Some(known) = self.users.get_mut(user) else { return true };
        known.connections = known.connections.saturating_sub(1);
        if known.connections > 0 {
            return true;
        }
        self.await_return(user, Away { due: now + self.window, since: at })
    }

    /// A process with connections of a user has died. The user was last seen `age` ago. Returns false if it was forgotten,
    /// because too many are away.
    pub(super) fn record_lost(&mut self, LastSeen { user, at }: LastSeen, now: Instant, age: Duration) -> bool {
        match self.users.entry(user.clone()) {
            Entry::Occupied(mut known) => {
                // It has other connections, or has ended a later one.
                let Some(away) = known.get_mut().away.take_if(|away| away.since < at) else { return true };
                self.away.remove(&(away.due, user.clone()));
            }
            Entry::Vacant(new) => drop(new.insert(User { is_lost: true, ..User::default() })),
        }
        self.await_return(&user, Away { due: now + self.window.saturating_sub(age), since: at })
    }

    /// A user was seen without being admitted. If it is away, it was last seen now, and departs at the same time as
    /// before.
    pub(super) fn see(&mut self, user: &UserId, at: SystemTime) {
        if let Some(away) = self.users.get_mut(user).and_then(|known| known.away.as_mut()) {
            away.since = away.since.max(at);
        }
    }

    fn await_return(&mut self, user: &UserId, away: Away) -> bool {
        if self.away.len() >= MAX_AWAY {
            self.forget(user);
            return false;
        }
        let Some(known) = self.users.get_mut(user) else { return false };
        known.away = Some(away);
        self.away.insert((away.due, user.clone()));
        true
    }

    /// Takes up to `max` users that have to be announced.
    pub(super) fn take_arrivals(&mut self, max: usize) -> Vec<UserId> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(user) = self.arriving.pop_front()
        {
            if let Some(known) = self.users.get_mut(&user) {
                known.is_arriving = false;
                taken.push(user);
            }
        }
        taken
    }

    /// Announces users again that could not be announced.
    pub(super) fn put_back_arrivals(&mut self, users: Vec<UserId>) {
        for user in users.into_iter().rev() {
            if let Some(known) = self.users.get_mut(&user) {
                known.is_arriving = true;
                self.arriving.push_front(user);
            }
        }
    }

    /// Up to `max` users that have been away for the window and were announced before. They stay in the table.
    pub(super) fn departures(&self, now: Instant, max: usize) -> Vec<Departure> {
        let due = self.away.iter().take_while(|(due, _)| *due <= now);
        let departure = |(_, user): &(Instant, UserId)| {
            let known = self.users.get(user).filter(|known| !known.is_arriving)?;
            Some(Departure { user: user.clone(), last_seen: known.away?.since })
        };
        due.filter_map(departure).take(max).collect()
    }

    /// Removes a user that is still away since `departure`. Returns false if it has returned.
    pub(super) fn depart(&mut self, departure: &Departure) -> bool {
        let away = self.users.get(&departure.user).and_then(|known| known.away);
        let is_away = away.is_some_and(|away| away.since == departure.last_seen);
        if is_away {
            self.forget(&departure.user);
        }
        is_away
    }

    fn forget(&mut self, user: &UserId) {
        let Some(known) = self.users.remove(user) else { return };
        if let Some(away) = known.away {
            self.away.remove(&(away.due, user.clone()));
        }
        if known.is_arriving {
            self.arriving.retain(|arriving| arriving != user);
        }
    }

    /// The number of users that have to be announced.
    pub(super) fn arriving(&self) -> usize {
        self.arriving.len()
    }

    /// When the table has something to do next.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.arriving.is_empty() { self.away.first().map(|(due, _)| *due) } else { Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(45);

    fn ann() -> UserId {
        "ann".into()
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn departure(second: u64) -> Departure {
        Departure { user: ann(), last_seen: at(second) }
    }

    #[test]
    fn user_arrives_with_its_first_connection_only() {
        let mut table = Table::new(WINDOW);
        assert!(table.connect(&ann()) && !table.connect(&ann()));
        assert_eq!(table.take_arrivals(9), [ann()]);
        assert!(!table.connect(&ann()) && table.take_arrivals(9).is_empty());
    }

    #[test]
    fn user_departs_after_the_window() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        table.connect(&ann());
        table.connect(&ann());
        table.take_arrivals(9);
        table.disconnect(&ann(), start, at(1));
        assert_eq!(table.next_due(start), None, "it has another connection");
        table.disconnect(&ann(), start, at(2));
        assert_eq!(table.next_due(start), Some(start + WINDOW));
        assert!(table.departures(start + WINDOW - Duration::from_millis(1), 9).is_empty());
        assert_eq!(table.departures(start + WINDOW, 9), [departure(2)]);
        assert!(table.depart(&departure(2)) && !table.depart(&departure(2)));
        assert!(table.users.is_empty() && table.away.is_empty());
        assert!(table.connect(&ann()), "it arrives again");
    }

    #[test]
    fn user_that_returns_does_not_depart() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        table.connect(&ann());
        table.take_arrivals(9);
        table.disconnect(&ann(), start, at(1));
        assert_eq!(table.departures(start + WINDOW, 9), [departure(1)]);
        assert!(!table.connect(&ann()));
        assert!(!table.depart(&departure(1)), "it has returned meanwhile");
        table.disconnect(&ann(), start + WINDOW, at(50));
        assert!(!table.depart(&departure(1)), "it has left again");
        assert_eq!(table.departures(start + WINDOW, 9), []);
    }

    #[test]
    fn refused_return_delays_no_departure() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        table.connect(&ann());
        table.take_arrivals(9);
        table.disconnect(&ann(), start, at(1));
        table.see(&ann(), at(9));
        assert_eq!(table.departures(start + WINDOW, 9), [departure(9)]);
        assert!(!table.depart(&departure(1)) && table.depart(&departure(9)));
        table.see(&ann(), at(10));
        assert!(table.users.is_empty(), "a user that is not followed stays unknown");
    }

    #[test]
    fn lost_user_departs_after_the_window() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        let lost = |user: &str| LastSeen { user: user.into(), at: at(1) };
        assert!(
            table.record_lost(lost("ann"), start, Duration::from_secs(30))
                && table.record_lost(lost("ann"), start, WINDOW)
        );
        assert_eq!(table.next_due(start), Some(start + Duration::from_secs(15)));
        assert_eq!(table.departures(start + Duration::from_secs(15), 9), [departure(1)]);
        assert!(table.record_lost(lost("bob"), start, Duration::from_secs(60)));
        assert_eq!(table.next_due(start), Some(start), "it was last seen before the window");
    }

    #[test]
    fn user_that_was_lost_later_departs_later() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        table.connect(&ann());
        table.take_arrivals(9);
        table.disconnect(&ann(), start, at(20));
        let lost = |second: u64| LastSeen { user: ann(), at: at(second) };
        table.record_lost(lost(10), start, Duration::ZERO);
        assert_eq!(table.departures(start + WINDOW, 9), [departure(20)], "its connection here ended later");
        table.record_lost(lost(30), start + Duration::from_secs(15), Duration::from_secs(5));
        assert_eq!(table.next_due(start), Some(start + Duration::from_secs(10) + WINDOW));
        assert_eq!(table.departures(start + WINDOW * 2, 9), [departure(30)]);
    }

    #[test]
    fn lost_user_that_returns_arrives() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        let lost = LastSeen { user: ann(), at: at(1) };
        table.record_lost(lost.clone(), start, Duration::ZERO);
        assert!(table.connect(&ann()), "this process has not announced it");
        assert_eq!((table.take_arrivals(9), table.next_due(start)), (vec![ann()], None));
        assert!(table.record_lost(lost, start, Duration::ZERO));
        assert_eq!(table.next_due(start), None, "it is connected");
        assert!(!table.connect(&ann()));
    }

    #[test]
    fn short_visit_arrives_before_it_departs() {
        let (mut table, start) = (Table::new(Duration::ZERO), Instant::now());
        table.connect(&ann());
        table.disconnect(&ann(), start, at(1));
        assert!(table.departures(start, 9).is_empty());
        assert_eq!(table.take_arrivals(9), [ann()]);
        table.put_back_arrivals(vec![ann()]);
        assert!(table.departures(start, 9).is_empty());
        assert_eq!((table.take_arrivals(9), table.departures(start, 9)), (vec![ann()], vec![departure(1)]));
    }

    #[test]
    fn users_beyond_the_limit_are_forgotten() {
        let (mut table, start) = (Table::new(WINDOW), Instant::now());
        let users: Vec<UserId> = (0..=MAX_AWAY).map(|number| number.to_string().into()).collect();
        assert!(users.iter().all(|user| table.connect(user)));
        table.take_arrivals(usize::MAX);
        let kept = users.iter().filter(|user| table.disconnect(user, start, at(1))).count();
        assert_eq!((kept, table.users.len(), table.away.len()), (MAX_AWAY, MAX_AWAY, MAX_AWAY));
    }
}
