use proptest::{
    prelude::*,
    sample::{Index, select},
};

use super::*;

/// What passes of `input`, which arrives in parts, and why the rest does not.
fn pass(input: &[u8], cuts: &[usize]) -> (BytesMut, Option<Refusal>) {
    let (mut requests, mut output, mut start) = (Requests::new(), BytesMut::new(), 0);
    for end in cuts.iter().copied().chain([input.len()]) {
        let part = &input[start..end];
        if part.is_empty() {
            continue;
        }
        if requests.is_pass_through() || requests.skip_body(part.len()) {
            output.extend_from_slice(part);
        } else {
            requests.receive(part, &mut output);
        }
        start = end;
    }
    (output, requests.refusal())
}

fn pass_whole(input: &str) -> (String, Option<Refusal>) {
    let (passed, refusal) = pass(input.as_bytes(), &[]);
    (String::from_utf8(passed.to_vec()).unwrap(), refusal)
}

const RAW: &str = "GET /?\"<> HTTP/1.1\r\nHost: x\r\n\r\n";
const ENCODED: &str = "GET /?%22%3C%3E HTTP/1.1\r\nHost: x\r\n\r\n";
/// A body that looks like a request.
const BODY: &str = "\r\n\r\nGET /?\" HTTP/1.1\r\nHost: x\r\n\r\n";

fn post(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n{BODY}")
}

#[test]
fn heads_between_bodies_are_encoded() {
    let post = post(&format!("Content-Length: {}\r\n", BODY.len()));
    let input = format!("{RAW}{post}{RAW}{RAW}{post}");
    assert_eq!(pass_whole(&input), (format!("{ENCODED}{post}{ENCODED}{ENCODED}{post}"), None));
}

#[test]
fn all_bytes_pass_behind_uncertain_framing() {
    for fields in ["Transfer-Encoding: chunked\r\n", "Upgrade: websocket\r\n", "Connection: close\r\n"] {
        let input = format!("{RAW}{}{RAW}not HTTP", post(fields));
        let expected = format!("{ENCODED}{}", &input[RAW.len()..]);
        assert_eq!(pass_whole(&input), (expected, None), "{fields}");
    }
}

#[test]
fn nothing_passes_behind_a_refused_head() {
    let input = format!("{RAW}GET / HTTP/1.1\r\n\r\n{RAW}");
    assert_eq!(pass_whole(&input), (ENCODED.to_owned(), Some(Refusal::Host)));
}

#[test]
fn incomplete_head_is_held_back() {
    let (partial, rest) = RAW.split_at(20);
    let (mut requests, mut output) = (Requests::new(), BytesMut::new());
    requests.receive(partial.as_bytes(), &mut output);
    assert!(output.is_empty() && requests.is_before_first());
    requests.receive(rest.as_bytes(), &mut output);
    assert_eq!(output, ENCODED);
    assert!(!requests.is_before_first() && requests.partial.capacity() == 0);
}

#[test]
fn late_first_head_is_refused() {
    let (mut silent, mut slow) = (Requests::new(), Requests::new());
    slow.receive(b"GET", &mut BytesMut::new());
    assert!(!silent.time_out() && slow.time_out());
    assert_eq!(slow.refusal(), Some(Refusal::TooSlow));
    assert!(!slow.is_before_first(), "it is refused once");
}

/// Requests of one connection, as they arrive and as they pass.
fn conversations() -> impl Strategy<Value = (String, String)> {
    let targets = prop::collection::vec(select(vec!["a", "=", "&", "%41", "\"", "<", ">", "ä", "{", "`", "#"]), 0..6);
    let bodies = prop::collection::vec(select(vec!["x", BODY, RAW, "\r\n", "POST / HTTP/1.1"]), 0..4);
    let request = (targets, bodies).prop_map(|(target, body)| {
        let (target, body) = (target.concat(), body.concat());
        let length = body.len();
        let request =
            |target: &str| format!("PUT /?{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        let encoded = target.replace('"', "%22").replace('<', "%3C").replace('>', "%3E").replace('ä', "%C3%A4");
        (request(&target), request(&encoded))
    });
    let ends = select(vec!["", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", "GET /"]);
    (prop::collection::vec(request, 0..5), ends, ".{0,40}").prop_map(|(requests, end, rest)| {
        let (received, passed): (String, String) = requests.into_iter().unzip();
        let is_upgrade = end.contains("Upgrade");
        let rest = if is_upgrade { &rest[..] } else { "" };
        let passed_end = if is_upgrade { end } else { "" };
        (format!("{received}{end}{rest}"), format!("{passed}{passed_end}{rest}"))
    })
}

proptest! {
    #[test]
    fn cuts_change_nothing((input, expected) in conversations(), cuts in prop::collection::vec(any::<Index>(), 0..12)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(pass(input.as_bytes(), &cuts), (expected.as_bytes().into(), None));
    }

    #[test]
    fn refusals_do_not_depend_on_cuts(
        input in prop::collection::vec(any::<u8>(), 0..80),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let input = [RAW.as_bytes(), &input].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(pass(&input, &cuts), pass(&input, &[]));
    }
}
