//! Objects to the snapshot that an agent serves from. Both the controller and `weir run -f` come through here.

mod endpoint;

use std::collections::{BTreeMap, HashMap, HashSet};

use secrecy::{SecretSlice, SecretString};
use weir_ai::Provider;

use crate::names;
use crate::objects::{Located, Objects};
use crate::problem::{Problem, Problems, nearest};
use crate::schema::short;
use crate::secret::{self, PROVIDER_KEYS};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, Snapshot};
use crate::types::{AIBackendSpec, NamespacesFrom};

/// Makes the snapshot.
///
/// # Errors
/// All that is wrong with the objects' values and with how they refer to each other.
pub fn translate(objects: &Objects) -> Result<Snapshot, Problems> {
    let (snapshot, problems) = translate_what_can_be(objects);
    problems.into_result(snapshot)
}

pub(crate) fn translate_what_can_be(objects: &Objects) -> (Snapshot, Problems) {
    let mut translation = Translation {
        objects,
        problems: Vec::new(),
    };
    translation.duplicates(&objects.backends);
    translation.duplicates(&objects.secrets);
    translation.duplicates(&objects.config_maps);
    let backends: Vec<Backend> = objects
        .backends
        .iter()
        .filter_map(|located| translation.backend(located))
        .collect();
    translation.contested_hosts();
    // The same Secret's problem is found by each backend that refers to it.
    let mut told = HashSet::new();
    translation
        .problems
        .retain(|problem| told.insert(problem.to_string()));
    (Snapshot::new(backends), Problems(translation.problems))
}

struct Translation<'a> {
    objects: &'a Objects,
    problems: Vec<Problem>,
}

