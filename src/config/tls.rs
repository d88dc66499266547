//! Settings of TLS.

use std::path::PathBuf;

use serde::Deserialize;

/// TLS of the client listener. Without these settings it speaks plain HTTP, for use behind a proxy that speaks TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The file with the certificate in PEM format, followed by the intermediate certificates. Default none. SIGHUP
    /// reloads both files.
    pub certificate: Option<PathBuf>,
    /// The file with the private key of the certificate in PEM format. Default none.
    pub key: Option<PathBuf>,
}

/// The files of a certificate and of its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Tls {
    /// The files, if TLS is configured.
    #[must_use]
    pub fn files(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(CertificateFiles { certificate, key })
    }

    /// The settings that must not be empty, with their keys.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let paths = [("tls.certificate", &self.certificate), ("tls.key", &self.key)];
        // A path that is not Unicode is not empty.
        paths.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?.to_str().unwrap_or("-"))))
    }

    pub(super) fn contradictions(&self, proxy_protocol: bool) -> Vec<(Vec<&'static str>, String)> {
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => Some(("tls.key", "`tls.certificate` is set; set the file with its private key too")),
            (None, Some(_)) => Some(("tls.certificate", "`tls.key` is set; set the file with its certificate too")),
            (Some(_), Some(_)) if proxy_protocol => {
                let text = "TLS cannot follow a PROXY header; speak TLS in the proxy, or set `proxy_protocol` to false";
                Some(("proxy_protocol", text))
            }
            (Some(_), Some(_)) | (None, None) => None,
        };
        missing.map(|(key, text)| (vec![key], text.to_owned())).into_iter().collect()
    }
}
