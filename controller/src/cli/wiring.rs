//! How the rooms are put together: who tells whom, and in which order they begin and end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value as Json;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::Arguments;
use crate::client::client;
use crate::configuration::{Configuration, Defaults};
use crate::discovery::Service;
use crate::discovery::agents::Agents;
use crate::discovery::explain::KnownPods;
use crate::discovery::stream::Sources;
use crate::discovery::token::Authenticator;
use crate::health::Health;
use crate::names::{CONTROL_PLANE_SECRET, CONTROLLER, WEBHOOK};
use crate::retire::{job, order};
use crate::status::events;
use crate::trust::owner::Ownership;
use crate::trust::serving::Serving;
use crate::trust::{provision, root, told};
use crate::watch::cluster;
use crate::watch::placed::NodeWorkloads;
use crate::watch::stores::Stores;
use crate::webhook::Injector;
use crate::webhook::mutate::Injection;
use crate::{health, lease, serve, status, webhook};

/// Why the controller can't begin. None is worth a retry as it stands, but Kubernetes starts it anew, for some pass.
#[derive(Debug, Error)]
pub(super) enum StartError {
    /// There is no way to the API server.
    #[error("the API server can't be reached: {0}; the controller runs in a pod, or with KUBECONFIG set")]
    Client(String),
    /// The API server refuses.
    #[error("the API server refuses: {0}")]
    Api(#[from] kube::Error),
    /// A port is taken, or the like.
    #[error("{0}")]
    Listen(#[from] std::io::Error),
    /// What pods are to trust can't be read.
    #[error("--public-roots, --additional-roots: {file}: {problem}")]
    Roots {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why the release can't be deleted yet.
#[derive(Debug, Error)]
pub(super) enum RetireFailure {
    /// It can't even be asked for.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was asked for.
    #[error(transparent)]
    Retire(#[from] job::RetireError),
}

/// A little longer than it takes a Service to forget a pod that is ending, so that an agent does not connect to it again.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// An agent opens one a connection; the next may overlap with it.
const STREAMS: u32 = 8;
/// Agents that are connected at once: Kubernetes takes 5,000 nodes, and an agent has a second connection while it is asked to explain a pod.
const AGENTS: usize = 8192;
/// What of a stream is here before anybody has looked at its token.
const WINDOW_BYTES: u32 = 32 * 1024;
/// Connections to the webhook: an API server has one or two.
const API_SERVERS: usize = 64;
/// Agents that are gone without a word are noticed within this.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Runs the controller until it is told to end.
pub(super) async fn run(arguments: Arguments) -> Result<(), StartError> {
    let roots_for_pods = roots_for_pods(&arguments)?;
    let client = client(&arguments.namespace).await.map_err(StartError::Client)?;
    let ownership = Ownership::find(client.clone()).await?;
    let discovery_listener = serve::listen(arguments.discovery, "the discovery service").await?;
    let webhook_listener = serve::listen(arguments.webhook, "the webhook").await?;
    let metrics_listener = serve::listen(arguments.metrics, "health and metrics").await?;

    let mut tasks = JoinSet::new();
    let stores = Stores::start(&client, &mut tasks);
    let (ending, is_ending) = watch::channel(false);
    let (roots, now_roots) = watch::channel(None);
    let (configuration, now_configuration) = watch::channel(None);
    let (holder, is_holder) = watch::channel(false);
    let (order, ordered) = watch::channel(None);
    let (workloads, agents) = (NodeWorkloads::default(), Agents::default());

    tasks.spawn(order::run(client.clone(), ownership.clone(), order));
    tasks.spawn(root::run(client.clone(), ownership.clone(), roots));
    let defaults = Defaults {
        failure_policy: arguments.fail,
    };
    tasks.spawn(cluster::configure(
        client.clone(),
        stores.clone(),
        now_roots.clone(),
        defaults,
        arguments.sharing(),
        configuration,
    ));
    tasks.spawn(cluster::place(
        stores.clone(),
        arguments.exempt(),
        now_configuration.clone(),
        workloads.clone(),
    ));
    let lease = tasks.spawn(lease::run(
        client.clone(),
        ownership.clone(),
        arguments.replica.clone(),
        holder,
    ));
    tasks.spawn(provision::run(
        client.clone(),
        ownership.clone(),
        provision::Sources {
            stores: stores.clone(),
            exempt: arguments.exempt(),
            public_roots: roots_for_pods,
            roots: now_roots,
            configuration: now_configuration.clone(),
            is_holder: is_holder.clone(),
        },
    ));
    let statuses = tasks.spawn(status::run(
        client.clone(),
        status::Sources {
            workloads: workloads.clone(),
            agents: agents.clone(),
            stores: stores.clone(),
            ordered: ordered.clone(),
            is_holder: is_holder.clone(),
            replica: arguments.replica.clone(),
            ownership: ownership.clone(),
            own_namespace: arguments.namespace.clone(),
        },
    ));

    tasks.spawn(events::run(
        client.clone(),
        agents.clone(),
        stores.clone(),
        arguments.replica.clone(),
    ));

    let discovery_certificate = serving(CONTROL_PLANE_SECRET, CONTROLLER, &arguments.namespace);
    let webhook_certificate = serving(WEBHOOK, WEBHOOK, &arguments.namespace);
    for certificate in [&discovery_certificate, &webhook_certificate] {
        tasks.spawn(Arc::clone(certificate).run(client.clone(), ownership.clone()));
    }
    tasks.spawn(told::agents(
        client.clone(),
        ownership.clone(),
        discovery_certificate.authority_pem(),
    ));
    tasks.spawn(told::api_server(
        client.clone(),
        WEBHOOK.to_owned(),
        webhook_certificate.authority_pem(),
    ));

    let health = Health {
        configuration: now_configuration.clone(),
        discovery: discovery_certificate.authority_pem(),
        webhook: webhook_certificate.authority_pem(),
        agents: agents.clone(),
        is_holder,
        ending: is_ending.clone(),
    };
    tasks.spawn(health::serve(metrics_listener, health));

    let webhook_tls = serve::tls(webhook_certificate, &[b"h2", b"http/1.1"])?;
    let (accepted, webhook_connections) = mpsc::channel(1);
    tasks.spawn(serve::accept(
        webhook_listener,
        webhook_tls,
        API_SERVERS,
        accepted,
    ));
    tasks.spawn(webhook::serve(
        webhook_connections,
        injector(&arguments, now_configuration, ordered.clone()),
    ));

    let sources = Sources {
        workloads,
        ordered,
        agents,
        ending: is_ending,
    };
    let pods = KnownPods {
        pods: stores.pods.clone(),
        namespaces: stores.namespaces,
        exempt: arguments.exempt(),
    };
    let authenticator = Authenticator::new(client.clone(), arguments.namespace.clone(), stores.pods);
    let discovery_tls = serve::tls(discovery_certificate, &[b"h2"])?;
    let (accepted, discovery_connections) = mpsc::channel(1);
    tasks.spawn(serve::accept(discovery_listener, discovery_tls, AGENTS, accepted));
    let discovery = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(STREAMS * WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(Service::server(authenticator, sources, pods))
        .serve_with_incoming(ReceiverStream::new(discovery_connections));
    tasks.spawn(async move {
        if let Err(error) = discovery.await {
            tracing::error!("the discovery service has ended: {error}");
        }
    });
    tracing::info!(
        namespace = arguments.namespace,
        replica = arguments.replica,
        "the controller has begun"
    );

    terminated(&mut tasks).await?;
    // First: that agents go is no news of theirs.
    statuses.abort();
    // The agents are told to go elsewhere, and readiness says that nobody is to come any more.
    ending.send_replace(true);
    lease.abort();
    let released = tokio::time::timeout(LAST_WORDS, lease::release(client, &arguments.replica)).await;
    if !matches!(released, Ok(Ok(()))) {
        tracing::debug!("the Lease can't be given back: {released:?}");
    }
    tokio::time::sleep(LAST_WORDS).await;
    Ok(())
}

/// Has all pods released.
pub(super) async fn retire(arguments: &job::Arguments) -> Result<(), RetireFailure> {
    let client = client(&arguments.namespace).await.map_err(StartError::Client)?;
    Ok(job::run(client, arguments).await?)
}

/// Returns when the controller is told to end, or when a task has ended, which none does.
async fn terminated(tasks: &mut JoinSet<()>) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = tasks.join_next() => {
            let why = match ended {
                Some(Err(error)) => error.to_string(),
                _ => "it returned".to_owned(),
            };
            Err(StartError::Listen(std::io::Error::other(format!("a part of the controller has ended: {why}"))))
        }
    }
}

fn serving(secret: &'static str, service: &str, namespace: &str) -> Arc<Serving> {
    let names = [
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service.to_owned(),
    ];
    Serving::new(secret, names.to_vec())
}

fn injector(
    arguments: &Arguments,
    configuration: watch::Receiver<Option<Arc<Configuration>>>,
    ordered: order::Ordered,
) -> Injector {
    let (exempt, image) = (arguments.exempt(), arguments.image.clone());
    let pull_policy = arguments.image_pull_policy.clone();
    let limit = arguments.capture_limit.clone();
    // A controller that has only just begun knows no backends yet: a pod without placeholders is better than one without our root.
    let until_known = Arc::new(Configuration {
        defaults: Defaults {
            failure_policy: arguments.fail,
        },
        ..Configuration::default()
    });
    Arc::new(move |namespace: &str, pod: &Json| {
        let is_to_retire = ordered.borrow().as_ref().is_some_and(order::Order::is_to_retire);
        if is_to_retire || exempt.contains(namespace) {
            return None;
        }
        let configuration = configuration.borrow().clone();
        let configuration = configuration.unwrap_or_else(|| Arc::clone(&until_known));
        Some(Injection {
            image: image.clone(),
            image_pull_policy: pull_policy.clone(),
            failure_policy: configuration.failure_policy_of(namespace, pod),
            limit: limit.clone(),
            providers: configuration.credentialed(namespace),
        })
    })
}

/// The roots that pods trust besides ours.
fn roots_for_pods(arguments: &Arguments) -> Result<Arc<str>, StartError> {
    let mut roots = certificates(&arguments.public_roots)?;
    if let Some(file) = &arguments.additional_roots {
        roots = format!("{}\n{}", roots.trim_end(), certificates(file)?);
    }
    Ok(roots.into())
}

/// A PEM file with at least one certificate.
fn certificates(file: &Path) -> Result<String, StartError> {
    let error = |problem: String| StartError::Roots {
        file: file.display().to_string(),
        problem,
    };
    let text = std::fs::read_to_string(file).map_err(|source| {
        error(format!(
            "{source}; the public roots come with Debian's ca-certificates, or name another PEM file of roots that pods are to trust"
        ))
    })?;
    let count = CertificateDer::pem_slice_iter(text.as_bytes())
        .filter(Result::is_ok)
        .count();
    if count == 0 {
        return Err(error("has no certificate (PEM)".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::{Arguments, roots_for_pods};

    /// What pods would be given with these files.
    fn roots(public: &str, additional: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (public, additional) = (file("public", public), file("additional", additional));
        let line = [
            "serve",
            "--namespace=w",
            "--replica=r",
            "--image=i",
            "--public-roots",
            &public,
            "--additional-roots",
            &additional,
        ];
        let matches = Arguments::augment_args(Command::new("serve")).get_matches_from(line);
        let arguments = Arguments::from_arg_matches(&matches).unwrap();
        roots_for_pods(&arguments)
            .map(|roots| roots.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn pods_are_given_the_public_roots_and_the_additional_ones() {
        let pem = |name: &str| {
            rcgen::generate_simple_self_signed([name.to_owned()])
                .unwrap()
                .cert
                .pem()
        };
        let (public, ours) = (pem("public.example"), pem("ours.example"));
        let both = roots(&public, &ours).unwrap();
        assert!(both.contains(public.trim_end()) && both.contains(ours.trim_end()));
        let error = roots(&public, "hello").unwrap_err();
        assert!(
            error.contains("additional") && error.contains("has no certificate"),
            "{error}"
        );
    }
}
