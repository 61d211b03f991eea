//! `spec.endpoint`: where to send instead of the original destination.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Translator;
use crate::names;
use crate::objects::Located;
use crate::schema::short;
use crate::snapshot::{BackendEndpoint, EndpointTls};
use crate::types::{AIBackendSpec, EndpointSpec, TlsMode, TlsSpec};

impl Translator<'_> {
    pub(super) fn endpoint(
        &mut self,
        located: &Located<AIBackendSpec>,
        spec: &EndpointSpec,
    ) -> BackendEndpoint {
        // A URL writes an IPv6 address in brackets; here it needs none, but many will.
        let host = spec
            .host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&spec.host);
        self.name_or_address(located, "spec.endpoint.host", host);
        let path_prefix = spec
            .path_prefix
            .as_deref()
            .map(|prefix| prefix.trim_end_matches('/'));
        if let (Some(prefix), Some(written)) = (path_prefix, &spec.path_prefix) {
            let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
            if !written.starts_with('/') {
                self.say(located, "spec.endpoint.pathPrefix", "must begin with `/`");
            } else if !prefix.bytes().all(allowed) {
                self.say(
                    located,
                    "spec.endpoint.pathPrefix",
                    "must be a path: no query, no fragment, no spaces",
                );
            }
        }
        let tls = self.tls(located, &spec.tls);
        let default_port = if tls == EndpointTls::Plaintext { 80 } else { 443 };
        BackendEndpoint {
            host: host.to_owned(),
            port: spec.port.unwrap_or(default_port),
            path_prefix: path_prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned),
            tls,
        }
    }

    fn name_or_address(&mut self, located: &Located<AIBackendSpec>, field: &str, name: &str) {
        if name.parse::<IpAddr>().is_err()
            && let Some(problem) = names::host(name)
        {
            self.say(located, field, format!("`{}` {problem}", short(name)));
        }
    }

    fn tls(&mut self, located: &Located<AIBackendSpec>, spec: &TlsSpec) -> EndpointTls {
        if spec.mode == TlsMode::Plaintext {
            let contradicting = [
                ("serverName", spec.server_name.is_some()),
                ("caCertificateRefs", !spec.ca_certificate_refs.is_empty()),
            ];
            for (field, _) in contradicting.into_iter().filter(|(_, written)| *written) {
                let message = "has no meaning with `mode: Plaintext`: leave it out, or write `mode: Verify`";
                self.say(located, &format!("spec.endpoint.tls.{field}"), message);
            }
            return EndpointTls::Plaintext;
        }
        if let Some(name) = &spec.server_name {
            self.name_or_address(located, "spec.endpoint.tls.serverName", name);
        }
        let mut authorities = Vec::new();
        for (index, reference) in spec.ca_certificate_refs.iter().enumerate() {
            let field = format!("spec.endpoint.tls.caCertificateRefs[{index}].name");
            let objects = self.objects;
            let Some(map) = self.reference(
                located,
                &field,
                "ConfigMap",
                &reference.name,
                &objects.config_maps,
            ) else {
                continue;
            };
            match certificates(&map.value) {
                Ok(pem) => {
                    authorities.extend_from_slice(pem.as_bytes());
                    authorities.push(b'\n');
                }
                Err(problem) => self.say_of_reference(map, "data.ca.crt", problem),
            }
        }
        EndpointTls::Verify {
            server_name: spec.server_name.clone(),
            authorities: (!spec.ca_certificate_refs.is_empty()).then(|| authorities.into()),
        }
    }
}

/// The `ca.crt` of a ConfigMap, which must be PEM that has a certificate.
fn certificates(data: &BTreeMap<String, String>) -> Result<&str, String> {
    let pem = data
        .get("ca.crt")
        .ok_or("is missing: put the authorities there, as PEM")?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        certificate.map_err(|_| "is not valid PEM: a certificate in it is cut off, or is not base64")?;
        count += 1;
    }
    if count == 0 {
        return Err(
            "has no certificate: PEM with at least one `-----BEGIN CERTIFICATE-----` is needed".to_owned(),
        );
    }
    Ok(pem)
}
