use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::{
    group::{Joined, Left},
    message::{Invocation, Source, WireForm},
    outbox::{End, Limits, Outbox, OutboxEvent, Overflow, ReplayLimits},
    supervised::Crash,
};

mod endurance;

static FORM: WireForm = WireForm { slot: 0, encode: |call| Bytes::from(call.target.to_string()) };

/// A client that reads nothing and is given all the room in the world, and its outbox.
fn client() -> (Member, Arc<Outbox>) {
    let limits = Limits { items: usize::MAX, bytes: usize::MAX, overflow: Overflow::Close };
    let outbox = Outbox::new(&FORM, limits, ReplayLimits { items: 0, bytes: 0 });
    (Member { id: ConnectionId::random(), reach: MemberSink::Outbox(Arc::clone(&outbox)) }, outbox)
}

fn close(member: &Member) {
    if let MemberSink::Outbox(outbox) = &member.reach {
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

/// Waits until the last group has retired and nothing of it is left.
async fn gone(groups: &GroupDirectory) {
    let retired = async {
        while !groups.0.directory.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(Duration::from_secs(30), retired).await;
    assert!(waited.is_ok(), "{:?} are left", groups.keys(None));
}

/// An actor of an application that joins groups: it passes on what it hears, and can be killed.
struct Listener(mpsc::UnboundedSender<Delivery>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        // The test may have heard enough.
        let _ = self.0.send(delivery);
    }
}

crate::supervised::may_crash!(Listener);

fn listener() -> (Addr<Listener>, mpsc::UnboundedReceiver<Delivery>) {
    let (heard, hears) = mpsc::unbounded_channel();
    (Listener(heard).start(), hears)
}

async fn join(groups: &GroupDirectory, group: &str, member: &Member) -> Joined {
    match groups.join(&key(group), member.clone()).await.unwrap() {
        Admission::Member(joined, _) => joined,
        Admission::Ended => panic!("the member is open"),
    }
}

async fn leave(groups: &GroupDirectory, group: &str, member: &Member) -> Left {
    groups.leave(&key(group), &member.id).await.unwrap()
}

async fn publish(groups: &GroupDirectory, group: &str) -> usize {
    groups.publish(&key(group), &message(), &ConnectionSet::default()).await.unwrap().0
}

async fn crash_group(groups: &GroupDirectory, group: &str) {
    let living = groups.living(&key(group)).expect("there is such a group");
    assert!(living.address.send(Crash).await.is_err());
}

async fn crash_shard(groups: &GroupDirectory) {
    assert!(groups.shard(0).send_once(Crash).await.is_err());
}

#[actix::test]
async fn joins_and_leaves_are_answered_truthfully() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let ((ann, _), (bob, _)) = (client(), client());
    assert_eq!(leave(&groups, "room", &ann).await, Left::NoMember, "there is no such group");
    assert_eq!(join(&groups, "room", &ann).await, Joined::Now);
    assert_eq!(join(&groups, "room", &ann).await, Joined::Already);
    assert_eq!(leave(&groups, "room", &bob).await, Left::NoMember);
    assert_eq!(leave(&groups, "room", &ann).await, Left::Now);
    gone(&groups).await;
    assert_eq!(leave(&groups, "room", &ann).await, Left::NoMember);
}

#[actix::test]
async fn a_publish_reaches_every_member_but_those_left_out() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let ((ann, to_ann), (bob, to_bob)) = (client(), client());
    assert_eq!(publish(&groups, "room").await, 0);
    join(&groups, "room", &ann).await;
    join(&groups, "room", &bob).await;
    assert_eq!(publish(&groups, "room").await, 2);
    let except = [ann.id.clone()].into_iter().collect();
    assert_eq!(groups.publish(&key("room"), &message(), &except).await, Ok(DeliveryCount(1)));
    assert_eq!((to_ann.backlog().items, to_bob.backlog().items), (1, 2));
}

#[actix::test]
async fn a_connection_that_has_ended_is_not_let_in() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (ann, _) = client();
    close(&ann);
    assert_eq!(groups.join(&key("room"), ann).await, Ok(Admission::Ended));
    gone(&groups).await;
}

#[actix::test]
async fn an_actor_is_a_member_until_its_membership_is_dropped() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, mut hears) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    assert_eq!(publish(&groups, "room").await, 1);
    assert_eq!(hears.recv().await.unwrap().group, key("room"));
    let snapshot = groups.inspect(&key("room")).await.unwrap().unwrap();
    assert_eq!(snapshot.actors, [membership.id().clone()]);
    drop(membership);
    gone(&groups).await;
}

#[actix::test]
async fn an_actor_that_has_died_is_no_member_after_the_next_publish() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, _hears) = listener();
    let _membership = groups.join_actor(key("room"), listener.clone().recipient()).await.unwrap();
    assert!(listener.send(Crash).await.is_err());
    assert_eq!(publish(&groups, "room").await, 0);
    gone(&groups).await;
}

