//! The path prefix below which clients reach the server.

use std::{fmt, str::FromStr, sync::Arc};

use actix_web::{HttpMessage, HttpRequest};
use serde::{Deserialize, Deserializer, de::Error};

/// A path prefix such as `/app`, or the empty one. Clients see it before every path of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath(Arc<str>);

/// A text is not a path prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path prefix; write it as `/app` or `/team/app`: it begins with one `/`, has at most 255 characters, \
     and its segments consist of letters, digits and `-._~!$()*+;=:@%`"
)]
pub struct InvalidBasePath(String);

/// The longest prefix, in bytes. It is far longer than those in use, and the server repeats it in responses.
const MAX_LENGTH: usize = 255;

impl Default for BasePath {
    fn default() -> Self {
        Self("".into())
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BasePath {
    type Err = InvalidBasePath;

    fn from_str(text: &str) -> Result<Self, InvalidBasePath> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_valid = path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment));
        if is_valid && path.len() <= MAX_LENGTH { Ok(Self(path.into())) } else { Err(InvalidBasePath(text.to_owned())) }
    }
}

impl<'de> Deserialize<'de> for BasePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// True for a path segment that needs no escape in HTML and JavaScript. An empty segment could begin `//host`, which
/// browsers resolve to another server.
fn is_segment(segment: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$()*+;=:@%".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed)
}

/// What a trusted proxy has removed from the front of a request's path. It is in the extensions of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemovedPrefix(pub(super) BasePath);

impl BasePath {
    /// The prefix, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same two prefixes, one after the other.
    pub(super) fn join(&self, inner: &Self) -> Self {
        Self(format!("{self}{inner}").into())
    }

    /// True if a path begins with this prefix. Paths are compared without case.
    fn contains(&self, path: &str) -> bool {
        let start = path.get(..self.0.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.0));
        start && path.get(self.0.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path by which the client of `request` reaches `path`, a path that the server has received from it. A proxy
    /// may have removed the prefix or not; a trusted one can state the prefix that it has removed.
    pub(crate) fn public_path(&self, request: &HttpRequest, path: &str) -> String {
        match request.extensions().get::<RemovedPrefix>() {
            Some(RemovedPrefix(prefix)) => format!("{prefix}{path}"),
            None if self.contains(path) => path.to_owned(),
            None => format!("{self}{path}"),
        }
    }

    /// A regex pattern that matches `path` with and without this prefix, without the leading slash.
    pub(crate) fn optional_pattern(&self, path: &str) -> String {
        let path = case_insensitive_pattern(path.trim_start_matches('/'));
        match self.0.strip_prefix('/') {
            Some(prefix) => format!("(?:{}/)?{path}", case_insensitive_pattern(prefix)),
            None => path,
        }
    }
}

/// A regex pattern that matches this path literally; inside of `(?i:…)` it matches case-insensitively.
fn case_insensitive_pattern(path: &str) -> String {
    path.chars().flat_map(|c| [(!c.is_alphanumeric() && c != '/').then_some('\\'), Some(c)]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn base(text: &str) -> BasePath {
        text.parse().unwrap()
    }

    #[test]
    fn prefix_is_parsed_without_trailing_slash() {
        for (text, parsed) in [("", ""), ("/", ""), ("/app", "/app"), ("/app/", "/app"), ("/a-1/b.c~", "/a-1/b.c~")] {
            assert_eq!(base(text).as_str(), parsed);
        }
        let long = format!("/{}", "a".repeat(MAX_LENGTH));
        let bad =
            ["app", "//evil.example", "/a//b", "/a/../b", "/.", "/a b", "/a\"", "/<script>", "/é", "/a?b", "/\\x"];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert_eq!(text.parse::<BasePath>(), Err(InvalidBasePath(text.to_owned())));
        }
    }

    #[test]
    fn public_path_has_the_prefix_once() {
        let request = TestRequest::default().to_http_request();
        for (prefix, path, public) in [
            ("", "/signalr", "/signalr"),
            ("/app", "/signalr", "/app/signalr"),
            ("/app", "/app/signalr", "/app/signalr"),
            ("/app", "/APP/signalr", "/APP/signalr"),
            ("/app", "/apple/signalr", "/app/apple/signalr"),
            ("/app", "/app", "/app"),
            ("/app", "/é", "/app/é"),
        ] {
            assert_eq!(base(prefix).public_path(&request, path), public);
        }
    }

    #[test]
    fn removed_prefix_comes_before_the_received_path() {
        let request = TestRequest::default().to_http_request();
        request.extensions_mut().insert(RemovedPrefix(base("/outer")));
        assert_eq!(base("/app").public_path(&request, "/signalr"), "/outer/signalr");
        assert_eq!(base("/app").public_path(&request, "/app/signalr"), "/outer/app/signalr");
    }

    #[test]
    fn pattern_matches_with_and_without_prefix() {
        assert_eq!(base("").optional_pattern("/signalr"), "signalr");
        assert_eq!(base("/my.app").optional_pattern("/signalr"), r"(?:my\.app/)?signalr");
    }
}
