//! An agent as far as the controller sees one: opens a stream with a token, answers what comes, and prints it, a line of JSON a message.
//!
//! Keys are printed, as it is a test that wants to see them: only for keys that are worth nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use weir_api::proto;
use weir_api::proto::agent_message::Message;
use weir_api::proto::resource::Body;
use weir_api::resource::kind_of;

#[derive(Parser)]
struct Arguments {
    /// Where the controller is, such as https://10.0.0.1:15010.
    #[arg(long)]
    controller: String,
    /// The name that its certificate must have.
    #[arg(long)]
    server_name: String,
    /// Its authority, PEM.
    #[arg(long)]
    controller_ca: PathBuf,
    /// The token itself; without it none is sent.
    #[arg(long)]
    token: Option<String>,
    /// The node that Hello names.
    #[arg(long)]
    node: String,
    /// What Hello says is held already: KIND=NAME=VERSION, the kind by its number.
    #[arg(long)]
    held: Vec<String>,
    /// Names of resources that are refused.
    #[arg(long)]
    reject: Vec<String>,
    /// Ends after the first whole snapshot.
    #[arg(long)]
    once: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let end = match stream(&arguments).await {
        Ok(()) => json!({"end": "ok"}),
        Err(status) => json!({"end": format!("{:?}", status.code()), "message": status.message()}),
    };
    say(&end);
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout)] // what it prints is what it is for
fn say(line: &Json) {
    println!("{line}");
}

async fn stream(arguments: &Arguments) -> Result<(), Status> {
    let broken = |error: &dyn std::fmt::Display| Status::internal(format!("fake agent: {error}"));
    let authority = std::fs::read(&arguments.controller_ca).map_err(|error| broken(&error))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(&arguments.server_name);
    let channel = Endpoint::new(arguments.controller.clone())
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| broken(&error))?
        .connect()
        .await
        .map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let mut client = proto::discovery_client::DiscoveryClient::new(channel);

    let (sender, messages) = mpsc::channel(8);
    let hello = proto::Hello {
        node: arguments.node.clone(),
        agent_version: "fake".to_owned(),
        held: arguments
            .held
            .iter()
            .filter_map(|held| parse_held(held))
            .collect(),
    };
    let send = async |message| {
        let message = proto::AgentMessage {
            message: Some(message),
        };
        sender
            .send(message)
            .await
            .map_err(|_| Status::cancelled("closed"))
    };
    send(Message::Hello(hello)).await?;
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(token) = &arguments.token {
        let value = format!("Bearer {token}")
            .parse()
            .map_err(|error| broken(&error))?;
        request.metadata_mut().insert("authorization", value);
    }
    let mut answers = client.stream(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let delta = answer.delta.unwrap_or_default();
        say(&shown(&delta));
        let rejected = delta
            .upserts
            .iter()
            .filter(|upsert| arguments.reject.contains(&upsert.name));
        let rejections = rejected
            .map(|upsert| proto::Rejection {
                kind: kind_of(upsert).into(),
                name: upsert.name.clone(),
                message: "the fake agent was told to refuse it".to_owned(),
            })
            .collect();
        send(Message::Acknowledgement(proto::Acknowledgement {
            nonce: delta.nonce,
            rejections,
        }))
        .await?;
        if arguments.once && delta.snapshot_done {
            break;
        }
    }
    Ok(())
}

fn parse_held(text: &str) -> Option<proto::Held> {
    let mut parts = text.splitn(3, '=');
    Some(proto::Held {
        kind: parts.next()?.parse().ok()?,
        name: parts.next()?.to_owned(),
        version: parts.next()?.to_owned(),
    })
}

fn shown(delta: &proto::Delta) -> Json {
    let upserts: Vec<Json> = delta.upserts.iter().map(upsert).collect();
    let removals: Vec<Json> = delta
        .removals
        .iter()
        .map(|removal| json!({"kind": removal.kind().as_str_name(), "name": removal.name}))
        .collect();
    json!({"upserts": upserts, "removals": removals, "snapshot_done": delta.snapshot_done})
}

fn upsert(resource: &proto::Resource) -> Json {
    let mut shown = json!({
        "kind": kind_of(resource).as_str_name(),
        "kind_number": i32::from(kind_of(resource)),
        "name": resource.name,
        "version": resource.version,
    });
    match &resource.body {
        Some(Body::Credential(credential)) => match &credential.state {
            Some(proto::credential::State::Key(key)) => shown["key"] = json!(key),
            Some(proto::credential::State::Unresolved(why)) => shown["unresolved"] = json!(why),
            None => {}
        },
        Some(Body::Workload(workload)) => {
            shown["pod"] = json!(format!("{}/{}", workload.namespace, workload.pod));
            shown["trusts"] = json!(workload.trusts);
            shown["service_account"] = json!(workload.service_account);
        }
        Some(Body::Leaf(leaf)) => {
            shown["certificates"] = json!(leaf.chain.len());
            shown["not_after"] = json!(leaf.not_after);
        }
        _ => {}
    }
    shown
}
