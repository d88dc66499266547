//! Checks of the paths of endpoints. Each returns all faults that it finds.

use super::BuildFault;
use crate::{aspnetcore, classic, hub::Hub, ids::HubName, web::BasePath};

/// What an endpoint serves below its path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    /// The negotiation of ASP.NET Core SignalR.
    Negotiate,
    /// Every path, as classic endpoints do.
    Everything,
}

/// An endpoint, as far as its path is concerned.
struct EndpointPath<'a> {
    path: &'a str,
    below: Below,
    hubs: &'a [HubName],
}

impl EndpointPath<'_> {
    /// Its path in lowercase, without and with the base path.
    fn variants(&self, base_path: &BasePath) -> [String; 2] {
        ["", base_path.as_str()].map(|base| format!("{base}{}", self.path).to_lowercase())
    }

    /// True if it serves requests for this path, which is in lowercase.
    fn serves(&self, request: &str, base_path: &BasePath) -> bool {
        let below = |path: &String| match (request.strip_prefix(path.as_str()), self.below) {
            (Some(""), _) | (Some("/negotiate"), Below::Negotiate) => true,
            (Some(rest), Below::Everything) => rest.starts_with('/'),
            (Some(_), Below::Negotiate) | (None, _) => false,
        };
        self.variants(base_path).iter().any(below)
    }

    /// A path of requests that both endpoints serve.
    fn overlap(&self, other: &Self, base_path: &BasePath) -> Option<String> {
        let requests = |endpoint: &Self| {
            let paths = endpoint.variants(base_path).into_iter();
            paths.flat_map(|path| [format!("{path}/negotiate"), path]).rev().collect::<Vec<_>>()
        };
        let is_served = |request: &String| [self, other].iter().all(|endpoint| endpoint.serves(request, base_path));
        requests(self).into_iter().chain(requests(other)).find(is_served)
    }
}

/// All faults of the endpoints.
pub(crate) fn endpoint_faults(
    aspnetcore: &[aspnetcore::Endpoint],
    classic: &[classic::Endpoint],
    hubs: &[Hub],
    base_path: &BasePath,
) -> Vec<BuildFault> {
    let aspnetcore = aspnetcore.iter().map(|endpoint| EndpointPath {
        path: endpoint.path(),
        below: Below::Negotiate,
        hubs: std::slice::from_ref(endpoint.hub()),
    });
    let classic = classic.iter().map(|endpoint| EndpointPath {
        path: endpoint.path(),
        below: Below::Everything,
        hubs: endpoint.hubs().unwrap_or_default(),
    });
    let (mut found, mut valid) = (Vec::new(), Vec::<EndpointPath<'_>>::new());
    for endpoint in aspnetcore.chain(classic) {
        found.extend(unknown_hubs(&endpoint, hubs));
        match path_fault(endpoint.path) {
            Some(fault) => found.push(fault),
            None => {
                found.extend(valid.iter().find_map(|earlier| overlap_fault(&endpoint, earlier, base_path)));
                valid.push(endpoint);
            }
        }
    }
    found
}

fn unknown_hubs(endpoint: &EndpointPath<'_>, hubs: &[Hub]) -> impl Iterator<Item = BuildFault> {
    let unknown = endpoint.hubs.iter().filter(|name| !hubs.iter().any(|hub| hub.name() == *name));
    unknown.map(|name| BuildFault::UnknownHub { path: endpoint.path.to_owned(), hub: name.to_string() })
}

fn path_fault(path: &str) -> Option<BuildFault> {
    let reason = if path.trim_matches('/').is_empty() {
        "is empty; write for example `/chat`"
    } else if !path.starts_with('/') {
        "does not begin with `/`"
    } else if path.ends_with('/') {
        "ends with `/`; remove it: requests with a `/` at the end are served, too"
    } else if path.contains(['{', '}']) {
        "contains a `{` or `}`, but is not a pattern: clients use the path as it is"
    } else if path.contains(['?', '#']) {
        "contains a `?` or `#`, which end the path of a request"
    } else if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        "contains an empty segment, `.` or `..`"
    } else {
        return None;
    };
    Some(BuildFault::InvalidPath { path: path.to_owned(), reason })
}

