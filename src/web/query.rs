//! Everybody is whoever they say: for trying out, on a machine of one's own.

use actix_web::HttpRequest;

use super::{Authenticate, Unproven, query_of};
use crate::{UserId, hub::Identity};

/// Takes `?user=ann` at its word; who says nothing has no name. Nobody is authenticated by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryUser;

impl Authenticate for QueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, Unproven> {
        let users = query_of(request.query_string()).into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("user"));
        let user = users.map(|(_, user)| user).find(|user| !user.is_empty());
        Ok(Identity::named(user.map(UserId::from)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn identify(uri: &str) -> Identity {
        QueryUser.identify(&TestRequest::with_uri(uri).to_http_request()).unwrap()
    }

    #[test]
    fn a_client_is_who_it_says() {
        assert_eq!(identify("/chat?id=1&user=ann%20lee").user, Some("ann lee".into()));
        assert_eq!(identify("/chat?User=ann").user, Some("ann".into()));
    }

    #[test]
    fn who_says_nothing_is_nobody_and_nobody_is_authenticated() {
        assert_eq!(identify("/chat"), Identity::default());
        assert_eq!(identify("/chat?user="), Identity::default());
        assert!(!identify("/chat?user=ann").is_authenticated);
    }
}
