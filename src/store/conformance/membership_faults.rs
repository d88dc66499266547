//! Test cases for a membership store whose calls fail: a change that has not reached the backend has no effect, one
//! whose answer is lost is stored, and a repetition completes either.
//!
//! A second store on the same data shows what is stored.
//! [`membership_fault_conformance!`](crate::membership_fault_conformance) lists the test cases. Each needs new, empty
//! data.

use super::{groups_of, owner};
use crate::store::{Change, DynMembershipStore, Error, MembershipChange, MembershipOp, StoreFuture};

/// The fault of one change on its way to the backend and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeFault {
    /// The backend does not get the change.
    Lost,
    /// The backend carries the change out, and its answer is lost.
    AnswerLost,
}

/// A membership store whose changes can be made to fail, and a second store on the same data.
pub trait ChangeFaults: Send + Sync {
    /// The store under test.
    fn store(&self) -> &dyn DynMembershipStore;

    /// Another store on the same data that shares no connection with the first.
    fn witness(&self) -> &dyn DynMembershipStore;

    /// Makes the next change of the store under test fail, once: the next COMMIT of a database, or the next request to
    /// a service.
    fn fail_next_change(&self, fault: ChangeFault) -> StoreFuture<'_, ()>;
}

/// Generates a test for every test case of
/// [`membership_faults`](crate::store::conformance::membership_faults). The expression creates a
/// [`ChangeFaults`](crate::store::conformance::membership_faults::ChangeFaults) and may await.
///
/// The tests run on tokio, so the calling crate needs tokio with the features `macros` and `rt`.
#[macro_export]
macro_rules! membership_fault_conformance {
    ($faults:expr) => {
        $crate::store_conformance! { @cases membership_faults $faults =>
            lost_addition_has_no_effect
            lost_removal_has_no_effect
            addition_is_stored_although_its_answer_is_lost
            removal_is_stored_although_its_answer_is_lost
            repeated_batch_is_complete
            changes_after_many_faults_are_stored
        }
    };
}

/// More than the connections of a usual pool, so that each of them meets a fault.
const ROUNDS: usize = 11;

async fn change(faults: &dyn ChangeFaults, op: MembershipOp) -> Result<Change, Error> {
    let (ann, room) = (owner("ann"), "room".into());
    match op {
        MembershipOp::Add => faults.store().add(&ann, &room).await,
        MembershipOp::Remove => faults.store().remove(&ann, &room).await,
    }
}

/// Makes a change that fails.
async fn fail(faults: &dyn ChangeFaults, fault: ChangeFault, op: MembershipOp) -> Result<(), Error> {
    faults.fail_next_change(fault).await?;
    let failed = change(faults, op).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{fault:?}: {failed:?}");
    Ok(())
}

async fn is_stored(faults: &dyn ChangeFaults) -> Result<bool, Error> {
    Ok(!groups_of(faults.witness(), &owner("ann")).await?.is_empty())
}

/// The member is not stored, and can be added afterwards.
pub async fn lost_addition_has_no_effect(faults: &dyn ChangeFaults) -> Result<(), Error> {
    fail(faults, ChangeFault::Lost, MembershipOp::Add).await?;
    assert!(!is_stored(faults).await?);
    assert_eq!(change(faults, MembershipOp::Add).await?, Change::Applied);
    assert!(is_stored(faults).await?);
    Ok(())
}

/// The member stays, and can be removed afterwards.
pub async fn lost_removal_has_no_effect(faults: &dyn ChangeFaults) -> Result<(), Error> {
    change(faults, MembershipOp::Add).await?;
    fail(faults, ChangeFault::Lost, MembershipOp::Remove).await?;
    assert!(is_stored(faults).await?);
    assert_eq!(change(faults, MembershipOp::Remove).await?, Change::Applied);
    assert!(!is_stored(faults).await?);
    Ok(())
}

/// A repetition finds the member.
pub async fn addition_is_stored_although_its_answer_is_lost(faults: &dyn ChangeFaults) -> Result<(), Error> {
    fail(faults, ChangeFault::AnswerLost, MembershipOp::Add).await?;
    assert!(is_stored(faults).await?);
    assert_eq!(change(faults, MembershipOp::Add).await?, Change::Unchanged);
    Ok(())
}

/// A repetition finds no member.
pub async fn removal_is_stored_although_its_answer_is_lost(faults: &dyn ChangeFaults) -> Result<(), Error> {
    change(faults, MembershipOp::Add).await?;
    fail(faults, ChangeFault::AnswerLost, MembershipOp::Remove).await?;
    assert!(!is_stored(faults).await?);
    assert_eq!(change(faults, MembershipOp::Remove).await?, Change::Unchanged);
    Ok(())
}

/// A failed batch has no effect if the store promises that. Repeated, it has its whole effect in any store.
pub async fn repeated_batch_is_complete(faults: &dyn ChangeFaults) -> Result<(), Error> {
    let (store, ann) = (faults.store(), owner("ann"));
    store.add(&ann, &"old".into()).await?;
    let change = |(group, op): (&str, MembershipOp)| MembershipChange { owner: ann.clone(), group: group.into(), op };
    let [added, removed] = [MembershipOp::Add, MembershipOp::Remove];
    let changes = [("one", added), ("old", removed), ("two", added)].map(change);
    for fault in [ChangeFault::Lost, ChangeFault::AnswerLost] {
        faults.fail_next_change(fault).await?;
        assert!(matches!(store.apply(&changes).await, Err(Error::Unavailable(_))), "{fault:?}");
        if fault == ChangeFault::Lost && store.promises().atomic_batches {
            assert_eq!(groups_of(faults.witness(), &ann).await?, ["old"]);
        }
    }
    store.apply(&changes).await?;
    assert_eq!(groups_of(faults.witness(), &ann).await?, ["one", "two"]);
    Ok(())
}

/// No connection is left in a state in which it acknowledges changes that it does not store.
pub async fn changes_after_many_faults_are_stored(faults: &dyn ChangeFaults) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        fail(faults, ChangeFault::Lost, MembershipOp::Add).await?;
        assert_eq!(change(faults, MembershipOp::Add).await?, Change::Applied);
        assert!(is_stored(faults).await?);
        fail(faults, ChangeFault::AnswerLost, MembershipOp::Remove).await?;
        assert_eq!(change(faults, MembershipOp::Remove).await?, Change::Unchanged);
        assert!(!is_stored(faults).await?);
    }
    Ok(())
}
