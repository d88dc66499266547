//! The message on standard output when the service starts.

use std::io;

use super::Listeners;
use crate::config::{Mode, Settings};

/// Lists the addresses and files of the service, and a first thing to try.
///
/// # Errors
/// If a listener cannot report its address.
pub fn startup_message(settings: &Settings, listeners: &Listeners) -> io::Result<String> {
    let scheme = if settings.tls.files().is_some() { "https" } else { "http" };
    let clients = format!("{scheme}://{}{}", listeners.clients.local_addr()?, settings.base_path.as_str());
    let admin = format!("http://{}", listeners.admin.local_addr()?);
    let keys = if settings.signing_keys.is_empty() { path(&settings.key_file()) } else { "as configured".into() };
    let token = settings.admin.token.is_none().then(|| path(&settings.token_file()));
    let database = if settings.store.url.is_none() { path(&settings.database_file()) } else { "as configured".into() };
    let bearer = token.as_ref().map_or("$ADMIN_TOKEN".to_owned(), |file| format!("$(cat {file})"));
    // A classic client takes the query string apart from the URL. One with a query string in its URL cannot connect.
    let (user, classic_user) = match settings.auth.mode {
        Mode::Query => ("?user=ann", " (with the query string user=ann)"),
        Mode::Jwt => (" (with a bearer token)", " (with a bearer token)"),
    };
    let token = token.unwrap_or_else(|| "as configured".into());
    Ok(format!(
        "hubcast {version} is running
  hub chat (ASP.NET Core SignalR)  {clients}/chat{user}
  all hubs (SignalR 2.x)           {clients}/signalr{classic_user}
  web page to try it               {clients}/
  admin                            {admin}/admin/overview
with its data in
  database                         {database}
  signing key                      {keys}
  admin token                      {token}
Try: open the web page in two windows, join a room in both, and send messages. Then list the connections:
  curl -H \"Authorization: Bearer {bearer}\" {admin}/admin/connections
",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}
