//! The boundaries of the requests on a connection (pure).
//!
//! Bytes pass through unchanged, except the heads of requests. A head is held back until it is complete. It then
//! passes, perhaps with an encoded target, or it is refused, and nothing passes behind it. What cannot be told for
//! certain is not looked for: after a head that is followed by anything but a body of known length, all bytes pass. So
//! a part of a body is never taken for a head.

use bytes::{Buf, BytesMut};

use super::{
    refusal::Refusal,
    request_head::{Next, RequestHead},
};

/// The requests on a connection.
#[derive(Debug)]
pub(super) struct Requests {
    state: State,
    /// The received part of a head, shorter than the maximum length of a head.
    partial: BytesMut,
    /// No head has passed.
    is_before_first: bool,
}

#[derive(Debug)]
enum State {
    /// A head comes next.
    Head,
    /// The rest of a body, not empty, comes next.
    Body(u64),
    /// All bytes pass.
    PassThrough,
    /// No byte passes.
    Refused(Refusal),
}

impl Requests {
    /// The requests of a connection of HTTP/1.
    pub(super) fn new() -> Self {
        Self { state: State::Head, partial: BytesMut::new(), is_before_first: true }
    }

    /// A connection of another protocol. All bytes pass.
    pub(super) fn unknown() -> Self {
        Self { state: State::PassThrough, partial: BytesMut::new(), is_before_first: false }
    }

    /// True if all further bytes pass.
    pub(super) fn is_pass_through(&self) -> bool {
        matches!(self.state, State::PassThrough)
    }

    /// Counts the next `length` bytes, if they all belong to one body. Otherwise returns false.
    pub(super) fn skip_body(&mut self, length: usize) -> bool {
        let State::Body(remaining) = self.state else { return false };
        let Some(rest) = remaining.checked_sub(length as u64) else { return false };
        self.state = after_body(rest);
        true
    }

    /// Appends those of the received bytes to `output` that pass.
    pub(super) fn receive(&mut self, bytes: &[u8], output: &mut BytesMut) {
        if self.partial.is_empty() {
            let used = self.pass(bytes, output);
            self.partial.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut received = std::mem::take(&mut self.partial);
        received.extend_from_slice(bytes);
        let used = self.pass(&received, output);
        if used < received.len() {
            received.advance(used);
            self.partial = received;
        }
    }

    /// Returns the number of bytes that have been looked at. The others are a part of a head.
    fn pass(&mut self, bytes: &[u8], output: &mut BytesMut) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            used += match self.state {
                State::Head => match RequestHead::read(rest) {
                    Ok(None) => return used,
                    Ok(Some(head)) => {
                        head.write(rest, output);
                        self.is_before_first = false;
                        self.state = match head.next {
                            Next::Body(length) => after_body(length),
                            Next::Unknown => State::PassThrough,
                        };
                        head.length
                    }
                    Err(refusal) => {
                        self.state = State::Refused(refusal);
                        rest.len()
                    }
                },
                State::Body(remaining) => {
                    let length = usize::try_from(remaining).map_or(rest.len(), |remaining| remaining.min(rest.len()));
                    output.extend_from_slice(&rest[..length]);
                    self.state = after_body(remaining - length as u64);
                    length
                }
                State::PassThrough => {
                    output.extend_from_slice(rest);
                    rest.len()
                }
                State::Refused(_) => rest.len(),
            };
        }
        used
    }

    /// True if no head has passed and none is refused.
    pub(super) fn is_before_first(&self) -> bool {
        self.is_before_first && self.refusal().is_none()
    }

    /// Refuses the first request, because its head has not arrived in time. Returns whether a part of it has arrived.
    pub(super) fn time_out(&mut self) -> bool {
        self.state = State::Refused(Refusal::TooSlow);
        let partial = std::mem::take(&mut self.partial);
        !partial.is_empty()
    }

    /// Why no more bytes pass.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.state {
            State::Refused(refusal) => Some(refusal),
            State::Head | State::Body(_) | State::PassThrough => None,
        }
    }
}

fn after_body(remaining: u64) -> State {
    if remaining == 0 { State::Head } else { State::Body(remaining) }
}

#[cfg(test)]
mod tests;