#[actix::test]
async fn a_shard_that_dies_loses_no_group() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let members: Vec<_> = (0..20).map(|_| client().0).collect();
    let names: Vec<_> = (0..5).map(|number| format!("group {number}")).collect();
    for name in &names {
        join_all(members.iter().map(|member| join(&groups, name, member))).await;
    }
    crash_shard(&groups).await;
    for name in &names {
        assert_eq!(publish(&groups, name).await, 20);
        assert_eq!(join(&groups, name, &members[0]).await, Joined::Already, "it is the same group");
        join_all(members.iter().map(|member| leave(&groups, name, member))).await;
    }
    gone(&groups).await;
    assert_eq!(groups.restarts(), 1);
}

/// Whoever is about to join waits for the successor; the group that empties meanwhile is adopted and retires.
#[actix::test]
async fn a_shard_may_die_under_traffic() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let traffic = join_all((0..50).map(|number| {
        let groups = &groups;
        async move {
            let (member, name) = (client().0, format!("group {}", number % 7));
            for _ in 0..40 {
                assert_eq!(join(groups, &name, &member).await, Joined::Now);
                assert!(publish(groups, &name).await >= 1);
                assert_eq!(leave(groups, &name, &member).await, Left::Now);
            }
        }
    }));
    let deaths = async {
        for _ in 0..5 {
            crash_shard(&groups).await;
            join(&groups, "elsewhere", &client().0).await;
        }
    };
    let lived = timeout(Duration::from_secs(30), async { tokio::join!(traffic, deaths) });
    assert!(lived.await.is_ok(), "somebody waits for ever");
    assert_eq!(groups.keys(None), [key("elsewhere")]);
}

#[actix::test]
async fn a_group_that_panicked_counts_as_absent() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (ann, to_ann) = client();
    join(&groups, "room", &ann).await;
    crash_group(&groups, "room").await;
    let event = to_ann.events().next().await;
    assert!(matches!(event, Some(OutboxEvent::Lost { ref group, .. }) if *group == key("room")), "{event:?}");
    gone(&groups).await;
    assert_eq!(publish(&groups, "room").await, 0);
    assert!(groups.inspect(&key("room")).await.unwrap().is_none());
    assert_eq!(leave(&groups, "room", &ann).await, Left::NoMember);
    assert_eq!(join(&groups, "room", &ann).await, Joined::Now, "a fresh one");
    assert_eq!(publish(&groups, "room").await, 1);
}

#[actix::test]
async fn an_actor_is_let_into_the_successor_of_a_group_that_panicked() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, mut hears) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    crash_group(&groups, "room").await;
    // What is asked of the shard from here on comes after the news of the group's death.
    join(&groups, "room", &client().0).await;
    assert_eq!(publish(&groups, "room").await, 2);
    assert_eq!(hears.recv().await.unwrap().group, key("room"));
    drop(membership);
    let snapshot = groups.inspect(&key("room")).await.unwrap().unwrap();
    assert!(snapshot.actors.is_empty());
}

#[actix::test]
async fn an_actor_that_gave_up_as_its_group_panicked_is_not_let_in_again() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, _hears) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    let group = groups.living(&key("room")).unwrap().address;
    group.try_send(Crash).unwrap();
    drop(membership);
    assert!(group.send(Inspect(MemberRange::ALL)).await.is_err());
    gone(&groups).await;
}

#[test]
fn a_thread_without_actors_reaches_groups_too() {
    let (tell, told) = std::sync::mpsc::channel();
    let system = std::thread::spawn(move || {
        System::new().block_on(async {
            let (over, stop) = tokio::sync::oneshot::channel::<()>();
            tell.send((GroupDirectory::new(1, Arbiter::current()), over)).unwrap();
            // The test is over, one way or the other.
            let _ = stop.await;
        });
    });
    let (groups, over) = told.recv().unwrap();
    let joined = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (ann, _outbox) = client();
        join(&groups, "room", &ann).await
    });
    assert_eq!(joined, Joined::Now);
    drop(over);
    system.join().unwrap();
}

#[actix::test]
async fn a_shard_whose_thread_has_gone_finds_another_home() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (thread, elsewhere) = (Arbiter::new(), groups.clone());
    let (tell, told) = tokio::sync::oneshot::channel();
    thread.spawn(async move {
        elsewhere.adopt_shard();
        let (ann, _) = client();
        tell.send(join(&elsewhere, "room", &ann).await).unwrap();
    });
    assert_eq!(told.await, Ok(Joined::Now));
    thread.stop();
    thread.join().unwrap();
    let (bob, _outbox) = client();
    assert_eq!(join(&groups, "room", &bob).await, Joined::Now);
    assert_eq!(publish(&groups, "room").await, 1, "who was in the group before has gone with it");
}