fn overlap_fault(one: &EndpointPath<'_>, other: &EndpointPath<'_>, base_path: &BasePath) -> Option<BuildFault> {
    let path = one.path.to_owned();
    if path.to_lowercase() == other.path.to_lowercase() {
        return Some(BuildFault::DuplicatePath(path));
    }
    let request = one.overlap(other, base_path)?;
    Some(BuildFault::OverlappingPaths { request, path, other: other.path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(path: &str) -> BasePath {
        path.parse().unwrap()
    }

    /// The faults of an engine with one hub, which is served at these paths.
    fn faults(aspnetcore: &[&str], classic: &[&str], base_path: &str) -> Vec<String> {
        let hub = Hub::new("chat");
        let aspnetcore: Vec<_> = aspnetcore.iter().map(|path| aspnetcore::Endpoint::new(path, hub.name())).collect();
        let classic: Vec<_> = classic.iter().map(|path| classic::Endpoint::new(path)).collect();
        let found = endpoint_faults(&aspnetcore, &classic, &[hub], &base(base_path));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_that_cannot_be_served_are_faults() {
        for (path, reason) in [
            ("", "is empty"),
            ("/", "is empty"),
            ("chat", "does not begin with `/`"),
            ("/chat/", "ends with `/`"),
            ("/{room}", "contains a `{` or `}`"),
            ("/chat?x", "contains a `?` or `#`"),
            ("/a//b", "contains an empty segment"),
            ("/a/../b", "contains an empty segment, `.` or `..`"),
        ] {
            for found in [faults(&[path], &[], ""), faults(&[], &[path], "")] {
                let [text] = &found[..] else { panic!("{path}: {found:?}") };
                assert!(text.starts_with(&format!("the path `{path}` of an endpoint {reason}")), "{text}");
            }
        }
        assert_eq!(faults(&["/chat", "/a/b.c", "/chätt"], &["/signalr", "/deep/one"], "/app"), [""; 0]);
    }

    #[test]
    fn equal_paths_are_a_fault() {
        let expected = ["two endpoints have the path `/Chat`, ignoring case"];
        assert_eq!(faults(&["/chat", "/Chat"], &[], ""), expected);
        assert_eq!(faults(&["/chat"], &["/Chat"], ""), expected);
    }

    #[test]
    fn overlapping_paths_are_a_fault() {
        for (aspnetcore, classic, base_path, request) in [
            (&["/chat", "/chat/negotiate"][..], &[][..], "", "/chat/negotiate"),
            (&["/Chat/Negotiate", "/chat"], &[], "", "/chat/negotiate"),
            (&["/chat"], &["/chat/negotiate"], "", "/chat/negotiate"),
            (&["/signalr/chat"], &["/signalr"], "", "/signalr/chat"),
            (&[], &["/signalr", "/signalr/admin"], "", "/signalr/admin"),
            (&[], &["/signalr/admin", "/signalr"], "", "/signalr/admin"),
            (&["/app/chat", "/chat"], &[], "/app", "/app/chat"),
            (&["/chat"], &["/signalr"], "/signalr", "/signalr/chat"),
        ] {
            let found = faults(aspnetcore, classic, base_path);
            let [text] = &found[..] else { panic!("{found:?}") };
            assert!(text.starts_with(&format!("requests for `{request}` match two endpoints, ")), "{text}");
        }
    }

    #[test]
    fn paths_beside_each_other_do_not_overlap() {
        let aspnetcore = ["/chat", "/chat/news", "/chatter", "/chat/negotiate/now", "/signalr2"];
        assert_eq!(faults(&aspnetcore, &["/signalr", "/chat/classic"], "/app"), [""; 0]);
    }
}
