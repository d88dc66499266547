use actix_http::{
    ServiceConfig,
    h1::{Codec, Message, MessageType},
};
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};
use tokio_util::codec::Decoder;

use super::*;

/// The head that `bytes` begin with, as it is written, and what follows it.
fn written(bytes: &[u8]) -> Result<Option<(String, Next)>, Refusal> {
    let mut output = BytesMut::new();
    Ok(RequestHead::read(bytes)?.map(|head| {
        head.write(bytes, &mut output);
        (String::from_utf8_lossy(&output).into_owned(), head.next)
    }))
}

/// The target that is written instead of `target`.
fn target(target: &str) -> Result<String, Refusal> {
    let (head, _) = written(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?.expect("a whole head");
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn only_bytes_that_uri_refuses_are_encoded() {
    for (raw, encoded) in [
        (r#"/n?d=[{"name":"chat"}]"#, "/n?d=[{%22name%22:%22chat%22}]"),
        ("/n?<>&x=\\^`{|}'", "/n?%3C%3E&x=\\^`{|}'"),
        ("/<>`?", "/%3C%3E%60?"),
        (r#"/"\^{|}[]'"#, r#"/"\^{|}[]'"#),
        ("/ä?name=€", "/%C3%A4?name=%E2%82%AC"),
        ("/%?%zz%00%22", "/%?%zz%00%22"),
        ("*", "*"),
        ("http://host/?\"", "http://host/?%22"),
    ] {
        assert_eq!(target(raw).as_deref(), Ok(encoded), "{raw}");
    }
}

#[test]
fn other_invalid_targets_are_refused() {
    for raw in ["/\u{1}", "/\u{7f}", "/?\u{0}", "http://a<b/"] {
        assert_eq!(target(raw), Err(Refusal::Target), "{raw:?}");
    }
    for (byte, number) in [("x", MAX_TARGET_LENGTH), ("<", MAX_TARGET_LENGTH / 3 + 1)] {
        assert_eq!(target(&format!("/?{}", byte.repeat(number))).err(), Some(Refusal::TargetTooLong));
    }
    assert_eq!(written(b"GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n"), Err(Refusal::Target));
}

#[test]
fn only_a_plain_length_tells_what_follows() {
    for (fields, next) in [
        ("", Next::Body(0)),
        ("Connection: Keep-Alive\r\n", Next::Body(0)),
        ("content-length: 0012\r\n", Next::Body(12)),
        ("Expect: 100-continue\r\nContent-Length: 5\r\n", Next::Body(5)),
        ("Connection: close\r\n", Next::Unknown),
        ("Connection: keep-alive, Upgrade\r\n", Next::Unknown),
        ("Upgrade: h2c\r\n", Next::Unknown),
        ("Upgrade: websocket\r\nContent-Length: 5\r\n", Next::Unknown),
        ("Transfer-Encoding: Chunked\r\n", Next::Unknown),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        assert_eq!(written(head.as_bytes()), Ok(Some((head.clone(), next))), "{fields}");
    }
    let head = "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(written(head.as_bytes()), Ok(Some((head.to_owned(), Next::Unknown))));
    let head = "GET / HTTP/1.0\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(written(head.as_bytes()), Ok(Some((head.to_owned(), Next::Unknown))));
}

#[test]
fn refusals_name_the_fault() {
    for (head, refusal) in [
        ("G@T / HTTP/1.1\r\n", Refusal::RequestLine),
        ("\u{16}\u{3}\u{1}", Refusal::RequestLine),
        ("hello\r\n\r\n", Refusal::RequestLine),
        ("GET  / HTTP/1.1\r\n", Refusal::Target),
        ("GET /\r\n", Refusal::Target),
        ("GET /a b HTTP/1.1\r\n", Refusal::RequestLine),
        ("GET / HTTP/1.2\r\n", Refusal::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version),
        ("\rGET / HTTP/1.1\r\n", Refusal::LineBreak),
        ("GET / HTTP/1.1\r\nA : b\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nA[1]: b\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nhello\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nA: \u{1}\r\n", Refusal::FieldValue),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\n\r\n", Refusal::Host),
        ("GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", Refusal::Host),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Refusal::ContentLength),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", Refusal::ContentLength),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", Refusal::ContentLength),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::TransferEncoding),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferEncoding),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refusal::TransferEncoding,
        ),
        ("POST / HTTP/1.0\r\n\r\n", Refusal::NoLength),
    ] {
        assert_eq!(written(head.as_bytes()), Err(refusal), "{head:?}");
    }
}

