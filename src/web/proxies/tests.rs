use std::net::SocketAddr;

use actix_web::{
    App, HttpRequest, HttpResponse,
    test::{TestRequest, call_and_read_body, init_service},
    web::get,
};

use super::*;
use crate::web::BasePath;

fn trusting(networks: &[&str]) -> TrustedProxies {
    TrustedProxies::new(networks.iter().map(|network| network.parse::<Network>().unwrap()))
}

fn internal() -> TrustedProxies {
    trusting(&["10.0.0.0/8", "fd00::/8"])
}

/// What an application behind the middleware sees: peer address, scheme, host and the path of `/x`. The request comes
/// from `peer` for the host `inner`.
async fn seen(proxies: TrustedProxies, peer: &str, headers: &[(&str, &str)]) -> String {
    let route = get().to(|request: HttpRequest| async move {
        let info = request.connection_info().clone();
        let path = BasePath::default().public_path(&request, "/x");
        let client = request.peer_addr().map(|client| client.to_string());
        let client = client.unwrap_or_default();
        assert_eq!(info.realip_remote_addr(), info.peer_addr(), "no other address is left in the headers");
        HttpResponse::Ok().body(format!("{client} {}://{}{path}", info.scheme(), info.host()))
    });
    let app = init_service(App::new().route("/x", route).wrap(proxies)).await;
    let request = TestRequest::with_uri("/x").peer_addr(peer.parse().unwrap()).insert_header(("Host", "inner"));
    let request = headers.iter().fold(request, |request, header| request.append_header(*header));
    String::from_utf8(call_and_read_body(&app, request.to_request()).await.to_vec()).unwrap()
}

const ALL: [(&str, &str); 5] = [
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "chat.example"),
    ("X-Forwarded-Prefix", "/app"),
    ("Forwarded", "for=5.6.7.8;proto=https;host=other.example"),
];

#[actix_web::test]
async fn statements_of_untrusted_peers_are_ignored() {
    for proxies in [TrustedProxies::default(), internal()] {
        assert_eq!(seen(proxies, "9.9.9.9:1000", &ALL).await, "9.9.9.9:1000 http://inner/x");
    }
}

#[actix_web::test]
async fn statements_of_trusted_peers_replace_what_was_received() {
    for peer in ["10.0.0.1:1000", "[fd00::1]:1000", "[::ffff:10.0.0.1]:1000"] {
        assert_eq!(seen(internal(), peer, &ALL).await, "1.2.3.4:0 https://chat.example/app/x", "{peer}");
    }
    assert_eq!(seen(internal(), "10.0.0.1:1000", &[]).await, "10.0.0.1:1000 http://inner/x");
}

#[actix_web::test]
async fn configured_header_is_the_only_one_believed() {
    let x_forwarded = internal().headers(ForwardingHeaders::XForwarded);
    assert_eq!(seen(x_forwarded.clone(), "10.0.0.1:1", &ALL).await, "1.2.3.4:0 https://chat.example/app/x");
    assert_eq!(seen(x_forwarded, "10.0.0.1:1", &ALL[4..]).await, "10.0.0.1:1 http://inner/x");
    let forwarded = internal().headers(ForwardingHeaders::Forwarded);
    assert_eq!(seen(forwarded.clone(), "10.0.0.1:1", &ALL).await, "5.6.7.8:0 https://other.example/app/x");
    assert_eq!(seen(forwarded, "10.0.0.1:1", &ALL[..3]).await, "10.0.0.1:1 http://inner/x");
    assert_eq!(seen(internal(), "10.0.0.1:1", &ALL[4..]).await, "5.6.7.8:0 https://other.example/x");
    assert_eq!(seen(internal(), "10.0.0.1:1", &ALL[1..3]).await, "10.0.0.1:1 https://chat.example/x");
}

