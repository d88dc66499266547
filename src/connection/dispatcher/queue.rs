//! The requests that wait, in the order of their arrival.

use std::collections::VecDeque;

use super::Request;
use crate::router::ClientResult;

/// The number of bytes that may wait before nothing more is decoded. Wire: ASP.NET Core SignalR buffers the same amount
/// before it stops reading.
const MAX_BYTES: usize = 64 * 1024;

/// What each request counts in addition to its contents: about the memory that it occupies when it is decoded.
const REQUEST_BYTES: usize = 512;

/// The capacity that an empty queue may keep.
const KEPT_CAPACITY: usize = 8;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue<P> {
    requests: VecDeque<Request<P>>,
    bytes: usize,
}

fn bytes_of<P>(request: &Request<P>) -> usize {
    let contents = match request {
        Request::Call(call) => {
            call.invoke.method.len() + call.invoke.arguments.iter().map(|value| value.as_bytes().len()).sum::<usize>()
        }
        Request::StreamItem(_, item) => item.as_ref().map_or(0, |item| item.as_bytes().len()),
        Request::Completion(_, ClientResult::Result(value)) => value.as_bytes().len(),
        Request::Completion(_, ClientResult::Error(text)) => text.len(),
        Request::Completion(_, ClientResult::Void) | Request::Cancel(_) => 0,
    };
    REQUEST_BYTES + contents
}

impl<P> Queue<P> {
    pub(super) const fn new() -> Self {
        Self { requests: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, request: Request<P>) {
        self.bytes += bytes_of(&request);
        self.requests.push_back(request);
    }

    pub(super) fn first(&self) -> Option<&Request<P>> {
        self.requests.front()
    }

    pub(super) fn pop(&mut self) -> Option<Request<P>> {
        let request = self.requests.pop_front()?;
        self.bytes -= bytes_of(&request);
        if self.requests.is_empty() && self.requests.capacity() > KEPT_CAPACITY {
            self.requests = VecDeque::new();
        }
        Some(request)
    }

    /// True if a call that waits opens the stream with this id.
    pub(super) fn opens_stream(&self, id: &str) -> bool {
        self.requests
            .iter()
            .any(|request| matches!(request, Request::Call(call) if call.stream_ids.iter().any(|own| own == id)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    pub(super) fn calls(&self) -> usize {
        self.requests.iter().filter(|request| matches!(request, Request::Call(_))).count()
    }
}
