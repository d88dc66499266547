//! Tests of the outbox through its public interface: wake-ups, written bytes and their order.

use std::{
    fmt::Write,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    task::Context,
    task::Wake,
    thread,
};

use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::{
    message::{Invocation, Source},
    payload::Format,
};

mod capacity;
mod direct;

/// Encodes only the target of an invocation.
static FORM: WireForm =
    WireForm { slot: 2, format: Format::Json, answers: false, encode: |call| call.target.as_bytes().to_vec().into() };

const LIMITS: Limits = Limits { items: 1_000, bytes: 100_000, overflow: Overflow::Close };

const WINDOW: ReplayLimits = ReplayLimits { items: 100, bytes: 1_000 };

const GOING_AWAY: End = End::Close(1001);

/// Writes readable frames: elements in brackets, raw frames in angle brackets.
struct BracketFramer;

impl Framer for BracketFramer {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        let token = fields.groups_token.as_ref().map(DeferredField::encode);
        for field in [&fields.init, &token].into_iter().flatten() {
            self.write_raw(field, out);
        }
        for element in elements {
            write!(out, "[{}]", str::from_utf8(element).unwrap()).unwrap();
        }
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        write!(out, "<{}>", str::from_utf8(frame).unwrap()).unwrap();
    }
}

/// A waker that counts its wake-ups.
#[derive(Default)]
struct WakeCounter(AtomicUsize);

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl WakeCounter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(&FORM, LIMITS, ReplayLimits::default())
}

fn attach(outbox: &Arc<Outbox>) -> OutboxReader {
    outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(BracketFramer)).0
}

fn call(text: &str) -> Message {
    Message::new(Invocation::new(&"chat".into(), text, &()).unwrap(), Source::Hub)
}

fn message(text: &str) -> SharedMessage {
    SharedMessage::new(call(text))
}

/// The next bytes that the transport writes, `end 1000`, or an empty string.
fn poll(reader: &mut OutboxReader) -> String {
    poll_with(reader, Waker::noop())
}

fn poll_with(reader: &mut OutboxReader, waker: &Waker) -> String {
    let mut out = BytesMut::new();
    match reader.poll(&mut Context::from_waker(waker), &mut out) {
        Poll::Ready(ReadStep::Write) => String::from_utf8(out.to_vec()).unwrap(),
        Poll::Ready(ReadStep::End(end)) => format!("end {}", end),
        Poll::Pending => String::new(),
    }
}

/// All pending events of the owner.
fn events(outbox: &Arc<Outbox>) -> Vec<OutboxEvent> {
    let mut events = outbox.events();
    let mut cx = Context::from_waker(Waker::noop());
    let next = || match events.poll_next_unpin(&mut cx) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn every_kind_of_push_wakes_waiting_transport() {
    let pushes: [fn(&Arc<Outbox>); 7] = [
        |outbox| assert_eq!(outbox.push(&message("a")), Push::Queued),
        |outbox| assert_eq!(outbox.push_private(*b"a"), Push::Queued),
        |outbox| assert_eq!(outbox.push_raw_frame(*b"a"), Push::Queued),
        |outbox| outbox.update_frame_fields(|fields| fields.init = Some((*b"a").into())),
        |outbox| outbox.set_groups_token(Some(b"a".as_slice().into())),
        |outbox| assert_eq!(outbox.set_deferred(Some(b"a".as_slice().into())), Push::Queued),
        |outbox| outbox.finish(GOING_AWAY),
    ];
    for (index, push) in pushes.into_iter().enumerate() {
        let (outbox, wakes) = (outbox(), Arc::new(WakeCounter::default()));
        let mut reader = attach(&outbox);
        assert_eq!(poll_with(&mut reader, &Arc::clone(&wakes).into()), "");
        push(&outbox);
        assert_eq!(wakes.count(), 1, "push {index}");
        assert_ne!(poll(&mut reader), "", "push {index}");
    }
}

#[test]
fn changes_without_output_do_not_wake_transport() {
    let (outbox, wakes) = (outbox(), Arc::new(WakeCounter::default()));
    let mut reader = attach(&outbox);
    poll_with(&mut reader, &Arc::clone(&wakes).into());
    outbox.set_groups_token(None);
    outbox.update_frame_fields(|_| ());
    outbox.update_filter(|_| ());
    assert_eq!(outbox.skip(&call("a")), Push::Queued);
    assert_eq!((wakes.count(), outbox.tail()), (0, 0));
}

#[test]
fn skipped_message_takes_a_sequence_number_with_window() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    outbox.push(&message("a"));
    outbox.skip(&call("b"));
    outbox.push(&message("c"));
    let mut reader = attach(&outbox);
    assert_eq!(poll(&mut reader), "[a][c]");
    assert_eq!(outbox.cursor(), 3);
    let (mut reader, has_gap) = outbox.attach(Resume::From(2), ChannelFilter::default(), Arc::new(BracketFramer));
    assert!(!has_gap);
    assert_eq!(poll(&mut reader), "[c]");
}

