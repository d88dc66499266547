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

/// Part of the answer to the first call.
const ANSWER: &[u8] = br#""invocationId":"0""#;

/// What a client without a token sends to get one.
const NO_TOKEN: &str = "1";

pub(crate) fn name(number: usize) -> String {
    format!("user{number}")
}

/// Connects all users; at the next line, disconnects all; at the next line, connects all with the rejoin tokens that they
/// got, and so on. Prints a line after each of these steps. The users disconnect when the standard input ends.
pub(crate) async fn run(address: SocketAddr, users: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    let mut tokens: Vec<_> = (0..users).map(|number| (number, NO_TOKEN.to_owned())).collect();
    loop {
        let connecting = stream::iter(tokens).map(|(number, token)| connect(address, number, token));
        let clients: Vec<_> = connecting.buffer_unordered(MAX_CONNECTING).try_collect().await?;
        if !report()? {
            return Ok(());
        }
        tokens = clients.into_iter().map(|(number, _, token)| (number, token)).collect();
        if !report()? {
            return Ok(());
        }
    }
}

/// Reports that a step is done, and waits for the next line. Returns false if there is none.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn report() -> Result<bool> {
    println!();
    stdout().flush()?;
    Ok(stdin().read_line(&mut String::new())? > 0)
}

/// Connects a user with a token. Waits for its new token, and for the answer to its first call, which comes after its groups
/// are joined.
async fn connect(address: SocketAddr, number: usize, token: String) -> Result<(usize, Client, String)> {
    let mut client = open(address, number, &token).await?;
    client.send("{\"type\":1,\"invocationId\":\"0\",\"target\":\"WhoAmI\",\"arguments\":[]}\x1e").await?;
    let (mut message, mut new_token, mut is_answered) = (Vec::new(), None, false);
    while new_token.is_none() || !is_answered {
        client.receive(&mut message).await.with_context(|| format!("no token for {}", name(number)))?;
        is_answered |= memmem::find(&message, ANSWER).is_some();
        if let Some(position) = memmem::find(&message, TOKEN_CALL) {
            let token = message[position + TOKEN_CALL.len()..].iter().take_while(|byte| **byte != b'"');
            new_token = Some(String::from_utf8(token.copied().collect())?);
        }
    }
    Ok((number, client, new_token.unwrap_or_default()))
}

async fn open(address: SocketAddr, number: usize, token: &str) -> Result<Client> {
    let path = format!("/chat?user={}&rejoin={token}", name(number));
    let mut client = Client::connect(address, &path).await.with_context(|| name(number))?;
    client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
    Ok(client)
}
