//! The hubs of the tests. Members of objects have .NET names.

use std::time::{Duration, UNIX_EPOCH};

use hubcast::{Args, Binary, Caller, Clients, Hub, HubError, Timestamp, hub::Connected};
use serde::{Deserialize, Serialize};

use crate::streams;

type UnitResult = Result<(), HubError>;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CustomObject {
    name: Option<String>,
    value: i32,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ComplexObject {
    byte_array: Binary,
    date_time: Timestamp,
    guid: String,
    int_array: Vec<i32>,
    string: Option<String>,
}

/// The beginning of the year 2000, in seconds since 1970.
const YEAR_2000: Duration = Duration::from_secs(946_684_800);

/// The name of the hub of most tests.
pub(super) const TEST_HUB: &str = "TestHub";

/// The hub of most tests.
pub(super) fn test_hub() -> Hub {
    streams::add_to(Hub::new(TEST_HUB))
        .method("Echo", echo)
        .method("ThrowException", throw_exception)
        .method("InvokeWithString", invoke_with_string)
        .method("SendCustomObject", send_custom_object)
        .method("EchoComplexObject", async |Args((object,)): Args<(ComplexObject,)>| Ok(object))
        .method("SendComplexObject", async || Ok(complex_object()))
        .method("GetCallerConnectionId", async |caller: Caller| Ok(caller.id().clone()))
        .method("GetNumRedirects", get_num_redirects)
        .method("GetActiveTransportName", async |caller: Caller| Ok(caller.transport()))
        .method("GetContentTypeHeader", async |caller: Caller| Ok(header(&caller, "content-type")))
        .method("GetHeader", async |caller: Caller, Args((name,)): Args<(String,)>| Ok(header(&caller, &name)))
        .method("GetCookie", async |caller: Caller, Args((name,)): Args<(String,)>| Ok(cookie(&caller, &name)))
}

/// The hub of the endpoint without a hub protocol. It sends back what it receives. Only a client with the cookie of the
/// negotiation stays, or one with a WebSocket.
pub(super) fn echo_hub() -> Hub {
    let connected = async |Connected(context): Connected| {
        let caller = context.caller();
        let may_stay = caller.transport() == "WebSockets" || cookie(caller, "testCookie").is_some();
        if may_stay { Ok(()) } else { Err(HubError::new("the cookie is missing")) }
    };
    Hub::new("Echo").on_connected(connected).method("Receive", async |Args((bytes,)): Args<(Binary,)>| Ok(bytes))
}

/// The hub for clients with a token.
pub(super) fn authorized_hub() -> Hub {
    Hub::new("HubWithAuthorization").method("Echo", echo)
}

/// The hub that refuses every connection.
pub(super) fn uncreatable_hub() -> Hub {
    let text = "Unable to resolve service for type 'System.Object' while attempting to activate \
                'FunctionalTests.UncreatableHub'.";
    Hub::new("UncreatableHub").on_connected(move |_: Connected| async move { Err(failure(text)) })
}

/// Wire: the tests expect the type name of .NET.
pub(super) fn failure(text: &str) -> HubError {
    HubError::hidden("InvalidOperationException", text)
}

async fn echo(Args((message,)): Args<(Option<String>,)>) -> Result<Option<String>, HubError> {
    Ok(message)
}

async fn throw_exception(Args((message,)): Args<(String,)>) -> UnitResult {
    Err(failure(&message))
}

async fn invoke_with_string(caller: Caller, clients: Clients, Args((message,)): Args<(String,)>) -> UnitResult {
    clients.client(caller.id().clone()).send("Message", (message,)).await?;
    Ok(())
}

async fn send_custom_object(caller: Caller, clients: Clients, Args((object,)): Args<(CustomObject,)>) -> UnitResult {
    clients.client(caller.id().clone()).send("CustomObject", (object,)).await?;
    Ok(())
}

fn complex_object() -> ComplexObject {
    ComplexObject {
        byte_array: Binary(vec![1, 2, 3]),
        date_time: (UNIX_EPOCH + YEAR_2000).into(),
        guid: "00010203-0405-0607-0706-050403020100".into(),
        int_array: vec![1, 2, 3],
        string: Some("hello world".into()),
    }
}

async fn get_num_redirects(caller: Caller) -> Result<u64, HubError> {
    Ok(caller.request().query("numRedirects").unwrap_or_default().parse()?)
}

fn header(caller: &Caller, name: &str) -> Option<String> {
    caller.request().header(name).map(str::to_owned)
}

fn cookie(caller: &Caller, name: &str) -> Option<String> {
    let cookies = caller.request().header("cookie")?.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    cookies.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).next()
}
