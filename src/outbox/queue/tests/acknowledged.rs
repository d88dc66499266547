//! Messages that are kept until the client acknowledges them.

use super::*;

fn queue(limit: usize) -> Queue {
    let mut queue = Queue::new(&FORM, WIDE_LIMITS, ReplayLimits::default());
    queue.keep_until_acknowledged(limit);
    queue.attach(Resume::Waiting, ChannelFilter::default());
    queue
}

fn push(queue: &mut Queue, text: &str) -> Push {
    queue.push(QueueEntry::private(text.as_bytes().into()))
}

/// What a new channel sends first, and the number of its first message.
fn reconnect(queue: &mut Queue) -> (u64, String) {
    queue.detach();
    assert!(!queue.attach(Resume::Unacknowledged, ChannelFilter::default()));
    (queue.first_unacknowledged(), written(queue))
}

fn written(queue: &mut Queue) -> String {
    let mut out = BytesMut::new();
    while queue.take(&Joined, 1_000, &mut out) {}
    String::from_utf8(out.to_vec()).unwrap()
}

/// Writes a comma behind each element.
struct Joined;

impl Framer for Joined {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        for element in elements {
            out.extend_from_slice(element);
            out.extend_from_slice(b",");
        }
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(frame);
    }
}

#[test]
fn unacknowledged_messages_are_sent_again() {
    let mut queue = queue(1_000);
    for text in ["a", "b", "c"] {
        push(&mut queue, text);
    }
    assert_eq!(written(&mut queue), "a,b,c,");
    queue.acknowledge(1);
    push(&mut queue, "d");
    assert_eq!(reconnect(&mut queue), (2, "b,c,d,".into()));
    assert_eq!(reconnect(&mut queue), (2, "b,c,d,".into()), "as often as the client returns");
    queue.acknowledge(4);
    assert_eq!(reconnect(&mut queue), (5, String::new()));
    assert_eq!(queue.backlog(), Backlog { items: 0, bytes: 0, kept: 0, ..queue.backlog() });
}

#[test]
fn control_entries_are_neither_counted_nor_repeated() {
    let mut queue = queue(1_000);
    queue.push(QueueEntry::control(b"ping"[..].into()));
    push(&mut queue, "a");
    queue.push(QueueEntry::control(b"ack"[..].into()));
    push(&mut queue, "b");
    assert_eq!(written(&mut queue), "ping,a,ack,b,");
    assert_eq!(reconnect(&mut queue), (1, "a,b,".into()));
    queue.acknowledge(1);
    assert_eq!(reconnect(&mut queue), (2, "b,".into()));
}

#[test]
fn acknowledgement_of_repeated_messages_skips_them() {
    let mut queue = queue(1_000);
    for text in ["a", "b", "c"] {
        push(&mut queue, text);
    }
    written(&mut queue);
    queue.detach();
    queue.attach(Resume::Unacknowledged, ChannelFilter::default());
    queue.acknowledge(2);
    assert_eq!(written(&mut queue), "c,");
}

#[test]
fn acknowledgement_ahead_of_written_messages_is_harmless() {
    let mut queue = queue(1_000);
    push(&mut queue, "a");
    queue.acknowledge(5);
    assert_eq!(written(&mut queue), "a,");
    queue.acknowledge(5);
    push(&mut queue, "b");
    assert_eq!((queue.first_unacknowledged(), written(&mut queue)), (2, "b,".into()));
}

#[test]
fn deferred_message_is_repeated_as_it_was_written() {
    let mut queue = queue(1_000);
    queue.set_deferred(Some(DeferredField::new(|| b"first token"[..].into())));
    assert_eq!(written(&mut queue), "first token,");
    queue.set_deferred(Some(DeferredField::new(|| b"second token"[..].into())));
    assert_eq!(reconnect(&mut queue), (1, "first token,second token,".into()));
}

#[test]
fn senders_wait_for_acknowledgements() {
    let mut queue = queue(10);
    push(&mut queue, "0123456789");
    written(&mut queue);
    assert!(queue.has_capacity_for(5), "the limit is reached, not exceeded");
    push(&mut queue, "x");
    written(&mut queue);
    assert!(!queue.has_capacity_for(0));
    queue.acknowledge(1);
    assert!(queue.has_capacity_for(5));
}

#[test]
fn senders_wait_before_unacknowledged_messages_overflow() {
    let mut queue = queue(1_000);
    while queue.has_capacity_for(1) {
        assert_eq!(push(&mut queue, "x"), Push::Queued);
        written(&mut queue);
    }
    assert_eq!(queue.backlog().kept, WIDE_LIMITS.items / 2 + 1);
    queue.acknowledge(1);
    assert!(queue.has_capacity_for(1));
}

#[test]
fn client_that_acknowledges_nothing_overflows() {
    let mut queue = queue(1_000);
    for _ in 0..WIDE_LIMITS.items {
        assert_eq!(push(&mut queue, "x"), Push::Queued);
        written(&mut queue);
    }
    assert_eq!(push(&mut queue, "x"), Push::Overflowed);
}
