//! Who hears what is sent to whom.

use super::*;

/// Ann has two connections and Bob one; Eve is on another hub. Ann's first and Bob are in the lobby, Bob is in the attic.
struct Audience {
    services: Arc<HubServices>,
    handles: Vec<Arc<ConnectionHandle>>,
}

impl Audience {
    async fn new() -> Self {
        let services = services(vec![chat(), Hub::new("news")]);
        let handles =
            [("chat", "ann1", "ann"), ("chat", "ann2", "ann"), ("chat", "bob", "bob"), ("news", "eve", "ann")];
        let handles: Vec<_> =
            handles.iter().map(|(hub, id, user)| enter(&services, hub, id, Some(user), Stub::default())).collect();
        let scene = Self { services, handles };
        scene.join(0, "lobby").await;
        scene.join(2, "lobby").await;
        scene.join(2, "attic").await;
        scene
    }

    async fn join(&self, handle: usize, group: &str) {
        let handle = &self.handles[handle];
        let member = Member { id: handle.id.clone(), reach: MemberSink::Outbox(Arc::clone(&handle.outbox)) };
        self.services.groups.join(&GroupKey::new(&"chat".into(), &group.into()), member).await.unwrap();
    }

    fn clients(&self) -> Clients {
        context(&self.services, &self.handles[0], Identity::default()).clients()
    }

    /// Whoever has heard something, once for each time.
    fn heard(&self) -> String {
        let times = |handle: &Arc<ConnectionHandle>| vec![handle.id.to_string(); handle.outbox.backlog().items];
        self.handles.iter().flat_map(times).collect::<Vec<_>>().join(" ")
    }
}

type Aim = fn(&Clients) -> Target;

#[actix::test]
async fn everybody_hears_what_is_meant_for_them_and_nobody_else_does() {
    let aims: [(&str, Aim, &str); 17] = [
        ("all", |clients| clients.all(), "ann1 ann2 bob"),
        ("all except", |clients| clients.all_except(["ann2", "nobody"]), "ann1 bob"),
        ("caller", |clients| clients.caller(), "ann1"),
        ("others", |clients| clients.others(), "ann2 bob"),
        ("client", |clients| clients.client("bob"), "bob"),
        ("client elsewhere", |clients| clients.client("eve"), ""),
        ("nobody", |clients| clients.client("nobody"), ""),
        ("clients, each once", |clients| clients.clients(["bob", "ann1", "bob"]), "ann1 bob"),
        ("group", |clients| clients.group("lobby"), "ann1 bob"),
        ("group in another case", |clients| clients.group("Lobby"), ""),
        ("group except", |clients| clients.group_except("lobby", ["bob", "ann2"]), "ann1"),
        ("others in group", |clients| clients.others_in_group("lobby"), "bob"),
        ("others in a group without the caller", |clients| clients.others_in_group("attic"), "bob"),
        ("groups", |clients| clients.groups(["lobby", "attic", "cellar"]), "ann1 bob bob"),
        ("user", |clients| clients.user("ann"), "ann1 ann2"),
        ("users, each once", |clients| clients.users(["ann", "bob", "ann"]), "ann1 ann2 bob"),
        ("empty name of a group", |clients| clients.group(""), ""),
    ];
    for (name, aim, wanted) in aims {
        let scene = Audience::new().await;
        let reached = aim(&scene.clients()).send("tell", ()).await.unwrap();
        assert_eq!(scene.heard(), wanted, "{name}");
        assert_eq!(reached, wanted.split_whitespace().count(), "{name}");
        let counted = (scene.services.metrics.sends.get(), scene.services.metrics.deliveries.get());
        assert_eq!(counted, (1, reached as u64), "{name}");
    }
}

#[actix::test]
async fn from_outside_of_a_method_there_is_no_caller() {
    for (aim, wanted) in [(Clients::caller as Aim, ""), (Clients::others, "ann1 ann2 bob")] {
        let scene = Audience::new().await;
        let clients = Clients::of_hub(&scene.services, &"chat".into());
        aim(&clients).send("tell", ()).await.unwrap();
        assert_eq!(scene.heard(), wanted);
    }
}

#[actix::test]
async fn an_empty_name_among_groups_is_an_error_and_alone_it_depends_on_manners() {
    let scene = Audience::new().await;
    let error = scene.clients().groups(["lobby", ""]).send("tell", ()).await.unwrap_err();
    assert_eq!(HubError::from(error).to_string(), "InvalidOperationException: Cannot send to an empty group name.");

    let mut strict = context(&scene.services, &scene.handles[0], Identity::default());
    strict.behavior.refuses_empty_group = true;
    assert!(strict.clients().group("").send("tell", ()).await.is_err());
    assert_eq!(scene.heard(), "");
}

#[actix::test]
async fn what_has_changed_in_a_callers_state_goes_to_the_caller_and_to_nobody_else() {
    let scene = Audience::new().await;
    let context = context(&scene.services, &scene.handles[0], Identity::default());
    context.state().set("color", "blue");
    let sizes = [
        (context.clients().caller(), r#"tell{"color":"blue"}"#.len()),
        (context.clients().client("ann1"), "tell".len()),
        (context.clients().all(), "tell".len()),
    ];
    for (target, size) in sizes {
        let waiting = || scene.handles[0].outbox.backlog().bytes;
        let before = waiting();
        target.send("tell", ()).await.unwrap();
        assert_eq!(waiting() - before, size);
    }
}

#[actix::test]
async fn a_connection_that_has_ended_does_not_count_as_reached() {
    let scene = Audience::new().await;
    scene.handles[2].outbox.abandon(crate::outbox::End { code: 1000 });
    assert_eq!(scene.clients().all().send("tell", ()).await.unwrap(), 2);
    assert_eq!(scene.clients().group("lobby").send("tell", ()).await.unwrap(), 1);
}

#[actix::test]
async fn what_is_no_json_is_sent_to_nobody() {
    let scene = Audience::new().await;
    let keyed_by_list = HashMap::from([(vec![1], 2)]);
    assert!(scene.clients().all().send("tell", (keyed_by_list,)).await.is_err());
    assert_eq!(scene.heard(), "");
}

#[actix::test]
async fn there_are_no_memberships_of_connections_that_there_are_not() {
    let scene = Audience::new().await;
    let groups = Groups::new(&scene.services, &"chat".into(), None);
    let nobody = ConnectionId::from("nobody");
    assert_eq!(groups.add(nobody.clone(), "lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.remove(nobody, "lobby").await, Ok(Removed::NoSuchConnection));
    assert_eq!(groups.join("lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.leave("lobby").await, Ok(Removed::NoSuchConnection));
    let mut list: Vec<_> = groups.list().iter().map(ToString::to_string).collect();
    list.sort();
    assert_eq!(list, ["attic", "lobby"]);
    assert!(Groups::new(&scene.services, &"news".into(), None).list().is_empty());
}
