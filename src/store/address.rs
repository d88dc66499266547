//! Addresses of servers: credentials that are not encoded, and addresses in messages.

#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::Error;

/// An address without the user, the password and the parameters, which can be secrets.
pub(super) fn without_credentials(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

/// Refuses addresses whose user or password seems to contain a character that ends them: a driver would take a part of the
/// password for the host, the database or a parameter, and show it. Only a single `@` can end the user and the password.
/// The error shows no part of the address.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn check_encoding(url: &str) -> Result<(), Error> {
    let Some((_, rest)) = url.split_once("://") else {
        return Err(Error::Address("the address has no `://` after its scheme".into()));
    };
    let (authority, others) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.matches('@').count() > 1 || others.contains('@') || rest.contains('#') {
        return Err(Error::Address(
            "the address has `@` more than once or after the host, or `#`. Percent-encode these characters in the user, \
             the password and the parameters, and also `/` and `?` in the password: `@` is %40, `#` is %23, `/` is %2F, `?` \
             is %3F"
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    #[test]
    fn password_that_is_not_encoded_is_refused() {
        for password in
            ["hunter2@a", "p@ss/hunter2", "p/hunter2", "p?hunter2=a", "1/2?hunter2", "p#hunter2", "hunter2@/?#"]
        {
            let error = check_encoding(&format!("postgres://app:{password}@db:5432/hubcast")).unwrap_err().to_string();
            assert!(error.contains("Percent-encode") && !error.contains("hunter2"), "{error}");
        }
        assert!(!check_encoding("postgres:app:hunter2@db/hubcast").unwrap_err().to_string().contains("hunter2"));
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    #[test]
    fn encoded_password_is_accepted() {
        for url in [
            "postgres://app:p%40%2F%3F%23:ss@db:5432/hubcast?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres:///hubcast?user=a%40b&host=/run/postgresql",
            "mysql://[::1]/hubcast",
        ] {
            check_encoding(url).unwrap();
        }
    }

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
