//! Conformance tests for implementations of the stores: one function per requirement.
//!
//! The suite is compiled for tests only (feature `testkit`). Each test case needs a new, empty store, which it calls
//! through its object-safe trait. The test cases do not sleep, read the clock, or use anything beyond the methods of
//! the trait.
//!
//! [`store_conformance!`](crate::store_conformance) generates a test for each test case. The author of a store calls it
//! in a test module, or the macro of one part, such as
//! [`membership_store_conformance!`](crate::membership_store_conformance). Two further macros run test cases under
//! faults: [`membership_fault_conformance!`](crate::membership_fault_conformance) those of [`membership_faults`], and
//! for a store of all parts in a database [`store_commit_conformance!`](crate::store_commit_conformance) those of
//! [`commits`].
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

use super::{DynLeaseStore, DynMembershipStore, Error, Node, Owner, Process, Renewal};

pub mod closing;
pub mod commits;
pub mod group_lists;
pub mod group_revocations;
pub mod leases;
pub mod membership_faults;
pub mod memberships;
pub mod together;
pub mod tokens;

/// Generates the tests of [`membership_store_conformance!`](crate::membership_store_conformance),
/// [`lease_store_conformance!`](crate::lease_store_conformance) and
/// [`token_store_conformance!`](crate::token_store_conformance) for one store, and those of [`together`].
#[macro_export]
macro_rules! store_conformance {
    ($store:expr) => {
        $crate::membership_store_conformance!($store);
        $crate::lease_store_conformance!($store);
        $crate::token_store_conformance!($store);
        $crate::store_conformance! { @cases together $store =>
            lease_needs_no_known_user
            revocation_outlasts_memberships
            revoked_user_keeps_its_groups
        }
    };
    (@cases $module:ident $store:expr => $($case:ident)*) => {
        $(
            #[::tokio::test]
            async fn $case() -> ::std::result::Result<(), $crate::store::Error> {
                $crate::store::conformance::$module::$case(&$store).await
            }
        )*
    };
}

/// Generates a test for every test case of a [membership store](crate::store::MembershipStore). The expression creates
/// the store of one test and may await.
///
/// The tests run on tokio, so the calling crate needs tokio with the features `macros` and `rt`.
#[macro_export]
macro_rules! membership_store_conformance {
    ($store:expr) => {
        $crate::store_conformance! { @cases memberships $store =>
            empty_batch_returns_empty_list
            unknown_user_has_no_groups
            answers_follow_the_order_of_owners
            large_batch_of_owners_is_answered
            adding_twice_stores_one_member
            second_removal_changes_nothing
            removing_a_non_member_changes_nothing
            removed_member_can_be_added_again
            changes_of_a_batch_apply_in_order
            large_batch_of_changes_is_applied
            names_are_case_sensitive
            unusual_names_are_returned_unchanged
            groups_of_different_hubs_are_separate
            concurrent_adds_apply_once
            concurrent_first_adds_do_not_conflict
            concurrent_changes_lose_no_membership
            members_are_sorted_by_name
            pages_cover_every_member_once
            page_limit_can_be_any_number
        }
    };
}

/// Generates a test for every test case of a [lease store](crate::store::LeaseStore). The expression creates the store
/// of one test and may await.
///
/// The tests run on tokio, so the calling crate needs tokio with the features `macros` and `rt`.
#[macro_export]
macro_rules! lease_store_conformance {
    ($store:expr) => {
        $crate::store_conformance! { @cases leases $store =>
            lease_is_held_until_closed
            repeated_lease_changes_have_no_effect
            lease_changes_apply_in_order
            large_batch_of_lease_changes_is_applied
            renewal_keeps_leases_of_live_nodes
            new_incarnation_closes_leases_of_previous_one
            expired_node_loses_its_connections
            name_of_a_node_is_held_by_one_process
            expired_name_goes_to_the_next_process
            released_name_is_free_at_once
            only_the_holder_releases_a_name
            refused_renewal_changes_nothing
            concurrent_processes_get_a_name_once
            node_that_never_renewed_is_expired
            last_opener_holds_the_lease
            term_beyond_the_clock_never_expires
            nodes_are_counted
        }
        $crate::store_conformance! { @cases closing $store =>
            closed_lease_records_when_and_why
            late_end_closes_no_newer_lease
            late_connect_takes_no_newer_lease_over
            closed_lease_can_be_opened_again
            expired_node_closes_its_leases_with_a_reason
            restarted_node_closes_its_leases_with_a_reason
            renewal_names_the_users_of_dead_nodes
            closed_leases_are_deleted_by_age
            closed_leases_are_deleted_by_number
            user_is_active_on_its_live_nodes
            activity_follows_the_order_of_users
            last_seen_is_that_of_the_latest_connection
            last_seen_outlives_closed_leases
        }
    };
}

