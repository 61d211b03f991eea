//! The network namespace that servers are dialled from: a captured pod's own, so that to them, to NetworkPolicies and to firewalls the
//! connection is the pod's; or the agent's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::network_namespace::NetworkNamespace;

/// How long TCP may take to connect. Linux itself would try for two minutes; every SDK has given up by then.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A dead peer is noticed by probes after this much silence. Reasoning models are silent for minutes, so silence
/// alone is no reason to give up.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(45);

/// Opens TCP connections from one network namespace. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dialler(DialledFrom);

#[derive(Clone, Debug, Default)]
enum DialledFrom {
    #[default]
    Own,
    OwnForPods,
    Elsewhere {
        sockets: SocketMaker,
        namespace: Arc<NetworkNamespace>,
    },
}

impl Dialler {
    /// Dials from the agent's own network namespace.
    pub fn own() -> Self {
        Self(DialledFrom::Own)
    }

    /// The same on behalf of pods. What is loopback or link-local there (a cloud's metadata service, say) is none of theirs, and whoever may write
    /// a backend must not get there by the agent.
    pub fn own_for_pods() -> Self {
        Self(DialledFrom::OwnForPods)
    }

    /// Dials from another, in which `sockets` makes the sockets.
    pub fn inside(sockets: SocketMaker, namespace: Arc<NetworkNamespace>) -> Self {
        Self(DialledFrom::Elsewhere { sockets, namespace })
    }

    /// Opens a TCP connection to an address within `limit`, as a relay or below TLS.
    pub(crate) async fn dial(&self, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let connecting = async {
            match &self.0 {
                DialledFrom::OwnForPods if is_local(address.ip()) => Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "no loopback or link-local address is dialled from the agent, for they would be its own: use `dial: Pod`, and, for a key of Weir's, an endpoint with TLS",
                )),
                DialledFrom::Own | DialledFrom::OwnForPods => TcpStream::connect(address).await,
                DialledFrom::Elsewhere { sockets, namespace } => {
                    let socket = sockets.make(Arc::clone(namespace), address).await?;
                    TcpSocket::from_std_stream(socket.into()).connect(address).await
                }
            }
        };
        let stream = match timeout(limit, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_AFTER)
                .with_interval(Duration::from_secs(15)),
        )?;
        Ok(stream)
    }
}

fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

/// A thread that makes sockets in other network namespaces: a socket stays in the one that it was made in, and a worker of the
/// runtime that entered one and did not come back would dial for others from there. Cheap to clone; it ends with the last clone.
#[derive(Clone, Debug)]
pub struct SocketMaker(mpsc::Sender<Order>);

struct Order {
    namespace: Arc<NetworkNamespace>,
    domain: Domain,
    reply: oneshot::Sender<io::Result<OwnedFd>>,
}

impl SocketMaker {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("weir-sockets".to_owned())
            .spawn(move || {
                // Held, not only compared: while it lives no other namespace can have its identity.
                let mut entered: Option<Arc<NetworkNamespace>> = None;
                for order in received {
                    let there = entered
                        .as_ref()
                        .is_some_and(|entered| entered.identity() == order.namespace.identity());
                    let made = if there { Ok(()) } else { order.namespace.enter() }.and_then(|()| {
                        entered = Some(order.namespace);
                        make(order.domain)
                    });
                    // Whoever asked may have given up.
                    let _ = order.reply.send(made);
                }
            })?;
        Ok(Self(orders))
    }

    async fn make(&self, namespace: Arc<NetworkNamespace>, address: SocketAddr) -> io::Result<Socket> {
        let gone = || io::Error::other("the thread that makes sockets has ended");
        let (reply, made) = oneshot::channel();
        let domain = Domain::for_address(address);
        let order = Order {
            namespace,
            domain,
            reply,
        };
        self.0.send(order).map_err(|_| gone())?;
        made.await.map_err(|_| gone())?.map(Socket::from)
    }
}

fn make(domain: Domain) -> io::Result<OwnedFd> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::capture::preflight;

    /// A namespace with `lo` up, and a server there that tells its clients who they are.
    fn elsewhere() -> (NetworkNamespace, SocketAddr) {
        preflight::check().unwrap_or_else(|error| panic!("this test needs the real kernel: {error}"));
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare(CLONE_NEWNET)");
            let up = std::process::Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.expect("`ip` starts: install iproute2").success());
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("bound");
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let peer = stream.peer_addr().expect("connected");
                    let _ = std::io::Write::write_all(&mut stream, peer.ip().to_string().as_bytes());
                }
            });
            (NetworkNamespace::own().expect("this one"), address)
        });
        made.join().expect("no panic")
    }

    #[tokio::test]
    async fn what_is_local_to_the_agent_is_not_for_pods() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        for host in [
            "127.0.0.1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "169.254.169.254",
            "[fe80::1]",
            "[::1]",
        ] {
            let address = format!("{host}:{port}").parse().expect("an address");
            let error = Dialler::own_for_pods()
                .dial(address, CONNECT_LIMIT)
                .await
                .expect_err("refused");
            assert!(error.to_string().contains("dial: Pod"), "{error}");
        }
        let address = listener.local_addr().expect("bound");
        Dialler::own().dial(address, CONNECT_LIMIT).await.expect("there");
    }

    #[tokio::test]
    async fn each_dials_from_its_own_namespace() {
        let sockets = SocketMaker::start().expect("a thread");
        let (one, other) = (elsewhere(), elsewhere());
        for (namespace, address) in [one, other] {
            let dialler = Dialler::inside(sockets.clone(), Arc::new(namespace));
            for _ in 0..3 {
                let mut stream = dialler
                    .dial(address, CONNECT_LIMIT)
                    .await
                    .expect("the server is there");
                let mut text = String::new();
                stream.read_to_string(&mut text).await.expect("it speaks");
                assert_eq!(text, "127.0.0.1");
            }
        }
        // The runtime's own threads have not moved.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        dialled.expect("here").write_all(b"x").await.expect("connected");
        drop(accepted);
    }
}
