//! A session for the tests of the connection.

use super::*;

/// A session that runs the texts of its client as commands, and ends on every event that can end a connection.
#[derive(Debug, Default)]
pub(super) struct ScriptedSession {
    pub(super) deadline: Option<Instant>,
    pub(super) is_full: bool,
    pub(super) wants_tokens: bool,
    /// The methods of all calls, by number.
    pub(super) methods: Vec<String>,
    /// Cancels the last stream that was requested.
    pub(super) last_stream: Option<CancellationToken>,
    /// `None` ends the connection with its channel.
    pub(super) time_without_channel: Option<Duration>,
}

/// How the session answers a request for a channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Open {
    AtOnce,
    AfterRejoin,
    Never,
}

fn end_for(reason: Reason) -> Effects<ScriptedSession> {
    let error = (reason == Reason::Faulted).then(|| HubError::new("protocol error"));
    Effect::End(Ending { reason, error, end: END, waits_for_client: reason == Reason::Drained }).into()
}

impl ScriptedSession {
    fn run_script(&mut self, text: &str, now: Instant) -> Effects<ScriptedSession> {
        match text {
            "connect" => Effect::RestoreGroups.into(),
            "stop" => end_for(Reason::Stopped),
            "protocol error" => end_for(Reason::Faulted),
            "twice" => end_for(Reason::Stopped).then(end_for(Reason::Faulted)),
            "time out" => {
                self.deadline = Some(now + Duration::from_secs(1));
                Effects::none()
            }
            "fill up" => {
                self.is_full = true;
                Effects::none()
            }
            "panic" => panic!("requested by the test"),
            "cancel" => {
                self.last_stream.take().unwrap().cancel();
                Effects::none()
            }
            text => {
                let (method, wants_stream) = match text.strip_prefix("stream ") {
                    Some(method) => (method, true),
                    None => (text, false),
                };
                let cancelled = wants_stream.then(CancellationToken::new);
                self.last_stream = cancelled.clone();
                let (number, streams) = (self.methods.len() as u64, Streams { sent: 0, wants_stream });
                self.methods.push(method.to_owned());
                Effect::Invoke(Invoke { number, streams, cancelled, ..call(method) }).into()
            }
        }
    }
}

fn call(method: &str) -> Invoke {
    Invoke {
        number: 0,
        hub: "chat".into(),
        method: method.to_owned(),
        arguments: Arguments::default(),
        state: CallerState::default(),
        streams: Streams::default(),
        uploads: Uploads::default(),
        cancelled: None,
        headers: None,
        request: None,
    }
}

impl Dialect for ScriptedSession {
    type ChannelRequest = Open;
    type ChannelRefusal = ();
    type Request = String;
    type OwnEffect = Infallible;
    type Shared = ();

    const BEHAVIOR: HubBehavior =
        HubBehavior { binding: crate::hub::bind::Binding::Strict, refuses_empty_group: false };

    fn on(&mut self, event: Event<Self>, now: Instant) -> Effects<ScriptedSession> {
        match event {
            Event::Received(Received { data: Inbound::Text(text), .. }) => {
                self.run_script(str::from_utf8(&text).unwrap(), now)
            }
            Event::Tick if self.deadline.take_if(|deadline| *deadline <= now).is_some() => end_for(Reason::TimedOut),
            Event::Restored(Ok(())) => Effect::RunConnected.into(),
            Event::Restored(Err(_)) | Event::Connected(Err(_)) => end_for(Reason::Refused),
            Event::Returned(number, result) => {
                let text =
                    result.map_or_else(|error| format!("{error:?}"), |json| json.as_json().expect("JSON").to_owned());
                let method = &self.methods[usize::try_from(number).unwrap()];
                Effect::Send(format!("{method}: {text}").into_bytes().into()).into()
            }
            Event::StreamItem(_, item) => {
                let text = item.map_or_else(
                    |error| format!("error {error},"),
                    |item| format!("item {},", item.as_json().expect("JSON")),
                );
                Effect::Send(text.into_bytes().into()).into()
            }
            Event::StreamEnded(_) => Effect::Send(b"end,".as_slice().into()).into(),
            Event::Detached if self.time_without_channel.is_some() => Effects::none(),
            Event::Closed | Event::Detached | Event::Abandoned => end_for(Reason::Lost),
            Event::Request(text) => self.run_script(&text, now),
            Event::Posted(bytes) => self.run_script(str::from_utf8(&bytes).unwrap(), now),
            Event::PostBrokenOff => Effects::none(),
            Event::Overflowed | Event::Stalled => end_for(Reason::TooSlow),
            Event::Aborted(_) => end_for(Reason::Aborted),
            Event::Draining => end_for(Reason::Drained),
            Event::GroupsChanged { are_known } => Effect::SendGroupsToken(!are_known).into(),
            Event::Received(_)
            | Event::Attached(_)
            | Event::Tick
            | Event::Connected(Ok(()))
            | Event::Reconnected(_)
            | Event::UploadReady
            | Event::SlotReleased(_)
            | Event::ForeignResult(_)
            | Event::Rejoined(_) => Effects::none(),
        }
    }

    fn apply(effect: Infallible, _: &ConnectionHandle, (): &()) {
        match effect {}
    }

    fn decide_channel(&self, attach: &AttachChannel<Self>, _: &ChannelState, _: u64) -> ChannelDecision<Self> {
        match attach.request {
            Open::AtOnce => ChannelDecision::Attach,
            Open::AfterRejoin => {
                ChannelDecision::Rejoin(RejoinPlan { token: None, resume: Resume::Tail, joins_durable: true })
            }
            Open::Never => ChannelDecision::Refuse(()),
        }
    }

    fn channel_setup(&self, _: &AttachChannel<Self>, _: &ChannelState) -> ChannelSetup {
        ChannelSetup { resume: Resume::Waiting, framer: Arc::new(RawFramer), hubs: None, token: None }
    }

    fn time_without_channel(&self, _: Option<Transport>) -> Option<Duration> {
        self.time_without_channel
    }

    fn transport_name(_: Transport) -> &'static str {
        "none"
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_saturated(&self) -> bool {
        self.is_full
    }

    fn wants_tokens(&self) -> bool {
        self.wants_tokens
    }

    const TOKEN_PLACE: TokenPlace = TokenPlace::Message;

    fn encode_token(token: &str) -> Box<[u8]> {
        token.as_bytes().into()
    }

    fn queues_result(&self, _: u64) -> bool {
        true
    }

    fn send_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn calls(&self) -> usize {
        0
    }

    fn phase(&self) -> &'static str {
        "open"
    }
}
