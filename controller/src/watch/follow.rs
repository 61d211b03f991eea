//! Follows one object by its name, with the verbs `get` and `watch` alone: a Secret is never listed.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::{Api, WatchEvent};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use crate::client::{READ_WITHIN, WATCH_SECONDS, watching_one};

/// A watch that has brought nothing by then is dead: the API server ends it before.
const SILENT_FOR: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// One whose answer is an error for so long may go on with it: its storage can't decrypt the object, for example. As long as an outage of etcd
/// that nobody need be told of.
const UNREADABLE_AFTER: Duration = Duration::from_secs(60);

/// Statuses of an API server that has too much to do, or is without its etcd.
const BUSY: [u16; 3] = [429, 503, 504];

/// What is to be seen under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<K> {
    /// The object.
    There(K),
    /// There is none.
    Absent,
    /// The API server doesn't let the controller see whether there is one.
    Forbidden,
    /// The API server answers, and can't say: in its words.
    Unreadable(String),
}

impl<K> Seen<K> {
    /// The object, if it is to be seen.
    pub fn object(self) -> Option<K> {
        match self {
            Self::There(object) => Some(object),
            Self::Absent | Self::Forbidden | Self::Unreadable(_) => None,
        }
    }

    /// What `of` makes of it, if it is to be seen.
    pub fn map<T>(self, of: impl FnOnce(K) -> T) -> Seen<T> {
        match self {
            Self::There(object) => Seen::There(of(object)),
            Self::Absent => Seen::Absent,
            Self::Forbidden => Seen::Forbidden,
            Self::Unreadable(why) => Seen::Unreadable(why),
        }
    }
}

/// Calls `seen` with what the object is now, and again whenever that changes. Never returns.
///
/// While the API server can't be asked, nothing is called, so that whoever holds the last value keeps it. Only what may not be read, and never
/// could be, is told; and of what it has answered with another error for a while, and never otherwise, that too: nobody is to wait for it.
pub async fn follow<K>(api: Api<K>, name: &str, mut seen: impl FnMut(Seen<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut backoff = DefaultBackoff::default();
    let mut last = Last::Unknown;
    let mut failing_since: Option<Instant> = None;
    loop {
        match once(&api, name, &mut last, &mut seen, &mut backoff).await {
            // Every watch ends after a while; and what the API server has compacted away is read anew.
            Ok(()) => failing_since = None,
            Err(error) => {
                match &error {
                    kube::Error::Api(status) if status.code == 403 => {
                        if last == Last::Unknown {
                            last = Last::Untold;
                            seen(Seen::Forbidden);
                        }
                    }
                    kube::Error::Api(status) if !BUSY.contains(&status.code) => {
                        let since = *failing_since.get_or_insert_with(Instant::now);
                        if last == Last::Unknown && since.elapsed() >= UNREADABLE_AFTER {
                            last = Last::Untold;
                            seen(Seen::Unreadable(status.message.clone()));
                        }
                    }
                    // No answer about this object.
                    _ => failing_since = None,
                }
                let wait = backoff.next().unwrap_or_default();
                tracing::warn!(
                    "{} {name}{}: {error}; asking again in {wait:.1?}",
                    std::any::type_name::<K>().rsplit("::").next().unwrap_or_default(),
                    api.namespace()
                        .map(|n| format!(" of namespace {n}"))
                        .unwrap_or_default(),
                );
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// What was told last, by resource version: a watch begins with what there is, which may have been told.
#[derive(PartialEq)]
enum Last {
    Unknown,
    /// That it can't be read.
    Untold,
    Absent,
    Version(Option<String>),
}

impl Last {
    /// Whether `object` is as it was before what was told last. Versions of one kind count upwards; what is no number is never older.
    fn is_after<K: Resource>(&self, object: &K) -> bool {
        let number = |version: &str| version.parse::<u64>().ok();
        let Self::Version(Some(told)) = self else {
            return false;
        };
        let now = object.resource_version();
        number(told)
            .zip(now.as_deref().and_then(number))
            .is_some_and(|(told, now)| now < told)
    }
}

async fn once<K>(
    api: &Api<K>,
    name: &str,
    last: &mut Last,
    seen: &mut impl FnMut(Seen<K>),
    backoff: &mut DefaultBackoff,
) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    // The watch before the question: what happens between the two is in the watch. Without a version, for one that is older than what the
    // API server keeps would be refused: it begins with what there is.
    let mut events = answered(api.watch(&watching_one(name), "")).await?.boxed();
    // A watch does not say that there is nothing to be seen.
    tell(last, seen, answered(api.get_opt(name)).await?);
    backoff.reset();
    while let Ok(Some(event)) = timeout(SILENT_FOR, events.next()).await {
        match event? {
            // Of before the question was answered.
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)
                if last.is_after(&object) => {}
            WatchEvent::Added(object) | WatchEvent::Modified(object) => tell(last, seen, Some(object)),
            WatchEvent::Deleted(_) => tell(last, seen, None),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(())
}

fn tell<K: Resource>(last: &mut Last, seen: &mut impl FnMut(Seen<K>), object: Option<K>) {
    let now = match &object {
        None => Last::Absent,
        Some(object) => Last::Version(object.resource_version()),
    };
    if *last != now {
        *last = now;
        seen(object.map_or(Seen::Absent, Seen::There));
    }
}

/// A little longer than the client itself waits for its connection, which says more of what is wrong.
async fn answered<T>(question: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match timeout(READ_WITHIN + Duration::from_secs(5), question).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service("the API server does not answer".into())),
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
