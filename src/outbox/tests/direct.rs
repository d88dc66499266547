//! Broadcasts that the pushing thread writes directly to a socket.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A socket that accepts the given number of bytes at each write and is full afterwards.
#[derive(Default)]
struct Socket {
    takes: Mutex<VecDeque<usize>>,
    taken: Mutex<Vec<u8>>,
}

impl Socket {
    fn taking(takes: impl IntoIterator<Item = usize>) -> Arc<Self> {
        Arc::new(Self { takes: Mutex::new(takes.into_iter().collect()), taken: Mutex::default() })
    }

    fn taken(&self) -> String {
        String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
    }
}

impl Sink for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.takes.lock().unwrap().pop_front() {
            Some(takes) if takes > 0 => {
                let taken = takes.min(bytes.len());
                self.taken.lock().unwrap().extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            Some(_) | None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn attach_direct(outbox: &Arc<Outbox>, socket: &Arc<Socket>) -> OutboxReader {
    let reader = attach(outbox);
    reader.enable_direct_write(Arc::clone(socket) as Arc<dyn Sink>);
    reader
}

fn broadcast(outbox: &Arc<Outbox>, text: &str) {
    let mut batch = FlushScheduler::default().batch();
    assert_eq!(outbox.push_batched(&message(text), &mut batch), Push::Queued);
    batch.schedule();
}

#[test]
fn broadcast_is_written_directly_to_free_socket() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut reader = attach_direct(&outbox, &socket);
    broadcast(&outbox, "a");
    assert_eq!(socket.taken(), "[a]");
    assert_eq!(poll(&mut reader), "");
}

#[test]
fn broadcasts_of_one_batch_are_written_together() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut reader = attach_direct(&outbox, &socket);
    let mut batch = FlushScheduler::default().batch();
    outbox.push_batched(&message("a"), &mut batch);
    outbox.push_batched(&message("b"), &mut batch);
    assert_eq!(socket.taken(), "");
    batch.schedule();
    assert_eq!(socket.taken(), "[a][b]");
    assert_eq!(poll(&mut reader), "");
}

#[test]
fn batch_dropped_without_schedule_wakes_transport() {
    let (outbox, socket, wakes) = (outbox(), Socket::taking([100]), Arc::new(WakeCounter::default()));
    let mut reader = attach_direct(&outbox, &socket);
    poll_with(&mut reader, &Arc::clone(&wakes).into());
    let mut batch = FlushScheduler::default().batch();
    outbox.push_batched(&message("a"), &mut batch);
    drop(batch);
    assert_eq!((socket.taken().as_str(), wakes.count()), ("", 1));
    assert_eq!(poll(&mut reader), "[a]");
    broadcast(&outbox, "b");
    assert_eq!(socket.taken(), "[b]", "later batches flush the outbox again");
}

#[test]
fn transport_writes_what_full_socket_rejects() {
    let (outbox, socket, wakes) = (outbox(), Socket::taking([2]), Arc::new(WakeCounter::default()));
    let mut reader = attach_direct(&outbox, &socket);
    poll_with(&mut reader, &Arc::clone(&wakes).into());
    broadcast(&outbox, "a");
    broadcast(&outbox, "b");
    assert_eq!((socket.taken().as_str(), wakes.count()), ("[a", 1));
    assert_eq!(poll(&mut reader), "][b]");

    socket.takes.lock().unwrap().push_back(100);
    broadcast(&outbox, "c");
    assert_eq!(socket.taken(), "[a", "it counts as full until its transport reports otherwise");
    assert_eq!(poll(&mut reader), "[c]");
    reader.record_write(true, false);
    broadcast(&outbox, "d");
    assert_eq!(socket.taken(), "[a[d]");
}

#[test]
fn full_socket_is_progress_only_after_bytes_were_taken() {
    let (outbox, socket) = (outbox(), Socket::taking([]));
    let reader = attach_direct(&outbox, &socket);
    outbox.push(&message("a"));
    let before = outbox.progress();
    assert!(before.is_some(), "an entry waits");
    reader.record_write(false, true);
    assert_eq!(outbox.progress(), before);
    reader.record_write(true, true);
    assert_ne!(outbox.progress(), before);
}

/// A socket that accepts one byte while its channel is replaced, as another thread may do.
struct ReplacingSocket {
    outbox: Arc<Outbox>,
    newer: Mutex<Option<OutboxReader>>,
}

impl Sink for ReplacingSocket {
    fn try_write(&self, _: &[u8]) -> io::Result<usize> {
        *self.newer.lock().unwrap() = Some(attach(&self.outbox));
        Ok(1)
    }
}

