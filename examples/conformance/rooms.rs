//! The hubs of the reference applications for ASP.NET SignalR and ASP.NET Core SignalR, method by method.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hubcast::{
    Args, Caller, CallerState, Clients, Groups, Hub, HubError, Progress, State, UserId, Users,
    hub::{Connected, Disconnected},
    message::Json,
};
use tokio::{sync::watch, time::sleep};

use crate::values::{Bytes, Double, Shape, Time};

type UnitResult = Result<(), HubError>;
type Text = Option<String>;

/// State shared by all calls: gates that block until they are opened, and counters.
#[derive(Default)]
struct Shared {
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
    counts: Mutex<HashMap<String, i32>>,
}

impl Shared {
    fn gate(&self, name: &str) -> watch::Sender<bool> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(name.into()).or_insert_with(|| watch::Sender::new(false)).clone()
    }
}

pub(crate) fn hub() -> Hub {
    let hub = Hub::new("chat").state(Shared::default()).on_connected(connected).on_disconnected(disconnected);
    let hub = hub
        .method("JoinRoom", join_room)
        .method("LeaveRoom", leave_room)
        .method("AddToRoom", add_to_room)
        .method("RemoveFromRoom", remove_from_room)
        .method("Send", send)
        .method("SendToOthers", send_to_others)
        .method("SendExcept", send_except)
        .method("SendToUser", send_to_user)
        .method("SendTo", send_to)
        .method("Burst", burst)
        .method("Flood", flood);
    let hub = hub.method("Hold", hold).method("Open", open).method("Bump", bump).method("Drop", abort);
    let hub = hub
        .method("Echo", async |Args((text,)): Args<(Text,)>| Ok(text))
        .method("Add", async |Args((a, b)): Args<(i32, i32)>| Ok(a.wrapping_add(b)))
        .method("WhoAmI", async |caller: Caller| Ok(caller.id().to_string()))
        .method("Nothing", async || Ok(None::<String>))
        .method("Any", async |Args((value,)): Args<(Json,)>| Ok(value))
        .method("Shape", async |Args((value,)): Args<(Option<Shape>,)>| Ok(value))
        .method("Double", async |Args((value,)): Args<(Double,)>| Ok(value))
        .method("Long", async |Args((value,)): Args<(i64,)>| Ok(value))
        .method("Bool", async |Args((value,)): Args<(bool,)>| Ok(value))
        .method("Bytes", async |Args((value,)): Args<(Option<Bytes>,)>| Ok(value))
        .method("Time", async |Args((value,)): Args<(Time,)>| Ok(value))
        .method("other-name", async || Ok("renamed"));
    let hub = hub
        .method("Fail", async |Args((why,)): Args<(String,)>| Err::<(), _>(HubError::new(why)))
        .method("Crash", async || Err::<(), _>(error("crash")))
        .method("Header", async |caller: Caller, Args((name,)): Args<(String,)>| {
            Ok(to_text(caller.request().header(&name)))
        })
        .method("Query", async |caller: Caller, Args((name,)): Args<(String,)>| {
            Ok(to_text(caller.request().query(&name)))
        })
        .method("Transport", async |caller: Caller| Ok(caller.transport()))
        .authorized_method("Secret", |identity| identity.is_authenticated, async || Ok("for members"));
    hub.method("FailData", fail_data)
        .method("Work", work)
        .method("ReadState", async |state: CallerState| Ok(state.get("color")))
        .method("WriteState", write_state)
        .unlisted(NOT_IN_CLASSIC)
}

/// Methods that the ASP.NET SignalR application does not have. The generated proxies omit them too.
const NOT_IN_CLASSIC: &[&str] = &[
    "AddToRoom",
    "RemoveFromRoom",
    "SendTo",
    "Burst",
    "Flood",
    "Hold",
    "Open",
    "Bump",
    "Drop",
    "Nothing",
    "Any",
    "Shape",
    "Double",
    "Long",
    "Bool",
    "Bytes",
    "Time",
    "other-name",
    "Header",
    "Query",
    "Transport",
    "Secret",
];

/// The second hub of the ASP.NET SignalR application.
pub(crate) fn other() -> Hub {
    Hub::new("other").method("Hi", async || Ok("other"))
}

fn require_user(caller: &Caller) -> Result<UserId, HubError> {
    caller.user().cloned().ok_or_else(|| HubError::new("you have no name"))
}

async fn add_to_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> UnitResult {
    users.add_to_group(require_user(&caller)?, room).await?;
    Ok(())
}

async fn remove_from_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> UnitResult {
    users.remove_from_group(require_user(&caller)?, room).await?;
    Ok(())
}

async fn fail_data(Args((why,)): Args<(String,)>) -> UnitResult {
    Err(HubError::new(why.clone()).with_data(&serde_json::json!({ "code": 7, "why": why })))
}

