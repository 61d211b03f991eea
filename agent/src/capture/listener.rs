//! The sockets that captured connections arrive at.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use weir_ebpf_common::{Enrolment, MARK_PREFIX, MARK_RANDOM_BITS};

use super::{CapturedConnection, origin::Origins, sys};

/// What the standard library asks for (128) overflows under a burst of 1,000 connects.
const BACKLOG: i32 = 4096;

/// How long to wait when there is no descriptor or memory for one more connection. Whoever connects meanwhile waits in
/// the backlog.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The listening sockets on both loopback addresses of one network namespace, not served yet.
#[derive(Debug)]
pub(super) struct Sockets {
    v4: std::net::TcpListener,
    v6: Option<std::net::TcpListener>,
    mark: u32,
}

impl Sockets {
    /// Those that another agent has opened and handed over.
    pub(super) fn handed(v4: OwnedFd, v6: Option<OwnedFd>) -> io::Result<Self> {
        let mark = SockRef::from(&v4).mark()?;
        for socket in [Some(&v4), v6.as_ref()].into_iter().flatten() {
            let socket = SockRef::from(socket);
            let marked = mark & !MARK_RANDOM_BITS == MARK_PREFIX && socket.mark()? == mark;
            if !marked || !socket.is_listener()? {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a socket that was handed over is no listener of Weir's",
                ));
            }
        }
        Ok(Self {
            v4: v4.into(),
            v6: v6.map(Into::into),
            mark,
        })
    }

    /// Opens them in the calling thread's network namespace, at this port, or at another where that is taken (0: any).
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let mark = draw_mark()?;
        let v4 = listen(Ipv4Addr::LOCALHOST.into(), port, mark)?;
        let v6 = match listen(Ipv6Addr::LOCALHOST.into(), port, mark) {
            Ok(listener) => Some(listener),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6, mark })
    }
}

/// The listener on both loopback addresses of a network namespace.
#[derive(Debug)]
pub(super) struct Listener {
    v4: TcpListener,
    v6: Option<TcpListener>,
    pub(super) port_v4: u16,
    /// 0 where the namespace has no IPv6.
    pub(super) port_v6: u16,
    mark: u32,
    pub(super) network_namespace: u64,
    resets: AtomicU64,
}

impl Listener {
    /// Serves sockets, wherever they were opened. Needs a tokio runtime with I/O.
    pub(super) fn new(sockets: Sockets) -> io::Result<Self> {
        let Sockets { v4, v6, mark } = sockets;
        Ok(Self {
            port_v4: v4.local_addr()?.port(),
            port_v6: v6
                .as_ref()
                .map_or(Ok(0), |v6| v6.local_addr().map(|address| address.port()))?,
            mark,
            network_namespace: sys::network_namespace_cookie(&v4)?,
            v4: TcpListener::from_std(v4)?,
            v6: v6.map(TcpListener::from_std).transpose()?,
            resets: AtomicU64::new(0),
        })
    }

    /// The same sockets again, to be handed over: both take connections from one queue.
    pub(super) fn descriptors(&self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        let again = |listener: &TcpListener| listener.as_fd().try_clone_to_owned();
        Ok((again(&self.v4)?, self.v6.as_ref().map(again).transpose()?))
    }

    /// What the programs need to know of it.
    pub(super) fn enrolment(&self) -> Enrolment {
        Enrolment {
            port_v4: self.port_v4,
            port_v6: self.port_v6,
            mark: self.mark,
        }
    }

    /// How many connections were reset because they had no original destination.
    pub(super) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// The next captured connection. One without an original destination is reset and counted.
    pub(super) async fn captured(&self, origins: &Origins) -> CapturedConnection {
        loop {
            let (stream, source) = self.accept().await;
            match origins.take(self.network_namespace, source) {
                Ok(Some(origin)) => {
                    // Bytes are forwarded as they come.
                    let _ = stream.set_nodelay(true);
                    return CapturedConnection { stream, origin };
                }
                Ok(None) => tracing::debug!(%source, "reset: dialled the listener itself"),
                Err(error) => {
                    tracing::warn!(%source, %error, "reset: its original destination could not be read")
                }
            }
            self.resets.fetch_add(1, Ordering::Relaxed);
            reset(stream);
        }
    }

    /// The next connection, whoever opened it. Errors don't end listening: a connection gone before it was taken is
    /// skipped, and a shortage waited out.
    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = match &self.v6 {
                None => self.v4.accept().await,
                Some(v6) => tokio::select! {
                    accepted = self.v4.accept() => accepted,
                    accepted = v6.accept() => accepted,
                },
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for now");
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }
}

/// At this port, or at another where that is taken.
fn listen(address: IpAddr, port: u16, mark: u32) -> io::Result<std::net::TcpListener> {
    match listen_at((address, port).into(), mark) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {
            listen_at((address, 0).into(), mark)
        }
        listener => listener,
    }
}

fn listen_at(address: SocketAddr, mark: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an agent before us may still be in TIME_WAIT there.
    socket.set_reuse_address(true)?;
    // Before listen(): the programs must never see our port listening without our mark.
    socket.set_mark(mark)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// IPv6 may be missing from the kernel or switched off.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn draw_mark() -> io::Result<u32> {
    let mut bytes = [0; 4];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(MARK_PREFIX | (u32::from_ne_bytes(bytes) & MARK_RANDOM_BITS))
}

/// Closes with a reset, which the peer can't take for an answer.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}
