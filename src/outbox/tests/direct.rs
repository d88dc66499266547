//! Broadcasts that are written to a socket by whoever pushes them.

use proptest::prelude::*;

use super::*;

/// A socket that takes so many bytes at each write and then is full.
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

fn lent(outbox: &Arc<Outbox>, socket: &Arc<Socket>) -> OutboxReader {
    let feed = attach(outbox);
    feed.lend(Arc::clone(socket) as Arc<dyn Sink>);
    feed
}

fn broadcast(outbox: &Arc<Outbox>, text: &str) {
    let mut batch = FlushScheduler::default().batch();
    assert_eq!(outbox.push_in(&message(text), &mut batch), Push::Queued);
    batch.schedule();
}

#[test]
fn a_broadcast_is_written_at_once_where_the_socket_is_free() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut feed = lent(&outbox, &socket);
    broadcast(&outbox, "a");
    assert_eq!(socket.taken(), "[a]");
    assert_eq!(poll(&mut feed), "");
}

#[test]
fn broadcasts_of_one_wave_are_written_together() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut feed = lent(&outbox, &socket);
    let mut batch = FlushScheduler::default().batch();
    outbox.push_in(&message("a"), &mut batch);
    outbox.push_in(&message("b"), &mut batch);
    assert_eq!(socket.taken(), "");
    batch.schedule();
    assert_eq!(socket.taken(), "[a][b]");
    assert_eq!(poll(&mut feed), "");
}

#[test]
fn batch_dropped_without_schedule_wakes_transport() {
    let (outbox, socket, bell) = (outbox(), Socket::taking([100]), Arc::new(Bell::default()));
    let mut feed = lent(&outbox, &socket);
    poll_with(&mut feed, &Arc::clone(&bell).into());
    let mut batch = FlushScheduler::default().batch();
    outbox.push_in(&message("a"), &mut batch);
    drop(batch);
    assert_eq!((socket.taken().as_str(), bell.rings()), ("", 1));
    assert_eq!(poll(&mut feed), "[a]");
    broadcast(&outbox, "b");
    assert_eq!(socket.taken(), "[b]", "the next batch flushes it");
}

#[test]
fn what_a_full_socket_does_not_take_is_left_to_its_transport_in_order() {
    let (outbox, socket, bell) = (outbox(), Socket::taking([2]), Arc::new(Bell::default()));
    let mut feed = lent(&outbox, &socket);
    poll_with(&mut feed, &Arc::clone(&bell).into());
    broadcast(&outbox, "a");
    broadcast(&outbox, "b");
    assert_eq!((socket.taken().as_str(), bell.rings()), ("[a", 1));
    assert_eq!(poll(&mut feed), "][b]");

    socket.takes.lock().unwrap().push_back(100);
    broadcast(&outbox, "c");
    assert_eq!(socket.taken(), "[a", "it counts as full until its transport says otherwise");
    assert_eq!(poll(&mut feed), "[c]");
    feed.set_blocked(false);
    broadcast(&outbox, "d");
    assert_eq!(socket.taken(), "[a[d]");
}

/// A socket that takes one byte, and whose channel is replaced meanwhile, as another thread may do.
struct PreviousChannel {
    outbox: Arc<Outbox>,
    newer: Mutex<Option<OutboxReader>>,
}

impl Sink for PreviousChannel {
    fn try_write(&self, _: &[u8]) -> io::Result<usize> {
        *self.newer.lock().unwrap() = Some(attach(&self.outbox));
        Ok(1)
    }
}

#[test]
fn what_is_left_of_a_frame_does_not_reach_the_channel_that_replaces_its_own() {
    let outbox = outbox();
    let socket = Arc::new(PreviousChannel { outbox: Arc::clone(&outbox), newer: Mutex::default() });
    let mut older = attach(&outbox);
    older.lend(Arc::clone(&socket) as Arc<dyn Sink>);
    broadcast(&outbox, "a");
    let mut newer = socket.newer.lock().unwrap().take().unwrap();
    outbox.push(&message("b"));
    assert_eq!(poll(&mut newer), "[b]");
    assert_eq!([poll(&mut older), poll(&mut older)], ["a]", "end 1000"], "the older one says it before it ends");
}