#[test]
fn head_has_limits() {
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let fields = "a: b\r\n".repeat(MAX_FIELDS - 1);
    assert!(matches!(written(head(&fields).as_bytes()), Ok(Some(_))));
    assert_eq!(written(head(&format!("{fields}a: b\r\n")).as_bytes()), Err(Refusal::TooManyFields));
    let long_name = format!("{}: b\r\n", "a".repeat(MAX_FIELD_NAME_LENGTH + 1));
    assert_eq!(written(head(&long_name).as_bytes()), Err(Refusal::FieldName));
    let partial = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(MAX_LENGTH));
    assert_eq!(written(&partial.as_bytes()[..MAX_LENGTH - 1]), Ok(None));
    assert_eq!(written(&partial.as_bytes()[..MAX_LENGTH]), Err(Refusal::TooLong));
}

/// What actix-http reads: whether a body follows, and what it leaves.
fn read_by_actix(config: &ServiceConfig, mut bytes: BytesMut) -> Result<Option<(bool, BytesMut)>, ()> {
    let mut codec = Codec::new(config.clone());
    match codec.decode(&mut bytes).map_err(drop)? {
        Some(Message::Item(_)) => Ok(Some((!matches!(codec.message_type(), MessageType::None), bytes))),
        Some(Message::Chunk(_)) => panic!("a head precedes its body"),
        None => Ok(None),
    }
}

/// Heads of valid and of faulty parts. Some have another byte somewhere.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let methods = select(vec!["GET", "POST", "CONNECT", "get", "G@T", "\r\nPUT", "\n\r\nGET", "", "\r\r\n"]);
    let targets =
        select(vec!["/", "/a?b", "*", "x", "http://x/a", "http://x", "/\"", "/?\"", "/?<>", "/`?`", "/ä", ""]);
    let versions = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 "]);
    let fields = select(vec![
        "Host: x",
        "Host: x",
        "Host:",
        "host: y",
        "Content-Length: 3",
        "content-length: 0",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length:\t007 ",
        "Content-Length: 18446744073709551616",
        "Content-Length: ä",
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Connection: close",
        "Connection: Upgrade",
        "Connection: keep-alive",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "A: ä",
        "A : b",
        "A:",
        ": b",
        " folded",
    ]);
    let line_breaks = select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let parts = (methods, targets, versions, prop::collection::vec((fields, line_breaks), 0..6));
    (parts, prop::option::weighted(0.3, any::<(Index, u8)>())).prop_map(
        |((method, target, version, fields), change)| {
            let fields: String = fields.into_iter().map(|(field, line_break)| format!("{field}{line_break}")).collect();
            let mut head = format!("{method} {target} {version}\r\n{fields}\r\n").into_bytes();
            if let Some((place, byte)) = change {
                let place = place.index(head.len());
                head[place] = byte;
            }
            head
        },
    )
}

#[actix_web::test]
async fn actix_http_reads_each_head_the_same_way() {
    const REST: &[u8] = b"GET / HTTP/1.1\r\n";
    let config = ServiceConfig::default();
    let compare = |head: Vec<u8>| {
        let bytes = [&head[..], REST].concat();
        match RequestHead::read(&bytes) {
            Err(_) => prop_assert_eq!(read_by_actix(&config, BytesMut::from(&bytes[..])), Err(())),
            Ok(None) => prop_assert_eq!(read_by_actix(&config, BytesMut::from(&bytes[..])), Ok(None)),
            Ok(Some(head)) => {
                let (mut written, rest) = (BytesMut::new(), &bytes[head.length..]);
                head.write(&bytes, &mut written);
                written.extend_from_slice(rest);
                let (has_body, left) = read_by_actix(&config, written).expect("a valid head").expect("a whole head");
                prop_assert_eq!(&left[..], rest);
                if let Next::Body(length) = head.next {
                    prop_assert_eq!(length > 0, has_body);
                }
            }
        }
        Ok(())
    };
    TestRunner::default().run(&heads(), compare).unwrap();
}
