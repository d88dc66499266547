//! Two actors of the application: one is a hub, the other is a member of a group.
//!
//! An actor that handles `Call`, `Connected` and `Disconnected` is a hub, and its state needs no lock. An actor that
//! handles `Delivery` can join groups like a client. Run the example with `cargo run --example custom_actor`.
//! `LobbyLogger` prints the messages to the lobby in this terminal, and the hub counts its connections.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use actix::prelude::*;
use actix_web::App;
use hubcast::{
    Call, Delivery, Engine, Hub, HubError, Payload,
    hub::{CallError, Connected, Disconnected},
    web::QueryUser,
};

const LOBBY: &str = "lobby";

/// A hub that is an actor. It receives each invocation of each client as a message, one at a time.
#[derive(Default)]
struct ChatHub {
    connected: usize,
}

impl Actor for ChatHub {
    type Context = Context<Self>;
}

impl Handler<Connected> for ChatHub {
    type Result = Result<(), HubError>;

    fn handle(&mut self, _: Connected, _: &mut Context<Self>) -> Self::Result {
        self.connected += 1;
        Ok(())
    }
}

impl Handler<Disconnected> for ChatHub {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Context<Self>) {
        self.connected -= 1;
    }
}

impl Handler<Call> for ChatHub {
    type Result = ResponseFuture<Result<Payload, CallError>>;

    fn handle(&mut self, call: Call, _: &mut Context<Self>) -> Self::Result {
        let connected = self.connected;
        Box::pin(async move {
            match &*call.method {
                "JoinRoom" => call.encode(&join(&call).await?),
                "Send" => call.encode(&send(&call, call.arguments.get(1)?).await?),
                "HowMany" => call.encode(&connected),
                _ => Err(CallError::NoSuchMethod),
            }
        })
    }
}

async fn join(call: &Call) -> Result<(), HubError> {
    call.context.groups().join(LOBBY).await?;
    Ok(())
}

async fn send(call: &Call, text: String) -> Result<(), HubError> {
    let name = call.context.caller().name();
    call.context.clients().group(LOBBY).send("addChatMessage", (name, text)).await?;
    Ok(())
}

/// A member of the lobby that is not a client.
struct LobbyLogger;

impl Actor for LobbyLogger {
    type Context = Context<Self>;
}

impl Handler<Delivery> for LobbyLogger {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Context<Self>) {
        let call = delivery.message.call();
        println!("in {}: {}{}", delivery.group.name, call.target, call.arguments);
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let hub = Hub::actor("chat", &ChatHub::default().start());
    let engine = Engine::builder().hub("/chat", hub).classic("/signalr").authenticate(QueryUser).build()?;
    let groups = engine.hub("chat").expect("the hub was added to the engine").groups();
    let app = |engine: &Engine| App::new().configure(engine.routes()).configure(hubcast::page::routes(engine));
    let server = engine.http_server(app).bind(address)?;
    let url = format!("http://{}/", server.addrs()[0]);
    // The logger is a member until this value is dropped.
    let _membership = groups.add_actor(LOBBY, LobbyLogger.start().recipient()).await?;
    println!("Open {url}, join the room {LOBBY}, and say something.");
    Ok(engine.serve(server).await?)
}
