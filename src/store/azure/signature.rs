//! Signs requests with the key of the account: "Shared Key Lite for the Table service".

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::store::Error;

/// The key of an account.
#[derive(Clone)]
pub(super) struct AccountKey {
    account: String,
    mac: Hmac<Sha256>,
}

impl AccountKey {
    pub(super) fn new(account: &str, key: &SecretString) -> Result<Self, Error> {
        let invalid = || Error::Address("the account key is not base64".into());
        let key = STANDARD.decode(key.expose_secret()).map_err(|_| invalid())?;
        let mac = Hmac::new_from_slice(&key).map_err(|_| invalid())?;
        Ok(Self { account: account.into(), mac })
    }

    /// The header `Authorization` of a request with this `x-ms-date` for this path, as it is sent.
    pub(super) fn authorization(&self, date: &str, path: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(format!("{date}\n/{}{path}", self.account).as_bytes());
        format!("SharedKeyLite {}:{}", self.account, STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected signature was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn date_account_and_path_are_signed() {
        let key = AccountKey::new("shop", &"c2VjcmV0".to_owned().into()).unwrap();
        let header = key.authorization("Sun, 29 Nov 2026 22:00:00 GMT", "/hubcast()");
        assert_eq!(header, "SharedKeyLite shop:qCLYlLPkhfg1+uetkbCwo2tqQsalBcBiMFZB8Cka1zA=");
    }

    #[test]
    fn key_that_is_not_base64_is_refused() {
        assert!(matches!(AccountKey::new("shop", &"?".to_owned().into()), Err(Error::Address(_))));
    }
}
