//! The sockets that captured connections arrive at.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use weir_ebpf_common::{Enrolment, MARK_PREFIX, MARK_RANDOM_BITS};

use super::sys;

/// What the standard library asks for (128) overflows under a burst of 1,000 connects.
const BACKLOG: i32 = 4096;

/// How long to wait when there is no descriptor or memory for one more connection. Whoever connects meanwhile waits in
/// the backlog.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The listener on both loopback addresses of the calling thread's network namespace.
pub(super) struct Listener {
    v4: TcpListener,
    v6: Option<TcpListener>,
    pub(super) port_v4: u16,
    /// 0 where the namespace has no IPv6.
    pub(super) port_v6: u16,
    pub(super) mark: u32,
    pub(super) network_namespace: u64,
}

impl Listener {
    pub(super) fn bind() -> io::Result<Self> {
        let mark = draw_mark()?;
        let v4 = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), mark)?;
        let v6 = match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), mark) {
            Ok(listener) => Some(listener),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            port_v4: v4.local_addr()?.port(),
            port_v6: v6
                .as_ref()
                .map_or(Ok(0), |v6| v6.local_addr().map(|address| address.port()))?,
            mark,
            network_namespace: sys::network_namespace_cookie(&v4)?,
            v4,
            v6,
        })
    }

    /// What the programs need to know of it.
    pub(super) fn enrolment(&self) -> Enrolment {
        Enrolment {
            port_v4: self.port_v4,
            port_v6: self.port_v6,
            mark: self.mark,
        }
    }

    /// The next connection, whoever opened it. Errors don't end listening: a connection gone before it was taken is
    /// skipped, and a shortage waited out.
    pub(super) async fn accept(&self) -> (TcpStream, SocketAddr) {
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

fn listen(address: SocketAddr, mark: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Before listen(): the programs must never see our port listening without our mark.
    socket.set_mark(mark)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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
pub(super) fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}