#[actix_web::test]
async fn client_is_the_last_address_that_is_not_trusted() {
    for (list, client) in [
        ("1.2.3.4", "1.2.3.4:0"),
        ("6.6.6.6, 1.2.3.4", "1.2.3.4:0"),
        ("6.6.6.6, 1.2.3.4, 10.1.1.1, 10.2.2.2", "1.2.3.4:0"),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3:0"),
        ("6.6.6.6,unknown", "10.0.0.1:1"),
        ("6.6.6.6,unknown,10.2.2.2", "10.2.2.2:0"),
        ("1.2.3.4:567", "1.2.3.4:567"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        ("[2001:db8::1]:567", "[2001:db8::1]:567"),
        ("6.6.6.6,, 1.2.3.4 ,", "1.2.3.4:0"),
        ("", "10.0.0.1:1"),
    ] {
        let seen = seen(internal(), "10.0.0.1:1", &[("X-Forwarded-For", list)]).await;
        assert_eq!(seen, format!("{client} http://inner/x"), "{list}");
    }
    let lines = [("X-Forwarded-For", "6.6.6.6, 1.2.3.4"), ("X-Forwarded-For", "10.2.2.2")];
    assert_eq!(seen(internal(), "10.0.0.1:1", &lines).await, "1.2.3.4:0 http://inner/x", "a header of several lines");
}

#[actix_web::test]
async fn forwarded_header_is_read_from_its_end() {
    for (header, expected) in [
        ("for=1.2.3.4", "1.2.3.4:0 http://inner/x"),
        ("For=\"1.2.3.4:567\"; Proto=HTTPS; Host=\"a.example:8443\"", "1.2.3.4:567 https://a.example:8443/x"),
        ("for=\"[2001:db8::1]:567\";by=10.0.0.1", "[2001:db8::1]:567 http://inner/x"),
        ("for=6.6.6.6;host=evil.example, for=1.2.3.4", "1.2.3.4:0 http://inner/x"),
        ("for=1.2.3.4;proto=https;host=a.example, for=10.2.2.2;proto=http", "1.2.3.4:0 https://a.example/x"),
        ("for=6.6.6.6, for=_hidden;proto=https", "10.0.0.1:1 https://inner/x"),
        ("for=\"6.6.6.6, for=1.2.3.4", "1.2.3.4:0 http://inner/x"),
        ("nonsense", "10.0.0.1:1 http://inner/x"),
    ] {
        assert_eq!(seen(internal(), "10.0.0.1:1", &[("Forwarded", header)]).await, expected, "{header}");
    }
}

#[actix_web::test]
async fn lists_of_other_headers_follow_the_addresses() {
    let nested = [
        ("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.2.2.2"),
        ("X-Forwarded-Proto", "ftp, wss, http"),
        ("X-Forwarded-Host", "evil.example, outer.example, inner.example"),
        ("X-Forwarded-Prefix", "/forged, /outer"),
        ("X-Forwarded-Prefix", "/inner/"),
    ];
    assert_eq!(seen(internal(), "10.0.0.1:1", &nested).await, "1.2.3.4:0 https://outer.example/outer/inner/x");
}

#[actix_web::test]
async fn malformed_statements_are_ignored() {
    for header in [
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "user@chat.example"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "app"),
    ] {
        assert_eq!(seen(internal(), "10.0.0.1:1", &[header]).await, "10.0.0.1:1 http://inner/x", "{header:?}");
    }
}

#[test]
fn networks_are_addresses_or_ranges() {
    let proxies = trusting(&["127.0.0.1", "::1", "192.168.1.77/24"]);
    let trusts = |address: &str| proxies.trusts(address.parse().unwrap());
    assert!(trusts("127.0.0.1") && trusts("::1") && trusts("192.168.1.200") && trusts("::ffff:127.0.0.1"));
    assert!(!trusts("127.0.0.2") && !trusts("::2") && !trusts("192.168.2.1"));
    assert!(!TrustedProxies::default().trusts(SocketAddr::from(([127, 0, 0, 1], 1)).ip()));
    for text in ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "fd00::/129"] {
        assert_eq!(text.parse::<Network>(), Err(InvalidNetwork(text.to_owned())));
    }
}