#[test]
fn groups_token_advances_cursor() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    let mut reader = attach(&outbox);
    outbox.set_groups_token(Some(b"old".as_slice().into()));
    outbox.set_groups_token(Some(b"new".as_slice().into()));
    assert_eq!(poll(&mut reader), "<new>");
    assert_eq!((outbox.cursor(), outbox.tail()), (2, 2));
}

#[test]
fn deferred_message_is_encoded_when_written() {
    let outbox = outbox();
    let mut reader = attach(&outbox);
    let encoded = Arc::new(AtomicUsize::new(0));
    let message = || {
        let encoded = Arc::clone(&encoded);
        Some(DeferredField::new(move || encoded.fetch_add(1, Ordering::Relaxed).to_string().as_bytes().into()))
    };
    outbox.push_private(*b"a");
    for _ in 0..3 {
        assert_eq!(outbox.set_deferred(message()), Push::Queued);
    }
    outbox.push_private(*b"b");
    assert_eq!(poll(&mut reader), "[a][0][b]", "at its first place");
    outbox.set_deferred(message());
    outbox.set_deferred(None);
    assert_eq!(poll(&mut reader), "");
    outbox.push_private(*b"c");
    outbox.set_deferred(message());
    assert_eq!(poll(&mut reader), "[c][1]");
    outbox.discard_and_close(GOING_AWAY);
    assert_eq!(outbox.set_deferred(message()), Push::Closed);
    assert_eq!(poll(&mut reader), "end 1001");
}

#[test]
fn newer_transport_replaces_previous_and_gets_waiting_entries() {
    let (outbox, wakes) = (Outbox::new(&FORM, LIMITS, WINDOW), Arc::new(WakeCounter::default()));
    let mut old = attach(&outbox);
    assert_eq!(poll_with(&mut old, &Arc::clone(&wakes).into()), "");
    let mut new = attach(&outbox);
    assert_eq!((wakes.count(), old.channel(), new.channel(), outbox.channel()), (1, 1, 2, 2));
    outbox.push(&message("a"));
    assert_eq!(poll(&mut old), "end 1000");
    assert_eq!(poll(&mut old), "", "the end is returned once");
    drop(old);
    assert_eq!(poll(&mut new), "[a]");
    assert_eq!(events(&outbox), [OutboxEvent::Detached(1)]);
}

#[test]
fn replaced_channel_returns_its_unsent_remainder() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    outbox.push(&message("a"));
    let mut old = attach(&outbox);
    poll(&mut old);
    outbox.update_frame_fields(|fields| fields.groups_token = Some(b"unsent".as_slice().into()));
    let new = attach(&outbox);
    let fields = FrameFields { init: None, groups_token: Some(b"unsent".as_slice().into()) };
    assert_eq!(old.unsent(), Unsent { cursor: 1, fields });
    assert_eq!(new.unsent(), Unsent { cursor: 1, fields: FrameFields::default() });
}

