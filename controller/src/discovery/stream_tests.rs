use std::collections::BTreeMap;

use proto::resource::Body;
use weir_api::resource::resource;

use super::super::agents::AgentState;
use super::*;

const POD: &str = "0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44";

/// A node with one pod, which may use one backend.
struct Scene {
    sources: Sources,
    order: watch::Sender<Option<Order>>,
    /// What they told stays told.
    _senders: (watch::Sender<Option<Arc<Configuration>>>, watch::Sender<bool>),
}

impl Scene {
    fn new(order: Order) -> Self {
        let backend = proto::Backend {
            hosts: vec!["api.openai.com".to_owned()],
            allowed_namespaces: Some(proto::AllowedNamespaces {
                all: true,
                names: Vec::new(),
            }),
            ..proto::Backend::default()
        };
        let backend = resource("shop/openai", Body::Backend(backend));
        let configuration = Configuration {
            backends: [("shop/openai".to_owned(), Arc::new(backend))].into(),
            ..Configuration::default()
        };
        let workload = proto::Workload {
            uid: POD.to_owned(),
            namespace: "shop".to_owned(),
            intercept: proto::Intercept::Enabled.into(),
            trusts: true,
            ..proto::Workload::default()
        };
        let workload = Arc::new(resource(POD, Body::Workload(workload)));
        let workloads = NodeWorkloads::default();
        workloads.publish(BTreeMap::from([("n1".to_owned(), vec![workload])]));
        let (order, ordered) = watch::channel(Some(order));
        let (told, configuration) = watch::channel(Some(Arc::new(configuration)));
        let (end, ending) = watch::channel(false);
        let sources = Sources {
            configuration,
            workloads,
            ordered,
            agents: Agents::default(),
            ending,
        };
        Self {
            sources,
            order,
            _senders: (told, end),
        }
    }

    /// Waits until the agent is so.
    async fn until(&self, is_so: impl Fn(&AgentState) -> bool) {
        let mut changes = self.sources.agents.changes();
        while !self.sources.agents.states().iter().any(&is_so) {
            changes.changed().await.expect("the agents are there");
        }
    }
}

/// An agent at the other end.
struct Peer {
    says: mpsc::UnboundedSender<Result<proto::AgentMessage, Status>>,
    hears: mpsc::Receiver<Result<proto::ControllerMessage, Status>>,
}

impl Peer {
    fn connect(sources: &Sources) -> Self {
        let (says, mut said) = mpsc::unbounded_channel();
        let (outgoing, hears) = mpsc::channel(8);
        let agent = Agent {
            node: "n1".to_owned(),
            pod: "weir-agent-1".to_owned(),
            pod_uid: "uid".to_owned(),
            until: SystemTime::now() + Duration::from_secs(3600),
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let incoming = futures_util::stream::poll_fn(move |context| said.poll_recv(context));
            serve(agent, |_| true, sources, incoming, &outgoing).await
        });
        let peer = Self { says, hears };
        peer.say(FromAgent::Hello(proto::Hello {
            node: "n1".to_owned(),
            ..proto::Hello::default()
        }));
        peer
    }

    fn say(&self, message: FromAgent) {
        let message = Some(message);
        self.says
            .send(Ok(proto::AgentMessage { message }))
            .expect("the stream is open");
    }

    fn reports(&self, pods: &[&str]) {
        self.say(FromAgent::Report(proto::Report {
            captured_pods: pods.iter().map(|&uid| uid.to_owned()).collect(),
            distrusts: Vec::new(),
        }));
    }

    /// The next delta, not answered yet: what is sent and what is taken away.
    async fn hear(&mut self) -> (String, Vec<String>, Vec<String>) {
        let message = self.hears.recv().await.expect("the stream is open");
        let delta = message.expect("no refusal").delta.expect("a delta");
        let upserts = delta.upserts.into_iter().map(|resource| resource.name);
        let removals = delta.removals.into_iter().map(|removal| removal.name);
        (delta.nonce, upserts.collect(), removals.collect())
    }

    fn acknowledge(&self, nonce: String) {
        self.say(FromAgent::Acknowledgement(proto::Acknowledgement {
            nonce,
            rejections: Vec::new(),
        }));
    }
}

fn retire() -> Order {
    Order::Retire {
        asked: "now".to_owned(),
    }
}

#[tokio::test]
async fn an_order_to_retire_takes_the_workloads_away_and_nothing_else() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect(&scene.sources);
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, ["shop/openai", POD]);
    peer.acknowledge(nonce);
    peer.reports(&[POD]);

    scene.order.send_replace(Some(retire()));
    let (nonce, upserts, removals) = peer.hear().await;
    assert_eq!(upserts, [""; 0]);
    assert_eq!(removals, [POD], "open connections still need the backend");
    scene.until(|state| !state.has_let_go()).await;
    peer.acknowledge(nonce);
    scene
        .until(|state| state.has_let_go() && state.captured_pods.len() == 1)
        .await;
    peer.reports(&[]);
    scene.until(|state| state.captured_pods.is_empty()).await;

    scene.order.send_replace(Some(Order::Stay));
    let (_, upserts, _) = peer.hear().await;
    assert_eq!(upserts, [POD], "taken back");
}

#[tokio::test]
async fn an_agent_that_comes_later_is_told_of_no_workload() {
    let scene = Scene::new(retire());
    let mut peer = Peer::connect(&scene.sources);
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, ["shop/openai"]);
    // What is pinned there it may not have looked at yet.
    peer.reports(&[]);
    scene
        .until(|state| state.has_reported && !state.has_let_go())
        .await;
    peer.acknowledge(nonce);
    scene.until(AgentState::has_let_go).await;
}
