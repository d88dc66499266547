//! The parameters of an address of a database.
//!
//! The drivers for servers ignore parameters that they do not know, so that a typing error could switch TLS off. One of
//! them also writes their values to the log. Therefore addresses are checked before a driver reads them.

use crate::store::Error;

/// The parameters that a driver knows. Their names have the case of the driver.
pub(super) struct Parameters {
    pub(super) is_known: fn(&str) -> bool,
    /// Names of parameters with a fixed set of values, and these values. Drivers ignore the case of the values.
    pub(super) choices: &'static [(&'static [&'static str], &'static [&'static str])],
}

impl Parameters {
    /// Refuses unknown parameters, and unknown values of those with a fixed set. No error shows the value of a parameter:
    /// it can be a secret.
    pub(super) fn check(&self, url: &str) -> Result<(), Error> {
        for (name, value) in pairs(url) {
            if !(self.is_known)(&name) {
                return Err(Error::Address(format!("`{}` is not a supported parameter", name.escape_debug())));
            }
            let choices = self.choices.iter().find(|(names, _)| names.contains(&&*name)).map(|(_, values)| *values);
            if let Some(choices) = choices
                && !choices.iter().any(|choice| choice.eq_ignore_ascii_case(&value))
            {
                return Err(Error::Address(format!("`{name}` must be one of {}", choices.join(", "))));
            }
        }
        Ok(())
    }
}

/// The names and values of the parameters, as the drivers read them.
pub(super) fn pairs(url: &str) -> form_urlencoded::Parse<'_> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::store::sea::backend::Backend;

    fn refusal(url: &str) -> String {
        Backend::of(url).unwrap_err().to_string()
    }

    #[test]
    fn unknown_parameter_is_named_without_its_value() {
        for (address, names) in [
            ("postgres://app@db/hubcast", ["sslmod", "SSLMODE", "sslrootcrt", "pasword", "ssl-capath"]),
            ("mysql://app@db/hubcast", ["sslmode2", "SSL-MODE", "ssl_ca", "password", "sslrootcert"]),
            ("sqlite:///srv/hubcast.db", ["mod", "MODE", "cach", "password", "journal_mode"]),
        ] {
            for name in names {
                let text = refusal(&format!("{address}?{name}=hunter2"));
                assert!(
                    text.contains(&format!("`{name}` is not a supported parameter")) && !text.contains("hunter2"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn unknown_value_is_answered_with_valid_ones() {
        for (url, expected) in [
            (
                "postgres://app@db/hubcast?sslmode=verfy-full",
                "`sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full",
            ),
            (
                "mysql://app@db/hubcast?sslmode=verify-full",
                "`sslmode` must be one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY",
            ),
            ("sqlite:h.db?mode=maybe", "`mode` must be one of ro, rw, rwc, memory"),
        ] {
            let text = refusal(url);
            assert!(text.ends_with(expected) && !text.contains("configuration"), "{text}");
        }
    }

    #[test]
    fn known_parameters_are_accepted() {
        for url in [
            "postgres://db/hubcast?user=app&password=a&application_name=b&options=-c%20a=b&options[c]=d&ssl-mode=Require",
            "mysql://db/hubcast?charset=utf8mb4&collation=b&timezone=c&statement-cache-capacity=5&ssl-mode=required",
            "sqlite:h.db?mode=rwc&cache=private&immutable=0&vfs=unix",
        ] {
            Backend::of(url).unwrap();
        }
    }
}
