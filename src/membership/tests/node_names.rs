use super::*;

fn node_of(process: &Process) -> Node {
    Node { id: "alpha".into(), incarnation: process.id.clone(), process: process.clone() }
}

async fn wait_for(harness: &Harness, is_reached: impl Fn(&NodeName) -> bool) -> NodeName {
    harness.node_name.clone().wait_for(|name| is_reached(name)).await.unwrap().clone()
}

#[actix::test]
async fn name_in_use_is_detected_and_checks_report_it() {
    let (harness, other) = (Harness::new(), Process::current());
    let renew_other = async {
        loop {
            renew(&*harness.store, &node_of(&other), SystemTime::now()).await;
            sleep(LEASE / 3).await;
        }
    };
    let in_use = wait_for(&harness, |name| matches!(name, NodeName::InUse(_)));
    let started = Instant::now();
    let name = tokio::select! {
        name = in_use => name,
        () = renew_other => unreachable!("it renews forever"),
    };
    assert!(started.elapsed() <= LEASE / 2, "{:?}", started.elapsed());
    let NodeName::InUse(in_use) = name else { panic!("{name:?}") };
    assert_eq!((&*in_use.node, in_use.process), ("alpha", other));
    sleep(Duration::from_secs(2)).await;
    let error = harness.check().await.unwrap_err().to_string();
    assert!(error.contains("the node name `alpha` is used by process "), "{error}");
}

#[actix::test]
async fn leases_wait_for_the_name_of_a_dead_process() {
    let (harness, dead) = (Harness::new(), Process::current());
    // Order: it runs before the actor starts. Its lease expires by the real clock, which stands still in this test.
    renew(&*harness.store, &node_of(&dead), SystemTime::now()).await;
    harness.update_lease(opened("a")).await;
    sleep(LEASE / 2).await;
    assert_eq!(*harness.node_name.borrow(), NodeName::Pending);
    assert!(harness.check().await.is_ok(), "the store can be written to");
    LeaseStore::release(&*harness.store, &node_of(&dead)).await.unwrap();
    wait_for(&harness, |name| *name == NodeName::Held).await;
    assert_eq!(harness.count_leases().await, 1);
}

#[actix::test]
async fn released_name_is_not_taken_again() {
    let harness = Harness::new();
    wait_for(&harness, |name| *name == NodeName::Held).await;
    harness.update_lease(opened("a")).await;
    harness.membership.ask(|answer| ReleaseNode { answer }).await.unwrap().unwrap();
    let other = Process::current();
    assert_eq!(renew(&*harness.store, &node_of(&other), SystemTime::now()).await, 1);
    sleep(LEASE * 2).await;
    assert_eq!(*harness.node_name.borrow(), NodeName::Released);
    assert_eq!(harness.store.calls().iter().filter(|call| **call == "renew").count(), 2);
}
