//! Tests of each rule by example, and of random histories against a model that keeps all entries and recounts them.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use super::*;
use crate::{
    ids::GroupKey,
    message::{Invocation, Message, Source},
    outbox::{DeferredField, Overflow, SharedMessage},
    payload::Format,
};

mod acknowledged;
mod limits;
mod model;
mod resume;

/// Encodes only the target of an invocation, so that a test can choose its size.
static FORM: WireForm =
    WireForm { slot: 2, format: Format::Json, answers: false, encode: |call| call.target.as_bytes().to_vec().into() };

/// Encodes the target twice.
static DOUBLED: WireForm = WireForm {
    slot: 1,
    format: Format::Json,
    answers: false,
    encode: |call| call.target.repeat(2).into_bytes().into(),
};

const WIDE_LIMITS: Limits = Limits { items: 100, bytes: 1_000, overflow: Overflow::Close };

const WIDE_WINDOW: ReplayLimits = ReplayLimits { items: 100, bytes: 1_000 };

const ANY_BUDGET: usize = 1_000;

/// Writes readable frames: `[init groups_token elements @cursor]`, and `<raw>`.
struct TextFramer;

impl Framer for TextFramer {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut) {
        let spell = |element: &[u8]| format!("{} ", str::from_utf8(element).unwrap());
        let token = fields.groups_token.as_ref().map(DeferredField::encode);
        let fields: String = [&fields.init, &token].into_iter().flatten().map(|field| spell(field)).collect();
        let elements: String = elements.map(spell).collect();
        write!(out, "[{fields}{elements}@{cursor}]").unwrap();
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        write!(out, "<{}>", str::from_utf8(frame).unwrap()).unwrap();
    }
}

fn call_from(text: &str, source: Source) -> QueueEntry {
    let call = Invocation::new(&"chat".into(), text, &()).unwrap();
    QueueEntry::shared(&SharedMessage::new(Message::new(call, source)))
}

fn call(text: &str) -> QueueEntry {
    call_from(text, Source::Hub)
}

fn private(text: &str) -> QueueEntry {
    QueueEntry::private(text.as_bytes().into())
}

fn raw_frame(text: &str) -> QueueEntry {
    QueueEntry::raw_frame(text.as_bytes().into())
}

fn group(name: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &name.into())
}

/// A queue with an attached channel.
fn attached(limits: Limits, window: ReplayLimits) -> Queue {
    let mut queue = Queue::new(&FORM, limits, window);
    assert!(!queue.attach(Resume::Waiting, ChannelFilter::default()), "nothing can be missing");
    queue
}

fn take(queue: &mut Queue, budget: usize) -> Option<String> {
    let mut out = BytesMut::new();
    let has_any = queue.take(&TextFramer, budget, &mut out);
    assert_eq!(has_any, !out.is_empty());
    has_any.then(|| String::from_utf8(out.to_vec()).unwrap())
}

fn drain(queue: &mut Queue) -> String {
    std::iter::from_fn(|| take(queue, ANY_BUDGET)).collect()
}

fn push_all(queue: &mut Queue, texts: &[&str]) {
    for text in texts {
        assert_eq!(queue.push(call(text)), Push::Queued);
    }
}

#[test]
fn waiting_entries_are_written_in_one_frame() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
    push_all(&mut queue, &["a", "b"]);
    queue.push(private("c"));
    queue.push(QueueEntry::EMPTY);
    assert_eq!(queue.backlog(), Backlog { items: 4, bytes: 3, peak_bytes: 3, ..Backlog::default() });
    assert_eq!(drain(&mut queue), "[a b c @4]");
    assert_eq!(queue.backlog(), Backlog { peak_bytes: 3, taken: 4, ..Backlog::default() });
}

#[test]
fn frame_ends_with_element_that_exceeds_budget() {
    for (budget, frames) in [
        (1, "[aaa @1][bbb @2][ccc @3]"),
        (3, "[aaa @1][bbb @2][ccc @3]"),
        (4, "[aaa bbb @2][ccc @3]"),
        (6, "[aaa bbb @2][ccc @3]"),
        (7, "[aaa bbb ccc @3]"),
    ] {
        let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
        push_all(&mut queue, &["aaa", "bbb", "ccc"]);
        let taken: String = std::iter::from_fn(|| take(&mut queue, budget)).collect();
        assert_eq!(taken, frames, "budget {budget}");
    }
}

