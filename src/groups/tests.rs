use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::{
    group::{Joined, Left},
    message::{Invocation, Source, WireForm},
    outbox::{End, Limits, Outbox, OutboxEvent, Overflow, ReplayLimits},
    payload::Format,
    supervised::Crash,
};

mod endurance;

static FORM: WireForm =
    WireForm { slot: 0, format: Format::Json, answers: false, encode: |call| Bytes::from(call.target.to_string()) };

/// A client that reads nothing, with an outbox without limits.
fn client() -> (Member, Arc<Outbox>) {
    let limits = Limits { items: usize::MAX, bytes: usize::MAX, overflow: Overflow::Close };
    let outbox = Outbox::new(&FORM, limits, ReplayLimits { items: 0, bytes: 0 });
    (Member { id: ConnectionId::random(), sink: MemberSink::Outbox(Arc::clone(&outbox)) }, outbox)
}

fn close(member: &Member) {
    if let MemberSink::Outbox(outbox) = &member.sink {
        outbox.discard_and_close(End::Close(1000));
    }
}

fn key(group: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &group.into())
}

fn message() -> Arc<Message> {
    let call = Invocation::new(&"chat".into(), "heard", &["hello"]).unwrap();
    Arc::new(Message::new(call, Source::Hub))
}

/// Waits until every group has retired and is removed from the directory.
async fn wait_until_empty(groups: &GroupDirectory) {
    let retired = async {
        while !groups.0.groups.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(Duration::from_secs(30), retired).await;
    assert!(waited.is_ok(), "{:?} still exist", groups.keys(None));
}

/// An actor of an application that joins groups. It forwards its deliveries to the test and can be crashed.
struct Listener(mpsc::UnboundedSender<Delivery>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        // The test may have dropped the receiver.
        let _ = self.0.send(delivery);
    }
}

crate::supervised::may_crash!(Listener);

fn listener() -> (Addr<Listener>, mpsc::UnboundedReceiver<Delivery>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Listener(sender).start(), receiver)
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
    let group = groups.find(&key(group)).expect("there is such a group");
    assert!(group.address.send(Crash).await.is_err());
}

async fn crash_shard(groups: &GroupDirectory) {
    assert!(groups.shard(0).send_once(Crash).await.is_err());
}

#[actix::test]
async fn joins_and_leaves_report_membership_changes() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let ((ann, _), (bob, _)) = (client(), client());
    assert_eq!(leave(&groups, "room", &ann).await, Left::NotMember, "there is no such group");
    assert_eq!(join(&groups, "room", &ann).await, Joined::Now);
    assert_eq!(join(&groups, "room", &ann).await, Joined::Already);
    assert_eq!(leave(&groups, "room", &bob).await, Left::NotMember);
    assert_eq!(leave(&groups, "room", &ann).await, Left::Now);
    wait_until_empty(&groups).await;
    assert_eq!(leave(&groups, "room", &ann).await, Left::NotMember);
}

#[actix::test]
async fn publish_reaches_all_members_except_excluded() {
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
async fn ended_connection_cannot_join() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (ann, _) = client();
    close(&ann);
    assert_eq!(groups.join(&key("room"), ann).await, Ok(Admission::Ended));
    wait_until_empty(&groups).await;
}

#[actix::test]
async fn dropping_actor_membership_leaves_group() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, mut deliveries) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    assert_eq!(publish(&groups, "room").await, 1);
    assert_eq!(deliveries.recv().await.unwrap().group, key("room"));
    let snapshot = groups.inspect(&key("room")).await.unwrap().unwrap();
    assert_eq!(snapshot.actors, [membership.id().clone()]);
    drop(membership);
    wait_until_empty(&groups).await;
}

#[actix::test]
async fn publish_removes_stopped_actor() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, _receiver) = listener();
    let _membership = groups.join_actor(key("room"), listener.clone().recipient()).await.unwrap();
    assert!(listener.send(Crash).await.is_err());
    assert_eq!(publish(&groups, "room").await, 0);
    wait_until_empty(&groups).await;
}

