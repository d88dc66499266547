//! The clients of the storm. They run in a process of their own.

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Client;

/// The line that the process prints when every client is in its groups.
pub(crate) const CONNECTED: &str = "connected\n";

pub(crate) fn name(number: usize) -> String {
    format!("user{number}")
}

/// The number of clients that connect at a time. A single process cannot send the requests of more in time.
const MAX_CONNECTING: usize = 1_000;

/// Connects all users as fast as possible. They stay connected until the standard input ends.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) async fn connect(address: SocketAddr, users: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    let connecting = stream::iter(0..users).map(|number| connect_user(address, number));
    let clients: Vec<_> = connecting.buffer_unordered(MAX_CONNECTING).try_collect().await?;
    print!("{CONNECTED}");
    std::io::stdout().flush()?;
    let _ = std::io::stdin().read(&mut [0]);
    drop(clients);
    Ok(())
}

/// Connects a user. The first call is answered after its durable groups are joined.
async fn connect_user(address: SocketAddr, number: usize) -> Result<Client> {
    let path = format!("/chat?user={}", name(number));
    let mut client = Client::connect(address, &path).await.with_context(|| name(number))?;
    client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
    client.send("{\"type\":1,\"invocationId\":\"0\",\"target\":\"WhoAmI\",\"arguments\":[]}\x1e").await?;
    client.receive_until(br#""invocationId":"0""#).await?;
    Ok(client)
}
