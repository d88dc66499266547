//! The encoding of claims as the payload that is signed, within the maximum length of a token.
//!
//! Clients present tokens in the query of a URL, and proxies commonly refuse a request line of more than 8 KiB. Long
//! lists are compressed. If a token is too long nevertheless, groups are omitted: first the durable ones, because the
//! store has them, then those with the longest names. The token states how many groups it lacks.
//!
//! ```text
//! payload = JSON, or: 1 (byte) | JSON, compressed (deflate)
//! ```

use std::{collections::BTreeSet, sync::Arc};

use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_to_vec_with_limit};
use serde_json::Value;

use super::{super::RejoinError, Claims};
use crate::{ids::GroupKey, tokens::max_payload_length};

/// The maximum length of a token in characters. It leaves 2 KiB of a request line of 8 KiB for the rest of the URL.
const MAX_TOKEN_LENGTH: usize = 6 * 1024;

/// The maximum length of a payload in bytes.
const MAX_PAYLOAD_LENGTH: usize = max_payload_length(MAX_TOKEN_LENGTH);

/// The maximum length of the group lists before compression, in bytes of JSON. It bounds the work for one token.
pub(super) const MAX_LIST_BYTES: usize = 16 * 1024;

/// The maximum length of a decompressed payload. The rest of the claims are names of a few hundred bytes.
const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024;

/// The first byte of a compressed payload.
const COMPRESSED: u8 = 1;

/// The level of compression: names of groups gain little from higher ones.
const COMPRESSION_LEVEL: u8 = 3;

/// The groups in the form in which a token lists them, as far as `capacity` (bytes of JSON) lasts, and the number of
/// groups that it lacks, with those that are `omitted` already.
pub(super) fn token_list(
    (groups, omitted): (&BTreeSet<Arc<GroupKey>>, usize),
    capacity: &mut usize,
) -> (Vec<String>, usize) {
    let list: Vec<_> =
        groups.iter().filter(|group| take(capacity, json_length(group))).map(ToString::to_string).collect();
    let omitted = omitted + groups.len() - list.len();
    (list, omitted)
}

/// Takes `length` from the capacity, if that is left.
pub(super) fn take(capacity: &mut usize, length: usize) -> bool {
    let rest = capacity.checked_sub(length);
    *capacity = rest.unwrap_or(*capacity);
    rest.is_some()
}

/// The length of a group in a list, in bytes of JSON.
pub(super) fn json_length(group: &GroupKey) -> usize {
    Value::from(group.to_string()).to_string().len() + ",".len()
}

impl Claims {
    /// Encodes the claims as the payload that is signed. Omits groups if the token would be too long.
    #[must_use]
    pub(crate) fn encode(&mut self) -> Vec<u8> {
        loop {
            let payload = self.encode_all();
            if payload.len() <= MAX_PAYLOAD_LENGTH || !self.omit_groups(payload.len()) {
                return payload;
            }
        }
    }

    fn encode_all(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("strings and numbers can always be serialized");
        if json.len() <= MAX_PAYLOAD_LENGTH {
            return json;
        }
        [&[COMPRESSED], &*compress_to_vec(&json, COMPRESSION_LEVEL)].concat()
    }

    /// Omits about as many groups as a payload of this `length` has too many. Returns false if there are none.
    fn omit_groups(&mut self, length: usize) -> bool {
        if !self.durable.is_empty() {
            self.omitted_durable += self.durable.len();
            self.durable.clear();
            return true;
        }
        let listed = self.joined.len();
        let total: usize = self.joined.iter().map(String::len).sum();
        // The names compress about equally. The margin makes a third attempt rare.
        let mut capacity = total * MAX_PAYLOAD_LENGTH / length * 19 / 20;
        self.joined.sort_by_key(String::len);
        self.joined.retain(|name| take(&mut capacity, name.len()));
        self.omitted_joined += listed - self.joined.len();
        listed > 0
    }

