//! Every way in which a connection ends, and what is left of it: nothing.

use super::*;

const WAYS: [&str; 13] = [
    "good-bye",
    "nonsense",
    "twice",
    "cut",
    "panic",
    "fall silent",
    "its channel goes",
    "its client hangs up",
    "aborted",
    "drained",
    "overflowed",
    "crashed",
    "several at once",
];

async fn end(client: &mut Client, way: &str) {
    match way {
        "its channel goes" => client.feed = None,
        "its client hangs up" => client.feed.as_ref().expect("it has a transport").control().hang_up(END),
        "aborted" => client.command(Command::Abort).await,
        "drained" => client.command(Command::Drain).await,
        "overflowed" => overflow(client),
        "crashed" => assert!(client.address.send(Command::Crash).await.is_err()),
        "several at once" => {
            overflow(client);
            client.feed = None;
            let (aborted, drained) = (client.command(Command::Abort), client.command(Command::Drain));
            tokio::join!(aborted, client.say("good-bye"), drained);
        }
        text => client.say(text).await,
    }
}

fn overflow(client: &Client) {
    for _ in 0..100 {
        client.outbox.push_own(*b"too much");
    }
}

/// What the hub is told of a way out; of several at once, one is as good as the other.
fn wanted(way: &str) -> &'static [&'static str] {
    match way {
        "good-bye" | "twice" => &["stops"],
        "nonsense" => &["goes: nonsense"],
        "several at once" => &["goes", "stops"],
        _ => &["goes"],
    }
}

#[actix::test]
async fn on_every_way_out_the_hub_is_told_once_and_all_groups_are_left() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        let mut client = house.connect("ann", &["lobby", "attic", "cellar"]).await;
        end(&mut client, way).await;
        let told = house.told().await;
        assert_eq!(told.len(), 1, "{way}: {told:?}");
        assert!(wanted(way).contains(&&*told[0]), "{way}: {told:?}");
        house.assert_empty(way);
        assert!(!client.outbox.is_open() && !client.address.connected(), "{way}");
        let metrics = &house.services.metrics;
        let counted = (metrics.connections_opened.get(), metrics.connections_closed.get());
        assert_eq!(counted, (1, 1), "{way}");
    }
}

#[actix::test]
async fn the_reasons_that_operators_ask_for_are_counted() {
    tokio::time::pause();
    for (way, evicted, timed_out, faulted) in
        [("overflowed", 1, 0, 0), ("fall silent", 0, 1, 0), ("nonsense", 0, 0, 1), ("good-bye", 0, 0, 0)]
    {
        let mut house = House::new();
        let mut client = house.connect("ann", &[]).await;
        end(&mut client, way).await;
        house.told().await;
        let metrics = &house.services.metrics;
        let counted =
            (metrics.connections_evicted.get(), metrics.connections_timed_out.get(), metrics.connections_faulted.get());
        assert_eq!(counted, (evicted, timed_out, faulted), "{way}");
    }
}

#[actix::test]
async fn other_members_stay_when_one_goes() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        let mut ann = house.connect("ann", &["lobby", "attic"]).await;
        let bob = house.connect("bob", &["lobby"]).await;
        end(&mut ann, way).await;
        house.told().await;
        let snapshot = house.services.groups.inspect(&key("lobby")).await.unwrap().unwrap();
        assert_eq!(snapshot.members, std::slice::from_ref(&bob.id), "{way}");
        assert_eq!(house.services.groups.count(), 1, "{way}");
    }
}

#[actix::test]
async fn a_join_that_is_under_way_at_the_end_leaves_no_group_behind() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        let mut client = house.connect("ann", &[]).await;
        let (id, services) = (client.id.clone(), Arc::clone(&house.services));
        let lobby = key("lobby");
        let join = services.join(&id, &lobby, JoinCause::Caller);
        // Whether it still became a member is up to who came first.
        let (_, ()) = tokio::join!(join, end(&mut client, way));
        house.told().await;
        house.assert_empty(way);
    }
}

#[actix::test]
async fn nobody_waits_for_a_connection_that_has_ended() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        let mut client = house.connect("ann", &["lobby"]).await;
        let handle = house.services.connections.find(&client.id).unwrap();
        end(&mut client, way).await;
        house.told().await;
        let join = |answer| Command::Join { group: key("lobby"), on_behalf_of: JoinCause::Caller, answer };
        assert!(handle.ask(join).await.is_none(), "{way}");
        assert!(handle.inspect().await.is_none(), "{way}");
    }
}

#[actix::test]
async fn who_is_not_read_on_is_read_on_at_the_end() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &[]).await;
    let (before, mut said) = (Instant::now(), Box::pin(client.say("fill up")));
    assert!(said.as_mut().now_or_never().is_none());
    client.command(Command::Abort).await;
    said.await;
    assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits until the socket is cut");
}

#[actix::test]
async fn what_a_replaced_channel_says_holds_nobody() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &[]).await;
    let _newer = client.outbox.attach(Resume::Tail, ChannelFilter::default(), Arc::new(Plain));
    assert!(tokio::time::timeout(QUIET, client.say("fill up")).await.is_ok());
}

#[actix::test]
async fn a_method_is_run_to_its_end_and_knows_when_its_caller_has_gone() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &[]).await;
    client.say("Finish").await;
    assert_eq!(house.told().await, ["finished"]);
    for way in WAYS {
        let mut house = House::new();
        let mut client = house.connect("ann", &[]).await;
        house.gate.send_replace(false);
        client.say("Finish").await;
        end(&mut client, way).await;
        assert_eq!(house.told().await.len(), 1, "{way}: nobody waits for the method before OnDisconnected");
        house.gate.send_replace(true);
        assert_eq!(house.told().await, ["finished alone"], "{way}");
    }
}

#[actix::test]
async fn a_client_that_was_refused_is_not_said_to_go() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.open("eve");
    client.say("connect").await;
    assert_eq!(house.told().await, ["comes"]);
    house.assert_empty("refused");
    assert_eq!(house.services.metrics.connections_closed.get(), 0);
}

#[actix::test]
async fn a_client_that_never_asked_to_connect_leaves_nothing() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        let mut client = house.open("ann");
        end(&mut client, way).await;
        assert_eq!(house.told().await, Vec::<String>::new(), "{way}");
        house.assert_empty(way);
    }
}

#[actix::test]
async fn whoever_goes_while_the_hub_lets_it_in_is_said_to_go_when_it_was_let_in() {
    tokio::time::pause();
    for way in WAYS {
        let mut house = House::new();
        house.gate.send_replace(false);
        let mut client = house.connect("ann", &[]).await;
        end(&mut client, way).await;
        assert_eq!(house.told().await, Vec::<String>::new(), "{way}: the hub is still busy with it");
        house.gate.send_replace(true);
        assert_eq!(house.told().await.len(), 1, "{way}");
        house.assert_empty(way);
    }
}
