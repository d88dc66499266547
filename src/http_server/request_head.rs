//! The head of a request: where it ends, what follows it, and which bytes of its target are encoded (pure).
//!
//! A head is read by the rules of actix-http and with the parser of actix-http, so that both agree about each head. A
//! test compares them.

use std::{fmt::Write, mem::MaybeUninit, ops::Range};

use actix_web::http::{Method, Uri};
use bytes::{BufMut, BytesMut};
use httparse::{Error, Header, Request, Status};

use super::refusal::Refusal;

/// The maximum length of a head in bytes, as in actix-http.
pub(super) const MAX_LENGTH: usize = 131_072;

/// The maximum number of header fields, as in actix-http.
const MAX_FIELDS: usize = 96;

/// The maximum length of a target in bytes, as in the type `Uri`.
const MAX_TARGET_LENGTH: usize = 65_534;

/// The maximum length of the name of a header field in bytes. actix-http panics at longer ones.
const MAX_FIELD_NAME_LENGTH: usize = 65_535;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A body of this length, perhaps empty, and then another head.
    Body(u64),
    /// Something else: a body in chunks, another protocol, or nothing.
    Unknown,
}

/// A complete head.
#[derive(Debug)]
pub(super) struct RequestHead {
    /// In bytes, as received.
    pub(super) length: usize,
    pub(super) next: Next,
    /// The encoded target and its place, if some bytes of the target must be encoded.
    encoded: Option<(Range<usize>, String)>,
}

impl RequestHead {
    /// Reads the head that `bytes` begin with; `None` if it is incomplete.
    ///
    /// # Errors
    /// If actix-http would refuse it.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if bytes.len() < MAX_LENGTH => return Ok(None),
            Ok(Status::Partial) => return Err(Refusal::TooLong),
            Err(error) => return Err(refusal(error, &request, bytes)),
        };
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        let encoded = encode(target);
        check_target(encoded.as_deref().unwrap_or(target))?;
        let fields = Fields::read(request.headers, request.version == Some(1))?;
        let is_unbounded = method == Method::CONNECT.as_str();
        let next = fields.next(method == Method::POST.as_str())?;
        let start = target_start(bytes, method);
        let head = Self {
            length,
            next: if is_unbounded { Next::Unknown } else { next },
            encoded: encoded.map(|encoded| (start..start + target.len(), encoded)),
        };
        if head.encoded_length() < MAX_LENGTH { Ok(Some(head)) } else { Err(Refusal::TooLong) }
    }

    fn encoded_length(&self) -> usize {
        let growth = self.encoded.as_ref().map_or(0, |(place, encoded)| encoded.len() - place.len());
        self.length + growth
    }

    /// Appends the head to `output`. `bytes` are those that it was read from.
    pub(super) fn write(&self, bytes: &[u8], output: &mut BytesMut) {
        let head = &bytes[..self.length];
        match &self.encoded {
            None => output.put_slice(head),
            Some((place, encoded)) => {
                output.reserve(self.encoded_length());
                for part in [&head[..place.start], encoded.as_bytes(), &head[place.end..]] {
                    output.put_slice(part);
                }
            }
        }
    }
}

/// Where the target begins. The parser accepts line breaks before the method, and one space after it.
fn target_start(bytes: &[u8], method: &str) -> usize {
    let line_breaks = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    line_breaks + method.len() + 1
}

/// The reason for an error of the parser in `bytes`. `request` has the parts before the error.
fn refusal(error: Error, request: &Request<'_, '_>, bytes: &[u8]) -> Refusal {
    match (error, request.method, request.path) {
        (Error::HeaderName, ..) => Refusal::FieldName,
        (Error::HeaderValue, ..) => Refusal::FieldValue,
        (Error::TooManyHeaders, ..) => Refusal::TooManyFields,
        (Error::NewLine, ..) => Refusal::LineBreak,
        (Error::Version, Some(method), Some(target)) => {
            let version = &bytes[target_start(bytes, method) + target.len() + 1..];
            if version.starts_with(b"HTTP/") { Refusal::Version } else { Refusal::RequestLine }
        }
        (Error::Token, Some(_), None) => Refusal::Target,
        (Error::Status | Error::Token | Error::Version, ..) => Refusal::RequestLine,
    }
}