#[test]
fn raw_frame_is_written_alone_and_in_order() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
    push_all(&mut queue, &["a"]);
    queue.push(raw_frame("raw"));
    push_all(&mut queue, &["b"]);
    assert_eq!(drain(&mut queue), "[a @1]<raw>[b @3]");
}

#[test]
fn filtered_entries_are_hidden_and_advance_cursor() {
    let mut queue = Queue::new(&FORM, WIDE_LIMITS, WIDE_WINDOW);
    let elsewhere = |source| {
        let call = Invocation::new(&"news".into(), "elsewhere", &()).unwrap();
        QueueEntry::shared(&SharedMessage::new(Message::new(call, source)))
    };
    let filter = ChannelFilter { hubs: Some(vec!["chat".into()]), filtered_groups: HashSet::from([group("quiet")]) };
    for source in [Source::Hub, Source::User, Source::Connection] {
        queue.push(elsewhere(source.clone()));
        queue.push(call_from("here", source));
    }
    queue.push(call_from("filtered", Source::Group(group("quiet"))));
    queue.push(call_from("received", Source::Group(group("loud"))));
    queue.push(elsewhere(Source::Group(group("loud"))));
    queue.push(private("mine"));
    queue.attach(Resume::Waiting, filter);
    assert_eq!(drain(&mut queue), "[here here here received elsewhere mine @10]");

    queue.attach(Resume::From(6), ChannelFilter::default());
    assert_eq!(drain(&mut queue), "[filtered received elsewhere mine @10]");
}

#[test]
fn changed_filter_applies_to_waiting_entries() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
    queue.push(call_from("a", Source::Group(group("quiet"))));
    queue.update_filter(|filter| filter.filtered_groups.extend([group("quiet")]));
    assert_eq!(drain(&mut queue), "[@1]");
    queue.push(call_from("b", Source::Group(group("quiet"))));
    queue.update_filter(|filter| filter.filtered_groups.clear());
    assert_eq!(drain(&mut queue), "[b @2]");
}

#[test]
fn fields_are_sent_once_with_or_without_elements() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
    assert!(!queue.has_output());
    *queue.fields_mut() =
        FrameFields { init: Some(b"init".as_slice().into()), groups_token: Some(b"old".as_slice().into()) };
    queue.fields_mut().groups_token = Some(b"token".as_slice().into());
    assert!(queue.has_output() && queue.is_idle());
    assert_eq!(drain(&mut queue), "[init token @0]");

    queue.fields_mut().groups_token = Some(b"more".as_slice().into());
    push_all(&mut queue, &["a"]);
    assert_eq!(drain(&mut queue), "[more a @1]");
    assert!(!queue.has_output());
}

#[test]
fn fields_are_dropped_with_their_channel() {
    let mut queue = attached(WIDE_LIMITS, WIDE_WINDOW);
    queue.fields_mut().init = Some(b"init".as_slice().into());
    queue.attach(Resume::Tail, ChannelFilter::default());
    assert_eq!(drain(&mut queue), "");
}

#[test]
fn finished_queue_delivers_waiting_entries_and_rejects_pushes() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits::default());
    push_all(&mut queue, &["a"]);
    queue.finish(End::Close(1000));
    queue.finish(End::Close(1011));
    assert_eq!((queue.is_open(), queue.has_output(), queue.end()), (false, true, None));
    assert_eq!(queue.push(call("b")), Push::Closed);
    assert_eq!(drain(&mut queue), "[a @1]");
    assert_eq!(queue.end(), Some(End::Close(1000)), "the first end wins");
}

#[test]
fn discarded_queue_ends_at_once_and_is_empty() {
    let mut queue = attached(WIDE_LIMITS, WIDE_WINDOW);
    push_all(&mut queue, &["a"]);
    drain(&mut queue);
    push_all(&mut queue, &["b"]);
    queue.fields_mut().groups_token = Some(b"token".as_slice().into());
    queue.discard_and_close(End::Close(1008));
    assert_eq!(queue.end(), Some(End::Close(1008)));
    assert_eq!(queue.push(call("c")), Push::Closed);
    assert_eq!(drain(&mut queue), "");
    assert_eq!(queue.backlog(), Backlog { peak_bytes: 1, taken: 1, ..Backlog::default() });
}

#[test]
fn new_form_recounts_and_reencodes_waiting_entries() {
    let mut queue = attached(WIDE_LIMITS, WIDE_WINDOW);
    push_all(&mut queue, &["ab", "cd"]);
    queue.set_form(&DOUBLED);
    assert_eq!(queue.backlog().bytes, 8);
    assert_eq!(drain(&mut queue), "[abab cdcd @2]");
}
