//! What a session does in every state with every event, then its rules one by one.

use std::num::NonZeroUsize;

use serde_json::value::RawValue;

use super::*;
use crate::{hub::CallError, pipeline::TokenGroups, transport::Received};

mod properties;
mod rules;
mod transitions;

const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";

/// A session and its clock.
struct Rig {
    session: Session,
    now: Instant,
    /// Calls that run, in the order in which they were let run.
    running: Vec<PendingInvocation>,
}

impl Rig {
    /// A connection before its handshake.
    fn new(settings: Settings) -> Self {
        Self::opened(opened(settings))
    }

    fn opened(opened: SessionConfig) -> Self {
        let now = Instant::now();
        Self { session: Session::new(opened, now), now, running: Vec::new() }
    }

    /// A connection that is open, told so and idle.
    fn open(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.say(HANDSHAKE);
        assert_eq!(rig.on(Event::Connected(Ok(()))), "");
        rig
    }

    /// Tells the session something, and spells what it wants done.
    fn on(&mut self, event: Event<PendingInvocation>) -> String {
        let effects = self.session.on(event, self.now);
        let spelled: Vec<_> = effects.into_iter().map(|effect| self.spell(effect)).collect();
        spelled.join(" | ")
    }

    fn spell(&mut self, effect: Effect<PendingInvocation>) -> String {
        match effect {
            Effect::Send(bytes) => {
                let text = String::from_utf8(bytes.into()).expect("JSON is text");
                format!("send {}", text.strip_suffix('\u{1e}').expect("every message ends with a separator"))
            }
            Effect::Invoke(ticket, invoke) => {
                let arguments: Vec<_> = invoke.arguments.iter().map(RawValue::get).collect();
                let spelled = format!("call {}({})", invoke.method, arguments.join(","));
                self.running.push(ticket);
                spelled
            }
            Effect::End(Ending { reason, error, end }) => {
                let error = error.map(|error| format!(" of {error}")).unwrap_or_default();
                format!("end {reason:?} {}{error}", end.code)
            }
            other => format!("{other:?}").to_lowercase(),
        }
    }

    fn receive(&mut self, data: Inbound) -> String {
        self.on(Event::Received(Received { channel: 1, data }))
    }

    fn say(&mut self, text: &str) -> String {
        self.receive(Inbound::Text(text.to_owned().into()))
    }

    /// Has the oldest call that runs come to its end.
    fn finish(&mut self, result: Result<&str, CallError>) -> String {
        let ticket = self.running.remove(0);
        let result = result.map(|json| RawValue::from_string(json.to_owned()).expect("JSON"));
        self.on(Event::Returned(ticket, result))
    }

    /// Lets time pass, and the timer with it.
    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.on(Event::Tick)
    }

    fn phase(&self) -> &'static str {
        self.session.phase()
    }
}

/// What a connection begins with that wants rejoin tokens, which are good for a minute.
fn opened(settings: Settings) -> SessionConfig {
    SessionConfig {
        settings: Arc::new(settings),
        hub: Arc::new(Hub::new("chat").method("Known", async || Ok(()))),
        wants_tokens: true,
        token_lifetime: seconds(60),
        expires: None,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(id: &str, target: &str) -> String {
    format!("{{\"type\":1,\"invocationId\":\"{id}\",\"target\":\"{target}\",\"arguments\":[]}}\u{1e}")
}

const PING: &str = "{\"type\":6}\u{1e}";

fn regrouped() -> Event<PendingInvocation> {
    Event::GroupsChanged(GroupsChanged { groups: TokenGroups::default(), token: "token".into(), has_unsaid: false })
}

fn refused(is_retryable: bool) -> Event<PendingInvocation> {
    Event::Connected(Err(ConnectError { error: HubError::new("not you"), is_retryable }))
}