#[test]
fn dropped_reader_leaves_entries_and_notifies_owner() {
    let outbox = outbox();
    let reader = attach(&outbox);
    outbox.push(&message("a"));
    drop(reader);
    assert_eq!(events(&outbox), [OutboxEvent::Detached(1)]);
    assert_eq!(poll(&mut attach(&outbox)), "[a]");
}

#[test]
fn channel_closed_by_client_ends_and_notifies_owner() {
    let outbox = outbox();
    let mut reader = attach(&outbox);
    outbox.push(&message("a"));
    reader.control().close(GOING_AWAY);
    assert_eq!(poll(&mut reader), "end 1001");
    assert_eq!(events(&outbox), [OutboxEvent::ChannelClosed(1)]);
    assert!(outbox.is_open(), "the connection stays open");
}

#[test]
fn channel_closed_by_owner_sends_no_event() {
    let outbox = outbox();
    let mut reader = attach(&outbox);
    outbox.push(&message("a"));
    outbox.close_channel(GOING_AWAY);
    outbox.close_channel(End::Close(1000));
    assert_eq!(poll(&mut reader), "end 1001", "the first end wins");
    assert_eq!(events(&outbox), []);
    assert_eq!(poll(&mut attach(&outbox)), "[a]");
}

#[test]
fn control_of_replaced_channel_has_no_effect() {
    let outbox = outbox();
    let control = attach(&outbox).control();
    let mut new = attach(&outbox);
    control.queue_control_frame((*b"pong").into());
    control.close(GOING_AWAY);
    assert_eq!(poll(&mut new), "");
}

#[test]
fn latest_control_frames_are_written_first() {
    let outbox = outbox();
    let mut reader = attach(&outbox);
    outbox.push(&message("a"));
    for number in 1..=17 {
        reader.control().queue_control_frame(format!("{number} ").into_bytes().into());
    }
    assert_eq!(poll(&mut reader), "2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 [a]");
}

#[test]
fn finish_drains_entries_and_discard_does_not() {
    for (end, wanted) in [
        (Outbox::finish as fn(&Outbox, End), vec!["[a]", "end 1001", ""]),
        (Outbox::discard_and_close, vec!["end 1001", "", ""]),
    ] {
        let outbox = outbox();
        let mut reader = attach(&outbox);
        outbox.push(&message("a"));
        end(&outbox, GOING_AWAY);
        assert!(!outbox.is_open());
        assert_eq!(outbox.push(&message("b")), Push::Closed);
        assert_eq!([(); 3].map(|()| poll(&mut reader)).to_vec(), wanted);
    }
}

#[test]
fn slow_client_overflows_once() {
    let outbox = Outbox::new(&FORM, Limits { items: 8, ..LIMITS }, ReplayLimits::default());
    let mut reader = attach(&outbox);
    let pushes: Vec<_> = (0..20).map(|_| outbox.push(&message("a"))).collect();
    let queued = pushes.iter().filter(|push| **push == Push::Queued).count();
    assert_eq!((queued, pushes[8], pushes[9]), (8, Push::Overflowed, Push::Closed));
    assert_eq!(events(&outbox), [OutboxEvent::Congested, OutboxEvent::Overflowed]);
    assert_eq!(outbox.backlog().items, 0, "waiting entries are discarded");
    assert_eq!(poll(&mut reader), "end 1008");
}

#[test]
fn congestion_is_reported_again_after_drain() {
    let outbox = Outbox::new(&FORM, Limits { items: 80, ..LIMITS }, ReplayLimits::default());
    let mut reader = attach(&outbox);
    for round in 0..3 {
        for _ in 0..20 {
            outbox.push(&message("a"));
        }
        assert_eq!(events(&outbox), [OutboxEvent::Congested], "once in round {round}");
        poll(&mut reader);
    }
}

