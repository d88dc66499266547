//! The query of a request, read strictly: a parameter that is not known or given twice is a mistake of the asker,
//! and an empty one is absent.

use actix_web::HttpRequest;

use super::AdminError;
use crate::{Engine, ids::HubName, web::query_of};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query, in which only `allowed` parameters may be.
    pub(super) fn read(request: &HttpRequest, allowed: &[&str]) -> Result<Self, AdminError> {
        Self::parse(request.query_string(), allowed)
    }

    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, AdminError> {
        let pairs = query_of(text);
        for (place, (name, _)) in pairs.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                return Err(AdminError::parameter(
                    name,
                    format!("is not known here; known are: {}", allowed.join(", ")),
                ));
            }
            if pairs[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(AdminError::parameter(name, "is given twice"));
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A hub that there is, if one is named.
    pub(super) fn hub(&self, engine: &Engine) -> Result<Option<HubName>, AdminError> {
        let Some(wanted) = self.text("hub") else { return Ok(None) };
        let hubs = engine.hubs();
        match hubs.iter().find(|hub| &***hub == wanted) {
            Some(hub) => Ok(Some(hub.clone())),
            None => Err(AdminError::parameter("hub", format!("has to be one of: {}", hubs.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_named_with_those_that_are_known() {
        let refusal = Query::parse("limt=5", &["limit", "sort"]).expect_err("a typing mistake");
        assert_eq!(refusal.to_string(), "`limt` is not known here; known are: limit, sort");
    }

    #[test]
    fn a_parameter_that_is_given_twice_is_refused() {
        let refusal = Query::parse("sort=a&sort=b", &["sort"]).expect_err("two answers to one question");
        assert_eq!(refusal.to_string(), "`sort` is given twice");
    }

    #[test]
    fn a_value_is_decoded_and_an_empty_one_is_absent() {
        let query = Query::parse("user=a%26b+c&group=", &["user", "group"]).expect("both are known");
        assert_eq!(query.text("user"), Some("a&b c"));
        assert_eq!(query.text("group"), None);
    }
}
