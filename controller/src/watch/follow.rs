//! Follows one object by its name, with the verbs `get` and `watch` alone: a Secret is never listed.

use std::fmt::Debug;

use futures_util::StreamExt;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Calls `seen` with what the object is now, and again whenever that changes; `None`: there is none. Never returns.
///
/// While the API server can't be asked, nothing is called, so that whoever holds the last value keeps it. Only what may not be read, and never
/// could be, counts as not there: nobody is to wait for it.
pub async fn follow<K>(api: Api<K>, name: &str, mut seen: impl FnMut(Option<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut backoff = DefaultBackoff::default();
    let mut last = Last::Unknown;
    loop {
        match once(&api, name, &mut last, &mut seen, &mut backoff).await {
            // The API server ends every watch after some minutes; and what it has compacted away is read anew.
            Ok(()) => {}
            Err(error) => {
                let is_forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
                if is_forbidden && last == Last::Unknown {
                    last = Last::Absent;
                    seen(None);
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

/// What was told last, by resource version: a watch begins with what `get` has just told.
#[derive(PartialEq)]
enum Last {
    Unknown,
    Absent,
    Version(Option<String>),
}

async fn once<K>(
    api: &Api<K>,
    name: &str,
    last: &mut Last,
    seen: &mut impl FnMut(Option<K>),
    backoff: &mut DefaultBackoff,
) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut tell = |object: Option<K>| {
        let now = match &object {
            None => Last::Absent,
            Some(object) => Last::Version(object.resource_version()),
        };
        if *last != now {
            *last = now;
            seen(object);
        }
    };
    // A watch does not say that there is nothing to be seen.
    tell(api.get_opt(name).await?);
    backoff.reset();
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    // Without a version, for one that is older than what the API server keeps would be refused: it begins with what there is now.
    let mut events = api.watch(&parameters, "").await?.boxed();
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => tell(Some(object)),
            WatchEvent::Deleted(_) => tell(None),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(())
}
