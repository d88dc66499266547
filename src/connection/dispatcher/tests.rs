//! Rules of the dispatcher, and properties that hold for any client.

use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::{
    hub::{Arguments, CallerState, Streams, Uploads},
    payload::Format,
};

/// A call by its id, which is the text of its place in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TestCall(String);

impl PendingCall for TestCall {
    fn id(&self) -> Option<&str> {
        Some(&self.0)
    }
}

fn limits(parallel_calls: usize) -> DispatchLimits {
    DispatchLimits { parallel_calls, stream_capacity: 1 }
}

fn call(id: &str, wants_stream: bool, stream_ids: &[&str]) -> Request<TestCall> {
    let stream_ids: Vec<_> = stream_ids.iter().copied().map(str::to_owned).collect();
    let invoke = Invoke {
        number: 0,
        hub: "chat".into(),
        method: "Method".into(),
        arguments: Arguments::default(),
        state: CallerState::default(),
        streams: Streams { sent: stream_ids.len(), wants_stream },
        uploads: Uploads::default(),
        cancelled: None,
        headers: None,
        request: None,
    };
    Request::Call(IncomingCall { pending: TestCall(id.into()), invoke, stream_ids })
}

fn plain(id: &str) -> Request<TestCall> {
    call(id, false, &[])
}

fn item(id: &str) -> Request<TestCall> {
    Request::StreamItem(id.into(), Some(Payload::encode(Format::Json, &1).unwrap()))
}

fn completion(id: &str) -> Request<TestCall> {
    Request::Completion(id.into(), ClientResult::Void)
}

/// The number of the call that the action starts.
fn started(action: Option<Action<TestCall>>) -> Option<u64> {
    match action {
        Some(Action::Invoke(invoke)) => Some(invoke.number),
        _ => None,
    }
}

#[test]
fn calls_wait_until_the_dispatcher_is_open() {
    let mut dispatcher = Dispatcher::closed(limits(2));
    for id in ["a", "b", "c"] {
        assert!(dispatcher.dispatch(plain(id)).is_none());
    }
    assert!(dispatcher.is_at_limit() && dispatcher.next_action().is_none());
    dispatcher.open();
    let actions: Vec<_> = std::iter::from_fn(|| dispatcher.next_action()).collect();
    assert_eq!((actions.len(), dispatcher.calls()), (2, 3));
}

#[test]
fn client_result_never_waits() {
    let mut dispatcher = Dispatcher::closed(limits(1));
    dispatcher.dispatch(plain("a"));
    let action = dispatcher.dispatch(completion("s1"));
    assert!(matches!(action, Some(Action::ClientResult(id, ClientResult::Void)) if id == "s1"));
}

#[test]
fn end_of_a_stream_keeps_its_place() {
    let mut dispatcher = Dispatcher::new(limits(1));
    let Some(Action::Invoke(_reads)) = dispatcher.dispatch(call("up", false, &["s"])) else { panic!("it starts") };
    dispatcher.dispatch(item("s"));
    assert!(matches!(dispatcher.dispatch(item("s")), Some(Action::AwaitUpload(_))));
    assert!(dispatcher.dispatch(completion("s")).is_none());
    assert!(dispatcher.dispatch(plain("a")).is_none());
    assert!(matches!(dispatcher.on_upload_ready(), Some(Action::AwaitUpload(_))), "nothing was read");
    assert!(dispatcher.next_action().is_none(), "requests wait for the item");
    dispatcher.end_streams();
    let action = dispatcher.next_action();
    assert!(matches!(action, Some(Action::ClientResult(id, _)) if id == "s"), "the stream has ended already");
    assert_eq!(started(dispatcher.next_action()), Some(1));
}

#[test]
fn cancelled_stream_expects_no_answer() {
    let mut dispatcher = Dispatcher::new(limits(1));
    let Some(Action::Invoke(invoke)) = dispatcher.dispatch(call("a", true, &[])) else { panic!("it starts") };
    let cancelled = invoke.cancelled.unwrap();
    assert!(matches!(dispatcher.dispatch(call("a", true, &[])), Some(Action::Refuse(_, CallRefusal::IdInUse))));
    assert!(started(dispatcher.dispatch(plain("a"))).is_some(), "a plain call may use the id");
    let action = dispatcher.dispatch(Request::Cancel("a".into()));
    assert!(matches!(action, Some(Action::EndStream(TestCall(id))) if id == "a"));
    assert!(cancelled.is_cancelled());
    assert_eq!(dispatcher.end_call(invoke.number), None);
    assert!(dispatcher.dispatch(Request::Cancel("a".into())).is_none(), "plain calls are not cancelled");
    assert_eq!(dispatcher.calls(), 1);
}

#[test]
fn streams_end_with_their_client() {
    let mut dispatcher = Dispatcher::new(limits(1));
    let Some(Action::Invoke(stream)) = dispatcher.dispatch(call("a", true, &[])) else { panic!("it starts") };
    let upload = started(dispatcher.dispatch(call("b", false, &["s"]))).unwrap();
    dispatcher.end_streams();
    assert!(stream.cancelled.unwrap().is_cancelled());
    assert_eq!(dispatcher.running(stream.number), None);
    assert_eq!(dispatcher.end_call(upload), Some(TestCall("b".into())), "the call continues");
}

