//! Stores in databases of the shared servers, with and without faults.

use hubcast::store::{
    DynMembershipStore, DynStore, Error, StoreFuture,
    conformance::{
        commits::CommitFaults,
        membership_faults::{ChangeFault, ChangeFaults},
    },
    sea::SeaStore,
};
use hubcast_fixtures::{
    databases::DatabaseServer,
    fault_proxy::{Fault, FaultProxy},
};

/// A store on new data whose changes can be lost, and a second store on the same data.
pub(crate) struct ProxiedStore<S> {
    pub(crate) store: S,
    pub(crate) witness: S,
    pub(crate) proxy: FaultProxy,
}

impl ProxiedStore<SeaStore> {
    pub(crate) async fn open(server: &DatabaseServer) -> Result<Self, Error> {
        let (url, address) = (server.new_database(), server.process.address);
        let proxy = FaultProxy::to_database(address).await;
        let proxied = url.replace(&address.to_string(), &proxy.address.to_string());
        let (store, witness) =
            (SeaStore::connect_with_test_timeouts(&proxied).await?, SeaStore::connect_with_test_timeouts(&url).await?);
        Ok(Self { store, witness, proxy })
    }
}

impl<S: DynMembershipStore> ChangeFaults for ProxiedStore<S> {
    fn store(&self) -> &dyn DynMembershipStore {
        &self.store
    }

    fn witness(&self) -> &dyn DynMembershipStore {
        &self.witness
    }

    fn fail_next_change(&self, fault: ChangeFault) -> StoreFuture<'_, ()> {
        self.proxy.set_next(match fault {
            ChangeFault::Lost => Fault::Lose,
            ChangeFault::AnswerLost => Fault::LoseAnswer,
        });
        Box::pin(async { Ok(()) })
    }
}

impl CommitFaults for ProxiedStore<SeaStore> {
    fn store(&self) -> &dyn DynStore {
        &self.store
    }

    fn witness(&self) -> &dyn DynStore {
        &self.witness
    }

    fn fail_next_commit(&self) -> StoreFuture<'_, ()> {
        self.proxy.set_next(Fault::Lose);
        Box::pin(async { Ok(()) })
    }
}

/// Generates a test for each of these functions of a module, which takes the argument.
macro_rules! tests_of {
    ($module:ident $argument:expr => $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                crate::$module::$check($argument).await;
            }
        )*
    };
}
pub(crate) use tests_of;
