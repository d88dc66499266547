//! What every store must do, as functions to call: one per promise, named by it.
//!
//! Role: the contract of [`Store`](super::Store) in a form that fails.
//! Life: test time only (feature `testkit`); each promise wants a store that nobody used before.
//! Neighbours: sees a store as [`DynStore`]; the rooms are its own.
//! Never: it does not sleep, read the clock, or look behind the eight verbs.
//!
//! [`store_conformance!`](crate::store_conformance) makes a test of each promise. Whoever writes a store puts
//! it into a test module of theirs:
//!
//! ```
//! #[cfg(test)]
//! mod tests {
//!     use hubcast::store::memory::MemoryStore;
//!
//!     hubcast::store_conformance!(MemoryStore::default());
//! }
//! ```

use std::time::{Duration, SystemTime};

use super::{DynStore, Error, Owner};

pub mod groups;
pub mod leases;
pub mod tokens;

/// Makes a test of every promise, each on a store of its own that the expression makes; it may await.
///
/// The tests run on tokio, which the calling crate must have with its `macros` and `rt`.
#[macro_export]
macro_rules! store_conformance {
    ($store:expr) => {
        $crate::store_conformance! { @promises groups $store =>
            nobody_asked_for_is_nobody_answered
            an_unknown_user_has_no_groups
            answers_come_in_the_order_of_the_owners
            a_storm_of_owners_is_answered_whole
            adding_twice_makes_one_member
            removing_twice_removes_once
            removing_what_never_was_changes_nothing
            a_member_who_left_may_return
            names_differ_by_case
            odd_names_come_back_as_they_went
            the_same_name_on_another_hub_is_another_group
            concurrent_adds_make_a_member_once
            first_adds_of_a_new_user_do_not_collide
            members_are_sorted_by_name
            pages_cover_every_member_once
            a_page_may_be_of_any_length
        }
        $crate::store_conformance! { @promises leases $store =>
            an_opened_lease_is_held_until_closed
            opening_or_closing_twice_changes_nothing
            changes_are_written_in_order
            a_storm_of_changes_is_written_whole
            a_lease_needs_no_known_user
            renewing_keeps_what_is_alive
            a_successor_removes_what_its_predecessor_left
            a_node_whose_lease_ran_out_loses_its_connections
            a_node_that_never_renewed_counts_as_dead
            who_opened_last_holds_the_lease
            a_term_may_outlast_the_clock
        }
        $crate::store_conformance! { @promises tokens $store =>
            a_token_without_limits_is_always_accepted
            an_epoch_is_spent_once
            concurrent_redeemers_spend_an_epoch_once
            spent_epochs_are_forgotten_after_they_expire
            a_revocation_is_precise_to_the_millisecond
            a_revocation_never_moves_back
            revoking_twice_changes_nothing
            a_user_never_seen_can_be_revoked
            a_revoked_token_is_not_spent
            a_revoked_user_keeps_its_groups
        }
    };
    (@promises $room:ident $store:expr => $($promise:ident)*) => {
        $(
            #[::tokio::test]
            async fn $promise() -> ::std::result::Result<(), $crate::store::Error> {
                $crate::store::conformance::$room::$promise(&$store).await
            }
        )*
    };
}

/// Some instant of the suite's own clock, so many milliseconds after it was wound up.
fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(millis)
}

/// A user of the hub that most promises play on.
fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

/// The owner's groups in order of their names, since a store answers them in any.
async fn groups_of(store: &dyn DynStore, owner: &Owner) -> Result<Vec<String>, Error> {
    let mut answers = store.groups_of(std::slice::from_ref(owner)).await?;
    assert_eq!(answers.len(), 1, "one answer for one owner");
    let mut groups: Vec<_> = answers.remove(0).iter().map(ToString::to_string).collect();
    groups.sort_unstable();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    /// A promise that the macro does not list would never be tested.
    #[test]
    fn every_promise_is_listed() {
        let list = include_str!("conformance.rs");
        let rooms = [
            include_str!("conformance/groups.rs"),
            include_str!("conformance/leases.rs"),
            include_str!("conformance/tokens.rs"),
        ];
        let promises = rooms.iter().flat_map(|room| room.split("pub async fn ").skip(1));
        for promise in promises.filter_map(|text| text.split('(').next()) {
            assert!(list.lines().any(|line| line.trim() == promise), "{promise} is not in the list");
        }
    }
}
