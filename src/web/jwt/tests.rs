use std::time::SystemTime;

use actix_web::test::TestRequest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::client_log::without_contents;

const SECRET: &str = "a secret that is as long as HS256 wants";
/// Keys that are used only in these tests.
const PRIVATE: &[u8] = include_bytes!("test-private.pem");
const PUBLIC: &str = include_str!("test-public.pem");

/// The Unix time `seconds` from now.
fn at(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn public_key() -> PublicKey {
    PUBLIC.parse().unwrap()
}

fn hs256(claims: &Value, secret: &str) -> String {
    crypto::install_for_jwt();
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn rs256(claims: &Value) -> String {
    crypto::install_for_jwt();
    encode(&Header::new(Algorithm::RS256), claims, &EncodingKey::from_rsa_pem(PRIVATE).unwrap()).unwrap()
}

fn identify(jwt: &Jwt, token: &str) -> Result<Identity, AuthError> {
    let request = TestRequest::default().insert_header(("Authorization", format!("Bearer {token}")));
    jwt.identify(&request.to_http_request())
}

/// The reason why a token is refused.
fn refusal(jwt: &Jwt, token: &str) -> String {
    identify(jwt, token).unwrap_err().0
}

fn ann() -> Value {
    json!({ "sub": "ann", "exp": at(600), "admin": true, "team": "blue" })
}

#[test]
fn valid_token_yields_user_claims_and_expiry() {
    let identity = identify(&Jwt::default().secret(SECRET), &hs256(&ann(), SECRET)).unwrap();
    assert_eq!(identity.user, Some("ann".into()));
    assert!(identity.is_authenticated);
    assert_eq!((&*identity.claims["team"], &*identity.claims["admin"]), ("blue", "true"));
    let left = identity.expires.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((Duration::from_secs(600)..=Duration::from_secs(660)).contains(&left), "{left:?}");
}

#[test]
fn token_is_accepted_in_query() {
    let uri = format!("/chat?id=1&access_token={}", hs256(&ann(), SECRET));
    let request = TestRequest::with_uri(&uri).to_http_request();
    let identity = Jwt::default().secret(SECRET).identify(&request).unwrap();
    assert_eq!(identity.user, Some("ann".into()));
}

#[test]
fn every_key_is_tried() {
    let jwt = Jwt::default().secret("another secret as long as HS256 wants").public_key(public_key()).secret(SECRET);
    assert!(identify(&jwt, &hs256(&ann(), SECRET)).is_ok());
    assert!(identify(&jwt, &rs256(&ann())).is_ok());
}

#[test]
fn reason_is_that_of_the_matching_key() {
    let other = "another secret as long as HS256 wants";
    for [first, second] in [[SECRET, other], [other, SECRET]] {
        let jwt = Jwt::default().secret(first).secret(second).audience(Some("chat".into()));
        let with = |claims: Value| refusal(&jwt, &hs256(&claims, SECRET));
        assert!(with(json!({ "sub": "ann", "exp": at(-120), "aud": "chat" })).contains("expired"));
        assert!(with(json!({ "sub": "ann", "exp": at(600), "aud": "mail" })).contains("another audience"));
        assert!(with(json!({ "sub": "ann", "aud": "chat" })).contains("lacks a claim"));
        let forged = hs256(&ann(), "a third secret that is as long as it has to be");
        assert!(refusal(&jwt, &forged).contains("signature is wrong"));
    }
}

#[test]
fn token_with_critical_extension_is_refused() {
    crypto::install_for_jwt();
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &ann(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert!(refusal(&Jwt::default().secret(SECRET), &token).contains("crit"));
}

#[test]
fn missing_and_malformed_tokens_are_refused() {
    let jwt = Jwt::default().secret(SECRET);
    let without = jwt.identify(&TestRequest::default().to_http_request()).unwrap_err().0;
    assert!(without.contains("is required"), "{without}");
    for nonsense in ["", "x", "a.b.c", "...."] {
        assert!(refusal(&jwt, nonsense).contains("not a JSON web token"), "{nonsense}");
    }
}

#[test]
fn reasons_of_refusals_are_logged_in_full() {
    let jwt = Jwt::default().secret(SECRET);
    let without_token = jwt.identify(&TestRequest::default().to_http_request()).unwrap_err().0;
    let without_expiry = refusal(&jwt, &hs256(&json!({ "sub": "ann" }), SECRET));
    let without_user = refusal(&jwt, &hs256(&json!({ "exp": at(600) }), SECRET));
    for reason in [without_token, without_expiry, without_user] {
        assert_eq!(without_contents(&reason), reason);
    }
}

#[test]
fn expired_and_unlimited_tokens_are_refused() {
    let jwt = Jwt::default().secret(SECRET);
    let expired = hs256(&json!({ "sub": "ann", "exp": at(-120) }), SECRET);
    assert!(refusal(&jwt, &expired).contains("expired"));
    assert!(refusal(&jwt, &hs256(&json!({ "sub": "ann" }), SECRET)).contains("lacks a claim"));
    let early = hs256(&json!({ "sub": "ann", "exp": at(600), "nbf": at(300) }), SECRET);
    assert!(refusal(&jwt, &early).contains("not valid yet"));
}

#[test]
fn token_signed_with_another_key_is_refused() {
    let jwt = Jwt::default().secret(SECRET).public_key(public_key());
    let forged = hs256(&ann(), "another secret as long as HS256 wants");
    assert!(refusal(&jwt, &forged).contains("signature is wrong"));
}

#[test]
fn only_public_keys_are_parsed() {
    let private = str::from_utf8(PRIVATE).unwrap();
    assert_eq!(private.parse::<PublicKey>().unwrap_err(), InvalidPublicKey::PrivateKey);
    for text in ["", "no key", &PUBLIC[..PUBLIC.len() / 2]] {
        assert_eq!(text.parse::<PublicKey>().unwrap_err(), InvalidPublicKey::NotAPublicKey);
    }
}

#[test]
fn public_key_cannot_be_used_as_secret() {
    let jwt = Jwt::default().public_key(public_key());
    let forged = hs256(&ann(), PUBLIC);
    assert!(refusal(&jwt, &forged).contains("none of the keys is for its algorithm"));
}

#[test]
fn unsigned_token_is_refused() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let jwt = Jwt::default().secret(SECRET).public_key(public_key());
    for algorithm in ["none", "None", "NONE", ""] {
        let token = format!("{}.{}.", part(json!({ "alg": algorithm, "typ": "JWT" })), part(ann()));
        assert!(refusal(&jwt, &token).contains("not a JSON web token"), "{algorithm}");
    }
    let stripped = hs256(&ann(), SECRET);
    let stripped = &stripped[..=stripped.rfind('.').unwrap()];
    assert!(refusal(&jwt, stripped).contains("signature is wrong"));
}

#[test]
fn configured_audience_and_issuer_are_required() {
    let jwt = Jwt::default().secret(SECRET).audience(Some("chat".into())).issuer(Some("us".into()));
    let with = |audience: Value, issuer: Value| {
        let claims = json!({ "sub": "ann", "exp": at(600), "aud": audience, "iss": issuer });
        identify(&jwt, &hs256(&claims, SECRET)).map_err(|refusal| refusal.0)
    };
    assert!(with(json!("chat"), json!("us")).is_ok());
    assert!(with(json!(["mail", "chat"]), json!("us")).is_ok());
    assert!(with(json!("mail"), json!("us")).unwrap_err().contains("another audience"));
    assert!(with(json!("chat"), json!("them")).unwrap_err().contains("another issuer"));
    assert!(refusal(&jwt, &hs256(&ann(), SECRET)).contains("lacks a claim"));
    let unrestricted = Jwt::default().secret(SECRET);
    let claims = json!({ "sub": "ann", "exp": at(600), "aud": "mail", "iss": "them" });
    assert!(identify(&unrestricted, &hs256(&claims, SECRET)).is_ok());
}

#[test]
fn user_claim_is_configurable() {
    let jwt = Jwt::default().secret(SECRET).user_claim("uid");
    let token = |uid: Value| hs256(&json!({ "uid": uid, "exp": at(600) }), SECRET);
    assert_eq!(identify(&jwt, &token(json!("ann"))).unwrap().user, Some("ann".into()));
    assert_eq!(identify(&jwt, &token(json!(7))).unwrap().user, Some("7".into()));
    for missing in [Value::Null, json!("")] {
        assert!(refusal(&jwt, &token(missing)).contains("names no user in its claim uid"));
    }
}
