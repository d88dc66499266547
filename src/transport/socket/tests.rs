use std::pin::pin;

use actix_service::{Service, ServiceFactory};
use actix_tls::accept::rustls_0_23::Acceptor;
use actix_web::rt::net::TcpListener;
use futures_util::FutureExt;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{io::AsyncWriteExt, task::yield_now, time::timeout};
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
    let provider = Arc::new(aws_lc_rs::default_provider());
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
    assert!(data.get::<SocketHandle>().unwrap().plain().is_some());
}

#[actix_web::test]
async fn on_connect_prepares_the_socket_of_a_tls_stream() {
    let (accepted, _client) = tls_pair().await;
    let mut data = Extensions::new();
    on_connect(&accepted, &mut data);
    assert_prepared(accepted.get_ref().0, &data);
    assert!(data.get::<SocketHandle>().unwrap().plain().is_none(), "frames must not pass the encryption");
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
