//! The client: a process of its own, so that its work is not counted as the proxy's. It does one line of its input at a time, and
//! answers each with a line: `done`, and what it measured itself.

mod http;
mod raw;
pub(crate) mod tls;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

use crate::Outcome;
use http::{Client, Question};

/// Obeys until its input ends.
pub(crate) async fn obey(target: SocketAddr, raw: SocketAddr) -> Outcome {
    let trust = std::env::var_os("SSL_CERT_FILE").ok_or("SSL_CERT_FILE is not set")?;
    let mut client = Client::new(target, trust.as_ref())?;
    crate::ready()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let measured = one(&mut client, raw, &line)
            .await
            .map_err(|error| format!("{line}: {error}"))?;
        writeln!(io::stdout(), "done {measured}")?;
    }
    Ok(())
}

/// What it measured: nanoseconds, where anything.
async fn one(client: &mut Client, raw: SocketAddr, line: &str) -> Outcome<u64> {
    let words: Vec<&str> = line.split(' ').collect();
    let number =
        |index: usize| -> Outcome<usize> { Ok(words.get(index).ok_or("a number is missing")?.parse()?) };
    match *words.first().ok_or("an empty line")? {
        "open" => client.open(number(1)?).await?,
        "close" => client.close(),
        "small" => client.exchanges(number(1)?, Question::small()).await?,
        "prompt" => client.exchanges(number(1)?, Question::prompt()).await?,
        "stream" => {
            client
                .exchanges(number(1)?, Question::stream(number(2)?, &number(3)?.to_string())?)
                .await?;
        }
        "hold" => client.hold().await?,
        "first" => return client.time_to_first_chunk(number(1)?).await,
        "handshakes" => client.handshakes(number(1)?).await?,
        "connects" => return raw::connects(client.target(), number(1)?),
        "pull" => return raw::pull(raw, number(1)? as u64),
        "push" => return raw::push(raw, number(1)? as u64),
        _ => return Err("unknown".into()),
    }
    Ok(0)
}
