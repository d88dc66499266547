//! TLS of the client listener: the certificate, and its reload while the service runs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use log::{error, info};
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{config, crypto};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read, or is not PEM.
    #[error("tls.certificate: cannot read a certificate in PEM format from {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The error of the file or its format.
        source: pem::Error,
    },
    /// The key file cannot be read, or is not PEM.
    #[error("tls.key: cannot read a private key in PEM format from {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error of the file or its format.
        source: pem::Error,
    },
    /// The key is of an unsupported kind, or does not belong to the certificate.
    #[error("tls.key: {} cannot be used with the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
}

/// The certificate of the client listener. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    files: config::CertificateFiles,
    current: Arc<CurrentCertificate>,
}

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`] names the setting of the file that cannot be used.
    pub fn open(files: config::CertificateFiles) -> Result<Self, TlsError> {
        let current = Arc::new(CurrentCertificate(RwLock::new(read(&files)?)));
        Ok(Self { files, current })
    }

    /// Reads the files again. New connections get the new certificate. If the files cannot be used, the certificate in
    /// use stays.
    ///
    /// # Errors
    /// [`TlsError`] names the setting of the file that cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let certificate = read(&self.files)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        Ok(())
    }

    pub(super) fn reload_and_log(&self) {
        let path = self.files.certificate.display();
        match self.reload() {
            Ok(()) => info!(certificate:% = path; "TLS certificate reloaded"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                error!(cause; "TLS certificate not reloaded, the previous one stays in use: {error}");
            }
        }
    }

    /// The settings of a listener. All listeners share the certificate.
    pub(super) fn server_config(&self) -> io::Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(crypto::for_tls());
        let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        Ok(config.with_no_client_auth().with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>))
    }
}

fn read(files: &config::CertificateFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let config::CertificateFiles { certificate, key } = files;
    let chain =
        read_chain(certificate).map_err(|source| TlsError::Certificate { path: certificate.clone(), source })?;
    let private_key =
        PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Key { path: key.clone(), source })?;
    let certified = CertifiedKey::from_der(chain, private_key, &crypto::for_tls());
    let mismatch = |source| TlsError::Mismatch { key: key.clone(), certificate: certificate.clone(), source };
    certified.map(Arc::new).map_err(mismatch)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

/// The certificate for new connections.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests;
