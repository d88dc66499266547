//! Each rule by example, then random histories against a model that keeps everything and counts afresh.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use super::*;
use crate::{
    ids::GroupKey,
    message::{Invocation, Source},
    outbox::{Overflow, SharedMessage},
};

mod limits;
mod model;
mod returns;

/// A call on this wire is its target and nothing else, so that a test says what it costs.
static FORM: WireForm = WireForm { slot: 2, encode: |call| call.target.as_bytes().to_vec().into() };

/// The same, twice as long.
static DOUBLED: WireForm = WireForm { slot: 1, encode: |call| call.target.repeat(2).into_bytes().into() };

const ROOMY: Limits = Limits { items: 100, bytes: 1_000, overflow: Overflow::Close };

const KEEPS_ALL: ReplayLimits = ReplayLimits { items: 100, bytes: 1_000 };

const ANY_BUDGET: usize = 1_000;

/// Frames that a test can read: `[opening news elements @cursor]`, and `<whole>`.
struct Spelled;

impl Framer for Spelled {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut) {
        let spell = |element: &[u8]| format!("{} ", str::from_utf8(element).unwrap());
        let said: String = [&fields.opening, &fields.news].into_iter().flatten().map(|aside| spell(aside)).collect();
        let elements: String = elements.map(spell).collect();
        write!(out, "[{said}{elements}@{cursor}]").unwrap();
    }

    fn whole(&self, frame: &[u8], out: &mut BytesMut) {
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

fn own(text: &str) -> QueueEntry {
    QueueEntry::own(text.as_bytes().into())
}

fn frame(text: &str) -> QueueEntry {
    QueueEntry::frame(text.as_bytes().into())
}

fn room(name: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &name.into())
}

/// A queue whose transport is there.
fn attached(limits: Limits, window: ReplayLimits) -> Queue {
    let mut queue = Queue::new(&FORM, limits, window);
    assert!(!queue.attach(Resume::Waiting, ChannelFilter::default()), "nothing can be missing yet");
    queue
}

