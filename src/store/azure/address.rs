//! The address of a storage account and its table.

use std::net::IpAddr;

use crate::store::{Error, address::without_credentials};

const EXPECTED: &str = "expected azure-table://ACCOUNT.table.core.windows.net or, for Azurite, azure-table://127.0.0.1:10002/devstoreaccount1";

/// The name of the table, if the address names none.
const DEFAULT_TABLE: &str = "hubcast";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The URL without a path.
    pub(super) origin: String,
    pub(super) account: String,
    /// True if the path of each URL begins with the account, as with the emulator.
    pub(super) has_account_in_path: bool,
    pub(super) table: String,
}

impl Address {
    pub(super) fn parse(address: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::Address(format!("`{}` {why}; {EXPECTED}", without_credentials(address)));
        let rest = address.strip_prefix("azure-table://").ok_or_else(|| invalid("has another scheme"))?;
        let mut segments = rest.trim_end_matches('/').split('/');
        let host = segments.next().unwrap_or_default();
        let is_emulator = is_loopback(host);
        let account =
            if is_emulator { segments.next() } else { host.split_once(".table.").map(|(account, _)| account) };
        let account = account.filter(|account| is_name(account)).ok_or_else(|| invalid("names no account"))?;
        let table = segments.next().unwrap_or(DEFAULT_TABLE);
        if segments.next().is_some() || host.contains(['@', '?', '#']) {
            return Err(invalid("is no account with a table"));
        }
        if !is_table(table) {
            return Err(invalid("names no table: a name has 3 to 63 letters and digits, and begins with a letter"));
        }
        let scheme = if is_emulator { "http" } else { "https" };
        Ok(Self {
            origin: format!("{scheme}://{host}"),
            account: account.into(),
            has_account_in_path: is_emulator,
            table: table.into(),
        })
    }

    /// The path of a resource.
    pub(super) fn path(&self, resource: &str) -> String {
        if self.has_account_in_path { format!("/{}/{resource}", self.account) } else { format!("/{resource}") }
    }

    pub(super) fn table_path(&self) -> String {
        self.path(&self.table)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Wire: the rules of the service, which answers other names with 400 and no reason.
fn is_table(text: &str) -> bool {
    (3..=63).contains(&text.len()) && is_name(text) && text.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_uses_https() {
        let address = Address::parse("azure-table://shop.table.core.windows.net").unwrap();
        assert_eq!((&*address.origin, &*address.account), ("https://shop.table.core.windows.net", "shop"));
        assert_eq!(address.table_path(), "/hubcast");
        assert_eq!(Address::parse("azure-table://shop.table.core.windows.net/chat").unwrap().table_path(), "/chat");
    }

    #[test]
    fn emulator_uses_http_on_loopback_only() {
        for host in ["127.0.0.1:10002", "localhost:10002", "[::1]:10002"] {
            let address = Address::parse(&format!("azure-table://{host}/devstoreaccount1/chat")).unwrap();
            assert_eq!(address.origin, format!("http://{host}"));
            assert_eq!(address.table_path(), "/devstoreaccount1/chat");
        }
        assert!(Address::parse("azure-table://10.0.0.7:10002/devstoreaccount1").is_err());
    }

    #[test]
    fn address_without_account_or_table_is_refused() {
        for address in [
            "azure-table://",
            "azure-table://127.0.0.1:10002",
            "azure-table://example.com/chat",
            "azure-table://shop.table.core.windows.net/chat/more",
            "azure-table://shop.table.core.windows.net/my-table",
            "azure-table://shop.table.core.windows.net/t1",
            "azure-table://shop.table.core.windows.net/1st",
            "azure-table://me@shop.table.core.windows.net",
            "https://shop.table.core.windows.net",
        ] {
            assert!(matches!(Address::parse(address), Err(Error::Address(_))), "{address}");
        }
    }
}
