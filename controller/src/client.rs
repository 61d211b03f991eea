//! The client of the API server. Nothing that is asked with it waits for ever: a connection that swallows everything, as one does whose
//! other end went without a word, is given up and made anew.

use std::time::Duration;

use kube::api::WatchParams;
use kube::runtime::watcher;
use kube::{Client, Config};

/// How long a connection may bring nothing while something is due. kube offers no keepalive of TCP's, and HTTP/1.1 has none; nor would TCP's
/// notice what is on its way and never acknowledged.
pub const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long a watch lasts, which brings nothing while nothing changes. It ends well before [`READ_WITHIN`], and is begun anew from where it was.
pub const WATCH_SECONDS: u32 = 45;

/// As the pod is told, or as KUBECONFIG says; what names no namespace is meant for `namespace`.
///
/// # Errors
/// Neither is there, or what it says is no use.
pub async fn client(namespace: &str) -> Result<Client, String> {
    // Which of the cryptographic providers that may be linked in: ours.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let configuration = Config::infer().await.map_err(|error| error.to_string())?;
    bounded(configuration, namespace).map_err(|error| error.to_string())
}

fn bounded(mut configuration: Config, namespace: &str) -> kube::Result<Client> {
    configuration.default_namespace = namespace.to_owned();
    configuration.read_timeout = Some(READ_WITHIN);
    // From when something is asked, not from when the connection was last used.
    configuration.reset_reader_on_write = true;
    Client::try_from(configuration)
}

/// How reflectors watch.
pub fn watching() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// How one object is watched by its name.
pub fn watching_one(name: &str) -> WatchParams {
    WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use tokio::net::TcpListener;

    use super::*;

    /// Time stands still until nothing else is left to be done: then it goes on to where something is due.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_swallows_everything_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut configuration = Config::new(format!("http://{address}").parse().unwrap());
        // Nothing else is due, so that time can't go on before the connection is there.
        (configuration.connect_timeout, configuration.write_timeout) = (None, None);
        let client = bounded(configuration, "weir-system").unwrap();
        let secrets = Api::<Secret>::default_namespaced(client);
        let began = tokio::time::Instant::now();
        let asked = secrets.get("key");
        let swallowing = async {
            let connection = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
            drop(connection);
        };
        tokio::select! {
            answer = asked => assert!(answer.is_err() && began.elapsed() >= READ_WITHIN),
            () = swallowing => {}
        }
    }

    #[test]
    fn a_watch_is_shorter_than_what_a_connection_may_be_silent() {
        let shorter = Duration::from_secs(WATCH_SECONDS.into()) + Duration::from_secs(10);
        assert!(shorter <= READ_WITHIN);
        assert_eq!(watching().timeout, Some(WATCH_SECONDS));
        assert_eq!(watching_one("key").timeout, Some(WATCH_SECONDS));
    }
}
