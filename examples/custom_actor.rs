//! Actors of the application: one is a hub, one is a member of a group.
//!
//! Learn: an actor that handles `Call`, `Connected` and `Disconnected` is a hub, with state that needs no lock; an actor
//! that handles `Delivery` joins groups beside clients. Run: `cargo run --example custom_actor`. See: the scribe writes
//! down, in this terminal, what is said in the lobby, and the hub counts who is there.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use actix::prelude::*;
use actix_web::{App, HttpServer};
use hubcast::{
    Call, Engine, Hub, HubError,
    group::Delivery,
    hub::{CallError, Connected, Disconnected, IntoHubResult},
    message::Json,
    web::QueryUser,
};

const LOBBY: &str = "lobby";

/// A hub that is an actor: every call of every client is a message to it, one after the other.
#[derive(Default)]
struct Porter {
    present: usize,
}

impl Actor for Porter {
    type Context = Context<Self>;
}

impl Handler<Connected> for Porter {
    type Result = Result<(), HubError>;

    fn handle(&mut self, _: Connected, _: &mut Context<Self>) -> Self::Result {
        self.present += 1;
        Ok(())
    }
}

impl Handler<Disconnected> for Porter {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Context<Self>) {
        self.present -= 1;
    }
}

impl Handler<Call> for Porter {
    type Result = ResponseFuture<Result<Json, CallError>>;

    fn handle(&mut self, call: Call, _: &mut Context<Self>) -> Self::Result {
        let present = self.present;
        Box::pin(async move {
            match &*call.method {
                "JoinRoom" => join(&call).await.into_answer(),
                "Send" => say(&call, call.arguments.get(1)?).await.into_answer(),
                "HowMany" => Ok(present).into_answer(),
                _ => Err(CallError::NoSuchMethod),
            }
        })
    }
}

async fn join(call: &Call) -> Result<(), HubError> {
    call.context.groups().join(LOBBY).await?;
    Ok(())
}

async fn say(call: &Call, text: String) -> Result<(), HubError> {
    let name = call.context.caller().name();
    call.context.clients().group(LOBBY).send("addChatMessage", (name, text)).await?;
    Ok(())
}

/// A member of the lobby that is no client.
struct Scribe;

impl Actor for Scribe {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Scribe {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Context<Self>) {
        let call = delivery.message.call();
        println!("in {}: {}{}", delivery.group.name, call.target, call.arguments);
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let hub = Hub::actor("chat", &Porter::default().start());
    let engine = Engine::builder().hub("/chat", hub).classic("/signalr").authenticate(QueryUser).build()?;
    let groups = engine.hub("chat").expect("the engine has the hub that it was given").groups();
    let app = move || App::new().configure(engine.routes()).configure(hubcast::page::routes);
    let server = HttpServer::new(app).on_connect(hubcast::on_connect).bind("127.0.0.1:8080")?.run();
    // The scribe is a member until this is dropped.
    let _membership = groups.add_actor(LOBBY, Scribe.start().recipient()).await?;
    println!("Open http://127.0.0.1:8080/, join the room {LOBBY}, and say something.");
    Ok(server.await?)
}
