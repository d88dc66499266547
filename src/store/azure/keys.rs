//! The keys of rows. Keys exclude some characters and have at most 512 of them, names have neither limit.
//!
//! A letter, a digit, `-` and `.` stand for themselves; every other byte of a name is `_` and two hexadecimal digits. A long
//! name is cut, and its hash follows after `~`. So two names never have one key. The parts of a key are separated by `!`.

use sha2::{Digest, Sha256};

use crate::ids::{GroupName, HubName, UserId};

/// The length up to which an encoded name is not cut. Two names with hashes and separators fit into a key.
const MAX_ENCODED: usize = 160;

/// The partition of a user on a hub.
pub(super) fn partition(hub: &HubName, user: &UserId) -> String {
    format!("u!{}!{}", encode(hub), encode(user))
}

/// The first possible partition of the users of a hub, and the first one that follows them.
pub(super) fn partitions_of_hub(hub: &HubName) -> (String, String) {
    // Wire: keys are compared by their characters, and `"` follows `!`.
    (format!("u!{}!", encode(hub)), format!("u!{}\"", encode(hub)))
}

/// The row of a group in the partition of a user.
pub(super) fn row(group: &GroupName) -> String {
    format!("g!{}", encode(group))
}

fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => encoded.push(byte.into()),
            _ => encoded += &format!("_{byte:02x}"),
        }
    }
    if encoded.len() > MAX_ENCODED {
        encoded.truncate(MAX_ENCODED);
        encoded.push('~');
        encoded.extend(Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_by_their_bytes() {
        assert_eq!(partition(&"chat".into(), &"ann@example.com".into()), "u!chat!ann_40example.com");
        assert_eq!(row(&"a/b\\c#d?e'é\n".into()), "g!a_2fb_5cc_23d_3fe_27_c3_a9_0a");
        assert_eq!((row(&"".into()), row(&"A_!~".into())), ("g!".into(), "g!A_5f_21_7e".into()));
    }

    #[test]
    fn long_names_fit_and_stay_distinct() {
        let (long, longer) = ("名".repeat(300), "名".repeat(301));
        let key = partition(&"名".repeat(128).into(), &long.as_str().into());
        assert!(key.len() <= 512, "{}", key.len());
        assert_ne!(row(&long.into()), row(&longer.into()));
    }

    #[test]
    fn range_contains_the_users_of_one_hub() {
        let (first, end) = partitions_of_hub(&"chat".into());
        for user in ["", "a", "zoe", "é", "名"] {
            let key = partition(&"chat".into(), &user.into());
            assert!(first <= key && key < end, "{key}");
            let other = partition(&"chat2".into(), &user.into());
            assert!(other >= end || other < first, "{other}");
        }
    }
}
