//! The rejoin tokens of a connection: made when they are written, so that many changes between two frames cost one
//! token.

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use foldhash::quality::FixedState;
use tokio::time::Instant;

use super::{
    Dialect, Effect, Effects, RejoinService,
    memberships::{SharedGroups, lock_groups},
    state::in_background,
    stored_lists::StoredLists,
};
use crate::{
    client_log::Cause,
    connections::ConnectionHandle,
    metrics::Metrics,
    outbox::DeferredField,
    pipeline::{Claims, GroupLists, ListsSummary, TokenGroups, TokenSubject},
    store::GroupList,
    tokens::{Purpose, SharedKeyRing},
};

/// Where a rejoin token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenPlace {
    /// In a field of a frame. A client without a token counts as one whose token lists no groups.
    Field,
    /// In a message of its own. A client without a token gets one.
    Message,
}

/// Encodes a token for its place.
pub(crate) type TokenEncoder = Arc<dyn Fn(&str) -> Box<[u8]> + Send + Sync>;

/// Makes the tokens of a connection. The connection and its outbox share it.
pub(super) struct TokenIssuer {
    ring: SharedKeyRing,
    lists: StoredLists,
    lifetime: Duration,
    groups: SharedGroups,
    /// Weak, because the outbox of the connection refers to the issuer.
    connection: Weak<ConnectionHandle>,
    metrics: Arc<Metrics>,
    state: Mutex<IssuerState>,
}

struct IssuerState {
    /// Encodes a token in the protocol of the client.
    encode: TokenEncoder,
    subject: TokenSubject,
    /// The token that the client has.
    known: Option<KnownToken>,
    /// The client keeps the token that it has presented, because the store did not check it. It gets no new one.
    keeps_unchecked: bool,
    /// The last token could not list all groups.
    lacks_groups: bool,
    /// The store may have a list of the family.
    may_have_list: bool,
    /// When the saved list was made, the tokens listed all groups.
    saved_complete: bool,
    /// When the groups changed last, or a token was made.
    changed_at: SystemTime,
}

/// The last token that was written for the client, or that it has presented.
#[derive(Clone, Copy)]
struct KnownToken {
    /// `None` if the client has presented none.
    hash: Option<u64>,
    content: ListsSummary,
}

impl KnownToken {
    fn initial(place: TokenPlace) -> Option<Self> {
        let content = GroupLists::default().summary();
        (place == TokenPlace::Field).then_some(Self { hash: None, content })
    }
}

fn hash_of(token: &str) -> u64 {
    FixedState::default().hash_one(token)
}

