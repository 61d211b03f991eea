//! The Lease `weir-controller`: of all replicas, its holder alone writes into namespaces and statuses.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::names::CONTROLLER;
use crate::trust::owner::Ownership;

/// Whoever has not renewed it for so long has lost it.
const LASTS: Duration = Duration::from_secs(15);
/// Who holds it stops to act as its holder so long after it began to renew it, before anybody else may have it.
const HELD_FOR: Duration = Duration::from_secs(12);
/// How often it is renewed, and how often the others look.
const RENEWED_EVERY: Duration = Duration::from_secs(5);
/// An attempt that is not answered by then has failed: its connection may be one that swallows everything.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
/// Its holder tries again at once, for others wait for its end.
const RETRIED_AFTER: Duration = Duration::from_secs(1);

/// Takes the Lease whenever it is free, and tells whether it is held. Never returns.
pub async fn run(client: Client, ownership: Ownership, identity: String, held: watch::Sender<bool>) {
    let leases = Api::<Lease>::default_namespaced(client);
    // What another replica has written, and when it was first seen here: clocks are not compared across machines.
    let mut seen: Option<(LeaseSpec, Instant)> = None;
    let mut until = Instant::now();
    loop {
        let attempt = try_take(&leases, &ownership, &identity, &mut seen);
        until = keep(&held, until, attempt).await;
    }
}

/// Tells what comes of an `attempt`, and that the Lease is no longer held when its time is over, which is `until`, whatever the attempt is doing
/// then. Returns when the next is due, with until when it is held now.
async fn keep(
    held: &watch::Sender<bool>,
    until: Instant,
    attempt: impl Future<Output = kube::Result<bool>>,
) -> Instant {
    // What the attempt writes is not seen by others before this.
    let began = Instant::now();
    let failure = match on_time(held, until, timeout(ANSWERED_WITHIN, attempt)).await {
        Ok(Ok(is_ours)) => {
            tell(held, is_ours);
            let until = began + HELD_FOR;
            on_time(held, until, sleep(RENEWED_EVERY)).await;
            return until;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the API server has not answered within {ANSWERED_WITHIN:?}"),
    };
    tracing::warn!("Lease {CONTROLLER}: {failure}");
    let pause = match *held.borrow() {
        true => RETRIED_AFTER,
        false => RENEWED_EVERY,
    };
    on_time(held, until, sleep(pause)).await;
    until
}

/// Waits for `what`, and tells at `until` that the Lease is no longer held, should that come first.
async fn on_time<T>(held: &watch::Sender<bool>, until: Instant, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    tokio::select! {
        biased;
        value = &mut what => return value,
        () = sleep_until(until), if *held.borrow() => tell(held, false),
    }
    what.await
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

    /// When each change of `held` was told, in seconds, while attempts fail as `attempt` does from the second on.
    async fn told_while(attempt: impl AsyncFn() -> kube::Result<bool>) -> Vec<(u64, bool)> {
        let (held, mut is_held) = watch::channel(false);
        let began = Instant::now();
        let keeping = async {
            let mut until = keep(&held, began, async { Ok(true) }).await;
            loop {
                until = keep(&held, until, attempt()).await;
            }
        };
        let mut told = Vec::new();
        let telling = async {
            while is_held.changed().await.is_ok() {
                told.push((began.elapsed().as_secs(), *is_held.borrow_and_update()));
            }
        };
        let long_enough = Duration::from_secs(120);
        let _ = timeout(long_enough, async {
            tokio::select! {
                () = keeping => {}
                () = telling => {}
            }
        })
        .await;
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_is_not_answered_stops_before_another_may_have_it() {
        let unanswered = told_while(async || std::future::pending().await).await;
        assert_eq!(unanswered, [(0, true), (HELD_FOR.as_secs(), false)]);
        let refused = told_while(async || Err(kube::Error::LinesCodecMaxLineLengthExceeded)).await;
        assert_eq!(refused, [(0, true), (HELD_FOR.as_secs(), false)]);
        assert!(HELD_FOR < LASTS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_attempt_that_is_not_answered_loses_nothing() {
        let hung = std::cell::Cell::new(false);
        let told = told_while(async || match hung.replace(true) {
            false => std::future::pending().await,
            true => Ok(true),
        });
        assert_eq!(told.await, [(0, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_anothers_stops_at_once() {
        let told = told_while(async || Ok(false)).await;
        assert_eq!(told, [(0, true), (RENEWED_EVERY.as_secs(), false)]);
    }
}
