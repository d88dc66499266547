//! Checks of the query of a negotiate request.

use std::{sync::LazyLock, time::Duration};

use crate::{
    aspnetcore::{
        negotiate::{NEWEST_VERSION, REJOIN_PARAM, Redirect, negotiate_version},
        negotiations::Negotiations,
    },
    hub::Request,
    tokens::{KeyRing, SharedKeyRing},
    web::{parse_query, query_value},
};

static NEGOTIATIONS: LazyLock<Negotiations> =
    LazyLock::new(|| Negotiations::new(SharedKeyRing::new(KeyRing::ephemeral()), Duration::from_secs(15)));

/// Reads the query of a negotiate request.
///
/// # Panics
/// If the query is another one after it was encoded and decoded again, an unsupported version is accepted, a token is
/// valid that was not issued, or a redirect does not pass on the rejoin parameter.
pub fn negotiate_query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let query = parse_query(&text);
    assert_eq!(parse_query(&encode(&query)), query);
    check_redirect(&text, &query);
    if let Some(token) = query_value(&query, "id") {
        assert!(NEGOTIATIONS.verify(&token, "/chat").is_none());
    }
    let request = Request { query, ..Request::default() };
    for minimum in [0, 1] {
        match negotiate_version(&request, minimum) {
            Ok(version) => assert!((minimum..=NEWEST_VERSION).contains(&version)),
            Err(error) => assert!(error.text().len() < 200),
        }
    }
}

fn encode(query: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
}

/// A redirect to a URL with this query keeps it. The rejoin parameter is added unless it is there.
fn check_redirect(text: &str, query: &[(String, String)]) {
    let redirect = Redirect::to(format!("https://a/chat?{text}")).with_rejoin_value(Some("a b&c"));
    let redirect = serde_json::to_value(&redirect).expect("a redirect consists of strings");
    let (_, redirected) = redirect["url"].as_str().and_then(|url| url.split_once('?')).expect("the URL has a query");
    let redirected = parse_query(redirected);
    let added = (REJOIN_PARAM.to_owned(), "a b&c".to_owned());
    let is_set = query.iter().any(|(name, _)| name.eq_ignore_ascii_case(REJOIN_PARAM));
    let expected: Vec<_> = query.iter().cloned().chain((!is_set).then_some(added)).collect();
    assert_eq!(redirected, expected);
}
