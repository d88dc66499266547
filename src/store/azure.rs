//! A membership store in Azure Table Storage: one partition for each user on a hub, one row for each of its groups.
//!
//! Reading or changing the groups of a user touches one partition. Listing the members of a group reads the partitions of
//! all users of the hub. Each change is one request, so a batch is not atomic. The service does not order requests of two
//! clients, but of two that insert or delete the same row, the service tells which had an effect.
//!
//! `address` parses addresses, `keys` encodes names, `signature` signs requests, `client` sends them.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use self::{
    address::Address,
    client::{Client, Method, Request, Response},
};
use super::{Change, Error, Members, MembershipChange, MembershipOp, MembershipPromises, MembershipStore, Owner, Page};
use crate::ids::{GroupName, HubName, UserId};

mod address;
mod client;
mod keys;
mod signature;

/// The time limit of a request. Order: it ends before the deadline of the caller, 5 s.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The maximum number of users whose partitions one call reads or writes at a time.
const MAX_CONCURRENT_PARTITIONS: usize = 32;

/// The maximum number of rows in one answer of the service.
const MAX_ROWS: u64 = 1_000;

/// What proves the identity of the process to the service. `Debug` redacts it.
#[derive(Clone, Debug)]
pub struct AzureCredential(Credential);

#[derive(Clone, Debug)]
enum Credential {
    Key(SecretString),
    Sas(SecretString),
}

impl AzureCredential {
    /// The key of the storage account, in base64.
    #[must_use]
    pub fn key(key: impl Into<String>) -> Self {
        Self(Credential::Key(key.into().into()))
    }

    /// A shared access signature: the query of its URL. It needs the permissions to query, add and delete rows.
    #[must_use]
    pub fn sas(signature: impl Into<String>) -> Self {
        Self(Credential::Sas(signature.into().trim_start_matches('?').to_owned().into()))
    }
}

/// The rest of an error of the service.
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(rename = "odata.error")]
    error: ErrorCode,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: String,
}

/// A page of rows.
#[derive(Deserialize)]
struct Rows<T> {
    value: Vec<T>,
}

#[derive(Deserialize)]
struct GroupRow {
    #[serde(rename = "Group")]
    group: String,
}

#[derive(Deserialize)]
struct UserRow {
    #[serde(rename = "User")]
    user: String,
}

/// A store of durable memberships in one table.
pub struct AzureTableStore {
    client: Client,
    /// The path of the table.
    table: String,
}

impl fmt::Debug for AzureTableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureTableStore").field("table", &self.table).finish_non_exhaustive()
    }
}

impl AzureTableStore {
    /// Connects to a storage account, and creates the table if it is missing.
    ///
    /// `azure-table://ACCOUNT.table.core.windows.net` is an account, used with HTTPS.
    /// `azure-table://127.0.0.1:10002/devstoreaccount1` is an account of the emulator Azurite, used with HTTP on a
    /// loopback address only. The name of the table can follow, separated by `/`; default `hubcast`.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if the address or the credential is invalid, [`Error::Refused`] if the service refuses the
    /// credential or the table, [`Error::Unavailable`] if it does not answer.
    pub async fn connect(address: &str, credential: AzureCredential) -> Result<Self, Error> {
        Self::connect_within(address, credential, TIMEOUT).await
    }

    /// As [`AzureTableStore::connect`], for tests: the time limit of a request is a minute, because a test machine can be
    /// busy for longer than a service waits.
    ///
    /// # Errors
    /// Those of [`AzureTableStore::connect`].
    #[cfg(any(test, feature = "testkit"))]
    pub async fn connect_with_test_timeouts(address: &str, credential: AzureCredential) -> Result<Self, Error> {
        Self::connect_within(address, credential, Duration::from_secs(60)).await
    }

    async fn connect_within(address: &str, credential: AzureCredential, timeout: Duration) -> Result<Self, Error> {
        let address = Address::parse(address)?;
        let (table, name) = (address.table_path(), address.table.clone());
        let client = Client::start(address, credential.0, timeout)?;
        let store = Self { client, table };
        store.create_table(&name).await?;
        Ok(store)
    }

    /// A signature may not allow to create a table. Then it has to exist.
    async fn create_table(&self, name: &str) -> Result<(), Error> {
        let created = Request::new(Method::Post, self.client.path("Tables")).body(&json!({ "TableName": name }));
        let response = self.client.send(created).await?;
        match response.status {
            201 | 204 => return Ok(()),
            409 if has_code(&response, "TableAlreadyExists") => return Ok(()),
            409 => return Err(failure(&response)),
            _ => {}
        }
        let probe = Request::new(Method::Get, format!("{}()", self.table)).query("$top", "1");
        let response = self.client.send(probe).await?;
        match response.status {
            200 => Ok(()),
            401 | 403 | 404 => Err(Error::Refused(format!("the service refuses the table: {}", describe(&response)))),
            _ => Err(failure(&response)),
        }
    }

    fn row(&self, partition: &str, row: &str) -> String {
        format!("{}(PartitionKey='{partition}',RowKey='{row}')", self.table)
    }

