use std::fs;

use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use tempfile::TempDir;

use super::*;
use crate::config::CertificateFiles;

fn generate() -> Generated<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Writes a certificate and a key to a temporary directory.
fn write(certificate: &str, key: &str) -> (TempDir, CertificateFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles { certificate: directory.path().join("crt"), key: directory.path().join("key") };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    (directory, files)
}

fn error(files: CertificateFiles) -> String {
    Tls::open(files).unwrap_err().to_string()
}

fn current(tls: &Tls) -> Vec<u8> {
    tls.current.0.read().unwrap().cert[0].to_vec()
}

#[test]
fn unusable_files_are_named_with_their_setting() {
    let (first, second) = (generate(), generate());
    let (certificate, key) = (first.cert.pem(), first.signing_key.serialize_pem());
    let (_directory, files) = write(&certificate, &key);
    assert!(Tls::open(files).unwrap().server_config().is_ok());
    for (certificate, key, expected) in [
        ("", &*key, "tls.certificate: cannot read a certificate in PEM format from "),
        (&*key, &*key, "tls.certificate: cannot read a certificate in PEM format from "),
        (&*certificate, "", "tls.key: cannot read a private key in PEM format from "),
        (&*certificate, &*certificate, "tls.key: cannot read a private key in PEM format from "),
        (&*certificate, &*second.signing_key.serialize_pem(), "tls.key: "),
    ] {
        let (_directory, files) = write(certificate, key);
        let text = error(files);
        assert!(text.starts_with(expected), "{text}");
    }
    let (directory, files) = write(&certificate, &key);
    let missing = directory.path().join("missing");
    assert!(error(CertificateFiles { certificate: missing.clone(), ..files.clone() }).starts_with("tls.certificate: "));
    assert!(error(CertificateFiles { key: missing, ..files }).starts_with("tls.key: "));
}

#[test]
fn failed_reload_keeps_the_certificate() {
    let (first, second) = (generate(), generate());
    let (_directory, files) = write(&first.cert.pem(), &first.signing_key.serialize_pem());
    let tls = Tls::open(files.clone()).unwrap();
    fs::write(&files.certificate, second.cert.pem()).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })), "the key is still the old one");
    assert_eq!(current(&tls), first.cert.der().to_vec());
    fs::write(&files.key, second.signing_key.serialize_pem()).unwrap();
    tls.reload().unwrap();
    assert_eq!(current(&tls), second.cert.der().to_vec());
}
