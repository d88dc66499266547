//! Members of a group that exchange messages before and during the storm.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    task::spawn_local,
    time::{MissedTickBehavior, interval},
};

use crate::{
    client::{Client, connect_member, connect_sender, masked_text_frame, read_frame},
    peers::Dialect,
};

const MEMBERS: usize = 100;
const SEND_INTERVAL: Duration = Duration::from_millis(10);

/// The connections of [`Established`]: the members and a sender.
pub(crate) const CONNECTIONS: usize = MEMBERS + 1;

/// The delays of deliveries, in milliseconds and in order.
#[derive(Clone, Default)]
pub(crate) struct Delays(Vec<f64>);

impl Delays {
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
        self.0.sort_unstable_by(f64::total_cmp);
    }

    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

#[derive(Default)]
struct Deliveries {
    sent: Vec<Instant>,
    delays: Vec<f64>,
}

pub(crate) struct Established {
    deliveries: Rc<RefCell<Deliveries>>,
    /// Keeps the sockets of the members open.
    _writers: Vec<OwnedWriteHalf>,
}

impl Established {
    /// Connects the members, and a sender that sends to their group from now on.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let deliveries = Rc::<RefCell<Deliveries>>::default();
        let mut writers = Vec::new();
        for _ in 0..MEMBERS {
            let Client { reader, writer } = connect_member(Dialect::Core, address).await?;
            writers.push(writer);
            spawn_local(record_delays(reader, Rc::clone(&deliveries)));
        }
        spawn_local(send_messages(connect_sender(Dialect::Core, address).await?, Rc::clone(&deliveries)));
        Ok(Self { deliveries, _writers: writers })
    }

    /// Returns the delays since the last call, in order.
    pub(crate) fn take_delays(&self) -> Delays {
        let mut delays = std::mem::take(&mut self.deliveries.borrow_mut().delays);
        delays.sort_unstable_by(f64::total_cmp);
        Delays(delays)
    }
}

async fn send_messages(mut sender: OwnedWriteHalf, deliveries: Rc<RefCell<Deliveries>>) -> Result<()> {
    let mut ticks = interval(SEND_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let number = deliveries.borrow().sent.len();
        deliveries.borrow_mut().sent.push(Instant::now());
        let call = format!("{{\"type\":1,\"target\":\"Send\",\"arguments\":[\"room\",\"#{number:08}\"]}}\x1e");
        sender.write_all(&masked_text_frame(&call)).await?;
    }
}

async fn record_delays(mut reader: BufReader<OwnedReadHalf>, deliveries: Rc<RefCell<Deliveries>>) -> Result<()> {
    let mut text = Vec::new();
    loop {
        read_frame(&mut reader, &mut text).await?;
        let Some(position) = memchr::memchr(b'#', &text) else { continue };
        let number: usize = std::str::from_utf8(&text[position + 1..position + 9])?.parse()?;
        let mut deliveries = deliveries.borrow_mut();
        let delay = deliveries.sent[number].elapsed().as_secs_f64() * 1000.0;
        deliveries.delays.push(delay);
    }
}
