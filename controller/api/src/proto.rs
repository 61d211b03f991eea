//! The gRPC contract between controller and agent, generated from `proto/weir/v1/discovery.proto`; docs/control-plane.md tells how it is used.
//!
//! No message has a map, so that equal messages have equal encodings: versions are hashes of them.

use std::fmt;

use zeroize::Zeroize;

mod generated {
    // Generated: what the fields and variants mean stands in the .proto file, and comes along where it is said there.
    #![allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::wildcard_imports,
        unreachable_pub
    )]
    tonic::include_proto!("weir.v1");
}

pub use generated::*;

/// Whether there is a key, never which.
impl fmt::Debug for credential::State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => formatter.write_str("Key([REDACTED])"),
            Self::Unresolved(why) => formatter.debug_tuple("Unresolved").field(why).finish(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("state", &self.state)
            .finish()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Leaf")
            .field("certificates", &self.chain.len())
            .field("private_key", &format_args!("[REDACTED]"))
            .field("not_after", &self.not_after)
            .finish()
    }
}

/// The key is wiped. Copies that are made to be sent are their encoder's.
impl Drop for Credential {
    fn drop(&mut self) {
        if let Some(credential::State::Key(key)) = &mut self.state {
            key.zeroize();
        }
    }
}

/// The private key is wiped.
impl Drop for Leaf {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::{Credential, Leaf, Resource, credential, resource};

    #[test]
    fn debug_shows_no_key() {
        let credential = Credential {
            state: Some(credential::State::Key("sk-1".to_owned())),
        };
        let leaf = Leaf {
            chain: vec![vec![1]],
            private_key: b"sk-2".to_vec(),
            not_after: 3,
        };
        for body in [resource::Body::Credential(credential), resource::Body::Leaf(leaf)] {
            let resource = Resource {
                name: "a/b".to_owned(),
                version: String::new(),
                body: Some(body),
            };
            let shown = format!("{resource:?} {resource:#?}");
            assert!(shown.contains("REDACTED"), "{shown}");
            // Of bytes, Debug would give numbers: "115, 107, 45" is "sk-".
            assert!(!shown.contains("sk-") && !shown.contains("115, 107"), "{shown}");
        }
    }
}