#[test]
fn released_slot_is_given_back_once() {
    let mut dispatcher = Dispatcher::new(limits(1));
    let first = started(dispatcher.dispatch(plain("a"))).unwrap();
    assert!(dispatcher.dispatch(plain("b")).is_none() && dispatcher.dispatch(plain("c")).is_none());
    for _ in 0..2 {
        dispatcher.release_slot(first);
    }
    let second = started(dispatcher.next_action()).unwrap();
    assert!(dispatcher.next_action().is_none());
    assert_eq!(dispatcher.end_call(first), Some(TestCall("a".into())));
    assert!(dispatcher.next_action().is_none(), "it had no slot any more");
    dispatcher.end_call(second);
    assert!(started(dispatcher.next_action()).is_some());
}

/// What happens to a dispatcher.
#[derive(Clone, Copy, Debug)]
enum Step {
    Plain,
    Stream,
    Upload,
    /// An item of the stream of a call, by the call's place in the order of arrival.
    Item(usize),
    End(usize),
    Cancel(usize),
    ClientResult,
    Return(usize),
    Release(usize),
    UploadReady,
    Open,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Plain),
        2 => Just(Step::Stream),
        2 => Just(Step::Upload),
        3 => (0..20_usize).prop_map(Step::Item),
        2 => (0..20_usize).prop_map(Step::End),
        2 => (0..20_usize).prop_map(Step::Cancel),
        2 => Just(Step::ClientResult),
        8 => (0..8_usize).prop_map(Step::Return),
        2 => (0..8_usize).prop_map(Step::Release),
        2 => Just(Step::UploadReady),
        1 => Just(Step::Open),
    ]
}

/// A dispatcher beside what its client has sent and what has happened to that.
struct Model {
    dispatcher: Dispatcher<TestCall>,
    limit: usize,
    sent: usize,
    /// The calls that have started, in this order.
    started: Vec<String>,
    /// The calls that run, with their streams of the client.
    running: VecDeque<Invoke>,
    plain: HashSet<u64>,
    released: HashSet<u64>,
    client_results: usize,
}

impl Model {
    fn new(limit: usize, is_open: bool) -> Self {
        let dispatcher = if is_open { Dispatcher::new(limits(limit)) } else { Dispatcher::closed(limits(limit)) };
        Self {
            dispatcher,
            limit,
            sent: 0,
            started: Vec::new(),
            running: VecDeque::new(),
            plain: HashSet::new(),
            released: HashSet::new(),
            client_results: 0,
        }
    }

    fn send(&mut self, wants_stream: bool, stream_ids: &[&str]) {
        let id = self.sent.to_string();
        self.sent += 1;
        let action = self.dispatcher.dispatch(call(&id, wants_stream, stream_ids));
        self.take(action);
    }

    fn dispatch(&mut self, request: Request<TestCall>) {
        let action = self.dispatcher.dispatch(request);
        self.take(action);
    }

    fn take(&mut self, action: Option<Action<TestCall>>) {
        match action {
            Some(Action::Invoke(invoke)) => {
                let id = self.dispatcher.running(invoke.number).expect("it runs").0.clone();
                self.started.push(id);
                if invoke.streams == Streams::default() {
                    self.plain.insert(invoke.number);
                }
                self.running.push_back(invoke);
            }
            Some(Action::ClientResult(id, _)) if id == "result" => self.client_results += 1,
            _ => {}
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Plain => self.send(false, &[]),
            Step::Stream => self.send(true, &[]),
            Step::Upload => {
                let stream = format!("s{}", self.sent);
                self.send(false, &[&stream]);
            }
            Step::Item(call) => self.dispatch(item(&format!("s{call}"))),
            Step::End(call) => self.dispatch(completion(&format!("s{call}"))),
            Step::Cancel(call) => self.dispatch(Request::Cancel(call.to_string())),
            Step::ClientResult => {
                let before = self.client_results;
                self.dispatch(completion("result"));
                assert_eq!(self.client_results, before + 1, "a client result never waits");
            }
            Step::Return(index) if index < self.running.len() => {
                let returned = self.running.remove(index).expect("it runs");
                self.plain.remove(&returned.number);
                self.dispatcher.end_call(returned.number);
            }
            Step::Release(index) => {
                if let Some(invoke) = self.running.get(index) {
                    self.released.insert(invoke.number);
                    self.dispatcher.release_slot(invoke.number);
                }
            }
            Step::UploadReady => drop(self.dispatcher.on_upload_ready()),
            Step::Open => self.dispatcher.open(),
            Step::Return(_) => {}
        }
        while let Some(action) = self.dispatcher.next_action() {
            self.take(Some(action));
        }
    }

    fn check(&self) {
        let slots = self.plain.iter().filter(|number| !self.released.contains(number)).count();
        assert!(slots <= self.limit, "{slots} calls run");
        assert_eq!(self.dispatcher.has_plain_calls(), slots > 0);
        let expected: Vec<_> = (0..self.started.len()).map(|id| id.to_string()).collect();
        assert_eq!(self.started, expected, "every call starts once, in the order of arrival");
    }
}

proptest! {
    #[test]
    fn calls_start_in_order_within_the_limit(
        limit in 1..4_usize,
        is_open in any::<bool>(),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut model = Model::new(limit, is_open);
        for next in steps {
            model.step(next);
            model.check();
        }
        // Once all methods return, nothing waits any more. A method that has returned frees its streams, too.
        model.step(Step::Open);
        model.step(Step::UploadReady);
        while !model.running.is_empty() {
            model.step(Step::Return(0));
            model.step(Step::UploadReady);
            model.check();
        }
        prop_assert_eq!(model.started.len(), model.sent);
        prop_assert!(!model.dispatcher.is_blocked());
        prop_assert_eq!(model.dispatcher.calls(), 0);
    }
}
