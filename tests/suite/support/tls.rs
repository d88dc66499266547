//! Certificates, and clients that trust them.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::Connector;

use super::with_timeout;

/// A self-signed certificate for 127.0.0.1, and its files.
pub(crate) struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Certificate {
    pub(crate) fn generate() -> Self {
        let generated = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("crt"), generated.cert.pem()).unwrap();
        fs::write(folder.path().join("key"), generated.signing_key.serialize_pem()).unwrap();
        Self { folder, der: generated.cert.der().clone(), key: generated.signing_key.serialize_der() }
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("crt")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Replaces the files of `other` with the files of this certificate.
    pub(crate) fn replace_files_of(&self, other: &Self) {
        fs::copy(self.certificate_file(), other.certificate_file()).unwrap();
        fs::copy(self.key_file(), other.key_file()).unwrap();
    }

    pub(crate) fn server_config(&self) -> ServerConfig {
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        config.with_no_client_auth().with_single_cert(vec![self.der.clone()], key).unwrap()
    }

    /// The settings of a client that trusts only this certificate.
    fn client_config(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// A connector for WebSocket clients that trusts only this certificate.
    pub(crate) fn connector(&self) -> Connector {
        Connector::Rustls(self.client_config())
    }

    /// Opens a TLS connection to `server`, which fails unless `server` uses this certificate.
    pub(crate) async fn connect(&self, server: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = with_timeout(TcpStream::connect(server)).await?;
        let name = server.ip().into();
        with_timeout(TlsConnector::from(self.client_config()).connect(name, socket)).await
    }

    /// Sends a GET request over a TLS connection of its own.
    pub(crate) async fn get(&self, server: SocketAddr, path: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect(server).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}