async fn work(progress: Progress, Args((steps,)): Args<(i32,)>) -> Result<&'static str, HubError> {
    for step in 1..=steps {
        progress.report(step);
        sleep(Duration::from_millis(10)).await;
    }
    Ok("done")
}

async fn write_state(state: CallerState, Args((color,)): Args<(Text,)>) -> UnitResult {
    state.set("color", color);
    Ok(())
}

fn to_text(text: Option<&str>) -> Text {
    text.map(str::to_owned)
}

fn error(kind: &str) -> HubError {
    if kind == "hub" { HubError::new("told so") } else { HubError::hidden("InvalidOperationException", "secret") }
}

/// Wire: the error of .NET for a null name.
fn require_name(name: Text, parameter: &str) -> Result<String, HubError> {
    let null = || HubError::hidden("ArgumentNullException", format!("Value cannot be null. (Parameter '{parameter}')"));
    name.ok_or_else(null)
}

async fn connected(Connected(context): Connected) -> UnitResult {
    let request = context.caller().request();
    if request.query("greet").is_some() {
        context.clients().caller().send("greeting", context.caller().name()).await?;
    }
    request.query("fail").map_or(Ok(()), |kind| Err(error(kind)))
}

async fn disconnected(Disconnected { context, error, .. }: Disconnected) {
    if let Some(room) = context.caller().request().query("bye") {
        let error = error.map(|(kind, text)| format!("{kind}: {text}"));
        // The result is ignored: the caller has disconnected, so an error could not be reported to it.
        let _ = context.clients().group(room).send("gone", (context.caller().name(), error)).await;
    }
}

async fn join_room(groups: Groups, Args((room,)): Args<(Text,)>) -> UnitResult {
    groups.join(require_name(room, "groupName")?).await?;
    Ok(())
}

async fn leave_room(groups: Groups, Args((room,)): Args<(Text,)>) -> UnitResult {
    groups.leave(require_name(room, "groupName")?).await?;
    Ok(())
}

async fn send(caller: Caller, clients: Clients, Args((room, message)): Args<(Text, Text)>) -> UnitResult {
    clients.group(require_name(room, "groupName")?).send("addChatMessage", (caller.name(), message)).await?;
    Ok(())
}

async fn send_to_others(caller: Caller, clients: Clients, Args((room, message)): Args<(Text, Text)>) -> UnitResult {
    clients.others_in_group(require_name(room, "groupName")?).send("addChatMessage", (caller.name(), message)).await?;
    Ok(())
}

async fn send_except(
    caller: Caller,
    clients: Clients,
    Args((room, message, except)): Args<(Text, Text, Vec<String>)>,
) -> UnitResult {
    let members = clients.group_except(require_name(room, "groupName")?, except);
    members.send("addChatMessage", (caller.name(), message)).await?;
    Ok(())
}

async fn send_to_user(caller: Caller, clients: Clients, Args((user, message)): Args<(Text, Text)>) -> UnitResult {
    clients.user(require_name(user, "userId")?).send("addChatMessage", (caller.name(), message)).await?;
    Ok(())
}

async fn send_to(
    caller: Caller,
    clients: Clients,
    Args((how, to, message)): Args<(String, Vec<Text>, Text)>,
) -> UnitResult {
    let names = || to.iter().flatten().cloned();
    let target = match &*how {
        "all" => clients.all(),
        "others" => clients.others(),
        "caller" => clients.caller(),
        "allExcept" => clients.all_except(names()),
        "client" => clients.client(require_name(to.first().cloned().flatten(), "connectionId")?),
        "clients" => clients.clients(names()),
        "groups" => clients.groups(names()),
        "users" => clients.users(names()),
        _ => return Err(HubError::new("no such way")),
    };
    target.send("addChatMessage", (caller.name(), message)).await?;
    Ok(())
}

async fn burst(clients: Clients, Args((count,)): Args<(i32,)>) -> UnitResult {
    for tick in 0..count {
        clients.caller().send("tick", tick).await?;
    }
    Ok(())
}

async fn flood(clients: Clients, Args((room, count, size)): Args<(String, i32, usize)>) -> UnitResult {
    for number in 0..count {
        clients.group(room.as_str()).send("flood", (number, "x".repeat(size))).await?;
    }
    Ok(())
}

async fn hold(shared: State<Shared>, Args((gate,)): Args<(String,)>) -> UnitResult {
    // Waiting cannot fail, because gates are never removed.
    let _ = shared.gate(&gate).subscribe().wait_for(|is_open| *is_open).await;
    Ok(())
}

async fn open(shared: State<Shared>, Args((gate,)): Args<(String,)>) -> UnitResult {
    shared.gate(&gate).send_replace(true);
    Ok(())
}

async fn bump(shared: State<Shared>, Args((key,)): Args<(String,)>) -> Result<i32, HubError> {
    let mut counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key).or_default();
    *count += 1;
    Ok(*count)
}

async fn abort(caller: Caller) -> UnitResult {
    caller.abort().await;
    Ok(())
}
