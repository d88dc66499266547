//! How far a client has heard, as it carries it: the connection's epoch and a place in its sequence.
//!
//! Wire: clients take it as it is (`C`) and bring it back (`messageId`); it is written unescaped, so it holds
//! nothing but letters, digits and a dash. The epoch is another each time a process begins a connection: a
//! place in another sequence means nothing here.

use bytes::{BufMut, BytesMut};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// A place in the sequence of one connection in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor<'a> {
    pub(super) epoch: &'a str,
    pub(super) at: u64,
}

impl<'a> Cursor<'a> {
    /// Written by hand: every frame has one, and formatting would be a tenth of its price.
    pub(super) fn write(self, out: &mut BytesMut) {
        out.put_slice(self.epoch.as_bytes());
        out.put_u8(b'-');
        let digits = (u64::BITS - self.at.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            out.put_u8(DIGITS[usize::from((self.at >> (4 * place)) as u8 & 0xf)]);
        }
    }

    /// The cursor that a client brings; `None` if it is none of ours.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (epoch, at) = text.split_once('-')?;
        Some(Self { epoch, at: u64::from_str_radix(at, 16).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for at in [0, 9, 10, 4711, u64::MAX] {
            let (cursor, mut out) = (Cursor { epoch: "e1", at }, BytesMut::new());
            cursor.write(&mut out);
            let text = std::str::from_utf8(&out).unwrap();
            assert_eq!(Cursor::parse(text), Some(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        for text in ["", "zzz", "-", "e-", "e-xyz", "d-FFFFFFFF-B,0|C,0", "s-0,1|1,2", "e-10000000000000000"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
