//! Signs and verifies the tokens that clients carry.
//!
//! A [`KeyRing`] signs with its first key and verifies with all keys, so that keys can be rotated without invalidating
//! the tokens of clients. The signature is HMAC-SHA256 over purpose, version, key id and payload, compared in constant
//! time. Tokens are base64url without padding, because they are sent in query strings. A key ring never changes; the
//! process can replace it by another one ([`SharedKeyRing`]). Both dialects and the pipeline use it.
//!
//! This module uses no clock: expiry is part of the payload. Payloads are signed, not encrypted.
//!
//! ```text
//! version (1) | key id (4) | signature (32) | payload
//! ```

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

mod shared;

pub(crate) use shared::SharedKeyRing;

const VERSION: u8 = 1;
const KEY_ID_LENGTH: usize = 4;
const SIGNATURE_LENGTH: usize = 32;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + SIGNATURE_LENGTH;

/// The length of the longest payload whose token has at most `length` characters.
pub(crate) const fn max_payload_length(length: usize) -> usize {
    (length / 4 * 3).saturating_sub(HEADER_LENGTH)
}

/// The minimum length of a secret in bytes. A random secret of this length cannot be found by brute force.
pub(crate) const MIN_SECRET_LENGTH: usize = 16;

/// The purpose of a token. A token that was sealed for one purpose cannot be opened for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A classic connection token: a connection and its user.
    Connection,
    /// A rejoin token (in ASP.NET SignalR: groups token).
    Rejoin,
    /// The token of a negotiated connection (ASP.NET Core SignalR).
    Negotiation,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Connection => b"hubcast connection token",
            Self::Rejoin => b"hubcast rejoin token",
            Self::Negotiation => b"hubcast negotiation token",
        }
    }
}

/// Why a token cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadToken {
    /// It does not have the format of a token.
    #[error("the token is malformed")]
    Malformed,
    /// The key that signed it is not in the key ring.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// It was altered, or sealed for another purpose.
    #[error("the token's signature is invalid")]
    Forged,
}

/// Why a key ring cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// There is no secret.
    #[error("at least one signing key is needed")]
    Missing,
    /// A secret is too short.
    #[error("a signing key needs at least {MIN_SECRET_LENGTH} bytes")]
    TooShort,
    /// A secret contains a control character, so it is not the text that it should be: for example, a file has been
    /// filled with zeros by a crash.
    #[error("a signing key contains a control character")]
    ControlCharacter,
}

/// Checks a secret.
///
/// # Errors
/// [`BadSecret`], if it is too short or contains a control character.
pub(crate) fn check_secret(secret: &str) -> Result<(), BadSecret> {
    if secret.len() < MIN_SECRET_LENGTH {
        Err(BadSecret::TooShort)
    } else if secret.contains(char::is_control) {
        Err(BadSecret::ControlCharacter)
    } else {
        Ok(())
    }
}

/// The signing keys of a process. Nodes that serve the same clients must have the same keys.
///
/// ```
/// use hubcast::KeyRing;
///
/// // The first key signs. The second one still verifies older tokens.
/// let keys = KeyRing::new(["the new secret of 2026", "the old secret of 2025"])?;
/// # Ok::<(), hubcast::BadSecret>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID_LENGTH],
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &str) -> Self {
        let digest = Sha256::digest(secret);
        let mut id = [0; KEY_ID_LENGTH];
        // The id is a hash of the signing key, so it does not reveal the key.
        id.copy_from_slice(&Sha256::digest(digest)[..KEY_ID_LENGTH]);
        Self { id, mac: Hmac::new_from_slice(&digest).expect("HMAC takes a key of any length") }
    }

    fn signed(&self, purpose: Purpose, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in [purpose.label(), &[0, VERSION], &self.id, payload] {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys.len()).finish()
    }
}

