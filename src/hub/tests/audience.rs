//! Recipients of each target.

use super::*;
use crate::{
    router::{Destination, Recipients},
    store::faulty::{FaultMode, FaultyStore},
};

/// User `ann` has the connections `ann1` and `ann2` on hub `chat` and `eve` on hub `news`; user `bob` has `bob` on
/// `chat`. `ann1` and `bob` are in the group `lobby`, `bob` is in the group `attic`.
struct Audience {
    services: Arc<HubServices>,
    handles: Vec<Arc<ConnectionHandle>>,
    /// The number of disconnects of each handle.
    disconnects: Vec<Arc<AtomicU32>>,
}

impl Audience {
    async fn new() -> Self {
        let services = services(vec![chat(), Hub::new("news")]);
        let handles =
            [("chat", "ann1", "ann"), ("chat", "ann2", "ann"), ("chat", "bob", "bob"), ("news", "eve", "ann")];
        let connect = |(hub, id, user)| {
            let stub = Stub::default();
            (Arc::clone(&stub.0), register(&services, hub, id, Some(user), stub))
        };
        let (disconnects, handles) = handles.into_iter().map(connect).unzip();
        let audience = Self { services, handles, disconnects };
        audience.join(0, "lobby").await;
        audience.join(2, "lobby").await;
        audience.join(2, "attic").await;
        audience
    }

    async fn join(&self, handle: usize, group: &str) {
        let handle = &self.handles[handle];
        let member = Member { id: handle.id.clone(), sink: MemberSink::Outbox(Arc::clone(&handle.outbox)) };
        self.services.groups.join(&GroupKey::new(&"chat".into(), &group.into()), member).await.unwrap();
    }

    fn clients(&self) -> Clients {
        context(&self.services, &self.handles[0], Identity::default()).clients()
    }

    /// The ids of the connections that were disconnected, once for each time.
    fn disconnected(&self) -> Vec<&str> {
        let counts = self.disconnects.iter().map(|count| count.load(Ordering::SeqCst) as usize);
        self.handles.iter().zip(counts).flat_map(|(handle, count)| vec![&*handle.id; count]).collect()
    }

    /// The ids of the connections with queued messages, one for each message.
    fn recipients(&self) -> String {
        let times = |handle: &Arc<ConnectionHandle>| vec![handle.id.to_string(); handle.outbox.backlog().items];
        self.handles.iter().flat_map(times).collect::<Vec<_>>().join(" ")
    }
}

type SelectTarget = fn(&Clients) -> Target;

/// Targets by name, with the connections that they select.
fn targets() -> [(&'static str, SelectTarget, &'static str); 17] {
    [
        ("all", |clients| clients.all(), "ann1 ann2 bob"),
        ("all except", |clients| clients.all_except(["ann2", "nobody"]), "ann1 bob"),
        ("caller", |clients| clients.caller(), "ann1"),
        ("others", |clients| clients.others(), "ann2 bob"),
        ("client", |clients| clients.client("bob"), "bob"),
        ("client elsewhere", |clients| clients.client("eve"), ""),
        ("unknown client", |clients| clients.client("nobody"), ""),
        ("clients, each once", |clients| clients.clients(["bob", "ann1", "bob"]), "ann1 bob"),
        ("group", |clients| clients.group("lobby"), "ann1 bob"),
        ("group in another case", |clients| clients.group("Lobby"), ""),
        ("group except", |clients| clients.group_except("lobby", ["bob", "ann2"]), "ann1"),
        ("others in group", |clients| clients.others_in_group("lobby"), "bob"),
        ("others in a group without the caller", |clients| clients.others_in_group("attic"), "bob"),
        ("groups", |clients| clients.groups(["lobby", "attic", "cellar"]), "ann1 bob bob"),
        ("user", |clients| clients.user("ann"), "ann1 ann2"),
        ("users, each once", |clients| clients.users(["ann", "bob", "ann"]), "ann1 ann2 bob"),
        ("empty group name", |clients| clients.group(""), ""),
    ]
}

#[actix::test]
async fn each_target_reaches_exactly_its_recipients() {
    for (name, select, wanted) in targets() {
        let audience = Audience::new().await;
        let reached = select(&audience.clients()).send("tell", ()).await.unwrap();
        assert_eq!(audience.recipients(), wanted, "{name}");
        assert_eq!(reached, wanted.split_whitespace().count(), "{name}");
        let counted = (audience.services.metrics.sends.get(), audience.services.metrics.deliveries.get());
        assert_eq!(counted, (1, reached as u64), "{name}");
    }
}

#[actix::test]
async fn each_kind_of_recipients_has_exclusions() {
    for (recipients, wanted) in [
        (Recipients::All, "ann2 bob"),
        (Recipients::Connections(vec!["ann1".into(), "bob".into()]), "bob"),
        (Recipients::Users(vec!["ann".into()]), "ann2"),
        (Recipients::Groups(vec!["lobby".into()]), "bob"),
    ] {
        let audience = Audience::new().await;
        let destination = Destination { recipients, except: ["ann1".into()].into_iter().collect() };
        let router = &audience.services.router;
        let reached = router.send(&destination, Invocation::new(&"chat".into(), "tell", &()).unwrap()).await;
        assert_eq!(audience.recipients(), wanted);
        assert_eq!(reached, Ok(wanted.split_whitespace().count()), "{destination:?}");
        let told = router.disconnect(&"chat".into(), &destination, Reconnect::Deny).await;
        assert_eq!((told, audience.disconnected().join(" ")), (reached, wanted.to_owned()), "{destination:?}");
    }
}

