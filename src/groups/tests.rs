use bytes::Bytes;

use super::*;
use crate::{
    group::{Joined, Left},
    message::{Invocation, Source, WireForm},
    outbox::{End, Limits, Outbox, Overflow, Window},
};

mod endurance;

static FORM: WireForm = WireForm { slot: 0, encode: |call| Bytes::from(call.target.to_string()) };

/// A client that reads nothing and is given all the room in the world, and its outbox.
fn client() -> (Member, Arc<Outbox>) {
    let limits = Limits { items: usize::MAX, bytes: usize::MAX, overflow: Overflow::Close };
    let outbox = Outbox::new(&FORM, limits, Window { items: 0, bytes: 0 });
    (Member { id: ConnectionId::random(), reach: Reach::Outbox(Arc::clone(&outbox)) }, outbox)
}

fn close(member: &Member) {
    if let Reach::Outbox(outbox) = &member.reach {
        outbox.abandon(End { code: 1000 });
    }
}

fn key(group: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &group.into())
}

fn message() -> Arc<Message> {
    let call = Invocation::new(&"chat".into(), "heard", &["hello"]).unwrap();
    Arc::new(Message::new(call, Source::Hub))
}
