//! A process under `weir run` that dials for the test and hands it the connected sockets.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use crate::world::binaries;
use crate::world::run::{Finished, Running, WeirRun};
use crate::world::wait::PATIENCE;

/// `weir run -- weir-probe dial …`, waiting for addresses to dial.
pub struct Dialer<'world> {
    running: Running<'world>,
    control: UnixStream,
}

impl<'world> Dialer<'world> {
    /// Starts `weir` with the probe as its command.
    ///
    /// # Panics
    /// If either does not start.
    pub fn start(weir: WeirRun<'world>) -> Self {
        let path = weir.configuration_path().with_extension("sock");
        let listener =
            UnixListener::bind(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let probe = binaries::built("weir-probe");
        let command = [
            probe.to_str().expect("the target directory is UTF-8"),
            "dial",
            path.to_str().expect("the temporary directory is UTF-8"),
        ];
        let running = weir.spawn(&command);
        // Said once it is connected: a run that does not start says why instead, and that is shown then.
        running.wait_for_stdout("dialling");
        let (control, _) = listener.accept().expect("it has connected");
        Self { running, control }
    }

    /// A connection to `address` that the kernel captured, with a minute's patience for every read and write.
    ///
    /// # Panics
    /// If connect(2) failed.
    pub fn connect(&self, address: &str) -> TcpStream {
        self.try_connect(address)
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// The same, where connect(2) may fail.
    ///
    /// # Errors
    /// What connect(2) said.
    pub fn try_connect(&self, address: &str) -> io::Result<TcpStream> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        writeln!(&self.control, "{address}")?;
        let stream = receive(&self.control)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// The run that it is the command of.
    pub fn running(&self) -> &Running<'world> {
        &self.running
    }

    /// Ends the command, and with it the run. Connections should have been dropped: Weir waits two seconds for them.
    ///
    /// # Panics
    /// If the run does not end well, if it panicked or left something behind.
    pub fn finish(self) -> Finished {
        self.end().finish().assert_exit(0)
    }

    /// Ends the command, and leaves it to the test to wait for the run's end.
    pub fn end(self) -> Running<'world> {
        drop(self.control);
        self.running
    }
}

/// One byte, the error number of connect(2) or 0, and with 0 the socket.
fn receive(control: &UnixStream) -> io::Result<TcpStream> {
    let mut outcome = [0; 4];
    let mut space = nix::cmsg_space!(RawFd);
    let mut slices = [IoSliceMut::new(&mut outcome)];
    let message = recvmsg::<UnixAddr>(
        control.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut socket = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            socket = descriptors.first().copied();
        }
    }
    match (i32::from_ne_bytes(outcome), socket) {
        (0, Some(socket)) => Ok(TcpStream::from(owned(socket))),
        (0, None) => Err(io::ErrorKind::UnexpectedEof.into()),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

#[allow(
    unsafe_code,
    reason = "a descriptor out of a control message is a bare number"
)]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it for this message, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The probe's side: dials every address that it is told, until it is told no more.
///
/// # Errors
/// If the test goes away.
pub fn dial(path: &Path) -> io::Result<()> {
    let mut control = UnixStream::connect(path)?;
    let mut output = io::stdout().lock();
    writeln!(output, "dialling")?;
    output.flush()?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if control.read(&mut byte)? == 0 {
            return Ok(());
        }
        if byte != *b"\n" {
            line.extend(byte);
            continue;
        }
        let address: SocketAddr = String::from_utf8_lossy(&line).parse().map_err(io::Error::other)?;
        line.clear();
        let (outcome, stream) = match TcpStream::connect(address) {
            Ok(stream) => (0, Some(stream)),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), None),
        };
        let descriptors: Vec<RawFd> = stream.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let rights = if descriptors.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        let outcome = i32::to_ne_bytes(outcome);
        sendmsg::<UnixAddr>(
            control.as_raw_fd(),
            &[io::IoSlice::new(&outcome)],
            rights,
            MsgFlags::empty(),
            None,
        )?;
    }
}
