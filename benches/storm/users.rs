//! The clients of the storm. They run in a process of their own. Each line of its standard input starts
//! a step.

use std::{
    io::{Write, stdin, stdout},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use memchr::memmem;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Client;

/// The number of clients that connect at a time. A single process cannot send the requests of more in time.
const MAX_CONNECTING: usize = 1_000;

/// Wire: what precedes a rejoin token.
const TOKEN_CALL: &[u8] = br#""target":"hubcast:rejoinToken","arguments":[""#;

pub(crate) fn name(number: usize) -> String {
    format!("user{number}")
}

/// Connects all users and gets their rejoin tokens; at the next line, disconnects all; at the next line, connects all with
/// their tokens as fast as possible. Prints a line after each of them. They stay connected until the standard input ends.
pub(crate) async fn run(address: SocketAddr, users: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    let connecting = stream::iter(0..users).map(|number| connect(address, number));
    let clients: Vec<_> = connecting.buffer_unordered(MAX_CONNECTING).try_collect().await?;
    report()?;
    let tokens: Vec<_> = clients.into_iter().map(|(number, _, token)| (number, token)).collect();
    report()?;
    let connecting = stream::iter(tokens).map(|(number, token)| reconnect(address, number, token));
    let clients: Vec<_> = connecting.buffer_unordered(MAX_CONNECTING).try_collect().await?;
    report()?;
    drop(clients);
    Ok(())
}

/// Reports that a step is done, and waits for the next line.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn report() -> Result<()> {
    println!();
    stdout().flush()?;
    stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Connects a user, and waits for its rejoin token.
async fn connect(address: SocketAddr, number: usize) -> Result<(usize, Client, String)> {
    let mut client = open(address, number, "1").await?;
    let mut message = Vec::new();
    loop {
        client.receive(&mut message).await.with_context(|| format!("no token for {}", name(number)))?;
        let Some(position) = memmem::find(&message, TOKEN_CALL) else { continue };
        let token = message[position + TOKEN_CALL.len()..].iter().take_while(|byte| **byte != b'"');
        return Ok((number, client, String::from_utf8(token.copied().collect())?));
    }
}

/// Connects a user with its token. The first call is answered after its groups are joined.
async fn reconnect(address: SocketAddr, number: usize, token: String) -> Result<Client> {
    let mut client = open(address, number, &token).await?;
    client.send("{\"type\":1,\"invocationId\":\"0\",\"target\":\"WhoAmI\",\"arguments\":[]}\x1e").await?;
    client.receive_until(br#""invocationId":"0""#).await?;
    Ok(client)
}

async fn open(address: SocketAddr, number: usize, token: &str) -> Result<Client> {
    let path = format!("/chat?user={}&rejoin={token}", name(number));
    let mut client = Client::connect(address, &path).await.with_context(|| name(number))?;
    client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
    Ok(client)
}
