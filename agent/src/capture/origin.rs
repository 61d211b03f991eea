//! Where a captured connection was going, and who opened it.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use aya::maps::{HashMap, MapData, MapError};
use parking_lot::Mutex;
use weir_ebpf_common::{AddressWords, OriginRecord, SourceKey};

/// Where a captured connection was going, and who opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The original destination: the address the app dialled. An IPv4 address stands as such, also where the app
    /// dialled it as `::ffff:a.b.c.d`.
    pub destination: SocketAddr,
    /// The process that called connect (its thread group), as the initial PID namespace numbers it.
    pub process: u32,
    /// The user that called connect, as the initial user namespace numbers it.
    pub user: u32,
    /// The name of the thread that called connect. See [`Origin::program`].
    pub command: String,
}

impl Origin {
    /// The name of the program that called connect. A thread may have a name of its own (`tokio-runtime-w`), so this
    /// asks the process, and falls back on the thread's name once the process is gone.
    pub fn program(&self) -> String {
        match fs::read_to_string(format!("/proc/{}/comm", self.process)) {
            Ok(name) => name.trim_end_matches('\n').to_owned(),
            Err(_) => self.command.clone(),
        }
    }
}

impl From<OriginRecord> for Origin {
    fn from(record: OriginRecord) -> Self {
        let name = record.command.split(|&byte| byte == 0).next().unwrap_or_default();
        Self {
            destination: SocketAddr::new(address_from_words(record.address), record.port),
            process: record.process,
            user: record.user,
            command: String::from_utf8_lossy(name).into_owned(),
        }
    }
}

/// The records that sock_ops leaves for connections not yet accepted.
#[derive(Debug)]
pub(super) struct Origins {
    records: Mutex<HashMap<MapData, SourceKey, OriginRecord>>,
}

impl Origins {
    pub(super) fn new(records: HashMap<MapData, SourceKey, OriginRecord>) -> Self {
        Self {
            records: Mutex::new(records),
        }
    }

    /// Takes the record of the connection that came from `source` in a network namespace (its cookie): a second connection
    /// from there must bring its own. None if it wasn't captured.
    pub(super) fn take(
        &self,
        network_namespace: u64,
        source: SocketAddr,
    ) -> Result<Option<Origin>, MapError> {
        let key = SourceKey::new(network_namespace, address_to_words(source.ip()), source.port());
        let mut records = self.records.lock();
        let record = match records.get(&key, 0) {
            Ok(record) => record,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        match records.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(Some(record.into())),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn address_to_words(address: IpAddr) -> AddressWords {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .octets();
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

fn address_from_words(words: AddressWords) -> IpAddr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    Ipv6Addr::from(octets).to_canonical()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_survives_its_words(address: IpAddr) {
            prop_assert_eq!(address_from_words(address_to_words(address)), address.to_canonical());
        }
    }

    #[test]
    fn a_record_becomes_an_origin() {
        let mut command = [0; 16];
        command[..4].copy_from_slice(b"curl");
        let record = OriginRecord {
            address: address_to_words("203.0.113.10".parse().expect("an address")),
            port: 443,
            padding: 0,
            process: 7,
            user: 1000,
            command,
        };
        let origin = Origin::from(record);
        assert_eq!(
            origin.destination,
            "203.0.113.10:443".parse().expect("an address")
        );
        assert_eq!(
            (origin.process, origin.user, origin.command.as_str()),
            (7, 1000, "curl")
        );
    }
}
