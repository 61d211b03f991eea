//! A relay that copies bytes, as tokio does it.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;

/// Serves until it is killed.
pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Outcome {
    let listener = TcpListener::bind(listen).await?;
    crate::ready()?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            client.set_nodelay(true)?;
            let mut server = TcpStream::connect(upstream).await?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
