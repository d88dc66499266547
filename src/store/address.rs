//! Addresses in messages.

/// An address without the user, the password and the parameters, which can be secrets.
pub(super) fn without_credentials(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_in_messages_has_no_credentials() {
        for (url, expected) in [
            ("postgres://app:p%40ss@db.example:5432/hubcast?sslmode=require", "postgres://db.example:5432/hubcast"),
            ("mysql://app:a@b@db/hubcast", "mysql://db/hubcast"),
            ("postgres://db/hubcast?password=secret", "postgres://db/hubcast"),
            ("postgres:///hubcast?user=a@b", "postgres:///hubcast"),
            ("azure-table://shop.table.core.windows.net?sig=secret", "azure-table://shop.table.core.windows.net"),
            ("hunter2?secret", "hunter2://"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }
}
