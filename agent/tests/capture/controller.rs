//! A controller that says what the test has it say.

use std::{net::SocketAddr, path::PathBuf, sync::Mutex};

use tokio::sync::mpsc;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use weir_api::{
    proto::{
        self, AgentMessage, ControllerMessage,
        agent_message::Message,
        discovery_server::{Discovery, DiscoveryServer},
        resource::Body,
    },
    resource::resource,
};

/// What an agent's stream is given and gives.
pub(crate) struct Stream {
    pub(crate) authorization: String,
    received: mpsc::UnboundedReceiver<AgentMessage>,
    /// The pods of the last report: it may come before or after an acknowledgement.
    reported: Option<Vec<String>>,
    /// The programs of the last report that reject our leaf: pod, host, command.
    distrusts: Vec<[String; 3]>,
    answers: mpsc::UnboundedSender<Result<ControllerMessage, Status>>,
}

impl Stream {
    /// The next message but reports.
    async fn next(&mut self) -> Message {
        loop {
            let message = self.received.recv().await.expect("the agent keeps its stream");
            match message.message.expect("a message") {
                Message::Report(report) => self.take(report),
                message => return message,
            }
        }
    }

    pub(crate) async fn hello(&mut self) -> proto::Hello {
        match self.next().await {
            Message::Hello(hello) => hello,
            other => panic!("{other:?} is no Hello"),
        }
    }

    /// Waits for a report of just these pods.
    pub(crate) async fn reports(&mut self, pods: &[&str]) {
        while self.reported.as_deref().is_none_or(|reported| reported != pods) {
            let message = self.received.recv().await.expect("the agent keeps its stream");
            if let Some(Message::Report(report)) = message.message {
                self.take(report);
            }
        }
    }

    /// Waits for a report in which some program rejects our leaf, or none does.
    pub(crate) async fn distrusts(&mut self, some: bool) -> Vec<[String; 3]> {
        while self.distrusts.is_empty() == some {
            let message = self.received.recv().await.expect("the agent keeps its stream");
            if let Some(Message::Report(report)) = message.message {
                self.take(report);
            }
        }
        self.distrusts.clone()
    }

    fn take(&mut self, report: proto::Report) {
        self.reported = Some(report.captured_pods);
        let distrusts = report.distrusts.into_iter();
        self.distrusts = distrusts
            .map(|each| [each.pod_uid, each.host, each.command])
            .collect();
    }

    /// Sends a whole configuration, and gives what the agent says to it.
    pub(crate) async fn configure(
        &mut self,
        upserts: Vec<proto::Resource>,
        removals: Vec<proto::ResourceName>,
    ) -> Vec<proto::Rejection> {
        let delta = proto::Delta {
            upserts,
            removals,
            ..proto::Delta::default()
        };
        self.change(delta).await
    }

    /// Has all pods released, as before an uninstall.
    pub(crate) async fn release_all(&mut self, removals: Vec<proto::ResourceName>) {
        let delta = proto::Delta {
            removals,
            release_all: true,
            ..proto::Delta::default()
        };
        assert_eq!(self.change(delta).await, []);
    }

    /// Sends a change that is whole, and gives what the agent says to it.
    async fn change(&mut self, delta: proto::Delta) -> Vec<proto::Rejection> {
        let delta = proto::Delta {
            nonce: "n".to_owned(),
            snapshot_done: true,
            ..delta
        };
        let message = ControllerMessage { delta: Some(delta) };
        self.answers
            .send(Ok(message))
            .expect("the agent keeps its stream");
        match self.next().await {
            Message::Acknowledgement(acknowledgement) => {
                assert_eq!(acknowledgement.nonce, "n");
                acknowledgement.rejections
            }
            other => panic!("{other:?} is no acknowledgement"),
        }
    }
}

struct Service(Mutex<mpsc::UnboundedSender<Stream>>);

