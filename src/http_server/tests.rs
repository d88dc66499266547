use actix_web::{App, HttpRequest, HttpResponse, web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The time limit of every wait in a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

const UPGRADE: &str = "Host: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Answers an upgrade with what the client sends, as a WebSocket of another crate does.
async fn echo(body: web::Payload) -> HttpResponse {
    HttpResponse::SwitchingProtocols().upgrade("websocket").streaming(body)
}

async fn describe(request: HttpRequest) -> HttpResponse {
    let (info, is_marked) = (request.connection_info().clone(), request.conn_data::<Mark>().is_some());
    HttpResponse::Ok().body(format!("{}://{} {is_marked}", info.scheme(), info.host()))
}

/// Added by the hook.
struct Mark;

/// A running server with the routes `/echo` and `/describe`.
fn start() -> (SocketAddr, Server) {
    let app = || App::new().route("/echo", web::get().to(echo)).route("/describe", web::get().to(describe));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let server = server.on_connect(|socket, data| {
        assert!(socket.tls().is_none() && socket.tcp().peer_addr().is_ok());
        data.insert(Mark);
    });
    (server.addrs()[0], server.run().unwrap())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TEST_TIMEOUT, future).await.expect("a result in time")
}

/// Sends bytes and returns what the server sends until it closes the connection.
async fn response(address: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(socket.read_to_string(&mut response)).await.unwrap();
    response
}

async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap().into());
    }
    head
}

#[actix_web::test]
async fn route_of_the_application_serves_its_own_upgrade() {
    let (address, server) = start();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The first bytes after the request arrive with it.
    socket.write_all(format!("GET /echo HTTP/1.1\r\n{UPGRADE}early").as_bytes()).await.unwrap();
    let head = read_head(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    socket.write_all(b" and late").await.unwrap();
    let mut echoed = [0; 14];
    within(socket.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"early and late");
    socket.shutdown().await.unwrap();
    assert_eq!(within(socket.read(&mut [0])).await.unwrap(), 0, "the end of the response ends the connection");
    handle.stop(false).await;
}

#[actix_web::test]
async fn refused_upgrade_closes_the_connection() {
    let (address, server) = start();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let refused = response(address, &format!("GET /missing HTTP/1.1\r\n{UPGRADE}GET / HTTP/1.1\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("connection: close\r\n"), "{refused}");
    let refused = response(address, &format!("POST /echo HTTP/1.1\r\n{UPGRADE}")).await;
    assert!(refused.starts_with("HTTP/1.1 405 ") || refused.starts_with("HTTP/1.1 404 "), "{refused}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn upgrade_follows_earlier_requests_of_its_connection() {
    let (address, server) = start();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let first = "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{first}GET /echo HTTP/1.1\r\n{UPGRADE}x").as_bytes()).await.unwrap();
    let mut answers = read_head(&mut socket).await;
    answers += &read_head(&mut socket).await;
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.contains("http://test trueHTTP/1.1 101 "), "{answers}");
    assert_eq!(within(socket.read_u8()).await.unwrap(), b'x');
    handle.stop(false).await;
}

#[actix_web::test]
async fn upgrade_with_an_encoded_target_keeps_what_follows() {
    let (address, server) = start();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let first = "GET /describe?\" HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut socket = TcpStream::connect(address).await.unwrap();
    let early = "early \" HTTP/1.1\r\n".repeat(1_000);
    socket.write_all(format!("{first}GET /echo?\"<> HTTP/1.1\r\n{UPGRADE}{early}").as_bytes()).await.unwrap();
    assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 200 "));
    assert!(read_head(&mut socket).await.contains("HTTP/1.1 101 "));
    let mut echoed = vec![0; early.len()];
    within(socket.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(String::from_utf8(echoed).unwrap(), early);
    handle.stop(false).await;
}

#[actix_web::test]
async fn late_first_request_gets_a_reason() {
    let server = HttpServer::new(App::new).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let server = server.client_request_timeout(Duration::from_millis(1));
    let (address, server) = (server.addrs()[0], server.run().unwrap());
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let late = response(address, "GET / HTTP/1.1\r\n").await;
    assert!(late.starts_with("HTTP/1.1 408 ") && late.ends_with("did not arrive in time."), "{late}");
    assert_eq!(late.matches("HTTP/1.1 ").count(), 1, "{late}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn server_without_address_does_not_run() {
    let error = HttpServer::new(App::new).run().err().expect("no address");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
