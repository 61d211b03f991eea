use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use weir_api::proto::{self, resource::Body as ResourceBody};
use weir_api::resource::resource;

use super::message::{Body, Hello, Nothing, Refusal};
use super::wire::Wire;
use super::{Answer, Door, HandoverError, Identity, Predecessor, Standby, Visitors, ask};
use crate::capture::pods::PodUid;
use crate::capture::{PinsIdentity, PodListener};
use crate::network_namespace::NamespaceIdentity;

const UIDS: [&str; 2] = [
    "0f5c8f70-1b2d-4b8e-9c70-000000000001",
    "0f5c8f70-1b2d-4b8e-9c70-000000000002",
];

fn us(version: &str) -> Identity {
    let pins = PinsIdentity { device: 7, inode: 8 };
    Identity {
        version: version.to_owned(),
        pins,
    }
}

fn configuration() -> Option<proto::Delta> {
    let credential = proto::Credential {
        state: Some(proto::credential::State::Key("sk-real".to_owned())),
    };
    Some(proto::Delta {
        upserts: vec![resource("a/b", ResourceBody::Credential(credential))],
        snapshot_done: true,
        ..proto::Delta::default()
    })
}

struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn door(&self) -> (Door, Visitors) {
        Door::open(self.root(), us("1"), configuration).expect("a door")
    }

    async fn ask(&self, us: &Identity) -> Answer {
        ask(&Door::path(self.root()), us).await
    }

    async fn welcomed(&self) -> Predecessor {
        match self.ask(&us("2")).await {
            Answer::Welcome(predecessor) => predecessor,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self, us: &Identity) -> (String, Standby) {
        match self.ask(us).await {
            Answer::Refused(why, standby) => (why, standby),
            other => panic!("{other:?}"),
        }
    }

    /// A predecessor whose words the test chooses.
    async fn played(&self) -> (Predecessor, Wire) {
        let path = Door::path(self.root());
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let listener = UnixListener::bind(path).expect("a socket");
        let welcome = async {
            let (stream, _) = listener.accept().await.expect("a successor");
            let mut wire = Wire::new(stream).expect("our own");
            assert!(matches!(wire.receive().await, Ok((Body::Hello(_), _))));
            let welcome = super::message::Welcome {
                version: "1".to_owned(),
                configuration: None,
            };
            wire.send(Body::Welcome(welcome)).await.expect("it is heard");
            wire
        };
        tokio::join!(self.welcomed(), welcome)
    }
}

