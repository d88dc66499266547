//! Clients behind proxies.

use super::*;

/// True if the server closes a connection that begins with a request.
async fn is_closed_without_response(address: SocketAddr) -> bool {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    // The rest of the request is not read, so the connection may be reset.
    within(socket.read_to_end(&mut response)).await.is_err() || response.is_empty()
}

/// The address that `/admin/connections` lists for the only connection of `user`.
async fn listed_address(service: &TestService, user: &str) -> Value {
    let bearer = format!("Authorization: Bearer {}\r\n", service.token);
    let answer = get(service.admin, &format!("/admin/connections?user={user}"), &bearer).await;
    let page: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    page["items"][0]["remote"].clone()
}

#[actix_web::test]
async fn admin_lists_address_that_trusted_proxy_states() {
    for (trusted, is_believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let by_name = ("HUBCAST_AUTH__QUERY_ON_NETWORK", "true");
        let service = TestService::start(&[("HUBCAST_PROXIES__TRUSTED", trusted), by_name]).await;
        let mut request = format!("ws://{}/chat?user=ann", service.clients).into_client_request().unwrap();
        request.headers_mut().insert("X-Forwarded-For", "203.0.113.7".parse().unwrap());
        let mut ann = TestClient::connect_with(request).await;
        ann.invoke("JoinRoom", json!(["lobby"])).await;
        let address = listed_address(&service, "ann").await;
        assert_eq!(address == "203.0.113.7:0", is_believed, "{address}");
        service.stop().await;
    }
}

#[actix_web::test]
async fn proxy_header_states_the_address_of_client_and_operator() {
    let (trusted, by_name) = (("HUBCAST_PROXIES__TRUSTED", "127.0.0.1"), ("HUBCAST_AUTH__QUERY_ON_NETWORK", "true"));
    let (clients, admin) = (("HUBCAST_PROXY_PROTOCOL", "true"), ("HUBCAST_ADMIN__PROXY_PROTOCOL", "true"));
    let service = TestService::start(&[trusted, clients, by_name]).await;
    let mut socket = TcpStream::connect(service.clients).await.unwrap();
    socket.write_all(b"PROXY TCP4 203.0.113.7 127.0.0.1 1000 80\r\n").await.unwrap();
    let mut request = format!("ws://{}/chat?user=ann", service.clients).into_client_request().unwrap();
    request.headers_mut().insert("X-Forwarded-For", "6.6.6.6".parse().unwrap());
    let _ann = TestClient::connect_over(socket, request).await;
    assert_eq!(listed_address(&service, "ann").await, "203.0.113.7:1000");
    assert!(is_closed_without_response(service.clients).await, "a trusted proxy must send a header");
    service.stop().await;

    let service = TestService::start(&[trusted, admin]).await;
    assert!(is_closed_without_response(service.admin).await);
    assert!(get(service.clients, "/", "").await.starts_with("HTTP/1.1 200"));
    service.stop().await;
}

#[actix_web::test]
async fn proxy_header_of_an_untrusted_peer_is_refused() {
    let service = TestService::start(&[("HUBCAST_PROXIES__TRUSTED", "10.0.0.1"), ("HUBCAST_PROXY_PROTOCOL", "true")]);
    let service = service.await;
    assert!(get(service.clients, "/", "").await.starts_with("HTTP/1.1 200"), "plain HTTP");
    let mut socket = TcpStream::connect(service.clients).await.unwrap();
    let request = b"PROXY TCP4 203.0.113.7 127.0.0.1 1000 80\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut response = String::new();
    within(socket.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    service.stop().await;
}
