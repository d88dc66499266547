//! TLS to the server of a database: the authority that an address names, and failed handshakes.
//!
//! The driver trusts the authorities of Mozilla and the named one. It verifies certificates only in the strict modes, and
//! would ignore a named authority in the others.

use std::fs;

use rustls::{
    CertificateError,
    pki_types::{CertificateDer, pem::PemObject},
};
use sea_orm::sqlx;

use super::Driver;
use crate::store::{Error, sea::parameters};

impl<O> Driver<O> {
    /// The options of an address. A named authority is always verified, as other clients of PostgreSQL do it: the driver
    /// would ignore it if the address only requires TLS.
    pub(in crate::store::sea) fn with_tls(&self, url: &str, options: O) -> O {
        if self.authority_of(url).is_some() { (self.verify_authority)(options) } else { options }
    }

    /// The value of the last parameter that names an authority, as the driver takes it.
    fn authority_of(&self, url: &str) -> Option<String> {
        let named = parameters::pairs(url).filter(|(name, _)| self.authority_parameters.contains(&&**name));
        named.last().map(|(_, value)| value.into_owned())
    }

    /// Refuses an authority that has no effect: the driver would not report it.
    pub(super) fn check_authority(&self, url: &str, options: &O) -> Result<(), Error> {
        let (name, strict) = (self.authority_parameters[0], self.strictest_mode);
        if self.authority_of(url).is_some() && !(self.requires_tls)(options) {
            return Err(Error::Address(format!("`{name}` has no effect, because TLS is not required; set `{strict}`")));
        }
        Ok(())
    }

    /// Refuses a file of an authority without a certificate: the driver would not report it.
    pub(super) fn check_authority_file(&self, url: &str) -> Result<(), Error> {
        let (Some(authority), name) = (self.authority_of(url), self.authority_parameters[0]) else { return Ok(()) };
        let file = fs::read(&authority);
        let file = file.map_err(|error| Error::Address(format!("`{name}`: cannot read {authority}: {error}")))?;
        match CertificateDer::pem_slice_iter(&file).next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => {
                Err(Error::Address(format!("`{name}`: {authority} contains no certificate in PEM format")))
            }
        }
    }

    /// Why the handshake failed. `None` if the error has another cause.
    pub(super) fn handshake_failure(&self, options: &O, error: &sqlx::Error) -> Option<String> {
        let error = match error {
            sqlx::Error::Tls(error) if (self.requires_tls)(options) => {
                return Some(format!("the address requires TLS: {error}"));
            }
            sqlx::Error::Tls(error) => return Some(format!("TLS: {error}")),
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
            _ => return None,
        };
        Some(match error {
            // An authority of the same name with another key makes a bad signature.
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                format!(
                    "TLS: the certificate of the server is not signed by a trusted authority; `{}` names the file of another one",
                    self.authority_parameters[0]
                )
            }
            error => format!("TLS: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sea::{mysql, postgres};

    fn postgres_refusal(parameters: &str) -> String {
        postgres::DRIVER.check_address(&format!("postgres://app@db/hubcast?{parameters}")).unwrap_err().to_string()
    }

    #[test]
    fn authority_without_required_tls_is_refused() {
        for parameters in
            ["sslrootcert=/ca.pem", "sslmode=prefer&sslrootcert=/ca.pem", "sslmode=disable&ssl-ca=/ca.pem"]
        {
            let text = postgres_refusal(parameters);
            assert!(text.contains("`sslrootcert` has no effect"), "{text}");
            assert!(text.ends_with("set `sslmode=verify-full`"), "{text}");
        }
        let refused = mysql::DRIVER.check_address("mysql://app@db/hubcast?ssl-mode=preferred&ssl-ca=/ca.pem");
        assert!(refused.unwrap_err().to_string().ends_with("set `ssl-mode=VERIFY_IDENTITY`"));
    }

    #[test]
    fn unusable_file_of_authority_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("an empty file.pem");
        fs::write(&empty, "no certificate").unwrap();
        let refusal = |parameters: &str| {
            let url = format!("postgres://app@db/hubcast?{parameters}");
            postgres::DRIVER.check_authority_file(&url).unwrap_err().to_string()
        };
        let text = refusal("sslmode=verify-full&sslrootcert=/no/such/ca.pem");
        assert!(text.contains("`sslrootcert`: cannot read /no/such/ca.pem: No such file"), "{text}");
        let path = empty.display().to_string();
        let text = refusal(&format!("sslmode=require&sslrootcert={}", path.replace(' ', "%20")));
        assert!(text.ends_with(&format!("`sslrootcert`: {path} contains no certificate in PEM format")), "{text}");
    }
}
