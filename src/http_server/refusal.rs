//! Requests that are refused before an application gets them, and their responses.

use std::{fmt, time::SystemTime};

use actix_http::header::HttpDate;
use actix_web::http::StatusCode;

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    RequestLine,
    Version,
    LineBreak,
    FieldName,
    FieldValue,
    TooManyFields,
    TooLong,
    Target,
    TargetTooLong,
    Host,
    ContentLength,
    TransferEncoding,
    NoLength,
    /// The first head of a connection did not arrive in time.
    TooSlow,
}

impl Refusal {
    /// Wire: the statuses are those of Kestrel for the same faults.
    fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooManyFields | Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::RequestLine
            | Self::LineBreak
            | Self::FieldName
            | Self::FieldValue
            | Self::Target
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::NoLength => StatusCode::BAD_REQUEST,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::RequestLine => {
                "The request does not begin with a method, a target and a version, each followed by one space or a line \
                 break. This port speaks HTTP/1.1."
            }
            Self::Version => "The HTTP version is not supported. Use HTTP/1.1 or HTTP/1.0.",
            Self::LineBreak => "A line of the request head does not end in a line break.",
            Self::FieldName => {
                "The name of a header contains an invalid character or is too long, or its colon is missing."
            }
            Self::FieldValue => "The value of a header contains a control character or continues on another line.",
            Self::TooManyFields => "The request has more than 96 headers.",
            Self::TooLong => "The request head has more than 131072 bytes.",
            Self::Target => {
                "The request target is not valid, or no HTTP version follows it. Percent-encode its reserved characters."
            }
            Self::TargetTooLong => "The request target has more than 65534 bytes.",
            Self::Host => "A request of HTTP/1.1 has exactly one Host header.",
            Self::ContentLength => "The Content-Length header is not one number.",
            Self::TransferEncoding => {
                "The only supported Transfer-Encoding is chunked, in HTTP/1.1 and without Content-Length."
            }
            Self::NoLength => "A POST request of HTTP/1.0 has a Content-Length header.",
            Self::TooSlow => "The request head did not arrive in time.",
        }
    }

    /// The response, after which the connection is closed.
    pub(super) fn response(self, now: SystemTime) -> Vec<u8> {
        let (status, text) = (self.status(), self.text());
        let (date, length) = (HttpDate::from(now), text.len());
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             connection: close\r\ndate: {date}\r\n\r\n{text}"
        )
        .into_bytes()
    }
}

/// The text of the response.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_states_status_and_reason() {
        let response = String::from_utf8(Refusal::Version.response(SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(
            response,
            "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 60\r\n\
             content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
             date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\
             The HTTP version is not supported. Use HTTP/1.1 or HTTP/1.0."
        );
    }
}