/// Generates a test for every test case of a [token store](crate::store::TokenStore). The expression creates the store
/// of one test and may await.
///
/// The tests run on tokio, so the calling crate needs tokio with the features `macros` and `rt`.
#[macro_export]
macro_rules! token_store_conformance {
    ($store:expr) => {
        $crate::store_conformance! { @cases tokens $store =>
            unrestricted_token_is_always_accepted
            epoch_can_be_used_once
            earlier_epoch_is_never_accepted_again
            token_is_taken_over_from_ended_holder
            released_holder_no_longer_holds_its_token
            concurrent_redemptions_of_an_epoch_accept_one
            concurrent_takeovers_accept_one
            token_uses_are_deleted_after_expiry
            node_with_fast_clock_deletes_no_valid_use
            revocations_are_deleted_after_their_tokens
            revocation_is_precise_to_the_millisecond
            revocation_time_never_moves_back
            repeated_revocation_changes_nothing
            unknown_user_can_be_revoked
            revoked_token_is_not_used_up
            empty_batch_of_tokens_has_no_answers
            tokens_of_a_batch_apply_in_order
            large_batch_of_tokens_is_answered
            concurrent_batches_accept_each_token_once
        }
        $crate::store_conformance! { @cases group_revocations $store =>
            revoked_group_is_named_to_the_millisecond
            other_groups_are_not_revoked
            group_revocation_never_moves_back
            tokens_of_a_batch_have_their_own_groups
            refused_token_has_no_revoked_groups
            many_revoked_groups_are_found
            group_revocations_are_deleted_after_their_tokens
        }
        $crate::store_conformance! { @cases group_lists $store =>
            stored_list_is_returned_unchanged
            later_list_replaces_the_stored_one
            older_list_changes_nothing
            long_list_is_stored
            tokens_of_a_batch_get_their_lists
            revoked_groups_of_a_list_are_named
            refused_token_gets_no_list
            lists_are_deleted_after_expiry
            number_of_lists_is_limited
        }
    };
}

/// A time of the fixed clock of the suite, `millis` milliseconds after its start.
fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(millis)
}

/// A user of the hub that most test cases use.
fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

/// A process with an id.
fn process(id: &str) -> Process {
    Process { id: id.into(), host: "web-1".into(), pid: 4711, since: at(0) }
}

/// Renews a node that no other process holds, and returns the number of leases that it closes.
async fn renew(store: &dyn DynLeaseStore, node: &Node, now: SystemTime, term: Duration) -> Result<u64, Error> {
    match store.renew(node, now, term).await? {
        Renewal::Renewed { closed, .. } => Ok(closed),
        Renewal::Held(lease) => panic!("{} is held by {lease:?}", node.id),
    }
}

/// The groups of `owner`, sorted by name, because a store may return them in any order.
async fn groups_of(store: &dyn DynMembershipStore, owner: &Owner) -> Result<Vec<String>, Error> {
    let mut answers = store.groups_of(std::slice::from_ref(owner)).await?;
    assert_eq!(answers.len(), 1, "one answer for one owner");
    let mut groups: Vec<_> = answers.remove(0).iter().map(ToString::to_string).collect();
    groups.sort_unstable();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    /// A test case that the macro does not list would never run.
    #[test]
    fn every_test_case_is_listed() {
        let commits = include_str!("conformance/commits.rs");
        let membership_faults = include_str!("conformance/membership_faults.rs");
        let list = [include_str!("conformance.rs"), commits, membership_faults].concat();
        let modules = [
            commits,
            membership_faults,
            include_str!("conformance/closing.rs"),
            include_str!("conformance/group_lists.rs"),
            include_str!("conformance/group_revocations.rs"),
            include_str!("conformance/leases.rs"),
            include_str!("conformance/memberships.rs"),
            include_str!("conformance/together.rs"),
            include_str!("conformance/tokens.rs"),
        ];
        let cases = modules.iter().flat_map(|module| module.split("pub async fn ").skip(1));
        for case in cases.filter_map(|text| text.split('(').next()) {
            assert!(list.lines().any(|line| line.trim() == case), "{case} is not in the list");
        }
    }
}