type Answers =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<ControllerMessage, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl Discovery for Service {
    type StreamStream = Answers;

    async fn stream(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let authorization = request.metadata().get("authorization").expect("a token");
        let authorization = authorization.to_str().unwrap().to_owned();
        let mut messages = request.into_inner();
        let (forward, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if forward.send(message).is_err() {
                    return;
                }
            }
        });
        let (answers, mut to_send) = mpsc::unbounded_channel();
        let stream = Stream {
            authorization,
            received,
            reported: None,
            distrusts: Vec::new(),
            answers,
        };
        self.0
            .lock()
            .unwrap()
            .send(stream)
            .map_err(|_| Status::unavailable("the test has ended"))?;
        let answers = futures_util::stream::poll_fn(move |context| to_send.poll_recv(context));
        Ok(Response::new(Box::pin(answers)))
    }

    /// The namespace `shop` is labelled; of its pods, `till-…` are on the node, and `host` is in the node's network.
    async fn explain(
        &self,
        request: Request<proto::PodQuestion>,
    ) -> Result<Response<proto::PodAnswer>, Status> {
        let authorization = request.metadata().get("authorization").expect("a token");
        assert_eq!(authorization, "Bearer the-token");
        let question = request.into_inner();
        let is_host = question.pod == "host";
        if question.namespace != "shop" || !(is_host || question.pod.starts_with("till-")) {
            return Ok(Response::new(proto::PodAnswer::default()));
        }
        Ok(Response::new(proto::PodAnswer {
            is_here: true,
            host_network: is_host,
            namespace_label: "enabled".to_owned(),
            ..proto::PodAnswer::default()
        }))
    }
}

/// A controller that listens on 127.0.0.1.
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    /// Its certificate.
    pub(crate) authorities: PathBuf,
    streams: mpsc::UnboundedReceiver<Stream>,
    serving: tokio::task::JoinHandle<()>,
}

impl Controller {
    /// Starts at this port (0: any), with the files that agents need in `folder`.
    pub(crate) fn start(folder: &std::path::Path, port: u16) -> Self {
        let authorities = folder.join("controller-ca.pem");
        let key_file = folder.join("controller-key.pem");
        if !authorities.exists() {
            let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(&authorities, certified.cert.pem()).unwrap();
            std::fs::write(&key_file, certified.signing_key.serialize_pem()).unwrap();
        }
        let identity = Identity::from_pem(
            std::fs::read(&authorities).unwrap(),
            std::fs::read(&key_file).unwrap(),
        );
        let incoming = TcpIncoming::bind((std::net::Ipv4Addr::LOCALHOST, port).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (sender, streams) = mpsc::unbounded_channel();
        let serving = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(DiscoveryServer::new(Service(Mutex::new(sender))))
            .serve_with_incoming(incoming);
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            authorities,
            streams,
            serving,
        }
    }

    pub(crate) async fn stream(&mut self) -> Stream {
        self.streams.recv().await.expect("an agent calls")
    }

    /// Whether no agent has begun a stream that was not taken.
    pub(crate) fn nobody_has_called(&mut self) -> bool {
        self.streams.try_recv().is_err()
    }

    /// Goes away, streams and all.
    pub(crate) async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

pub(crate) fn backend(host: &str) -> proto::Resource {
    let body = proto::Backend {
        namespace: "weir-system".to_owned(),
        name: "openai".to_owned(),
        provider: "openai".to_owned(),
        hosts: vec![host.to_owned()],
        auth: Some(proto::backend::Auth::Credential("weir-system/openai".to_owned())),
        allowed_namespaces: Some(proto::AllowedNamespaces {
            all: true,
            names: Vec::new(),
        }),
        dial: proto::Dial::Pod.into(),
        on_untrusted: proto::OnUntrusted::Relay.into(),
        ..proto::Backend::default()
    };
    resource("weir-system/openai", Body::Backend(body))
}

pub(crate) fn credential(key: &str) -> proto::Resource {
    let body = proto::Credential {
        state: Some(proto::credential::State::Key(key.to_owned())),
    };
    resource("weir-system/openai", Body::Credential(body))
}

pub(crate) fn workload(uid: &str, pod: &str) -> proto::Workload {
    proto::Workload {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        pod: pod.to_owned(),
        service_account: "cashier".to_owned(),
        intercept: proto::Intercept::Enabled.into(),
        failure_policy: proto::FailurePolicy::Open.into(),
        trusts: true,
        policies: Vec::new(),
    }
}

pub(crate) fn workload_resource(workload: proto::Workload) -> proto::Resource {
    resource(workload.uid.clone(), Body::Workload(workload))
}

/// A leaf, and the root that vouches for it.
pub(crate) fn leaf(host: &str) -> (proto::Resource, String) {
    let certified = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let body = proto::Leaf {
        chain: vec![certified.cert.der().to_vec()],
        private_key: certified.signing_key.serialize_der(),
        not_after: i64::MAX,
    };
    (resource(host, Body::Leaf(body)), certified.cert.pem())
}