impl Translation<'_> {
    fn say<T>(&mut self, located: &Located<T>, field: &str, message: impl Into<String>) {
        self.problems.push(located.place.problem(field, message));
    }

    fn duplicates<T>(&mut self, all: &[Located<T>]) {
        let mut first = HashMap::new();
        for located in all {
            match first.get(&located.place.object) {
                None => {
                    first.insert(&located.place.object, located.place.describe());
                }
                Some(first) => self.say(
                    located,
                    "",
                    format!("stands already at {first}: take one of them out"),
                ),
            }
        }
    }

    /// `None` where something is wrong that keeps it from being served.
    fn backend(&mut self, located: &Located<AIBackendSpec>) -> Option<Backend> {
        let spec = &located.value;
        let before = self.problems.len();
        self.hosts(located);
        let provider = self.provider(located);
        let auth = self.auth(located);
        let endpoint = spec
            .endpoint
            .as_ref()
            .map(|endpoint| self.endpoint(located, endpoint));
        if self.problems.len() > before {
            return None;
        }
        Some(Backend {
            name: located.name.clone(),
            namespace: located.namespace.clone(),
            provider: provider?,
            hosts: hosts(spec),
            auth: auth?,
            endpoint,
            allowed_namespaces: match spec.allowed_namespaces.from {
                NamespacesFrom::All => AllowedNamespaces::All,
                NamespacesFrom::Same => AllowedNamespaces::only(&located.namespace),
            },
            dial: spec.dial,
            on_untrusted: spec.on_untrusted,
        })
    }

    fn hosts(&mut self, located: &Located<AIBackendSpec>) {
        let mut seen = HashSet::new();
        for (index, host) in located.value.hosts.iter().enumerate() {
            let field = format!("spec.hosts[{index}]");
            if let Some(problem) = names::host(host) {
                self.say(located, &field, format!("`{}` {problem}", short(host)));
            } else if !seen.insert(host) {
                self.say(located, &field, format!("`{host}` stands in the list already"));
            }
        }
    }

    fn provider(&mut self, located: &Located<AIBackendSpec>) -> Option<Provider> {
        let named = located.value.provider.named();
        if let [provider] = named[..] {
            return Some(provider);
        }
        if named.is_empty() && located.place.has_unknown_in("spec.provider") {
            return None;
        }
        let message = match named.is_empty() {
            true => {
                let known: Vec<&str> = Provider::ALL.iter().map(|provider| provider.field()).collect();
                format!(
                    "names no provider: write one of {}, such as `openai: {{}}`",
                    known.join(", ")
                )
            }
            false => {
                let named: Vec<&str> = named.iter().map(|provider| provider.field()).collect();
                format!(
                    "names {}: a backend has exactly one provider",
                    named.join(" and ")
                )
            }
        };
        self.say(located, "spec.provider", message);
        None
    }

    fn auth(&mut self, located: &Located<AIBackendSpec>) -> Option<Auth> {
        let spec = &located.value.auth;
        match (&spec.secret_ref, &spec.passthrough) {
            (None, Some(_)) => Some(Auth::Passthrough),
            (Some(reference), None) => self.key(located, &reference.name).map(Auth::Key),
            (Some(_), Some(_)) => {
                let message = "has both secretRef and passthrough: exactly one key goes upstream, leave one of them out";
                self.say(located, "spec.auth", message);
                None
            }
            (None, None) if located.place.has_unknown_in("spec.auth") => None,
            (None, None) => {
                let message = "is empty: write `secretRef: {name: …}` for a key of yours, or `passthrough: {}` for the caller's own";
                self.say(located, "spec.auth", message);
                None
            }
        }
    }

    fn key(&mut self, located: &Located<AIBackendSpec>, name: &str) -> Option<SecretString> {
        let field = "spec.auth.secretRef.name";
        let objects = self.objects;
        let secret = self.reference(located, field, "Secret", name, &objects.secrets)?;
        let mut present = PROVIDER_KEYS
            .iter()
            .filter_map(|key| Some((*key, secret.value.get(*key)?)));
        let (Some((key, value)), second) = (present.next(), present.next()) else {
            let message = format!("has no provider's key: {}", missing_key(&secret.value));
            self.say(secret, "", message);
            return None;
        };
        if second.is_some() {
            self.say(
                secret,
                "",
                "has both `Authorization` and `apiKey`: which one to send is not clear, leave one out",
            );
            return None;
        }
        match secret::provider_key(key, value) {
            Ok(key) => Some(key),
            Err(problem) => {
                self.say(secret, &format!("{}.{key}", section_of(secret, key)), problem);
                None
            }
        }
    }

    /// The object that a backend refers to, in its own namespace: what is elsewhere belongs to somebody else.
    fn reference<'o, T>(
        &mut self,
        from: &Located<AIBackendSpec>,
        field: &str,
        kind: &str,
        name: &str,
        all: &'o [Located<T>],
    ) -> Option<&'o Located<T>> {
        let found = all
            .iter()
            .find(|other| other.namespace == from.namespace && other.name == name);
        let wanted = format!("{kind} {}/{name}", from.namespace);
        let may_be_there = self.objects.has_unknown || self.objects.unreadable.contains(&wanted);
        if found.is_none() && !may_be_there {
            let here: Vec<&str> = all
                .iter()
                .filter(|other| other.namespace == from.namespace)
                .map(|other| other.name.as_str())
                .collect();
            let elsewhere = all.iter().find(|other| other.name == name);
            let message = match (nearest(name, &here), elsewhere) {
                (Some(near), _) => format!("there is no {wanted}, did you mean `{near}`?"),
                (None, Some(other)) => format!(
                    "there is no {wanted}: there is one in namespace {}, but it must be in the backend's own",
                    other.namespace
                ),
                (None, None) => format!("there is no {wanted}: add it, or name one that there is"),
            };
            self.say(from, field, message);
        }
        found
    }

    /// No namespace may see two backends for one host: which one it gets would be chance.
    fn contested_hosts(&mut self) {
        let objects = self.objects;
        let mut by_host: BTreeMap<String, Vec<&Located<AIBackendSpec>>> = BTreeMap::new();
        for located in &objects.backends {
            for (index, host) in hosts(&located.value).into_iter().enumerate() {
                let others = by_host.entry(host.clone()).or_default();
                // What is told as a duplicate object, or as standing in the list twice, is not told again.
                let contest = others.iter().find(|other| {
                    other.place.object != located.place.object && some_namespace_sees_both(other, located)
                });
                if let Some(other) = contest {
                    let field = match located.value.hosts.is_empty() {
                        true => "spec.hosts".to_owned(),
                        false => format!("spec.hosts[{index}]"),
                    };
                    let message = format!(
                        "`{host}` is answered for already by {} ({}), and a namespace can see both: take the host out of one of them",
                        other.place.object,
                        other.place.describe()
                    );
                    self.problems.push(located.place.problem(&field, message));
                }
                others.push(located);
            }
        }
    }
}

/// The hosts that a backend answers for: its own list, or its provider's.
fn hosts(spec: &AIBackendSpec) -> Vec<String> {
    match (spec.hosts.is_empty(), &spec.provider.named()[..]) {
        (true, [provider]) => provider.hosts().iter().map(|&host| host.to_owned()).collect(),
        _ => spec.hosts.clone(),
    }
}

fn some_namespace_sees_both(one: &Located<AIBackendSpec>, other: &Located<AIBackendSpec>) -> bool {
    let everywhere =
        |located: &Located<AIBackendSpec>| located.value.allowed_namespaces.from == NamespacesFrom::All;
    everywhere(one) || everywhere(other) || one.namespace == other.namespace
}

fn missing_key(values: &BTreeMap<String, SecretSlice<u8>>) -> String {
    let near = values
        .keys()
        .find_map(|written| Some((written, nearest(written, &PROVIDER_KEYS)?)));
    match near {
        Some((written, near)) => format!("`{written}` should be `{near}`"),
        None => "put it at `apiKey`, or at `Authorization`".to_owned(),
    }
}

/// Under which field of a Secret a key stands.
fn section_of<T>(secret: &Located<T>, key: &str) -> &'static str {
    if secret.place.has(&format!("stringData.{key}")) {
        "stringData"
    } else {
        "data"
    }
}
