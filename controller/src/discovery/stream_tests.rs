use std::collections::BTreeMap;
use std::sync::Arc;

use proto::resource::Body;
use weir_api::resource::resource;

use super::super::agents::AgentState;
use super::*;
use crate::configuration::Configuration;

const POD: &str = "0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44";

/// A node with one pod, which may use one backend.
struct Scene {
    sources: Sources,
    order: watch::Sender<Option<Order>>,
    configuration: Arc<Configuration>,
    /// What it told stays told.
    _end: watch::Sender<bool>,
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
        let configuration = Arc::new(configuration);
        workloads.publish(
            &configuration,
            BTreeMap::from([("n1".to_owned(), vec![workload])]),
        );
        let (order, ordered) = watch::channel(Some(order));
        let (end, ending) = watch::channel(false);
        let sources = Sources {
            workloads,
            ordered,
            agents: Agents::default(),
            ending,
        };
        Self {
            sources,
            order,
            configuration,
            _end: end,
        }
    }

    /// Its backends are gone.
    fn without_backends(&self) {
        let nodes = self.sources.workloads.all().expect("published").1;
        let nodes = nodes
            .into_iter()
            .map(|(node, workloads)| (node, workloads.to_vec()));
        self.sources.workloads.publish(&Arc::default(), nodes.collect());
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
    serving: tokio::task::JoinHandle<Result<(), Status>>,
}

impl Peer {
    fn connect(sources: &Sources) -> Self {
        Self::connect_holding(sources, Vec::new())
    }

