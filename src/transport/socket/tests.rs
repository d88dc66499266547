use std::{pin::pin, sync::Arc};

use actix_service::{Service, ServiceFactory};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::{dev::Extensions, rt::net::TcpListener};
use futures_util::FutureExt;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::yield_now,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::*;

/// A connected pair: the accepted side, and the client.
async fn connected_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

fn assert_prepared(stream: &TcpStream, data: &Extensions) {
    assert!(stream.nodelay().unwrap());
    assert_eq!(socket2::SockRef::from(stream).tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
    assert!(data.contains::<SocketHandle>());
}

/// An accepted TLS stream of the server, and the client's stream.
async fn tls_pair() -> (TlsStream<TcpStream>, tokio_rustls::client::TlsStream<TcpStream>) {
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::try_from(generated.signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![generated.cert.der().clone()], key).unwrap();
    let acceptor = ServiceFactory::<TcpStream>::new_service(&Acceptor::new(config), ()).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(generated.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let (accepted, client) = connected_pair().await;
    let name = "localhost".try_into().unwrap();
    let (server, client) = tokio::join!(acceptor.call(accepted), connector.connect(name, client));
    (server.unwrap(), client.unwrap())
}

#[actix_web::test]
async fn on_connect_prepares_a_plain_socket() {
    let (accepted, _client) = connected_pair().await;
    let mut data = Extensions::new();
    on_connect(&accepted, &mut data);
    assert_prepared(&accepted, &data);
    assert!(data.get::<SocketHandle>().unwrap().plain_duplicate().is_some());
}

#[actix_web::test]
async fn on_connect_prepares_the_socket_of_a_tls_stream() {
    let (accepted, _client) = tls_pair().await;
    let mut data = Extensions::new();
    on_connect(&accepted, &mut data);
    assert_prepared(accepted.get_ref().0, &data);
    assert!(data.get::<SocketHandle>().unwrap().plain_duplicate().is_none(), "frames must not pass the encryption");
}

#[actix_web::test]
async fn unknown_streams_are_left_alone() {
    let mut data = Extensions::new();
    on_connect(&"a stream of another library", &mut data);
    assert!(!data.contains::<SocketHandle>());
}

#[actix_web::test]
async fn close_after_data_is_noticed() {
    let (accepted, mut client) = connected_pair().await;
    let mut data = Extensions::new();
    on_connect(&accepted, &mut data);
    let handle = data.get::<SocketHandle>().unwrap().clone();
    client.write_all(b"the end of a TLS session").await.unwrap();
    accepted.readable().await.unwrap();
    let mut closed = pin!(handle.peer_closed());
    for _ in 0..3 {
        assert!(closed.as_mut().now_or_never().is_none(), "data is not a close");
        // The runtime looks for events of sockets before it returns here.
        yield_now().await;
    }
    drop(client);
    assert!(timeout(Duration::from_secs(60), closed).await.unwrap());
}

/// A shared stream of an accepted socket, its handle, and the client.
async fn shared_pair() -> (SharedTcp, SocketHandle, TcpStream) {
    let (accepted, client) = connected_pair().await;
    let shared = SharedTcp::new(accepted, None);
    let handle = SocketHandle::shared(shared.downgrade());
    (shared, handle, client)
}

#[actix_web::test]
async fn shared_socket_is_prepared() {
    let (shared, ..) = shared_pair().await;
    assert!(shared.get_ref().nodelay().unwrap());
    assert_eq!(socket2::SockRef::from(shared.get_ref()).tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
}

#[actix_web::test]
async fn shared_stream_reads_all_data_up_to_the_end() {
    let (mut shared, _handle, mut client) = shared_pair().await;
    let sent: Vec<_> = (0..=255).cycle().take(100_000).collect();
    let expected = sent.clone();
    let sending = actix_web::rt::spawn(async move {
        for part in sent.chunks(7_001) {
            client.write_all(part).await.unwrap();
            yield_now().await;
        }
    });
    let mut received = Vec::new();
    timeout(Duration::from_secs(60), shared.read_to_end(&mut received)).await.unwrap().unwrap();
    sending.await.unwrap();
    assert_eq!(received, expected);
}

#[actix_web::test]
async fn handle_shuts_a_shared_socket_down() {
    let (mut shared, handle, mut client) = shared_pair().await;
    handle.shut_down();
    assert_eq!(timeout(Duration::from_secs(60), shared.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert_eq!(timeout(Duration::from_secs(60), client.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[actix_web::test]
async fn handle_keeps_no_shared_socket_open() {
    let (shared, handle, mut client) = shared_pair().await;
    drop(shared);
    assert_eq!(timeout(Duration::from_secs(60), client.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert!(timeout(Duration::from_secs(60), handle.peer_closed()).await.unwrap());
}