#[test]
fn partial_frame_is_not_written_to_newer_channel() {
    let outbox = outbox();
    let socket = Arc::new(ReplacingSocket { outbox: Arc::clone(&outbox), newer: Mutex::default() });
    let mut older = attach(&outbox);
    older.enable_direct_write(Arc::clone(&socket) as Arc<dyn Sink>);
    broadcast(&outbox, "a");
    let mut newer = socket.newer.lock().unwrap().take().unwrap();
    outbox.push(&message("b"));
    assert_eq!(poll(&mut newer), "[b]");
    assert_eq!([poll(&mut older), poll(&mut older)], ["a]", "end 1000"], "the older channel writes it before it ends");
}

#[test]
fn partial_frame_is_completed_before_channel_ends() {
    let (outbox, socket) = (outbox(), Socket::taking([2]));
    let mut reader = attach_direct(&outbox, &socket);
    broadcast(&outbox, "abc");
    reader.control().close(End::Close(1009));
    assert_eq!(socket.taken(), "[a");
    assert_eq!([poll(&mut reader), poll(&mut reader)], ["bc]", "end 1009"]);
}

#[test]
fn other_thread_wakes_transport_instead_of_writing() {
    let (outbox, socket, wakes) = (outbox(), Socket::taking([100]), Arc::new(WakeCounter::default()));
    let mut reader = attach_direct(&outbox, &socket);
    poll_with(&mut reader, &Arc::clone(&wakes).into());
    thread::scope(|scope| {
        scope.spawn(|| broadcast(&outbox, "a"));
    });
    assert_eq!((socket.taken().as_str(), wakes.count()), ("", 1));
    assert_eq!(poll(&mut reader), "[a]");
}

#[test]
fn closed_channel_is_not_written_to() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut reader = attach_direct(&outbox, &socket);
    reader.control().close(GOING_AWAY);
    broadcast(&outbox, "a");
    assert_eq!((socket.taken().as_str(), poll(&mut reader).as_str()), ("", "end 1001"));
}

#[test]
fn socket_of_replaced_channel_is_not_written_to() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let _old = attach_direct(&outbox, &socket);
    let mut new = attach(&outbox);
    broadcast(&outbox, "a");
    assert_eq!((socket.taken().as_str(), poll(&mut new).as_str()), ("", "[a]"));
}

#[actix::test]
async fn large_batch_is_flushed_after_the_push() {
    const MANY: usize = 100;
    let sockets: Vec<_> = (0..MANY).map(|_| Socket::taking([100])).collect();
    let outboxes: Vec<_> = (0..MANY).map(|_| outbox()).collect();
    let _readers: Vec<_> =
        outboxes.iter().zip(&sockets).map(|(outbox, socket)| attach_direct(outbox, socket)).collect();
    let mut batch = FlushScheduler::default().batch();
    for outbox in &outboxes {
        outbox.push_batched(&message("a"), &mut batch);
    }
    batch.schedule();
    assert!(sockets.iter().all(|socket| socket.taken().is_empty()), "pushing does not write");
    while sockets.iter().any(|socket| socket.taken().is_empty()) {
        tokio::task::yield_now().await;
    }
    assert!(sockets.iter().all(|socket| socket.taken() == "[a]"));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Broadcast,
    Push,
    Write,
    Unblock,
}

proptest! {
    #[test]
    fn every_byte_is_written_once_in_order(
        takes in prop::collection::vec(0..12_usize, 0..60),
        steps in prop::collection::vec(prop_oneof![4 => Just(Step::Broadcast), 2 => Just(Step::Push), 2 => Just(Step::Write), 1 => Just(Step::Unblock)], 0..60),
    ) {
        let (outbox, socket) = (outbox(), Socket::taking(takes));
        let mut reader = attach_direct(&outbox, &socket);
        let write = |reader: &mut OutboxReader| {
            let written = poll(reader);
            socket.taken.lock().unwrap().extend_from_slice(written.as_bytes());
            !written.is_empty()
        };
        let mut wanted = String::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Broadcast => broadcast(&outbox, &number.to_string()),
                Step::Push => assert_eq!(outbox.push(&message(&number.to_string())), Push::Queued),
                Step::Write => {
                    write(&mut reader);
                }
                // A transport reports this only when it has nothing left to write.
                Step::Unblock => {
                    while write(&mut reader) {}
                    reader.record_write(true, false);
                }
            }
            if matches!(step, Step::Broadcast | Step::Push) {
                wanted += &format!("[{number}]");
            }
        }
        while write(&mut reader) {}
        prop_assert_eq!(socket.taken(), wanted);
    }
}