fn pod_listener(uid: &str, listener: &TcpListener, second: Option<&TcpListener>) -> PodListener {
    let again = |listener: &TcpListener| OwnedFd::from(listener.try_clone().expect("a descriptor"));
    PodListener {
        uid: PodUid::parse(uid).expect("a uid"),
        cgroup_id: 3,
        network_namespace: NamespaceIdentity { device: 4, inode: 5 },
        v4: again(listener),
        v6: second.map(again),
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

#[tokio::test]
async fn listeners_and_configuration_are_handed_over_and_no_connection_is_lost() {
    let scene = Scene::new();
    let (door, mut visitors) = scene.door();
    let sockets = [listener(), listener(), listener()];
    let addresses = sockets
        .each_ref()
        .map(|socket| socket.local_addr().expect("an address"));
    let mut given = vec![
        pod_listener(UIDS[0], &sockets[0], Some(&sockets[1])),
        pod_listener(UIDS[1], &sockets[2], None),
    ];
    drop(sockets);
    // Connected before: nobody has accepted it when the predecessor lets go.
    let mut waiting = TcpStream::connect(addresses[2]).expect("it listens");

    let predecessor = async {
        let mut candidate = visitors.ready().await;
        assert_eq!(candidate.version(), "2");
        candidate.give(&given).await.expect("it takes them");
        given.clear();
        drop(door);
        candidate.done().await
    };
    let successor = async {
        let mut predecessor = scene.welcomed().await;
        assert_eq!(predecessor.version(), "1");
        assert_eq!(predecessor.take_configuration(), configuration());
        let listeners = predecessor.listeners().await.expect("they are given");
        let standby = predecessor.taken().await.expect("it is done");
        (listeners, standby)
    };
    let (mut successor, (listeners, standby)) = tokio::join!(predecessor, successor);

    let uids: Vec<&str> = listeners.iter().map(|listener| listener.uid.as_str()).collect();
    assert_eq!(uids, UIDS);
    assert_eq!(listeners[0].cgroup_id, 3);
    assert_eq!(
        listeners[0].network_namespace,
        NamespaceIdentity { device: 4, inode: 5 }
    );
    let mut listeners = listeners.into_iter();
    let (first, second) = (listeners.next().expect("two"), listeners.next().expect("two"));
    let again = [
        TcpListener::from(first.v4),
        TcpListener::from(first.v6.expect("it has both")),
        TcpListener::from(second.v4),
    ];
    assert!(second.v6.is_none());
    assert_eq!(
        again.each_ref().map(|socket| socket.local_addr().expect("one")),
        addresses
    );
    let (mut accepted, _) = again[2].accept().expect("it waits in the queue");
    accepted.write_all(b"served").expect("it is there");
    drop(accepted);
    let mut text = String::new();
    waiting.read_to_string(&mut text).expect("it was not cut");
    assert_eq!(text, "served");

    drop(standby);
    successor.gone().await;
}

#[tokio::test]
async fn who_cannot_take_over_is_told_why_and_waits_for_the_end() {
    let scene = Scene::new();
    let (door, _visitors) = scene.door();
    let mut elsewhere = us("2");
    elsewhere.pins.inode = 9;
    let (why, mut standby) = scene.refused(&elsewhere).await;
    assert_eq!(
        why,
        "agents 1 and 2 do not pin the same maps: another layout, or another bpffs"
    );

    let stream = UnixStream::connect(Door::path(scene.root()))
        .await
        .expect("the door");
    let mut newer = Wire::new(stream).expect("our own");
    let hello = Hello {
        protocol: 2,
        ..Hello::of(&us("3"))
    };
    newer.send(Body::Hello(hello)).await.expect("it is heard");
    let Ok((Body::Refusal(refusal), _)) = newer.receive().await else {
        panic!("it is refused");
    };
    assert_eq!(refusal.why, "agent 1 hands over by protocol 1, agent 3 by 2");

    drop(door);
    standby.gone().await;
    newer.closed().await;
    assert!(matches!(scene.ask(&elsewhere).await, Answer::Nobody));
}

#[tokio::test]
async fn nobody_is_where_no_agent_is_or_where_one_was_killed() {
    let scene = Scene::new();
    assert!(matches!(scene.ask(&us("2")).await, Answer::Nobody));
    let path = Door::path(scene.root());
    std::fs::create_dir(path.parent().expect("a folder")).expect("a folder");
    // What SIGKILL leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(matches!(scene.ask(&us("2")).await, Answer::Nobody));
    let (door, _visitors) = scene.door();
    drop(scene.welcomed().await);
    drop(door);
    assert!(!path.parent().expect("a folder").exists(), "nothing is left");
}

#[tokio::test]
async fn a_successor_that_is_lost_on_its_way_leaves_the_pods_where_they_are() {
    let scene = Scene::new();
    let (door, mut visitors) = scene.door();
    // Before it was ready: it never was a candidate.
    drop(scene.welcomed().await);
    let socket = listener();
    let given = [pod_listener(UIDS[0], &socket, None)];
    let lost = async {
        let mut predecessor = scene.welcomed().await;
        predecessor.listeners().await.expect("they are given");
    };
    let gives = async {
        let mut candidate = visitors.ready().await;
        candidate.give(&given).await
    };
    let (outcome, ()) = tokio::join!(gives, lost);
    assert!(matches!(outcome, Err(HandoverError::Gone(_))), "{outcome:?}");
    assert!(door.is_ours());
    drop(scene.welcomed().await);
}

#[tokio::test]
async fn a_predecessor_that_is_lost_before_it_gave_has_given_nothing() {
    let scene = Scene::new();
    let (mut predecessor, wire) = scene.played().await;
    drop(wire);
    predecessor.gone().await;
    let outcome = predecessor.listeners().await;
    assert!(matches!(outcome, Err(HandoverError::Gone(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_predecessor_that_is_lost_when_all_was_taken_has_given_all() {
    let scene = Scene::new();
    let (mut predecessor, mut wire) = scene.played().await;
    wire.send(Body::End(Nothing {})).await.expect("it is heard");
    assert!(
        predecessor
            .listeners()
            .await
            .expect("none is no error")
            .is_empty()
    );
    drop(wire);
    predecessor.taken().await.expect("nobody else has them");
}

#[tokio::test]
async fn a_predecessor_that_gave_up_has_the_pods() {
    let scene = Scene::new();
    let (mut predecessor, mut wire) = scene.played().await;
    wire.send(Body::End(Nothing {})).await.expect("it is heard");
    predecessor.listeners().await.expect("none is no error");
    let why = "it did not answer".to_owned();
    wire.send(Body::Refusal(Refusal { why }))
        .await
        .expect("it is heard");
    let outcome = predecessor.taken().await;
    assert!(
        matches!(&outcome, Err(HandoverError::GivenUp(why)) if why == "it did not answer"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn the_door_is_the_last_ones_who_opened_it() {
    let scene = Scene::new();
    let (first, _visitors) = scene.door();
    let path = Door::path(scene.root());
    let mode = path
        .parent()
        .expect("a folder")
        .metadata()
        .expect("it is there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
    let (second, _more_visitors) = scene.door();
    assert!(!first.is_ours() && second.is_ours());
    drop(first);
    assert!(second.is_ours());
    drop(scene.welcomed().await);
}

#[tokio::test]
async fn nonsense_is_an_error() {
    for bytes in [
        &[0xff, 0xff, 0xff, 0xff][..],
        &[0, 0, 0, 2, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[0, 0],
    ] {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let mut wire = Wire::new(theirs).expect("our own");
        tokio::io::AsyncWriteExt::write_all(&mut ours, bytes)
            .await
            .expect("it is heard");
        drop(ours);
        let outcome = wire.receive().await;
        assert!(outcome.is_err(), "{outcome:?}");
    }
}
