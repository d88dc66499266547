//! Sends requests to the table service on a thread of its own, because the HTTP client stays on one thread.
//!
//! A request whose caller has gone is still sent to its end, so that it does not take effect at an unknown later time.

use std::{
    fmt::Display,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use actix::System;
use awc::{ClientRequest, Connector, http::header};
use bytes::Bytes;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Credential, address::Address, signature::AccountKey};
use crate::{crypto, store::Error};

/// The maximum number of requests at a time, each on its own connection. Further ones wait.
const MAX_CONCURRENT: usize = 64;

/// The maximum number of requests that wait. Further callers wait for a place.
const MAX_WAITING: usize = 1_024;

/// The maximum size of an answer: 1,000 rows of 1 KiB, several times over.
const MAX_ANSWER: usize = 4 << 20;

/// The version of the protocol.
const VERSION: &str = "2019-02-02";

/// The headers of an answer that is continued, and the parameters that repeat them.
const CONTINUATION: [(&str, &str); 2] =
    [("x-ms-continuation-nextpartitionkey", "NextPartitionKey"), ("x-ms-continuation-nextrowkey", "NextRowKey")];

/// The characters of a query that are percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

/// A request. Its path begins with `/`.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    query: String,
    body: String,
}

impl Request {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, query: String::new(), body: String::new() }
    }

    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.query.is_empty() { "" } else { "&" };
        self.query += &format!("{separator}{name}={}", utf8_percent_encode(value, ENCODED));
        self
    }

    pub(super) fn body(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string();
        self
    }
}

/// An answer of the service.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) error_code: Option<String>,
    /// The parameters of the request for the next page of rows.
    pub(super) continuation: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

type Job = (Request, oneshot::Sender<Result<Response, Error>>);

/// The sender of requests. The thread ends with its last clone.
#[derive(Clone)]
pub(super) struct Client {
    jobs: mpsc::Sender<Job>,
    address: Arc<Address>,
}

#[derive(Clone)]
enum Authorization {
    Key(AccountKey),
    Sas(SecretString),
}

impl Client {
    /// `timeout` is the time limit of a request.
    pub(super) fn start(address: Address, credential: Credential, timeout: Duration) -> Result<Self, Error> {
        let authorization = match credential {
            Credential::Key(key) => Authorization::Key(AccountKey::new(&address.account, &key)?),
            Credential::Sas(signature) => Authorization::Sas(signature),
        };
        let address = Arc::new(address);
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let origin = address.origin.clone();
        let thread = thread::Builder::new().name("azure-table".into());
        let started = thread.spawn(move || System::new().block_on(serve(waiting, origin, authorization, timeout)));
        started.map_err(|error| Error::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs, address })
    }

    /// The path of a resource of the account.
    pub(super) fn path(&self, resource: &str) -> String {
        self.address.path(resource)
    }

    /// Sends a request. An answer with any status is a success.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Error> {
        let gone = || Error::Unavailable("the thread of the HTTP client has ended".into());
        let (answer, answered) = oneshot::channel();
        self.jobs.send((request, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn serve(mut jobs: mpsc::Receiver<Job>, origin: String, authorization: Authorization, timeout: Duration) {
    let (client, permits) = (http_client(timeout), Arc::new(Semaphore::new(MAX_CONCURRENT)));
    while let Some((request, answer)) = jobs.recv().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let sent = send(client.clone(), request, origin.clone(), authorization.clone());
        actix::spawn(async move {
            // The caller may have gone.
            let _ = answer.send(sent.await);
            drop(permit);
        });
    }
}

fn http_client(timeout: Duration) -> awc::Client {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let tls = ClientConfig::builder_with_provider(crypto::for_tls()).with_safe_default_protocol_versions();
    let tls = tls.expect("the provider has the default versions").with_root_certificates(roots).with_no_client_auth();
    let connector = Connector::new().rustls_0_23(Arc::new(tls)).limit(MAX_CONCURRENT).timeout(timeout);
    awc::Client::builder().connector(connector).timeout(timeout).disable_redirects().finish()
}

async fn send(
    client: awc::Client,
    request: Request,
    origin: String,
    authorization: Authorization,
) -> Result<Response, Error> {
    // The text of an error of the client contains no URL, and so no signature.
    let unavailable = |error: &dyn Display| Error::Unavailable(format!("{origin}: {error}"));
    let body = request.body.clone();
    let call = prepare(&client, request, &origin, &authorization);
    let mut response = call.send_body(body).await.map_err(|error| unavailable(&error))?;
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let continuation = CONTINUATION.iter().filter_map(|(name, parameter)| Some((*parameter, header(name)?)));
    let (status, continuation) = (response.status().as_u16(), continuation.collect());
    let error_code = header("x-ms-error-code");
    let body = response.body().limit(MAX_ANSWER).await.map_err(|error| unavailable(&error))?;
    Ok(Response { status, error_code, continuation, body })
}

fn prepare(client: &awc::Client, request: Request, origin: &str, authorization: &Authorization) -> ClientRequest {
    let Request { method, path, query, body } = request;
    let query = match authorization {
        Authorization::Key(_) => query,
        Authorization::Sas(signature) if query.is_empty() => signature.expose_secret().to_owned(),
        Authorization::Sas(signature) => format!("{}&{query}", signature.expose_secret()),
    };
    let url = if query.is_empty() { format!("{origin}{path}") } else { format!("{origin}{path}?{query}") };
    let date = http_date();
    let call = match method {
        Method::Get => client.get(url),
        Method::Post => client.post(url),
        Method::Delete => client.delete(url).insert_header((header::IF_MATCH, "*")),
    };
    // Wire: the client would add a `Date` of its own, and the emulator signs that one.
    let mut call = call
        .insert_header((header::DATE, date.as_str()))
        .insert_header(("x-ms-date", date.as_str()))
        .insert_header(("x-ms-version", VERSION))
        .insert_header(("DataServiceVersion", "3.0;NetFx"))
        .insert_header((header::ACCEPT, "application/json;odata=nometadata"));
    if let Authorization::Key(key) = authorization {
        call = call.insert_header((header::AUTHORIZATION, key.authorization(&date, &path)));
    }
    if !body.is_empty() {
        call = call.insert_header((header::CONTENT_TYPE, "application/json"));
        call = call.insert_header(("Prefer", "return-no-content"));
    }
    call
}

/// The time as HTTP writes it.
fn http_date() -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
}
