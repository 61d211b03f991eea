//! The agent's token and the controller's authority, as their files have them.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::inspection::rfc3339;

/// Clocks differ by that much without anybody's harm.
const TOLERANCE: u64 = 300;

/// The claims of a service account token (RFC 7519 §4.1) that say when it is good.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    exp: Option<u64>,
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn date(seconds: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Whether the token can be read, and is good by this clock. Who reads it decides the rest.
pub(super) fn check_token(path: &Path, now: SystemTime) -> Result<String, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        format!("{shown}: {error}; kubelet projects it: see the volume `token` of the agent's pod")
    })?;
    check_claims(&text, seconds(now)).map_or_else(
        |problem| Err(format!("{shown}: {problem}")),
        |end| Ok(format!("{shown}, {end}")),
    )
}

fn check_claims(token: &str, now: u64) -> Result<String, String> {
    let claims = token.trim().split('.').nth(1).and_then(|claims| {
        let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
        serde_json::from_slice::<Claims>(&claims).ok()
    });
    let Some(claims) = claims else {
        return Err(
            "it is no service account token; the chart projects one with audience weir-controller".to_owned(),
        );
    };
    if let Some(issued) = claims.iat.filter(|issued| *issued > now + TOLERANCE) {
        return Err(format!(
            "it is from {}, which by this clock is to come: set the node's clock, by NTP",
            date(issued)
        ));
    }
    match claims.exp {
        Some(end) if end < now => Err(format!(
            "it has ended {}: kubelet renews it, if the node's clock is right and kubelet reaches the API server; its log says why not",
            date(end)
        )),
        Some(end) => Ok(format!("good until {}", date(end))),
        None => Ok("without an end".to_owned()),
    }
}

/// Whether the certificates in a file are good by this clock.
pub(super) fn check_authorities(path: &Path, now: SystemTime) -> Result<String, String> {
    let shown = path.display();
    let pem = fs::read(path).map_err(|error| {
        format!("{shown}: {error}; it is the ConfigMap weir-control-plane-ca, which the controller makes: does it run?")
    })?;
    let now = i64::try_from(seconds(now)).unwrap_or(i64::MAX);
    let mut end = None;
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        let (_, certificate) = X509Certificate::from_der(&certificate).map_err(|error| {
            format!(
                "{shown}: is no certificate: {error}; delete the ConfigMap, and the controller makes it anew"
            )
        })?;
        let validity = certificate.validity();
        if validity.not_before.timestamp() > now {
            return Err(format!(
                "{shown}: is valid from {} on, which by this clock is to come: set the node's clock, by NTP",
                validity.not_before
            ));
        }
        end = end.max(Some(validity.not_after.timestamp()));
    }
    let date_of = |end: i64| date(u64::try_from(end).unwrap_or_default());
    match end {
        None => Err(format!(
            "{shown}: has no certificate (PEM); delete the ConfigMap weir-control-plane-ca, and the controller makes it anew"
        )),
        Some(end) if end < now => Err(format!(
            "{shown}: has ended {}; kubectl logs deploy/weir-controller says why it was not renewed",
            date_of(end)
        )),
        Some(end) => Ok(format!("{shown}, good until {}", date_of(end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_held_against_the_clock() {
        let good = token(r#"{"iat":1000,"exp":4600,"aud":["weir-controller"]}"#);
        assert_eq!(
            check_claims(&good, 2000),
            Ok("good until 1970-01-01T01:16:40Z".to_owned())
        );
        assert!(check_claims(&good, 5000).is_err_and(|problem| problem.contains("has ended")));
        assert!(check_claims(&good, 100).is_err_and(|problem| problem.contains("NTP")));
        assert_eq!(check_claims(&token("{}"), 1), Ok("without an end".to_owned()));
        for text in ["", "opaque", "a.b.c", "a.!.c"] {
            let problem = check_claims(text, 1).expect_err("no token");
            assert!(problem.contains("audience"), "{problem}");
        }
    }

    #[test]
    fn authorities_are_held_against_the_clock() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("ca.crt");
        assert!(
            check_authorities(&path, SystemTime::now()).is_err_and(|problem| problem.contains("ConfigMap"))
        );
        std::fs::write(&path, "nothing").expect("written");
        assert!(
            check_authorities(&path, SystemTime::now())
                .is_err_and(|problem| problem.contains("no certificate"))
        );
        let certified = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate");
        std::fs::write(&path, certified.cert.pem()).expect("written");
        assert!(check_authorities(&path, SystemTime::now()).is_ok_and(|says| says.contains("good until")));
        assert!(check_authorities(&path, UNIX_EPOCH).is_err_and(|problem| problem.contains("NTP")));
    }
}