#[test]
fn lost_group_wakes_owner() {
    let (outbox, wakes) = (outbox(), Arc::new(WakeCounter::default()));
    let mut stream = outbox.events();
    let waker = Arc::clone(&wakes).into();
    assert!(stream.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    let group = GroupKey::new(&"chat".into(), &"group".into());
    outbox.report_group_lost(Arc::clone(&group), 7);
    assert_eq!(wakes.count(), 1);
    assert_eq!(events(&outbox), [OutboxEvent::GroupLost { group, generation: 7 }]);
}

#[test]
fn large_backlog_is_written_in_several_frames() {
    let outbox = outbox();
    let mut reader = attach(&outbox);
    let long = "x".repeat(10_000);
    for _ in 0..9 {
        outbox.push(&message(&long));
    }
    let lengths: Vec<_> = std::iter::from_fn(|| Some(poll(&mut reader).len()).filter(|length| *length > 0)).collect();
    assert_eq!(lengths, [40_008, 40_008, 10_002]);
}

#[test]
fn pushes_from_many_threads_keep_per_thread_order() {
    const THREADS: usize = 4;
    const EACH: usize = 200;
    let outbox = Outbox::new(&FORM, Limits { items: THREADS * EACH, ..LIMITS }, ReplayLimits::default());
    let mut reader = attach(&outbox);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let outbox = &outbox;
            scope.spawn(move || {
                for number in 0..EACH {
                    assert_eq!(outbox.push(&message(&format!("{thread}:{number}"))), Push::Queued);
                }
            });
        }
    });
    let all: String = std::iter::from_fn(|| Some(poll(&mut reader)).filter(|frame| !frame.is_empty())).collect();
    for thread in 0..THREADS {
        let own = format!("[{thread}:");
        let numbers: Vec<_> = all.split_inclusive(']').filter_map(|frame| frame.strip_prefix(&own)).collect();
        let wanted: Vec<_> = (0..EACH).map(|number| format!("{number}]")).collect();
        assert_eq!(numbers, wanted, "thread {thread}");
    }
}

#[test]
fn messages_of_filtered_hubs_are_not_queued() {
    let (outbox, wakes) = (Outbox::new(&FORM, LIMITS, WINDOW), Arc::new(WakeCounter::default()));
    let only_news = ChannelFilter { hubs: Some(vec!["news".into()]), ..ChannelFilter::default() };
    let (mut reader, _) = outbox.attach(Resume::Waiting, only_news, Arc::new(BracketFramer));
    poll_with(&mut reader, &Arc::clone(&wakes).into());
    let push_all = |outbox: &Arc<Outbox>| {
        let pushes =
            [outbox.push(&message("a")), outbox.push_batched(&message("a"), &mut FlushScheduler::default().batch())];
        [pushes[0], pushes[1], outbox.skip(&call("a"))]
    };
    assert_eq!((push_all(&outbox), outbox.tail(), wakes.count()), ([Push::Filtered; 3], 0, 0));
    drop(reader);
    assert_eq!((push_all(&outbox), outbox.tail()), ([Push::Filtered; 3], 0), "the last filter still applies");
    let to_group = call("b").with_source(Source::Group(GroupKey::new(&"chat".into(), &"group".into())));
    assert_eq!(outbox.push(&SharedMessage::new(to_group)), Push::Queued, "group messages pass any hub filter");
    drop(attach(&outbox));
    assert_eq!((push_all(&outbox), outbox.tail()), ([Push::Queued; 3], 4));
}

/// Memory: with the counts of its `Arc`, an outbox takes a size class of 512 bytes.
#[test]
fn outbox_fits_its_size_class() {
    assert!(size_of::<Outbox>() <= 512 - 16, "{}", size_of::<Outbox>());
}