#[actix::test]
async fn restarted_shard_keeps_its_groups() {
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
    wait_until_empty(&groups).await;
    assert_eq!(groups.restarts(), 1);
}

/// A join waits for the next incarnation of the shard. A group that becomes empty in the meantime is taken over and
/// retires.
#[actix::test]
async fn shard_crashes_under_traffic_lose_nothing() {
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
    let crashes = async {
        for _ in 0..5 {
            crash_shard(&groups).await;
            join(&groups, "elsewhere", &client().0).await;
        }
    };
    let finished = timeout(Duration::from_secs(30), async { tokio::join!(traffic, crashes) });
    assert!(finished.await.is_ok(), "an operation never completes");
    assert_eq!(groups.keys(None), [key("elsewhere")]);
}

#[actix::test]
async fn crashed_group_counts_as_absent() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (ann, to_ann) = client();
    join(&groups, "room", &ann).await;
    crash_group(&groups, "room").await;
    let event = to_ann.events().next().await;
    assert!(matches!(event, Some(OutboxEvent::GroupLost { ref group, .. }) if *group == key("room")), "{event:?}");
    wait_until_empty(&groups).await;
    assert_eq!(publish(&groups, "room").await, 0);
    assert!(groups.inspect(&key("room")).await.unwrap().is_none());
    assert_eq!(leave(&groups, "room", &ann).await, Left::NotMember);
    assert_eq!(join(&groups, "room", &ann).await, Joined::Now, "a new group");
    assert_eq!(publish(&groups, "room").await, 1);
}

#[actix::test]
async fn actor_rejoins_after_group_crash() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, mut deliveries) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    crash_group(&groups, "room").await;
    // The shard has received `GroupCrashed` before it receives this join.
    join(&groups, "room", &client().0).await;
    assert_eq!(publish(&groups, "room").await, 2);
    assert_eq!(deliveries.recv().await.unwrap().group, key("room"));
    drop(membership);
    let snapshot = groups.inspect(&key("room")).await.unwrap().unwrap();
    assert!(snapshot.actors.is_empty());
}

#[actix::test]
async fn dropped_actor_membership_is_not_restored_after_crash() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (listener, _receiver) = listener();
    let membership = groups.join_actor(key("room"), listener.recipient()).await.unwrap();
    let group = groups.find(&key("room")).unwrap().address;
    group.try_send(Crash).unwrap();
    drop(membership);
    assert!(group.send(Inspect(MemberRange::ALL)).await.is_err());
    wait_until_empty(&groups).await;
}

#[test]
fn thread_without_arbiter_can_join_groups() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let system = std::thread::spawn(move || {
        System::new().block_on(async {
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            sender.send((GroupDirectory::new(1, Arbiter::current()), stop)).unwrap();
            // The test drops the sender when it ends.
            let _ = stopped.await;
        });
    });
    let (groups, stop) = receiver.recv().unwrap();
    let joined = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (ann, _outbox) = client();
        join(&groups, "room", &ann).await
    });
    assert_eq!(joined, Joined::Now);
    drop(stop);
    system.join().unwrap();
}

#[actix::test]
async fn shard_of_stopped_thread_restarts_on_another() {
    let groups = GroupDirectory::new(1, Arbiter::current());
    let (thread, elsewhere) = (Arbiter::new(), groups.clone());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    thread.spawn(async move {
        elsewhere.start_unassigned_shard();
        let (ann, _) = client();
        sender.send(join(&elsewhere, "room", &ann).await).unwrap();
    });
    assert_eq!(receiver.await, Ok(Joined::Now));
    thread.stop();
    thread.join().unwrap();
    let (bob, _outbox) = client();
    assert_eq!(join(&groups, "room", &bob).await, Joined::Now);
    assert_eq!(publish(&groups, "room").await, 1, "members of the group on the stopped thread are gone");
}
