//! The Lease `weir-controller`: of all replicas, its holder alone writes into namespaces and statuses.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::names::CONTROLLER;
use crate::trust::owner::Ownership;

/// Whoever has not renewed it for so long has lost it.
const LASTS: Duration = Duration::from_secs(15);
/// How often it is renewed, and how often the others look.
const RENEWED_EVERY: Duration = Duration::from_secs(5);

/// Takes the Lease whenever it is free, and tells whether it is held. Never returns.
pub async fn run(client: Client, ownership: Ownership, identity: String, held: watch::Sender<bool>) {
    let leases = Api::<Lease>::default_namespaced(client);
    // What another replica has written, and when it was first seen here: clocks are not compared across machines.
    let mut seen: Option<(LeaseSpec, Instant)> = None;
    let mut renewed = Instant::now();
    loop {
        match try_take(&leases, &ownership, &identity, &mut seen).await {
            Ok(is_ours) => {
                renewed = Instant::now();
                tell(&held, is_ours);
            }
            Err(error) => {
                tracing::warn!("Lease {CONTROLLER}: {error}");
                // Others may take it from now on.
                if renewed.elapsed() >= LASTS - RENEWED_EVERY {
                    tell(&held, false);
                }
            }
        }
        tokio::time::sleep(RENEWED_EVERY).await;
    }
}

/// Gives it back, so that another replica need not wait until it ends.
pub async fn release(client: Client, identity: &str) -> kube::Result<()> {
    let leases = Api::<Lease>::default_namespaced(client);
    let Some(mut lease) = leases.get_opt(CONTROLLER).await? else {
        return Ok(());
    };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() == Some(identity) {
        spec.holder_identity = None;
        leases.replace(CONTROLLER, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

fn tell(held: &watch::Sender<bool>, is_ours: bool) {
    held.send_if_modified(|last| {
        let is_changed = *last != is_ours;
        if is_changed {
            tracing::info!(
                "this replica {} status",
                if is_ours { "writes" } else { "no longer writes" }
            );
        }
        *last = is_ours;
        is_changed
    });
}

/// Whether it is ours now. Of several that try at once one succeeds: writes carry the version that was read.
async fn try_take(
    leases: &Api<Lease>,
    ownership: &Ownership,
    identity: &str,
    seen: &mut Option<(LeaseSpec, Instant)>,
) -> kube::Result<bool> {
    let found = leases.get_opt(CONTROLLER).await?;
    let now = MicroTime(Timestamp::now());
    let spec = found
        .as_ref()
        .and_then(|lease| lease.spec.clone())
        .unwrap_or_default();
    let holder = spec
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty());
    let is_ours = holder == Some(identity);
    if holder.is_some() && !is_ours && !is_over(&spec, seen, Instant::now()) {
        return Ok(false);
    }
    let wanted = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LASTS.as_secs().try_into().unwrap_or(i32::MAX)),
        acquire_time: if is_ours {
            spec.acquire_time.clone()
        } else {
            Some(now.clone())
        },
        renew_time: Some(now),
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!is_ours)),
        ..LeaseSpec::default()
    };
    let written = match found {
        Some(found) => {
            let lease = Lease {
                spec: Some(wanted),
                ..found
            };
            leases.replace(CONTROLLER, &PostParams::default(), &lease).await
        }
        None => {
            let lease = Lease {
                metadata: ownership.metadata(CONTROLLER),
                spec: Some(wanted),
            };
            leases.create(&PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the holder has let it pass: nothing of it has changed for as long as it says that it lasts.
fn is_over(spec: &LeaseSpec, seen: &mut Option<(LeaseSpec, Instant)>, now: Instant) -> bool {
    match seen {
        Some((last, since)) if last == spec => {
            let lasts = spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(LASTS, Duration::from_secs);
            now.duration_since(*since) > lasts
        }
        _ => {
            *seen = Some((spec.clone(), now));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn it_is_over_when_nothing_of_it_has_changed_for_as_long_as_it_lasts() {
        let (mut seen, begin) = (None, Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!is_over(&spec("a", 1), &mut seen, at(0)));
        assert!(!is_over(&spec("a", 2), &mut seen, at(10)), "it was renewed");
        assert!(!is_over(&spec("a", 2), &mut seen, at(20)));
        assert!(is_over(&spec("a", 2), &mut seen, at(26)));
    }
}