    fn connect_holding(sources: &Sources, held: Vec<proto::Held>) -> Self {
        let (says, mut said) = mpsc::unbounded_channel();
        let (outgoing, hears) = mpsc::channel(8);
        let agent = Agent {
            node: "n1".to_owned(),
            pod: "weir-agent-1".to_owned(),
            pod_uid: "uid".to_owned(),
            until: SystemTime::now() + Duration::from_secs(3600),
        };
        let sources = sources.clone();
        let serving = tokio::spawn(async move {
            let incoming = futures_util::stream::poll_fn(move |context| said.poll_recv(context));
            serve(agent, |_| true, sources, incoming, &outgoing).await
        });
        let peer = Self { says, hears, serving };
        peer.say(FromAgent::Hello(proto::Hello {
            node: "n1".to_owned(),
            held,
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
        self.acknowledge_but(nonce, None);
    }

    /// Takes a delta, but for the backend of that name.
    fn acknowledge_but(&self, nonce: String, refused: Option<&str>) {
        let rejection = |name: &str| proto::Rejection {
            kind: proto::Kind::Backend.into(),
            name: name.to_owned(),
            message: "policies[0]: there is no shop/limits".to_owned(),
        };
        self.say(FromAgent::Acknowledgement(proto::Acknowledgement {
            nonce,
            rejections: refused.map(rejection).into_iter().collect(),
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

fn backend() -> Key {
    Key::new(proto::Kind::Backend, "shop/openai")
}

fn has_refused(state: &AgentState) -> bool {
    state.has_answered && state.rejected.contains_key(&backend()) && !state.taken.contains_key(&backend())
}

#[tokio::test]
async fn what_was_taken_before_can_be_refused_later_and_be_taken_again() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect(&scene.sources);
    let (nonce, ..) = peer.hear().await;
    peer.acknowledge(nonce);
    scene
        .until(|state| state.has_answered && state.taken.contains_key(&backend()))
        .await;

    // Another change, by which the agent finds that it can't serve the backend any more.
    scene.order.send_replace(Some(retire()));
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, [""; 0]);
    peer.acknowledge_but(nonce, Some("shop/openai"));
    scene.until(has_refused).await;

    // It is asked again with the next change, and says no again, then yes.
    scene.order.send_replace(Some(Order::Stay));
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, ["shop/openai", POD]);
    peer.acknowledge_but(nonce, Some("shop/openai"));
    scene.until(has_refused).await;
    scene.order.send_replace(Some(retire()));
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, ["shop/openai"]);
    peer.acknowledge(nonce);
    scene
        .until(|state| state.taken.contains_key(&backend()) && state.rejected.is_empty())
        .await;
}

/// What an agent holds that was given all there is.
async fn all_held(scene: &Scene) -> Vec<proto::Held> {
    let mut peer = Peer::connect(&scene.sources);
    let first = peer.hears.recv().await.expect("open").expect("no refusal");
    let upserts = first.delta.expect("a delta").upserts;
    let held = upserts.into_iter().map(|resource| proto::Held {
        kind: weir_api::resource::kind_of(&resource).into(),
        name: resource.name,
        version: resource.version,
    });
    peer.serving.abort();
    held.collect()
}

/// A pod that another replica of the controller knew of before this one.
fn younger() -> proto::Held {
    proto::Held {
        kind: proto::Kind::Workload.into(),
        name: "younger".to_owned(),
        version: "1".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_takes_away_nothing_that_it_has_not_seen() {
    let scene = Scene::new(Order::Stay);
    let mut held = all_held(&scene).await;
    held.push(younger());
    let mut peer = Peer::connect_holding(&scene.sources, held);
    let begun = Instant::now();
    let (nonce, upserts, removals) = peer.hear().await;
    assert_eq!((upserts.len(), removals.len()), (0, 0));
    peer.acknowledge(nonce);

    // What it has seen it takes away at once.
    scene.without_backends();
    let (nonce, _, removals) = peer.hear().await;
    assert_eq!(removals, ["shop/openai"]);
    peer.acknowledge(nonce);

    let (_, _, removals) = peer.hear().await;
    assert_eq!(removals, ["younger"]);
    assert!(begun.elapsed() >= REPLICAS_AGREE_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_comes_to_see_it_takes_away_when_it_goes() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect_holding(&scene.sources, vec![younger()]);
    let begun = Instant::now();
    let (nonce, ..) = peer.hear().await;
    peer.acknowledge(nonce);
    let workload = Arc::new(resource("younger", Body::Workload(proto::Workload::default())));
    let publish = |workloads| {
        let nodes = BTreeMap::from([("n1".to_owned(), workloads)]);
        scene.sources.workloads.publish(&scene.configuration, nodes);
    };
    publish(vec![workload]);
    let (nonce, upserts, _) = peer.hear().await;
    assert!(upserts.contains(&"younger".to_owned()), "{upserts:?}");
    peer.acknowledge(nonce);
    publish(Vec::new());
    let (_, _, removals) = peer.hear().await;
    assert!(removals.contains(&"younger".to_owned()), "{removals:?}");
    assert!(begun.elapsed() < REPLICAS_AGREE_WITHIN);
}

#[tokio::test]
async fn an_order_to_retire_takes_away_also_workloads_that_were_not_seen() {
    let scene = Scene::new(retire());
    let mut peer = Peer::connect_holding(&scene.sources, vec![younger(), other_backend()]);
    let message = peer.hears.recv().await.expect("open").expect("no refusal");
    let delta = message.delta.expect("a delta");
    let removals: Vec<&str> = delta
        .removals
        .iter()
        .map(|removal| removal.name.as_str())
        .collect();
    assert_eq!(removals, ["younger"], "open connections need the others");
    assert!(delta.release_all);
}

/// A backend that this replica does not know.
fn other_backend() -> proto::Held {
    proto::Held {
        kind: proto::Kind::Backend.into(),
        name: "shop/other".to_owned(),
        version: "1".to_owned(),
    }
}

#[tokio::test]
async fn what_an_agent_holds_when_it_comes_again_it_can_refuse() {
    let scene = Scene::new(Order::Stay);
    let held = all_held(&scene).await;
    let mut peer = Peer::connect_holding(&scene.sources, held);
    let (nonce, upserts, _) = peer.hear().await;
    assert_eq!(upserts, [""; 0]);
    peer.acknowledge_but(nonce, Some("shop/openai"));
    scene.until(has_refused).await;
}

#[tokio::test]
async fn what_was_refused_and_is_gone_is_taken_away() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect(&scene.sources);
    let (nonce, ..) = peer.hear().await;
    peer.acknowledge_but(nonce, Some("shop/openai"));
    scene.until(has_refused).await;
    // An older one may be held still.
    scene.without_backends();
    let (nonce, _, removals) = peer.hear().await;
    assert_eq!(removals, ["shop/openai"]);
    peer.acknowledge(nonce);
    scene.until(|state| state.rejected.is_empty()).await;
}

#[tokio::test]
async fn an_acknowledgement_of_something_else_ends_the_stream() {
    for nonce in ["2", "", "one"] {
        let scene = Scene::new(Order::Stay);
        let mut peer = Peer::connect(&scene.sources);
        let (due, ..) = peer.hear().await;
        assert_eq!(due, "1");
        peer.acknowledge(nonce.to_owned());
        let ended = peer.serving.await.expect("no panic").expect_err("it ends");
        assert_eq!(ended.code(), tonic::Code::InvalidArgument, "{ended}");
        assert!(scene.sources.agents.states().is_empty());
    }
}

#[tokio::test]
async fn an_acknowledgement_of_nothing_ends_the_stream() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect(&scene.sources);
    let (nonce, ..) = peer.hear().await;
    peer.acknowledge(nonce.clone());
    peer.acknowledge(nonce);
    let ended = peer.serving.await.expect("no panic").expect_err("it ends");
    assert_eq!(ended.code(), tonic::Code::InvalidArgument, "{ended}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_let_go() {
    let scene = Scene::new(Order::Stay);
    let mut peer = Peer::connect(&scene.sources);
    peer.hear().await;
    let ended = peer.serving.await.expect("no panic").expect_err("it ends");
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
}
