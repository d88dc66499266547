//! Checks of the decoders that hold for any bytes of a client. Fuzz targets run them on generated input, and a test on
//! samples.

use std::{
    iter,
    sync::{Arc, LazyLock},
};

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    Settings,
    callback::Callback,
    cursor::Cursor,
    message::{self, Call, MAX_NESTING},
    negotiate::{NegotiateResponse, Version},
    query::{Operation, parse_connection_data, query_parameter},
    token::ConnectionToken,
};
use crate::{
    hub::{Arguments, Hub, Request, bind::Binding, decoder_checks::check_arguments},
    payload::{Format, json_depth, quote, to_line},
    tokens::KeyRing,
    web::parse_query,
};

static HUBS: LazyLock<[Arc<Hub>; 2]> = LazyLock::new(|| ["chat", "other"].map(|name| Arc::new(Hub::new(name))));
static RING: LazyLock<KeyRing> = LazyLock::new(KeyRing::ephemeral);

/// Decodes a message.
///
/// # Panics
/// If the message is another one after it was encoded and decoded again, or an argument is not as described at
/// [`check_arguments`].
pub fn classic_message(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    drop(message::id_of_invalid(&text));
    let Ok(call) = message::decode(&text) else { return };
    let written = encode(&call);
    let read = message::decode(&written).expect("an encoded call is valid");
    assert_eq!(encode(&read), written);
    // Calls with deeper values are refused.
    let is_flat = |json: &str| json_depth(json) <= MAX_NESTING;
    if call.arguments.iter().all(|argument| argument.as_json().is_some_and(is_flat)) {
        check_arguments(&Arguments::new(Format::Json, call.arguments, Binding::Lenient));
    }
}

fn encode(call: &Call) -> String {
    let arguments = to_line(&call.arguments).expect("arguments are JSON");
    let others = json!({ "H": call.hub, "M": call.method, "I": call.id, "S": call.state });
    let others = to_line(&others).expect("strings and JSON values always serialize");
    format!(r#"{{"A":{arguments},{}"#, &others[1..])
}

/// Reads the path and the query of a request, which are separated by `?`.
///
/// # Panics
/// If a value is another one after it was encoded and decoded again, an unsupported version is accepted, a token is
/// valid that was not issued, or a callback changes the response.
pub fn classic_query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (path, query) = text.split_once('?').unwrap_or(("", &text));
    check_operation(path);
    let request = Request { query: parse_query(query), ..Request::default() };
    check_version(query_parameter(&request, "clientProtocol").as_deref());
    let read = |name, check: fn(&str)| query_parameter(&request, name).as_deref().map_or((), check);
    read("connectionData", check_connection_data);
    read("messageId", check_cursor);
    read("connectionToken", |token| assert_eq!(ConnectionToken::open(token, &RING), None));
    read("callback", check_callback);
}

fn check_operation(path: &str) {
    if let Operation::Proxies(url) = Operation::from_path(path) {
        assert!(path.starts_with(&url));
    }
}

/// The version is supported, and a client that requests it gets it.
fn check_version(requested: Option<&str>) {
    let text = |version| NegotiateResponse::new(&Settings::default(), "", "", String::new(), version).protocol_version;
    let version = Version::negotiate(requested);
    assert_eq!(Version::negotiate(Some(&text(&version))), version);
    let parts: Vec<u32> = text(&version).split('.').map(|part| part.parse().expect("a part is a number")).collect();
    assert!(vec![1, 2] <= parts && parts <= vec![2, 0]);
}

fn check_connection_data(data: &str) {
    let names = |hubs: &[Arc<Hub>]| hubs.iter().map(|hub| hub.name().to_string()).collect::<Vec<_>>();
    let Ok(hubs) = parse_connection_data(Some(data), &*HUBS) else { return };
    assert!(hubs.len() <= HUBS.len(), "no hub occurs twice");
    let written: Vec<_> = names(&hubs).into_iter().map(|name| json!({ "name": name })).collect();
    let read = parse_connection_data(Some(&Value::from(written).to_string()), &*HUBS).expect("these hubs are served");
    assert_eq!(names(&read), names(&hubs));
}

fn check_cursor(text: &str) {
    let Some(cursor) = Cursor::parse(text) else { return };
    let mut written = BytesMut::new();
    cursor.write(&mut written);
    let written = str::from_utf8(&written).expect("a cursor is text");
    assert_eq!(Cursor::parse(written), Some(cursor));
}

fn check_callback(name: &str) {
    let Ok(callback) = Callback::parse(name) else { return };
    let json = quote(&iter::repeat_n(name, 2).chain(["</script>\u{2028}"]).collect::<String>());
    let script = String::from_utf8(callback.wrap(json.as_bytes())).expect("a script is text");
    let argument = script.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(");"));
    let argument = argument.expect("the script calls the function");
    assert!(!argument.contains(['<', '>', '\u{2028}', '\u{2029}']), "a page cannot read {argument} as markup");
    let read = |json| serde_json::from_str::<String>(json).expect("the argument is a string");
    assert_eq!(read(argument), read(&json));
}
