//! Requests that wait behind a call: how many, and when reading pauses.

use super::*;

/// A call with an argument of this length.
fn long_call(length: usize) -> String {
    let argument = "x".repeat(length);
    format!("{{\"type\":1,\"target\":\"Long\",\"arguments\":[\"{argument}\"]}}\u{1e}")
}

#[test]
fn reading_pauses_while_too_many_calls_wait() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    session.send_text(&long_call(30_000).repeat(2));
    session.send_text(&PING.repeat(10_000));
    assert!(!session.inner.is_saturated(), "pings do not wait");
    session.send_text(&long_call(30_000));
    assert!(session.inner.is_saturated() && !session.inner.can_read_on());
    session.finish_call(Ok("7"));
    assert!(!session.inner.is_saturated());
}

#[test]
fn reading_goes_on_below_half_of_the_buffer() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    session.send_text(&long_call(20_000).repeat(3));
    assert!(!session.inner.is_saturated());
    session.send_text(&long_call(20_000));
    assert!(session.inner.is_saturated());
    session.finish_call(Ok("7"));
    assert!(!session.inner.is_saturated() && !session.inner.can_read_on(), "three quarters are left");
    session.finish_call(Ok("7"));
    assert!(!session.inner.can_read_on(), "a little more than half is left");
    session.finish_call(Ok("7"));
    assert!(session.inner.can_read_on(), "a quarter is left");
}

#[test]
fn number_of_waiting_calls_is_bounded() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    session.send_text(&call("2", "Second").repeat(200));
    assert!(session.inner.calls() < 140, "{}", session.inner.calls());
    for _ in 0..200 {
        assert!(session.finish_call(Ok("7")).ends_with("call Second()"));
    }
    assert_eq!(session.inner.calls(), 1);
}
