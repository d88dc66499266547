//! Strict parsing of query strings. Unknown and repeated parameters are errors. An empty parameter counts as absent.

use actix_web::HttpRequest;

use super::AdminError;
use crate::{Engine, ids::HubName, web::parse_query};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a request, which may contain only `allowed` parameters.
    pub(super) fn from_request(request: &HttpRequest, allowed: &[&str]) -> Result<Self, AdminError> {
        Self::parse(request.query_string(), allowed)
    }

    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, AdminError> {
        let pairs = parse_query(text);
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                return Err(AdminError::invalid_parameter(name, format!("is unknown; allowed parameters: {allowed}")));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(AdminError::invalid_parameter(name, "is repeated"));
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The hub of the parameter `hub`, which must exist.
    pub(super) fn hub(&self, engine: &Engine) -> Result<Option<HubName>, AdminError> {
        let Some(name) = self.text("hub") else { return Ok(None) };
        let hubs = engine.hubs();
        match hubs.iter().find(|hub| &***hub == name) {
            Some(hub) => Ok(Some(hub.clone())),
            None => Err(AdminError::invalid_parameter("hub", format!("must be one of: {}", hubs.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameter_error_lists_allowed_ones() {
        let error = Query::parse("limt=5", &["limit", "sort"]).expect_err("an unknown parameter");
        assert_eq!(error.to_string(), "`limt` is unknown; allowed parameters: limit, sort");
        let error = Query::parse("limit=5", &[]).expect_err("no parameter is known");
        assert_eq!(error.to_string(), "`limit` is unknown; allowed parameters: none");
    }

    #[test]
    fn repeated_parameter_is_refused() {
        let error = Query::parse("sort=a&sort=b", &["sort"]).expect_err("a repeated parameter");
        assert_eq!(error.to_string(), "`sort` is repeated");
    }

    #[test]
    fn values_are_decoded_and_empty_ones_absent() {
        let query = Query::parse("user=a%26b+c&group=", &["user", "group"]).expect("allowed parameters");
        assert_eq!(query.text("user"), Some("a&b c"));
        assert_eq!(query.text("group"), None);
    }
}