    /// Decodes the claims from a signed payload.
    ///
    /// # Errors
    /// [`RejoinError::Malformed`], if the payload is not the JSON of claims.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, RejoinError> {
        let claims = match payload {
            [COMPRESSED, compressed @ ..] => {
                let json = decompress_to_vec_with_limit(compressed, MAX_DECOMPRESSED_BYTES);
                serde_json::from_slice(&json.map_err(|_| RejoinError::Malformed)?)
            }
            json => serde_json::from_slice(json),
        };
        claims.map_err(|_| RejoinError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{
        pipeline::{TokenGroups, TokenSubject},
        tokens::{KeyRing, Purpose},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    /// The keys of these groups, sorted as in a token.
    fn keys(names: &[String]) -> Vec<Arc<GroupKey>> {
        let keys: BTreeSet<_> =
            names.iter().map(|name| GroupKey::new(&"chat".into(), &(*name).clone().into())).collect();
        keys.into_iter().collect()
    }

    fn claims(joined: &[String], durable: &[String]) -> Claims {
        let user = Some("ann".into());
        let subject = TokenSubject { family: crate::ids::secret(), epoch: 3, hub: Some("chat".into()), user };
        Claims::new(&subject, &(&TokenGroups { joined: keys(joined), durable: keys(durable) }).into(), UNIX_EPOCH, HOUR)
    }

    /// The token of these claims, and the claims that it carries.
    fn sealed(mut claims: Claims) -> (String, Claims) {
        let payload = claims.encode();
        assert_eq!(Claims::decode(&payload), Ok(claims.clone()));
        (KeyRing::ephemeral().seal(Purpose::Rejoin, &payload), claims)
    }

    /// Names that compress badly, of this length in characters.
    fn random_names(count: usize, length: usize) -> Vec<String> {
        let name = || std::iter::repeat_with(crate::ids::secret).take(length / 22 + 1).collect::<String>();
        (0..count).map(|_| name()[..length].to_owned()).collect()
    }

    #[test]
    fn fifty_random_names_of_a_hundred_characters_fit() {
        let names = random_names(50, 100);
        let (token, claims) = sealed(claims(&names, &[]));
        assert!(token.len() <= MAX_TOKEN_LENGTH, "{}", token.len());
        assert_eq!(claims.groups().joined, keys(&names));
        assert!(claims.is_complete());
    }

    #[test]
    fn too_many_names_are_omitted_and_counted() {
        for (count, length) in [(80, 100), (2_000, 100), (20_000, 8), (3, 10_000), (1, 100_000)] {
            let names = random_names(count, length);
            let (token, claims) = sealed(claims(&names, &[]));
            let listed = claims.groups().joined.len();
            assert!(token.len() <= MAX_TOKEN_LENGTH, "{count} of {length}: {}", token.len());
            assert!(!claims.is_complete());
            assert_eq!(listed + claims.omitted(), count);
            let is_used = length > MAX_TOKEN_LENGTH || token.len() > MAX_TOKEN_LENGTH * 3 / 4;
            assert!(is_used, "{count} of {length}: {listed} listed in {}", token.len());
        }
    }

    #[test]
    fn long_name_does_not_displace_short_ones() {
        let names = [random_names(1, 10_000), random_names(10, 20)].concat();
        let (_, claims) = sealed(claims(&names, &[]));
        assert_eq!((claims.groups().joined.len(), claims.omitted()), (10, 1));
    }

    #[test]
    fn durable_groups_are_omitted_first() {
        let (joined, durable) = (random_names(40, 100), random_names(40, 100));
        let (_, claims) = sealed(claims(&joined, &durable));
        assert_eq!(claims.groups(), TokenGroups { joined: keys(&joined), durable: Vec::new() });
        assert_eq!((claims.is_complete(), claims.omitted()), (false, 0), "the store restores them");
    }

    #[test]
    fn invalid_payload_is_malformed() {
        let bomb = [&[COMPRESSED], &*compress_to_vec(&vec![b' '; MAX_DECOMPRESSED_BYTES + 1], 1)].concat();
        for payload in [&b""[..], b"{}", b"[1]", b"\xff", b"\x01", b"\x01{}", &bomb] {
            assert_eq!(Claims::decode(payload), Err(RejoinError::Malformed));
        }
    }
}
