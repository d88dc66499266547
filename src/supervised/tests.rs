//! Tests of the supervision of actors.

use std::sync::Mutex;

use futures_util::join;

use super::*;

struct Counter(u32);

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Clone, Message)]
#[rtype(result = "u32")]
struct Count;

impl Handler<Count> for Counter {
    type Result = u32;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
        self.0 += 1;
        self.0
    }
}

may_crash!(Counter);

#[actix::test]
async fn panicked_actor_is_replaced() {
    let counter = Supervised::start("counter", &Arbiter::current(), || Counter(0));
    assert_eq!(counter.send(Count).await, Ok(1));
    assert_eq!(counter.send(Count).await, Ok(2));
    for crashes in 1..=3 {
        assert_eq!(counter.send_once(Crash).await, Err(Died));
        assert_eq!(counter.send(Count).await, Ok(1), "the new actor starts from zero");
        assert_eq!(counter.restarts(), crashes);
    }
}

type Death = (oneshot::Sender<()>, std::sync::mpsc::Receiver<()>);

/// An actor whose death lasts until the test allows it to end. Until it dies, questions have no answer.
struct Lingering {
    death: Option<Death>,
    questions: Vec<oneshot::Sender<u32>>,
}

impl Actor for Lingering {
    type Context = Context<Self>;
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.questions.clear();
        if let Some((begun, end)) = self.death.take() {
            begun.send(()).expect("the test waits");
            end.recv().expect("the test ends the death");
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Question(oneshot::Sender<u32>);

impl Handler<Question> for Lingering {
    type Result = ();

    fn handle(&mut self, Question(answer): Question, _: &mut Self::Context) {
        match self.death {
            Some(_) => self.questions.push(answer),
            None => answer.send(1).expect("the caller waits"),
        }
    }
}

may_crash!(Lingering);

/// Starts an actor whose first incarnation lingers. Returns a future that ends its death after some turns of others.
fn start_lingering(arbiter: &Arbiter) -> (Supervised<Lingering>, impl Future<Output = ()>) {
    let (begin, begun) = oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel();
    let death = Mutex::new(Some((begin, ended)));
    let make = move || Lingering { death: death.lock().unwrap().take(), questions: Vec::new() };
    let end_death = async move {
        begun.await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
    };
    (Supervised::start("lingering", &arbiter.handle(), make), end_death)
}

#[actix::test]
async fn message_after_a_failure_reaches_the_new_actor() {
    let arbiter = Arbiter::new();
    let (actor, end_death) = start_lingering(&arbiter);
    let calls = async { (actor.send_once(Crash).await, actor.ask_once(Question).await) };
    assert_eq!(join!(calls, end_death).0, (Err(Died), Ok(1)));
    assert!(arbiter.stop());
}

#[actix::test]
async fn unanswered_question_is_repeated_to_the_new_actor() {
    let arbiter = Arbiter::new();
    let (actor, end_death) = start_lingering(&arbiter);
    let (answer, crashed, ()) = join!(actor.ask(Question), actor.send_once(Crash), end_death);
    assert_eq!((answer, crashed), (Ok(1), Err(Died)));
    assert!(arbiter.stop());
}

#[actix::test]
async fn restart_is_reported() {
    let counter = Supervised::start("counter", &Arbiter::current(), || Counter(0));
    assert_eq!(counter.send(Count).await, Ok(1));
    let (watched, restarted) = (counter.clone(), counter.clone());
    let restarted = actix::spawn(async move { restarted.restarted().await });
    assert_eq!(watched.send(Count).await, Ok(2));
    assert!(!restarted.is_finished());
    assert_eq!(counter.send_once(Crash).await, Err(Died));
    restarted.await.unwrap();
    assert_eq!(counter.restarts(), 1);
}

#[actix::test]
async fn send_fails_if_actor_keeps_panicking() {
    let counter = Supervised::start("counter", &Arbiter::current(), || Counter(0));
    assert_eq!(counter.send(Crash).await, Err(Died), "it died on both attempts");
    assert_eq!(counter.send(Count).await, Ok(1));
}
