//! What a newcomer reads first.

use std::{io, net::SocketAddr};

use super::Listeners;
use crate::config::{Mode, Settings};

/// Says where everything is, and what to try.
///
/// # Errors
/// If a listener does not know its address.
pub fn welcome(settings: &Settings, listeners: &Listeners) -> io::Result<String> {
    let (clients, admin) = (url(listeners.clients.local_addr()?), url(listeners.admin.local_addr()?));
    let keys = if settings.signing_keys.is_empty() { path(&settings.key_file()) } else { "as configured".into() };
    let token = settings.admin.token.is_none().then(|| path(&settings.token_file()));
    let database = if settings.store.url.is_none() { path(&settings.database_file()) } else { "as configured".into() };
    let bearer = token.as_ref().map_or("$ADMIN_TOKEN".to_owned(), |file| format!("$(cat {file})"));
    let user = match settings.auth.mode {
        Mode::Query => "?user=ann",
        Mode::Jwt => " (with a bearer token)",
    };
    let token = token.unwrap_or_else(|| "as configured".into());
    Ok(format!(
        "hubcast {version} serves
  the hub chat     {clients}/chat{user}
  to older clients {clients}/signalr{user}
  a page to try it {clients}/
  operators        {admin}/admin/overview
and keeps
  its database     {database}
  its signing key  {keys}
  the admin token  {token}
Try: open the page in two windows, join a room in both, and talk. Then see who is there:
  curl -H \"Authorization: Bearer {bearer}\" {admin}/admin/connections
",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}