#[actix::test]
async fn disconnect_tells_each_recipient_once() {
    for (name, select, wanted) in targets() {
        let audience = Audience::new().await;
        let told = select(&audience.clients()).disconnect(Reconnect::Deny).await.unwrap();
        let mut wanted: Vec<_> = wanted.split_whitespace().collect();
        wanted.dedup();
        assert_eq!(audience.disconnected(), wanted, "{name}");
        assert_eq!(told, wanted.len(), "{name}");
    }
}

#[actix::test]
async fn sign_out_ends_the_connections_of_all_hubs() {
    let audience = Audience::new().await;
    let users = Users::new(&audience.services, &"chat".into(), &Requester::application());
    assert_eq!(users.sign_out("ann").await.unwrap(), 3);
    assert_eq!(audience.disconnected(), ["ann1", "ann2", "eve"]);
}

#[actix::test]
async fn sign_out_does_not_wait_for_the_store() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let services = services_with(StoreParts::of(Arc::clone(&store)), vec![chat()]);
    let stub = Stub::default();
    let disconnects = Arc::clone(&stub.0);
    register(&services, "chat", "ann1", Some("ann"), stub);
    store.set_mode(FaultMode::Hold);
    let users = Users::new(&services, &"chat".into(), &Requester::application());
    let signed_out = actix::spawn(async move { users.sign_out("ann").await });
    let disconnected = async {
        while disconnects.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), disconnected).await.expect("the connection ends");
    store.set_mode(FaultMode::Refuse);
    let refused = signed_out.await.unwrap();
    assert!(matches!(refused, Err(UsersError::NotRevoked { disconnected: 1, .. })), "{refused:?}");
}

#[actix::test]
async fn fast_durable_changes_of_a_client_wait() {
    let audience = Audience::new().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let application = Users::new(&audience.services, &"chat".into(), &Requester::application());
    for group in 0..40 {
        application.add_to_group("zoe", group.to_string()).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "the application has no limit");
    let users = context(&audience.services, &audience.handles[0], Identity::default()).users();
    for group in 0..14 {
        users.add_to_group("zoe", format!("client {group}")).await.unwrap();
    }
    // The timer rounds up to a millisecond.
    assert!(
        (300..310).contains(&start.elapsed().as_millis()),
        "ten at once, then ten per second: {:?}",
        start.elapsed()
    );
}

#[actix::test]
async fn no_caller_outside_of_hub_method() {
    for (select, wanted) in [(Clients::caller as SelectTarget, ""), (Clients::others, "ann1 ann2 bob")] {
        let audience = Audience::new().await;
        let clients = Clients::of_hub(&audience.services, &"chat".into(), &Requester::application());
        select(&clients).send("tell", ()).await.unwrap();
        assert_eq!(audience.recipients(), wanted);
    }
}

#[actix::test]
async fn empty_group_name_is_refused_in_lists() {
    let audience = Audience::new().await;
    let error = audience.clients().groups(["lobby", ""]).send("tell", ()).await.unwrap_err();
    assert_eq!(HubError::from(error).to_string(), "InvalidOperationException: Cannot send to an empty group name.");

    let mut strict = context(&audience.services, &audience.handles[0], Identity::default());
    strict.behavior.refuses_empty_group = true;
    assert!(strict.clients().group("").send("tell", ()).await.is_err());
    assert_eq!(audience.recipients(), "");
}

#[actix::test]
async fn changed_state_is_sent_to_the_caller_only() {
    let audience = Audience::new().await;
    let context = context(&audience.services, &audience.handles[0], Identity::default());
    context.state().set("color", "blue");
    let sizes = [
        (context.clients().caller(), r#"tell{"color":"blue"}"#.len()),
        (context.clients().client("ann1"), "tell".len()),
        (context.clients().all(), "tell".len()),
    ];
    for (target, size) in sizes {
        let waiting = || audience.handles[0].outbox.backlog().bytes;
        let before = waiting();
        target.send("tell", ()).await.unwrap();
        assert_eq!(waiting() - before, size);
    }
}

#[actix::test]
async fn ended_connection_is_not_counted_as_reached() {
    let audience = Audience::new().await;
    audience.handles[2].outbox.discard_and_close(crate::outbox::End::Close(1000));
    assert_eq!(audience.clients().all().send("tell", ()).await.unwrap(), 2);
    assert_eq!(audience.clients().group("lobby").send("tell", ()).await.unwrap(), 1);
}

#[actix::test]
async fn unserializable_arguments_are_not_sent() {
    let audience = Audience::new().await;
    let keyed_by_list = HashMap::from([(vec![1], 2)]);
    assert!(audience.clients().all().send("tell", (keyed_by_list,)).await.is_err());
    assert_eq!(audience.recipients(), "");
}

#[actix::test]
async fn unknown_connection_cannot_join_or_leave() {
    let audience = Audience::new().await;
    let groups = Groups::new(&audience.services, &"chat".into(), &Requester::application());
    let unknown = ConnectionId::from("nobody");
    assert_eq!(groups.add(unknown.clone(), "lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.remove(unknown, "lobby").await, Ok(Removed::NoSuchConnection));
    assert_eq!(groups.join("lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.leave("lobby").await, Ok(Removed::NoSuchConnection));
    let mut list: Vec<_> = groups.list().iter().map(ToString::to_string).collect();
    list.sort();
    assert_eq!(list, ["attic", "lobby"]);
    assert!(Groups::new(&audience.services, &"news".into(), &Requester::application()).list().is_empty());
}
