//! Temporary.
use super::*;
use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, SystemTime},
};
/// Temporary.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeSet<(String, String, String)>>);
impl Store for MemoryStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        let rows = self.0.lock().unwrap();
        Ok(owners
            .iter()
            .map(|o| {
                rows.iter()
                    .filter(|(h, u, _)| **h == *o.hub && **u == *o.user)
                    .map(|(_, _, g)| g.as_str().into())
                    .collect()
            })
            .collect())
    }
    async fn add(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        Ok(if self.0.lock().unwrap().insert((owner.hub.to_string(), owner.user.to_string(), group.to_string())) {
            Change::Made
        } else {
            Change::Already
        })
    }
    async fn remove(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        Ok(if self.0.lock().unwrap().remove(&(owner.hub.to_string(), owner.user.to_string(), group.to_string())) {
            Change::Made
        } else {
            Change::Already
        })
    }
    async fn members(&self, _: &HubName, _: &GroupName, _: &Page) -> Result<Members, Error> {
        Ok(Members::default())
    }
    async fn lease(&self, _: &Node, _: &[LeaseChange]) -> Result<(), Error> {
        Ok(())
    }
    async fn renew(&self, _: &Node, _: SystemTime, _: Duration) -> Result<u64, Error> {
        Ok(0)
    }
    async fn redeem(&self, _: &Redemption) -> Result<Verdict, Error> {
        Ok(Verdict::Accepted)
    }
    async fn revoke(&self, _: &UserId, _: SystemTime) -> Result<(), Error> {
        Ok(())
    }
}