impl KeyRing {
    /// Creates a key ring from secrets. The first one signs.
    ///
    /// # Errors
    /// [`BadSecret`], if there is no secret, or if one is shorter than 16 bytes or contains a control character.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, BadSecret> {
        let key = |secret: S| check_secret(secret.as_ref()).map(|()| Key::new(secret.as_ref()));
        let keys = secrets.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(BadSecret::Missing) } else { Ok(Self { keys }) }
    }

    /// Creates a key ring with a random key. Its tokens become invalid when the process restarts.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self { keys: vec![Key::new(&(crate::ids::secret() + &crate::ids::secret()))] }
    }

    /// The ids of the keys, in hexadecimal. An id is a part of each token and does not reveal its key.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.id.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    /// Signs a payload and returns the token.
    #[must_use]
    pub(crate) fn seal(&self, purpose: Purpose, payload: &[u8]) -> String {
        let key = &self.keys[0];
        let signature = key.signed(purpose, payload).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&[VERSION], &key.id[..], &signature, payload].concat())
    }

    /// The signature of a payload by each key, first by the signing key: for tokens whose wire format leaves no room for
    /// the format of [`KeyRing::seal`].
    pub(crate) fn signatures(&self, purpose: Purpose, payload: &[u8]) -> impl Iterator<Item = [u8; SIGNATURE_LENGTH]> {
        self.keys.iter().map(move |key| key.signed(purpose, payload).finalize().into_bytes().into())
    }

    /// Verifies a token that was sealed with one of these keys, and returns its payload.
    ///
    /// # Errors
    /// [`BadToken`], if the token is not valid for this purpose.
    pub(crate) fn open(&self, purpose: Purpose, token: &str) -> Result<Vec<u8>, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken::Malformed)?;
        let (head, payload) = bytes.split_at_checked(HEADER_LENGTH).ok_or(BadToken::Malformed)?;
        let [VERSION, id_and_signature @ ..] = head else { return Err(BadToken::Malformed) };
        let (id, signature) = id_and_signature.split_at(KEY_ID_LENGTH);
        let key = self.keys.iter().find(|key| key.id == id).ok_or(BadToken::UnknownKey)?;
        key.signed(purpose, payload).verify_slice(signature).map_err(|_| BadToken::Forged)?;
        Ok(payload.to_vec())
    }
}

/// The payload of a token, which is not verified.
pub(crate) fn unverified_payload(token: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    bytes.get(HEADER_LENGTH..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "an old secret, long enough";
    const NEW: &str = "a new secret, long enough";

    fn ring(secrets: &[&str]) -> KeyRing {
        KeyRing::new(secrets).unwrap()
    }

    #[test]
    fn token_opens_only_for_its_purpose() {
        let ring = ring(&[NEW]);
        let token = ring.seal(Purpose::Rejoin, b"rooms");
        assert_eq!(ring.open(Purpose::Rejoin, &token), Ok(b"rooms".to_vec()));
        assert_eq!(ring.open(Purpose::Connection, &token), Err(BadToken::Forged));
    }

    #[test]
    fn old_key_verifies_while_in_key_ring() {
        let token = ring(&[OLD]).seal(Purpose::Rejoin, b"rooms");
        assert!(ring(&[NEW, OLD]).open(Purpose::Rejoin, &token).is_ok());
        assert_eq!(ring(&[NEW]).open(Purpose::Rejoin, &token), Err(BadToken::UnknownKey));
        let newer = ring(&[NEW, OLD]).seal(Purpose::Rejoin, b"rooms");
        assert!(ring(&[NEW]).open(Purpose::Rejoin, &newer).is_ok(), "the first key signs");
    }

    #[test]
    fn missing_short_and_binary_secrets_are_refused() {
        assert_eq!(KeyRing::new::<&str>([]).unwrap_err(), BadSecret::Missing);
        assert_eq!(KeyRing::new([NEW, "short"]).unwrap_err(), BadSecret::TooShort);
        assert_eq!(KeyRing::new(["\0".repeat(64)]).unwrap_err(), BadSecret::ControlCharacter);
    }

    #[test]
    fn debug_output_contains_no_secret() {
        assert_eq!(format!("{:?}", ring(&[NEW])), "KeyRing { keys: 1 }");
    }

    proptest! {
        #[test]
        fn token_with_flipped_bit_does_not_open(payload: Vec<u8>, bit: prop::sample::Index) {
            let ring = ring(&[NEW]);
            let mut bytes = URL_SAFE_NO_PAD.decode(ring.seal(Purpose::Rejoin, &payload)).unwrap();
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(ring.open(Purpose::Rejoin, &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn truncated_token_does_not_open(payload: Vec<u8>, cut: prop::sample::Index) {
            let ring = ring(&[NEW]);
            let token = ring.seal(Purpose::Rejoin, &payload);
            prop_assert!(ring.open(Purpose::Rejoin, &token[..cut.index(token.len())]).is_err());
        }

        #[test]
        fn arbitrary_string_does_not_open(text: String) {
            prop_assert!(ring(&[NEW]).open(Purpose::Rejoin, &text).is_err());
        }
    }
}