#[test]
fn a_frame_that_was_begun_is_finished_before_its_channel_ends() {
    let (outbox, socket) = (outbox(), Socket::taking([2]));
    let mut feed = lent(&outbox, &socket);
    broadcast(&outbox, "abc");
    feed.control().hang_up(End { code: 1009 });
    assert_eq!(socket.taken(), "[a");
    assert_eq!([poll(&mut feed), poll(&mut feed)], ["bc]", "end 1009"]);
}

#[test]
fn another_thread_does_not_write_but_wakes_the_transport() {
    let (outbox, socket, bell) = (outbox(), Socket::taking([100]), Arc::new(Bell::default()));
    let mut feed = lent(&outbox, &socket);
    poll_with(&mut feed, &Arc::clone(&bell).into());
    thread::scope(|scope| {
        scope.spawn(|| broadcast(&outbox, "a"));
    });
    assert_eq!((socket.taken().as_str(), bell.rings()), ("", 1));
    assert_eq!(poll(&mut feed), "[a]");
}

#[test]
fn a_client_that_has_hung_up_is_not_written_to() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let mut feed = lent(&outbox, &socket);
    feed.control().hang_up(GOING);
    broadcast(&outbox, "a");
    assert_eq!((socket.taken().as_str(), poll(&mut feed).as_str()), ("", "end 1001"));
}

#[test]
fn a_socket_that_was_replaced_is_not_written_to() {
    let (outbox, socket) = (outbox(), Socket::taking([100]));
    let _old = lent(&outbox, &socket);
    let mut new = attach(&outbox);
    broadcast(&outbox, "a");
    assert_eq!((socket.taken().as_str(), poll(&mut new).as_str()), ("", "[a]"));
}

#[actix::test]
async fn a_wave_to_many_sockets_rolls_out_after_the_push() {
    const MANY: usize = 100;
    let sockets: Vec<_> = (0..MANY).map(|_| Socket::taking([100])).collect();
    let outboxes: Vec<_> = (0..MANY).map(|_| outbox()).collect();
    let _feeds: Vec<_> = outboxes.iter().zip(&sockets).map(|(outbox, socket)| lent(outbox, socket)).collect();
    let mut batch = FlushScheduler::default().batch();
    for outbox in &outboxes {
        outbox.push_in(&message("a"), &mut batch);
    }
    batch.schedule();
    assert!(sockets.iter().all(|socket| socket.taken().is_empty()), "the pusher is not held up");
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
    fn whatever_a_socket_takes_every_byte_is_written_once_and_in_order(
        takes in prop::collection::vec(0..12_usize, 0..60),
        steps in prop::collection::vec(prop_oneof![4 => Just(Step::Broadcast), 2 => Just(Step::Push), 2 => Just(Step::Write), 1 => Just(Step::Unblock)], 0..60),
    ) {
        let (outbox, socket) = (outbox(), Socket::taking(takes));
        let mut feed = lent(&outbox, &socket);
        let write = |feed: &mut OutboxReader| {
            let written = poll(feed);
            socket.taken.lock().unwrap().extend_from_slice(written.as_bytes());
            !written.is_empty()
        };
        let mut wanted = String::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Broadcast => broadcast(&outbox, &number.to_string()),
                Step::Push => assert_eq!(outbox.push(&message(&number.to_string())), Push::Queued),
                Step::Write => {
                    write(&mut feed);
                }
                // A transport says so only when it has nothing left to write.
                Step::Unblock => {
                    while write(&mut feed) {}
                    feed.set_blocked(false);
                }
            }
            if matches!(step, Step::Broadcast | Step::Push) {
                wanted += &format!("[{number}]");
            }
        }
        while write(&mut feed) {}
        prop_assert_eq!(socket.taken(), wanted);
    }
}
