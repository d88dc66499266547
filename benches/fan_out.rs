//! Fan-out in one process: the cost of a delivery without sockets.
//!
//! Comparing the result with the `sockets` benchmark shows which part of the cost of a delivery belongs to the engine
//! and which to the operating system. Run it with `cargo bench --bench fan_out`. It prints a table for members that are
//! clients, whose sockets discard everything, and for members that are actors.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use actix::prelude::*;
use anyhow::Result;
use bytes::{BufMut, BytesMut};
use hubcast::{
    Delivery, Engine, Format, Hub, Invocation, Limits, Message, ReplayLimits,
    testkit::{
        ChannelFilter, FlushScheduler, FrameFields, FrameType, Framer, Outbox, Resume, SharedMessage, Sink, Source,
        WireForm,
    },
};
use tokio::task::yield_now;

const MEMBERS: usize = 1000;
const PAYLOAD: usize = 100;
const IN_FLIGHT: [usize; 3] = [1, 4, 16];
const BROADCASTS: usize = 4_000;

static FORM: WireForm =
    WireForm { slot: 0, format: Format::Json, answers: false, encode: |call| call.arguments.get().to_owned().into() };

/// A socket that accepts and discards everything.
#[derive(Default)]
struct DiscardingSocket(AtomicUsize);

impl Sink for DiscardingSocket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }
}

struct WebSocketFramer;

impl Framer for WebSocketFramer {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        elements.for_each(|element| FrameType::WebSocketText.frame(out, |out| out.put_slice(element)));
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        out.put_slice(frame);
    }
}

fn payload() -> String {
    "x".repeat(PAYLOAD)
}

fn message() -> Result<SharedMessage> {
    Ok(SharedMessage::new(Message::new(Invocation::new(&"chat".into(), "receive", &payload())?, Source::Hub)))
}

/// Microseconds per delivery to clients, and how many broadcasts one write carried on average.
async fn clients(in_flight: usize) -> Result<(f64, f64)> {
    let socket = Arc::new(DiscardingSocket::default());
    let outboxes: Vec<_> =
        (0..MEMBERS).map(|_| Outbox::new(&FORM, Limits::default(), ReplayLimits::default())).collect();
    let mut readers = Vec::new();
    for outbox in &outboxes {
        let (reader, _) = outbox.attach(Resume::Tail, ChannelFilter::default(), Arc::new(WebSocketFramer));
        let sink: Arc<dyn Sink> = socket.clone();
        reader.enable_direct_write(sink);
        readers.push(reader);
    }
    let scheduler = FlushScheduler::default();
    let start = Instant::now();
    for _ in 0..BROADCASTS / in_flight {
        for _ in 0..in_flight {
            let (message, mut batch) = (message()?, scheduler.batch());
            for outbox in &outboxes {
                let _ = outbox.push_batched(&message, &mut batch);
            }
            batch.schedule();
        }
        while outboxes.iter().any(|outbox| outbox.backlog().items > 0) {
            yield_now().await;
        }
    }
    let per_delivery = start.elapsed().as_secs_f64() * 1e6 / (BROADCASTS * MEMBERS) as f64;
    Ok((per_delivery, (BROADCASTS * MEMBERS) as f64 / socket.0.load(Ordering::Relaxed) as f64))
}

struct Listener(Arc<AtomicUsize>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, _: Delivery, _: &mut Self::Context) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Microseconds per delivery to actors.
async fn actors(in_flight: usize) -> Result<f64> {
    let engine = Engine::builder().hub_only(Hub::new("chat")).build()?;
    let Some(hub) = engine.hub("chat") else { anyhow::bail!("the hub is registered") };
    let received = Arc::new(AtomicUsize::new(0));
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let listener = Listener(Arc::clone(&received)).start();
        members.push(hub.groups().add_actor("room", listener.recipient()).await?);
    }
    let start = Instant::now();
    for round in 1..=BROADCASTS / in_flight {
        for _ in 0..in_flight {
            hub.clients().group("room").send("receive", payload()).await?;
        }
        while received.load(Ordering::Relaxed) < round * in_flight * MEMBERS {
            yield_now().await;
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / (BROADCASTS * MEMBERS) as f64)
}

#[actix::main]
#[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
async fn main() -> Result<()> {
    println!("| broadcasts in flight | µs per client | broadcasts per write | µs per actor |\n|---|---|---|---|");
    for in_flight in IN_FLIGHT {
        let ((client, batch), actor) = (clients(in_flight).await?, actors(in_flight).await?);
        println!("| {in_flight} | {client:.3} | {batch:.1} | {actor:.3} |");
    }
    Ok(())
}
