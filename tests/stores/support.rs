//! Stores in databases of the shared servers, with and without faults.

use hubcast::store::{DynStore, Error, StoreFuture, conformance::commits::CommitFaults, sea::SeaStore};
use hubcast_fixtures::{
    databases::DatabaseServer,
    fault_proxy::{CommitFault, FaultProxy},
};

/// A store in a new database, whose COMMITs can be lost, and a second store on the same data.
pub(crate) struct ProxiedStore {
    pub(crate) store: SeaStore,
    pub(crate) witness: SeaStore,
    pub(crate) proxy: FaultProxy,
}

impl ProxiedStore {
    pub(crate) async fn open(server: &DatabaseServer) -> Result<Self, Error> {
        let (url, address) = (server.new_database(), server.process.address);
        let proxy = FaultProxy::start(address).await;
        let proxied = url.replace(&address.to_string(), &proxy.address.to_string());
        let (store, witness) = (SeaStore::connect_patiently(&proxied).await?, SeaStore::connect_patiently(&url).await?);
        Ok(Self { store, witness, proxy })
    }
}

impl CommitFaults for ProxiedStore {
    fn store(&self) -> &dyn DynStore {
        &self.store
    }

    fn witness(&self) -> &dyn DynStore {
        &self.witness
    }

    fn fail_next_commit(&self) -> StoreFuture<'_, ()> {
        self.proxy.set_next(CommitFault::Lose);
        Box::pin(async { Ok(()) })
    }
}
