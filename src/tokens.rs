//! Seals what a client carries for us, and opens it again.
//!
//! Role: a ring of keys; the first signs, all verify, so that a key can be replaced without a client
//! noticing. HMAC-SHA256 over purpose, version, key id and payload, compared in constant time; base64url
//! without padding, since tokens travel in query strings.
//! Life: made from the configuration, never changed. Neighbours: both dialects and the pipeline.
//! Never: it knows no clock, and a payload is signed, not hidden.
//!
//! ```text
//! version (1) | key id (4) | signature (32) | payload
//! ```

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const SIGNATURE: usize = 32;
const HEAD: usize = 1 + KEY_ID + SIGNATURE;

/// The fewest characters of a secret: as many bits as anybody could try, if they were chosen at random.
pub const SHORTEST_SECRET: usize = 16;

/// What a token is for; one made for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A classic connection token: which connection, and whose.
    Connection,
    /// A rejoin token (classic: groups token).
    Rejoin,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Connection => b"hubcast connection token",
            Self::Rejoin => b"hubcast rejoin token",
        }
    }
}

/// Why a token does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is no token of this server's making.
    #[error("the token is malformed")]
    Malformed,
    /// The key that signed it is not, or no longer, in the ring.
    #[error("the token is signed under an unknown key")]
    UnknownKey,
    /// It was altered, or made for another purpose.
    #[error("the token's signature is wrong")]
    Forged,
}

/// A ring without keys cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// There is none.
    #[error("at least one signing key is needed")]
    Missing,
    /// One is too short to be one.
    #[error("a signing key needs at least {SHORTEST_SECRET} characters")]
    TooShort,
}

/// The keys of a process; nodes that share clients share them.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID],
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &str) -> Self {
        let digest = Sha256::digest(secret);
        let mut id = [0; KEY_ID];
        // The id is a hash of the hash that keys the signature: it tells nothing about it.
        id.copy_from_slice(&Sha256::digest(digest)[..KEY_ID]);
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
    /// A ring of these secrets; the first signs.
    ///
    /// # Errors
    /// [`BadSecret`], if there is none or one is shorter than 16 characters.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, BadSecret> {
        let check = |secret: S| {
            if secret.as_ref().len() < SHORTEST_SECRET {
                Err(BadSecret::TooShort)
            } else {
                Ok(Key::new(secret.as_ref()))
            }
        };
        let keys = secrets.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(BadSecret::Missing) } else { Ok(Self { keys }) }
    }

    /// A ring that dies with the process: tokens do not survive a restart.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self { keys: vec![Key::new(&(crate::ids::secret() + &crate::ids::secret()))] }
    }

    /// Signs a payload.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, payload: &[u8]) -> String {
        let key = &self.keys[0];
        let signature = key.signed(purpose, payload).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&[VERSION], &key.id[..], &signature, payload].concat())
    }

    /// Answers the payload of a token that this ring, or one with the same keys, has sealed.
    ///
    /// # Errors
    /// [`BadToken`] says why it is none.
    pub fn open(&self, purpose: Purpose, token: &str) -> Result<Vec<u8>, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken::Malformed)?;
        let (head, payload) = bytes.split_at_checked(HEAD).ok_or(BadToken::Malformed)?;
        let [VERSION, id_and_signature @ ..] = head else { return Err(BadToken::Malformed) };
        let (id, signature) = id_and_signature.split_at(KEY_ID);
        let key = self.keys.iter().find(|key| key.id == id).ok_or(BadToken::UnknownKey)?;
        key.signed(purpose, payload).verify_slice(signature).map_err(|_| BadToken::Forged)?;
        Ok(payload.to_vec())
    }
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
    fn a_token_opens_for_its_own_purpose_alone() {
        let ring = ring(&[NEW]);
        let token = ring.seal(Purpose::Rejoin, b"rooms");
        assert_eq!(ring.open(Purpose::Rejoin, &token), Ok(b"rooms".to_vec()));
        assert_eq!(ring.open(Purpose::Connection, &token), Err(BadToken::Forged));
    }

    #[test]
    fn a_retired_key_still_opens_while_it_is_in_the_ring_and_no_longer() {
        let token = ring(&[OLD]).seal(Purpose::Rejoin, b"rooms");
        assert!(ring(&[NEW, OLD]).open(Purpose::Rejoin, &token).is_ok());
        assert_eq!(ring(&[NEW]).open(Purpose::Rejoin, &token), Err(BadToken::UnknownKey));
        let newer = ring(&[NEW, OLD]).seal(Purpose::Rejoin, b"rooms");
        assert!(ring(&[NEW]).open(Purpose::Rejoin, &newer).is_ok(), "the first key signs");
    }

    #[test]
    fn a_key_ring_refuses_no_keys_and_short_ones() {
        assert_eq!(KeyRing::new::<&str>([]).unwrap_err(), BadSecret::Missing);
        assert_eq!(KeyRing::new([NEW, "short"]).unwrap_err(), BadSecret::TooShort);
    }

    #[test]
    fn a_ring_shows_no_secret() {
        assert_eq!(format!("{:?}", ring(&[NEW])), "KeyRing { keys: 1 }");
    }

    proptest! {
        #[test]
        fn a_token_with_one_bit_changed_does_not_open(payload: Vec<u8>, bit: prop::sample::Index) {
            let ring = ring(&[NEW]);
            let mut bytes = URL_SAFE_NO_PAD.decode(ring.seal(Purpose::Rejoin, &payload)).unwrap();
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(ring.open(Purpose::Rejoin, &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn a_token_cut_short_does_not_open(payload: Vec<u8>, cut: prop::sample::Index) {
            let ring = ring(&[NEW]);
            let token = ring.seal(Purpose::Rejoin, &payload);
            prop_assert!(ring.open(Purpose::Rejoin, &token[..cut.index(token.len())]).is_err());
        }

        #[test]
        fn no_text_makes_the_ring_panic(text: String) {
            prop_assert!(ring(&[NEW]).open(Purpose::Rejoin, &text).is_err());
        }
    }
}
