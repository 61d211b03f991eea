//! Messages, and descriptors with them, over a Unix stream socket.
//!
//! Each begins with its length, four bytes in network order. Descriptors (SCM_RIGHTS) come with those four.
#![allow(
    unsafe_code,
    reason = "descriptors that the kernel has just made for us are plain numbers"
)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::HandoverError;
use super::message::{Body, Message};

/// The longest message: the configuration of a node.
const MOST_BYTES: usize = 256 << 20;
/// A pod has a listener of each family.
const MOST_DESCRIPTORS: usize = 2;
const LENGTH_BYTES: usize = 4;

/// A connection between two agents.
#[derive(Debug)]
pub(super) struct Wire(UnixStream);

impl Wire {
    /// Only root's agents hand anything over, and only to each other.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?.uid();
        if peer != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("user {peer} is not the agent's"),
            ));
        }
        Ok(Self(stream))
    }

    pub(super) async fn send(&mut self, body: Body) -> Result<(), HandoverError> {
        self.send_with(body, &[]).await
    }

    pub(super) async fn send_with(
        &mut self,
        body: Body,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        // It may hold keys.
        let bytes = Zeroizing::new(Message { body: Some(body) }.encode_to_vec());
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|_| bytes.len() <= MOST_BYTES)
            .ok_or(HandoverError::Protocol("a message that is too long to be sent"))?;
        self.send_length(length.to_be_bytes(), descriptors)
            .await
            .map_err(HandoverError::Gone)?;
        self.0.write_all(&bytes).await.map_err(HandoverError::Gone)
    }

    async fn send_length(
        &self,
        length: [u8; LENGTH_BYTES],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        // So few bytes go at once or not at all.
        let sent = self
            .0
            .async_io(Interest::WRITABLE, || {
                let bytes = [IoSlice::new(&length)];
                sendmsg::<()>(
                    self.0.as_raw_fd(),
                    &bytes,
                    control,
                    MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
                    None,
                )
                .map_err(io::Error::from)
            })
            .await?;
        match sent {
            LENGTH_BYTES => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    pub(super) async fn receive(&mut self) -> Result<(Body, Vec<OwnedFd>), HandoverError> {
        let (length, descriptors) = self.receive_length().await.map_err(HandoverError::Gone)?;
        if length > MOST_BYTES {
            return Err(HandoverError::Protocol("a message that is too long"));
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        self.0.read_exact(&mut bytes).await.map_err(HandoverError::Gone)?;
        let message =
            Message::decode(bytes.as_slice()).map_err(|_| HandoverError::Protocol("no message of ours"))?;
        let body = message.body.ok_or(HandoverError::Protocol(
            "a message that this version does not know",
        ))?;
        Ok((body, descriptors))
    }

    async fn receive_length(&self) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut length = [0; LENGTH_BYTES];
        let mut received = 0;
        let mut descriptors = Vec::new();
        while received < LENGTH_BYTES {
            let (count, more) = self
                .0
                .async_io(Interest::READABLE, || {
                    receive_with_descriptors(self.0.as_raw_fd(), &mut length[received..])
                })
                .await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received += count;
            descriptors.extend(more);
        }
        Ok((u32::from_be_bytes(length) as usize, descriptors))
    }

    /// The next message, which has to come within `limit`.
    pub(super) async fn receive_within(
        &mut self,
        limit: Duration,
    ) -> Result<(Body, Vec<OwnedFd>), HandoverError> {
        tokio::time::timeout(limit, self.receive())
            .await
            .unwrap_or(Err(HandoverError::Silent(limit.as_secs())))
    }

    /// Returns when the other side has closed it, or is gone. What it says meanwhile is not heeded.
    pub(super) async fn closed(&mut self) {
        let mut nothing = [0; 64];
        while matches!(self.0.read(&mut nothing).await, Ok(1..)) {}
    }
}

fn receive_with_descriptors(socket: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut bytes = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket, &mut bytes, Some(&mut control), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = part {
            // SAFETY: the kernel has just opened them for us, and nobody else knows of them.
            descriptors.extend(rights.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok((message.bytes, descriptors))
}