impl TokenIssuer {
    pub(super) fn new<D: Dialect>(
        service: &RejoinService,
        connection: &Arc<ConnectionHandle>,
        subject: TokenSubject,
        groups: &SharedGroups,
    ) -> Arc<Self> {
        Arc::new(Self {
            ring: service.ring.clone(),
            lists: service.lists.clone(),
            lifetime: service.settings.lifetime,
            groups: Arc::clone(groups),
            connection: Arc::downgrade(connection),
            metrics: Arc::clone(&service.services.metrics),
            state: Mutex::new(IssuerState {
                encode: Arc::new(D::encode_token),
                subject,
                known: KnownToken::initial(D::TOKEN_PLACE),
                keeps_unchecked: false,
                lacks_groups: false,
                may_have_list: false,
                saved_complete: false,
                changed_at: SystemTime::now(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, IssuerState> {
        // After a panic under the lock, the client gets one token too many or too few.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_encoder(&self, encode: TokenEncoder) {
        self.lock().encode = encode;
    }

    /// The connection continues the family of a token that it has presented.
    pub(super) fn continue_family(&self, claims: Claims) {
        self.record_accepted(&claims);
        let mut state = self.lock();
        (state.subject.family, state.subject.epoch) = (claims.family, claims.epoch + 1);
    }

    pub(super) fn has_family(&self, family: &str) -> bool {
        self.lock().subject.family == family
    }

    /// Records that a token was accepted. If it could not list all groups, the store may have the list.
    pub(super) fn record_accepted(&self, claims: &Claims) {
        let mut state = self.lock();
        let lacks_groups = claims.omitted() > 0;
        state.lacks_groups |= lacks_groups;
        state.may_have_list |= lacks_groups;
    }

    /// Whether the client keeps the token that it has presented, which could be neither accepted nor refused. A new token
    /// would lack its groups.
    pub(super) fn keep_unchecked(&self, keeps_unchecked: bool) {
        self.lock().keeps_unchecked = keeps_unchecked;
    }

    /// Whether the client keeps a token that could not be checked.
    pub(super) fn keeps_unchecked(&self) -> bool {
        self.lock().keeps_unchecked
    }

    /// The groups of the client have changed. If its tokens cannot list all of them, the list in the store changes too, but not
    /// after the client has gone: the list may be that of its next connection.
    pub(super) fn save_changed_list(self: &Arc<Self>) {
        if !self.has_lost_client() {
            self.save_list();
        }
    }

    fn save_list(self: &Arc<Self>) {
        let mut state = self.lock();
        state.changed_at = SystemTime::now();
        let concerns_list = state.lacks_groups || state.may_have_list;
        drop(state);
        if concerns_list {
            self.lists.request_save(self);
        }
    }

    /// The list to store now, and whether the tokens list all groups. The list has no groups if the client has such a token:
    /// one was written before the last save, and the client is still there. A lost client may have an earlier token only.
    pub(super) fn stored_list(&self, now: SystemTime) -> (GroupList, bool) {
        let state = self.lock();
        let is_needed = state.lacks_groups || !state.saved_complete || self.has_lost_client();
        let (groups, omitted) = if is_needed { lock_groups(&self.groups).stored_list() } else { Default::default() };
        let (family, expires_at) = (state.subject.family.clone(), now + self.lifetime);
        let list = GroupList { family, groups, omitted: omitted as u64, written_at: state.changed_at, expires_at };
        (list, !state.lacks_groups)
    }

    fn has_lost_client(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| connection.has_gone())
    }

    /// Records that the list was stored, or deleted. `is_complete`: when it was made, the tokens listed all groups.
    pub(super) fn record_saved(&self, has_groups: bool, is_complete: bool) {
        let mut state = self.lock();
        (state.may_have_list, state.saved_complete) = (has_groups, is_complete);
    }

    /// Whether the next save deletes the list, unless the tokens lack groups again by then.
    pub(super) fn will_delete_list(&self) -> bool {
        let state = self.lock();
        state.may_have_list && state.saved_complete && !self.has_lost_client()
    }

    /// The client returns with a token that lacks groups: it may not have received a later one that lists all of them.
    pub(super) fn keep_list(&self) {
        self.lock().saved_complete = false;
    }

    /// Records the token that the client has presented, and the groups that it lists.
    pub(super) fn record_presented(&self, token: Option<&str>, groups: &TokenGroups) {
        self.lock().known = Some(KnownToken { hash: token.map(hash_of), content: GroupLists::from(groups).summary() });
    }

    /// Whether the token that the client has lists the groups that it is in.
    pub(super) fn are_groups_known(&self) -> bool {
        let known = self.lock().known;
        let current = lock_groups(&self.groups).summary();
        known.is_some_and(|known| known.content.describes(&current))
    }

    /// Whether `presented` is the last token that was written, so that the client has received it.
    pub(super) fn is_current(&self, presented: Option<&str>) -> bool {
        let known = self.lock().known.and_then(|known| known.hash);
        known.is_none_or(|known| presented.map(hash_of) == Some(known))
    }

    /// The field of a frame that brings the client a new token.
    pub(super) fn field(self: &Arc<Self>) -> DeferredField {
        let issuer = Arc::clone(self);
        DeferredField::new(move || {
            let encode = Arc::clone(&issuer.lock().encode);
            let token = issuer.issue();
            // Order: also if the connection has ended, because the client may read its last frames.
            issuer.save_list();
            encode(&token)
        })
    }

    fn issue(&self) -> String {
        let mut state = self.lock();
        let groups = lock_groups(&self.groups);
        let mut claims = Claims::new(&state.subject, &groups, SystemTime::now(), self.lifetime);
        let content = groups.summary();
        drop(groups);
        let token = self.ring.current().seal(Purpose::Rejoin, &claims.encode());
        state.known = Some(KnownToken { hash: Some(hash_of(&token)), content });
        self.record_omitted(claims.omitted(), &mut state);
        token
    }

    /// Counts a token that lacks groups, and logs the first of them.
    fn record_omitted(&self, omitted: usize, state: &mut IssuerState) {
        let was_complete = !std::mem::replace(&mut state.lacks_groups, omitted > 0);
        if omitted > 0 {
            self.metrics.rejoins_without_list.increment();
        }
        if omitted > 0 && was_complete {
            let connection = Weak::clone(&self.connection);
            // The outbox is locked now, and writing to the log takes time.
            in_background(async move {
                if let Some(connection) = connection.upgrade() {
                    connection.log(Cause::RejoinTokenFull, &[("omitted", &omitted)]);
                }
            });
        }
    }
}

/// Decides when a client gets a new token: when its groups differ from those of the token that it has, and after half
/// of the lifetime of a token, so that the client always holds a valid one.
#[derive(Debug)]
pub(crate) struct TokenSchedule {
    lifetime: Duration,
    /// The next token is sent even if the client has one with the same groups.
    renewal_requested: bool,
    renewal_due: Option<Instant>,
}

impl TokenSchedule {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, renewal_requested: false, renewal_due: None }
    }

    /// The time when a new token is due.
    pub(crate) fn renewal_due(&self) -> Option<Instant> {
        self.renewal_due
    }

    /// Requests a new token, if one is due.
    pub(crate) fn renew_if_due<D: Dialect>(&mut self, now: Instant) -> Effects<D> {
        if self.renewal_due.is_none_or(|due| now < due) {
            return Effects::none();
        }
        (self.renewal_due, self.renewal_requested) = (None, true);
        Effect::RefreshGroupsToken.into()
    }

    /// The groups have changed, or a requested token can be made. A change that is reverted before its token is written
    /// needs no token.
    pub(crate) fn on_changed<D: Dialect>(&mut self, are_groups_known: bool, now: Instant) -> Effects<D> {
        self.renewal_due = Some(now + self.lifetime / 2);
        let is_renewal = std::mem::take(&mut self.renewal_requested);
        Effect::SendGroupsToken(is_renewal || !are_groups_known).into()
    }
}