fn take(queue: &mut Queue, budget: usize) -> Option<String> {
    let mut out = BytesMut::new();
    let has_any = queue.take(&Spelled, budget, &mut out);
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
fn all_that_waits_is_taken_in_one_frame_and_in_its_order() {
    let mut queue = attached(ROOMY, ReplayLimits::default());
    push_all(&mut queue, &["a", "b"]);
    queue.push(own("c"));
    queue.push(QueueEntry::NOTHING);
    assert_eq!(queue.backlog(), Backlog { items: 4, bytes: 3, peak_bytes: 3, ..Backlog::default() });
    assert_eq!(drain(&mut queue), "[a b c @4]");
    assert_eq!(queue.backlog(), Backlog { peak_bytes: 3, taken: 4, ..Backlog::default() });
}

#[test]
fn a_frame_ends_with_the_element_that_exceeds_the_budget() {
    for (budget, frames) in [
        (1, "[aaa @1][bbb @2][ccc @3]"),
        (3, "[aaa @1][bbb @2][ccc @3]"),
        (4, "[aaa bbb @2][ccc @3]"),
        (6, "[aaa bbb @2][ccc @3]"),
        (7, "[aaa bbb ccc @3]"),
    ] {
        let mut queue = attached(ROOMY, ReplayLimits::default());
        push_all(&mut queue, &["aaa", "bbb", "ccc"]);
        let taken: String = std::iter::from_fn(|| take(&mut queue, budget)).collect();
        assert_eq!(taken, frames, "budget {budget}");
    }
}

#[test]
fn a_whole_frame_stands_alone_between_what_came_before_and_after() {
    let mut queue = attached(ROOMY, ReplayLimits::default());
    push_all(&mut queue, &["a"]);
    queue.push(frame("whole"));
    push_all(&mut queue, &["b"]);
    assert_eq!(drain(&mut queue), "[a @1]<whole>[b @3]");
}

#[test]
fn a_view_hides_what_the_channel_does_not_listen_to_and_the_cursor_moves_all_the_same() {
    let mut queue = Queue::new(&FORM, ROOMY, KEEPS_ALL);
    let elsewhere = |source| {
        let call = Invocation::new(&"news".into(), "elsewhere", &()).unwrap();
        QueueEntry::shared(&SharedMessage::new(Message::new(call, source)))
    };
    let view = ChannelFilter { hubs: Some(vec!["chat".into()]), muted: HashSet::from([room("quiet")]) };
    for source in [Source::Hub, Source::User, Source::Connection] {
        queue.push(elsewhere(source.clone()));
        queue.push(call_from("here", source));
    }
    queue.push(call_from("unheard", Source::Group(room("quiet"))));
    queue.push(call_from("heard", Source::Group(room("loud"))));
    queue.push(elsewhere(Source::Group(room("loud"))));
    queue.push(own("mine"));
    queue.attach(Resume::Waiting, view);
    assert_eq!(drain(&mut queue), "[here here here heard elsewhere mine @10]");

    queue.attach(Resume::From(6), ChannelFilter::default());
    assert_eq!(drain(&mut queue), "[unheard heard elsewhere mine @10]");
}

#[test]
fn a_view_that_changes_holds_for_what_waits_already() {
    let mut queue = attached(ROOMY, ReplayLimits::default());
    queue.push(call_from("a", Source::Group(room("quiet"))));
    queue.view_mut().muted.insert(room("quiet"));
    assert_eq!(drain(&mut queue), "[@1]");
    queue.push(call_from("b", Source::Group(room("quiet"))));
    queue.view_mut().muted.clear();
    assert_eq!(drain(&mut queue), "[b @2]");
}

#[test]
fn asides_are_said_once_with_the_next_frame_or_alone() {
    let mut queue = attached(ROOMY, ReplayLimits::default());
    assert!(!queue.is_due());
    *queue.fields_mut() =
        FrameFields { opening: Some(b"opening".as_slice().into()), news: Some(b"old".as_slice().into()) };
    queue.fields_mut().news = Some(b"news".as_slice().into());
    assert!(queue.is_due() && queue.is_idle());
    assert_eq!(drain(&mut queue), "[opening news @0]");

    queue.fields_mut().news = Some(b"more".as_slice().into());
    push_all(&mut queue, &["a"]);
    assert_eq!(drain(&mut queue), "[more a @1]");
    assert!(!queue.is_due());
}

#[test]
fn asides_are_forgotten_with_their_channel() {
    let mut queue = attached(ROOMY, KEEPS_ALL);
    queue.fields_mut().opening = Some(b"opening".as_slice().into());
    queue.attach(Resume::Tail, ChannelFilter::default());
    assert_eq!(drain(&mut queue), "");
}

#[test]
fn a_stream_that_finishes_delivers_what_waits_and_takes_nothing_more() {
    let mut queue = attached(ROOMY, ReplayLimits::default());
    push_all(&mut queue, &["a"]);
    queue.finish(End { code: 1000 });
    queue.finish(End { code: 1011 });
    assert_eq!((queue.is_open(), queue.is_due(), queue.end()), (false, true, None));
    assert_eq!(queue.push(call("b")), Push::Closed);
    assert_eq!(drain(&mut queue), "[a @1]");
    assert_eq!(queue.end(), Some(End { code: 1000 }), "the first end holds");
}

#[test]
fn a_stream_that_is_abandoned_ends_at_once_and_holds_nothing() {
    let mut queue = attached(ROOMY, KEEPS_ALL);
    push_all(&mut queue, &["a"]);
    drain(&mut queue);
    push_all(&mut queue, &["b"]);
    queue.fields_mut().news = Some(b"news".as_slice().into());
    queue.abandon(End { code: 1008 });
    assert_eq!(queue.end(), Some(End { code: 1008 }));
    assert_eq!(queue.push(call("c")), Push::Closed);
    assert_eq!(drain(&mut queue), "");
    assert_eq!(queue.backlog(), Backlog { peak_bytes: 1, taken: 1, ..Backlog::default() });
}

#[test]
fn another_form_counts_and_writes_what_waits_anew() {
    let mut queue = attached(ROOMY, KEEPS_ALL);
    push_all(&mut queue, &["ab", "cd"]);
    queue.set_form(&DOUBLED);
    assert_eq!(queue.backlog().bytes, 8);
    assert_eq!(drain(&mut queue), "[abab cdcd @2]");
}