    async fn add_row(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        let body = json!({
            "PartitionKey": keys::partition(&owner.hub, &owner.user),
            "RowKey": keys::row(group),
            "Hub": &*owner.hub,
            "User": &*owner.user,
            "Group": &**group,
        });
        let response = self.client.send(Request::new(Method::Post, self.table.clone()).body(&body)).await?;
        match response.status {
            201 | 204 => Ok(Change::Applied),
            409 if has_code(&response, "EntityAlreadyExists") => Ok(Change::Unchanged),
            _ => Err(failure(&response)),
        }
    }

    async fn remove_row(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        let path = self.row(&keys::partition(&owner.hub, &owner.user), &keys::row(group));
        let response = self.client.send(Request::new(Method::Delete, path)).await?;
        match response.status {
            204 => Ok(Change::Applied),
            404 if has_code(&response, "ResourceNotFound") => Ok(Change::Unchanged),
            _ => Err(failure(&response)),
        }
    }

    /// Applies the changes of one user in their order. Each has its position in the whole list.
    async fn apply_in_order(&self, changes: Vec<(usize, &MembershipChange)>) -> Result<Vec<(usize, Change)>, Error> {
        let mut effects = Vec::with_capacity(changes.len());
        for (index, MembershipChange { owner, group, op }) in changes {
            let effect = match op {
                MembershipOp::Add => self.add_row(owner, group).await?,
                MembershipOp::Remove => self.remove_row(owner, group).await?,
            };
            effects.push((index, effect));
        }
        Ok(effects)
    }

    /// Reads the rows that match a filter, at most `limit`, page by page.
    async fn query<T: DeserializeOwned>(&self, filter: &str, column: &str, limit: u64) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        let mut continuation: Vec<(&str, String)> = Vec::new();
        while (rows.len() as u64) < limit {
            let top = Ord::min(limit - rows.len() as u64, MAX_ROWS).to_string();
            let mut request = Request::new(Method::Get, format!("{}()", self.table));
            request = request.query("$filter", filter).query("$select", column).query("$top", &top);
            for (name, value) in &continuation {
                request = request.query(name, value);
            }
            let response = self.client.send(request).await?;
            if response.status != 200 {
                return Err(failure(&response));
            }
            let page: Rows<T> = serde_json::from_slice(&response.body).map_err(|_| unexpected("rows"))?;
            rows.extend(page.value);
            continuation = response.continuation;
            if continuation.is_empty() {
                break;
            }
        }
        Ok(rows)
    }

    async fn groups_of_owner(&self, owner: &Owner) -> Result<Vec<GroupName>, Error> {
        let filter = format!("PartitionKey eq '{}'", keys::partition(&owner.hub, &owner.user));
        let rows: Vec<GroupRow> = self.query(&filter, "Group", u64::MAX).await?;
        Ok(rows.into_iter().map(|row| row.group.into()).collect())
    }
}

impl MembershipStore for AzureTableStore {
    fn promises(&self) -> MembershipPromises {
        MembershipPromises { batched_loads: false, atomic_batches: false, sorted_members: false, totals: false }
    }

    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        let reads = owners.iter().map(|owner| self.groups_of_owner(owner));
        stream::iter(Vec::from_iter(reads)).buffered(MAX_CONCURRENT_PARTITIONS).try_collect().await
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        let mut of_owners: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
        for (index, change) in changes.iter().enumerate() {
            of_owners.entry((&change.owner.hub, &change.owner.user)).or_default().push((index, change));
        }
        let writes = Vec::from_iter(of_owners.into_values().map(|changes| self.apply_in_order(changes)));
        let mut effects = vec![Change::Unchanged; changes.len()];
        let mut written = stream::iter(writes).buffer_unordered(MAX_CONCURRENT_PARTITIONS);
        while let Some(of_owner) = written.try_next().await? {
            of_owner.into_iter().for_each(|(index, effect)| effects[index] = effect);
        }
        Ok(effects)
    }

    /// The order is that of the keys.
    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        let (first, end) = keys::partitions_of_hub(hub);
        let start = match &page.after {
            Some(user) => format!("PartitionKey gt '{}'", keys::partition(hub, user)),
            None => format!("PartitionKey ge '{first}'"),
        };
        let filter = format!("{start} and PartitionKey lt '{end}' and RowKey eq '{}'", keys::row(group));
        let rows: Vec<UserRow> = self.query(&filter, "User", page.limit).await?;
        Ok(Members { users: rows.into_iter().map(|row| UserId::from(row.user)).collect(), total: None })
    }
}

fn unexpected(what: &str) -> Error {
    Error::Corrupt(format!("the answer of the table service has unexpected {what}"))
}

/// The service states its error code in a header or in the body.
fn code(response: &Response) -> Option<String> {
    let in_body = || serde_json::from_slice::<ErrorBody>(&response.body).ok().map(|body| body.error.code);
    response.error_code.clone().or_else(in_body)
}

fn has_code(response: &Response, expected: &str) -> bool {
    code(response).is_some_and(|code| code == expected)
}

fn describe(response: &Response) -> String {
    format!("status {} {}", response.status, code(response).unwrap_or_default())
}

/// The error of an answer that is not expected.
fn failure(response: &Response) -> Error {
    let text = format!("the table service answers with {}", describe(response));
    match response.status {
        400 | 413 => Error::Unsupported(text),
        404 => Error::Corrupt(text),
        _ => Error::Unavailable(text),
    }
}
