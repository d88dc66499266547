//! A chat whose filters limit the calls of each user, mask a word, and print failed calls.
//!
//! It shows the three kinds of filters: a closure, a type and a supervised actor. Run it with
//! `cargo run --example filters` and open the page that it prints. `darn` is masked; the tenth call of a user is refused.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use std::{collections::HashMap, time::Duration};

use actix::prelude::*;
use actix_web::App;
use hubcast::{
    Engine, UserId, chat,
    filters::{
        self, BeforeInvoke, BeforeSend, Decision, ErrorPolicy, EventKind, Events, FilterError, FilterOptions,
        HubFilter, IncomingError,
    },
    web::QueryUser,
};

/// The invocations that a user may make.
const MAX_CALLS: u32 = 9;

/// Counts the invocations of each user. A panic would reset the counts, and later events would find a new actor.
#[derive(Default)]
struct Quota(HashMap<UserId, u32>);

impl Actor for Quota {
    type Context = Context<Self>;
}

impl Handler<BeforeInvoke> for Quota {
    type Result = Decision<BeforeInvoke>;

    fn handle(&mut self, event: BeforeInvoke, _: &mut Self::Context) -> Self::Result {
        let Some(user) = event.context.caller().user() else { return Ok(event) };
        let calls = self.0.entry(user.clone()).or_default();
        *calls += 1;
        if *calls > MAX_CALLS { Err(FilterError::refuse("You have used up your calls.")) } else { Ok(event) }
    }
}

/// Prints failed invocations.
struct PrintErrors;

impl HubFilter for PrintErrors {
    fn events(&self) -> Events {
        EventKind::IncomingError.into()
    }

    async fn incoming_error(&self, event: IncomingError) -> Decision<IncomingError> {
        println!("{} of {} failed: {:?}", event.method, event.context.caller().name(), event.error);
        Ok(event)
    }
}

/// Masks a word in chat messages.
async fn mask(mut event: BeforeSend) -> Decision<BeforeSend> {
    if let Ok((name, text)) = event.arguments::<(String, String)>() {
        event.set_arguments(&(name, text.replace("darn", "****")))?;
    }
    Ok(event)
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    // A chat without masks is better than no chat.
    let lenient =
        FilterOptions { policy: ErrorPolicy::Bypass, budget: Duration::from_millis(100), ..FilterOptions::default() };
    let engine = Engine::builder()
        .filter("print-errors", PrintErrors)
        .filter("quota", filters::supervised::<BeforeInvoke, _>(Quota::default))
        .filter_with("mask", lenient, filters::on(mask))
        .hub("/chat", chat::hub())
        .classic("/signalr")
        .authenticate(QueryUser)
        .build()?;
    let app = |engine: &Engine| App::new().configure(engine.routes()).configure(hubcast::page::routes(engine));
    let server = engine.http_server(app).bind(address)?;
    println!("Open http://{}/ in two tabs, and join the same room.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