/// The target with the bytes encoded that clients send as they are, and that ASP.NET servers accept, but the type `Uri`
/// does not; `None` if there are none.
fn encode(target: &str) -> Option<String> {
    let path_length = target.find('?').unwrap_or(target.len());
    let is_refused = |place: usize, byte: u8| match byte {
        b'<' | b'>' | 0x80.. => true,
        b'"' => place > path_length,
        b'`' => place < path_length,
        _ => false,
    };
    let bytes = || target.bytes().enumerate();
    if !bytes().any(|(place, byte)| is_refused(place, byte)) {
        return None;
    }
    let mut encoded = String::with_capacity(target.len() + 64);
    for (place, byte) in bytes() {
        if is_refused(place, byte) {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        } else {
            encoded.push(byte.into());
        }
    }
    Some(encoded)
}

fn check_target(target: &str) -> Result<(), Refusal> {
    if target.len() > MAX_TARGET_LENGTH {
        return Err(Refusal::TargetTooLong);
    }
    Uri::try_from(target).map(|_| ()).map_err(|_| Refusal::Target)
}

/// The header fields that decide what follows the head.
#[derive(Debug, Default)]
struct Fields {
    is_http_1_1: bool,
    hosts: usize,
    content_length: Option<u64>,
    is_chunked: bool,
    /// The connection ends or changes its protocol after the request.
    is_last: bool,
    has_websocket: bool,
}

impl Fields {
    fn read(fields: &[Header<'_>], is_http_1_1: bool) -> Result<Self, Refusal> {
        let mut read = Self { is_http_1_1, ..Self::default() };
        for Header { name, value } in fields {
            if name.len() > MAX_FIELD_NAME_LENGTH {
                return Err(Refusal::FieldName);
            }
            read.add(name, value)?;
        }
        Ok(read)
    }

    fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // A value that is not text has no known content.
        let value = if value.is_ascii() { std::str::from_utf8(value).unwrap_or_default().trim() } else { "" };
        if is("host") {
            self.hosts += 1;
        } else if is("content-length") {
            let length = value.parse().ok().filter(|_| !value.starts_with('+'));
            let is_repeated = self.content_length.is_some();
            self.content_length = length.filter(|_| !is_repeated);
            self.content_length.ok_or(Refusal::ContentLength)?;
        } else if is("transfer-encoding") {
            let is_valid = self.is_http_1_1 && !self.is_chunked && value.eq_ignore_ascii_case("chunked");
            self.is_chunked = is_valid;
            is_valid.then_some(()).ok_or(Refusal::TransferEncoding)?;
        } else if is("upgrade") {
            self.is_last = true;
            self.has_websocket |= value.eq_ignore_ascii_case("websocket");
        } else if is("connection") {
            let mut options = value.split(',').map(str::trim);
            self.is_last |= options.any(|option| !option.eq_ignore_ascii_case("keep-alive"));
        }
        Ok(())
    }

    fn next(&self, is_post: bool) -> Result<Next, Refusal> {
        if self.hosts > 1 || self.is_http_1_1 && self.hosts == 0 {
            return Err(Refusal::Host);
        }
        if self.is_chunked && self.content_length.is_some() {
            return Err(Refusal::TransferEncoding);
        }
        let has_length = self.content_length.is_some() || self.has_websocket;
        if !self.is_http_1_1 && is_post && !has_length {
            return Err(Refusal::NoLength);
        }
        let is_unknown = self.is_last || self.is_chunked || !self.is_http_1_1;
        Ok(if is_unknown { Next::Unknown } else { Next::Body(self.content_length.unwrap_or(0)) })
    }
}

#[cfg(test)]
mod tests;
