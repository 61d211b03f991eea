//! A provider inside a pod's network namespace: what is dialled from there, and only from there, reaches it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use weir_agent::network_namespace::NetworkNamespace;

use crate::{
    pod::Pod,
    support::{LOCAL_V4, ip},
};

/// Serves `host` by TLS at [`LOCAL_V4`] port 443 of the pod, and writes who vouches for it into `folder`. Each answer has the
/// credential and the client's address in it, and a usage; one that is streamed ends when there is a file `over` in `folder`.
pub(crate) fn start(pod: &Pod, host: &str, folder: &Path) -> PathBuf {
    let certified = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let authorities = folder.join("provider-ca.pem");
    std::fs::write(&authorities, certified.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let namespace = NetworkNamespace::of_process(Path::new("/proc"), pod.process()).unwrap();
    let listener = thread::spawn(move || {
        namespace.enter().unwrap();
        ip(&format!("address add {LOCAL_V4}/32 dev lo"));
        TcpListener::bind((LOCAL_V4, 443)).unwrap()
    });
    let listener = listener.join().unwrap();
    let over: Arc<Path> = folder.join("over").into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, over) = (Arc::clone(&config), Arc::clone(&over));
            thread::spawn(move || {
                let peer = stream.peer_addr().unwrap().ip().to_string();
                let connection = ServerConnection::new(config).unwrap();
                // What a client does to its connection is its own business.
                let _ = answer(StreamOwned::new(connection, stream), &peer, &over);
            });
        }
    });
    authorities
}

fn answer<S: Read + Write>(stream: S, peer: &str, over: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.clone_into(&mut authorization);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut request = String::new();
    (&mut reader).take(length).read_to_string(&mut request)?;
    if request.contains(r#""stream":true"#) {
        return events(reader.get_mut(), over);
    }
    let body = format!(
        r#"{{"object":"chat.completion","model":"gpt-4o","authorization":"{authorization}","peer":"{peer}","choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}}}"#
    );
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

/// Numbered events, until it is over.
fn events(stream: &mut impl Write, over: &Path) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )?;
    let mut chunk = |text: &str| {
        write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
        stream.flush()
    };
    let mut number = 0;
    while !over.exists() {
        chunk(&format!("data: {{\"number\":{number}}}\n\n"))?;
        number += 1;
        // A provider takes its time between tokens.
        thread::sleep(std::time::Duration::from_millis(10));
    }
    chunk("data: [DONE]\n\n")?;
    write!(stream, "0\r\n\r\n")?;
    stream.flush()
}
