//! TLS between a store and the server of its database. These servers accept no connection without TLS.

use std::{fs, sync::LazyLock};

use hubcast::store::{Change, MembershipStore, sea::SeaStore};
use hubcast_fixtures::databases::{DatabaseServer, ServerCertificate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::server_checks::{ann, refusal};

/// A certificate authority, and the file of its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new([]).unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// A certificate for 127.0.0.1, and for no other name.
    fn issue(&self) -> ServerCertificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A server with TLS, and the parameters of its addresses.
pub(crate) struct TlsServer {
    server: DatabaseServer,
    /// A server of the same kind without TLS.
    plain: fn() -> &'static DatabaseServer,
    authority: Authority,
    parameters: Parameters,
}

struct Parameters {
    authority: &'static str,
    disable: &'static str,
    require: &'static str,
    verify_authority: &'static str,
    verify_all: &'static str,
}

pub(crate) static POSTGRES: LazyLock<TlsServer> = LazyLock::new(|| {
    let authority = Authority::new();
    TlsServer {
        server: DatabaseServer::postgres_with_tls(&authority.issue()),
        plain: DatabaseServer::shared_postgres,
        authority,
        parameters: Parameters {
            authority: "sslrootcert",
            disable: "sslmode=disable",
            require: "sslmode=require",
            verify_authority: "sslmode=verify-ca",
            verify_all: "sslmode=verify-full",
        },
    }
});

pub(crate) static MARIADB: LazyLock<TlsServer> = LazyLock::new(|| {
    let authority = Authority::new();
    TlsServer {
        server: DatabaseServer::mariadb_with_tls(&authority.issue()),
        plain: DatabaseServer::shared_mariadb,
        authority,
        parameters: Parameters {
            authority: "ssl-ca",
            disable: "ssl-mode=DISABLED",
            require: "ssl-mode=REQUIRED",
            verify_authority: "ssl-mode=VERIFY_CA",
            verify_all: "ssl-mode=VERIFY_IDENTITY",
        },
    }
});

impl TlsServer {
    /// The parameters for a mode, with the file of an authority.
    fn with_authority(&self, mode: &str, authority: &Authority) -> String {
        format!("{mode}&{}={}", self.parameters.authority, authority.file())
    }

    /// The modes that require TLS.
    fn modes(&self) -> [&'static str; 3] {
        let Parameters { require, verify_authority, verify_all, .. } = self.parameters;
        [require, verify_authority, verify_all]
    }
}

async fn assert_usable(url: &str) {
    let store = SeaStore::connect_with_test_timeouts(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Applied, "{url}");
}

pub(crate) async fn certificate_of_known_authority_is_accepted(tls: &TlsServer) {
    let named = tls.modes().map(|mode| tls.with_authority(mode, &tls.authority));
    for parameters in named.iter().map(String::as_str).chain([tls.parameters.require]) {
        assert_usable(&format!("{}?{parameters}", tls.server.new_database())).await;
    }
}

/// Without a named authority, those of Mozilla are trusted.
pub(crate) async fn certificate_of_unknown_authority_is_refused(tls: &TlsServer) {
    let (url, other) = (tls.server.new_database(), Authority::new());
    let named = tls.modes().map(|mode| tls.with_authority(mode, &other));
    let strict = [tls.parameters.verify_authority, tls.parameters.verify_all];
    for parameters in named.iter().map(String::as_str).chain(strict) {
        let text = refusal(&format!("{url}?{parameters}")).await;
        assert!(text.contains("not signed by a trusted authority"), "{parameters}: {text}");
        assert!(text.contains(tls.parameters.authority), "{parameters}: {text}");
    }
}

pub(crate) async fn strictest_mode_checks_the_name(tls: &TlsServer) {
    let url = tls.server.new_database().replace("127.0.0.1", "localhost");
    let parameters = |mode| tls.with_authority(mode, &tls.authority);
    assert_usable(&format!("{url}?{}", parameters(tls.parameters.verify_authority))).await;
    let text = refusal(&format!("{url}?{}", parameters(tls.parameters.verify_all))).await;
    assert!(text.contains("localhost"), "{text}");
}

pub(crate) async fn server_without_tls_is_refused(tls: &TlsServer) {
    let url = (tls.plain)().new_database();
    for parameters in tls.modes() {
        let text = refusal(&format!("{url}?{parameters}")).await;
        assert!(text.contains("the address requires TLS: server does not support TLS"), "{text}");
    }
}

pub(crate) async fn connection_without_required_tls_is_refused(tls: &TlsServer) {
    let text = refusal(&format!("{}?{}", tls.server.new_database(), tls.parameters.disable)).await;
    assert!(text.contains("no encryption") || text.contains("Access denied"), "{text}");
}

/// Generates a test for each check.
macro_rules! tls_checks {
    ($server:expr) => {
        $crate::support::tests_of! { tls $server =>
            certificate_of_known_authority_is_accepted
            certificate_of_unknown_authority_is_refused
            strictest_mode_checks_the_name
            server_without_tls_is_refused
            connection_without_required_tls_is_refused
        }
    };
}
pub(crate) use tls_checks;
