//! Objects to the snapshot that an agent serves from. Both the controller and `weir run -f` come through here.

mod endpoint;
mod outcome;
mod policy;
mod sharing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use secrecy::{SecretSlice, SecretString};
use weir_ai::Provider;

pub use outcome::{ObjectName, Outcome, Translation};

use crate::names;
use crate::objects::{Located, Objects};
use crate::problem::{Problem, Problems, nearest};
use crate::schema::short;
use crate::secret::{self, PROVIDER_KEYS};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, Snapshot};
use crate::types::{AIBackendSpec, NamespacesFrom};

/// Makes the snapshot, of everything or not at all.
///
/// # Errors
/// All that is wrong with the objects' values and with how they refer to each other.
pub fn translate(objects: &Objects) -> Result<Snapshot, Problems> {
    let (snapshot, problems) = translate_what_can_be(objects);
    problems.into_result(snapshot)
}

/// Makes the snapshot of what is right, and says of each object what became of it: what is wrong with one keeps only that one out. Where two backends
/// are for the same host, the older one has it.
pub fn translate_each(objects: &Objects) -> Translation {
    let (snapshot, told) = translate_all(objects);
    let every = objects
        .backends
        .iter()
        .map(Located::object_name)
        .chain(objects.policies.iter().map(Located::object_name));
    let mut outcomes: BTreeMap<ObjectName, Outcome> = every.map(|name| (name, Outcome::default())).collect();
    for told in told {
        let Some(outcome) = told.of.and_then(|name| outcomes.get_mut(&name)) else {
            continue;
        };
        let result = match told.is_of_reference {
            true => &mut outcome.resolved_refs,
            false => &mut outcome.accepted,
        };
        match result {
            Ok(()) => *result = Err(vec![told.problem]),
            Err(problems) => problems.push(told.problem),
        }
    }
    Translation { snapshot, outcomes }
}

pub(crate) fn translate_what_can_be(objects: &Objects) -> (Snapshot, Problems) {
    let (snapshot, told) = translate_all(objects);
    // The same Secret's problem is found by each backend that refers to it.
    let mut before = HashSet::new();
    let problems = told.into_iter().map(|told| told.problem);
    let problems = problems.filter(|problem| before.insert(problem.to_string()));
    (snapshot, Problems(problems.collect()))
}

fn translate_all(objects: &Objects) -> (Snapshot, Vec<Told>) {
    let mut translator = Translator {
        objects,
        told: Vec::new(),
        of: None,
    };
    translator.duplicates(&objects.backends);
    translator.duplicates(&objects.policies);
    translator.duplicates(&objects.secrets);
    translator.duplicates(&objects.config_maps);
    let mut backends = Vec::new();
    for located in by_age(&objects.backends) {
        translator.of = Some(located.object_name());
        if let Some(backend) = translator.backend(located) {
            backends.push((located, backend));
        }
    }
    let mut backends = translator.uncontested(backends);
    let mut policies = Vec::new();
    for located in by_age(&objects.policies) {
        translator.of = Some(located.object_name());
        if let Some(attached) = translator.policy(located) {
            let policy = Arc::new(attached.policy);
            for backend in &mut backends {
                let is_target = |(namespace, name): &(String, String)| {
                    *namespace == backend.namespace && *name == backend.name
                };
                if attached.backends.iter().any(is_target) {
                    backend.policies.push(Arc::clone(&policy));
                }
            }
            policies.push(policy);
        }
    }
    for backend in &mut backends {
        // What the backend's owner says goes before what its users say.
        backend
            .policies
            .sort_by_key(|policy| policy.namespace != backend.namespace);
    }
    (Snapshot::new(backends, policies), translator.told)
}

/// The older first. Objects of a file have no age: they come as they were written.
fn by_age<T>(all: &[Located<T>]) -> Vec<&Located<T>> {
    let mut sorted: Vec<&Located<T>> = all.iter().collect();
    sorted.sort_by_key(|located| {
        let creation = located.creation?;
        Some((creation, &located.namespace, &located.name))
    });
    sorted
}

/// A problem, and whose outcome it is a part of.
struct Told {
    problem: Problem,
    of: Option<ObjectName>,
    is_of_reference: bool,
}

struct Translator<'a> {
    objects: &'a Objects,
    told: Vec<Told>,
    /// The object that is being translated.
    of: Option<ObjectName>,
}

impl Translator<'_> {
    fn say<T>(&mut self, located: &Located<T>, field: &str, message: impl Into<String>) {
        self.told.push(Told {
            problem: located.place.problem(field, message),
            of: self.of.clone(),
            is_of_reference: false,
        });
    }

    /// As [`Self::say`], of what the object refers to: the object itself may be served without.
    fn say_of_reference<T>(&mut self, located: &Located<T>, field: &str, message: impl Into<String>) {
        self.say(located, field, message);
        if let Some(told) = self.told.last_mut() {
            told.is_of_reference = true;
        }
    }

    /// How many problems were told of objects themselves.
    fn own_problems(&self) -> usize {
        self.told.iter().filter(|told| !told.is_of_reference).count()
    }

    fn duplicates<T>(&mut self, all: &[Located<T>]) {
        let mut first = HashMap::new();
        for located in all {
            self.of = Some(located.object_name());
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
        let (before, first_told) = (self.own_problems(), self.told.len());
        self.hosts(located);
        self.sharing(located);
        let provider = self.provider(located);
        let auth = self.auth(located);
        let endpoint = spec
            .endpoint
            .as_ref()
            .map(|endpoint| self.endpoint(located, endpoint));
        if self.own_problems() > before {
            return None;
        }
        // A reference that leads nowhere, be it to the key or to whom to trust with it: requests are answered with why, rather than passed by.
        let unresolved: Vec<String> = self.told[first_told..]
            .iter()
            .map(|told| told.problem.without_place())
            .collect();
        let auth = match unresolved.is_empty() {
            true => auth?,
            false => Auth::Unresolved(unresolved.join("; ")),
        };
        Some(Backend {
            name: located.name.clone(),
            namespace: located.namespace.clone(),
            provider: provider?,
            hosts: hosts(spec),
            auth,
            endpoint,
            allowed_namespaces: match spec.allowed_namespaces.from {
                NamespacesFrom::All => AllowedNamespaces::All,
                NamespacesFrom::Same => AllowedNamespaces::only(&located.namespace),
            },
            dial: spec.dial,
            on_untrusted: spec.on_untrusted,
            policies: Vec::new(),
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
            self.say_of_reference(secret, "", message);
            return None;
        };
        if second.is_some() {
            self.say_of_reference(
                secret,
                "",
                "has both `Authorization` and `apiKey`: which one to send is not clear, leave one out",
            );
            return None;
        }
        match secret::provider_key(key, value) {
            Ok(key) => Some(key),
            Err(problem) => {
                self.say_of_reference(secret, &format!("{}.{key}", section_of(secret, key)), problem);
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
        if let Some(problem) = names::object(name) {
            self.say(from, field, format!("`{}` {problem}", short(name)));
            return None;
        }
        let found = all
            .iter()
            .find(|other| other.namespace == from.namespace && other.name == name);
        let wanted = format!("{kind} {}/{name}", from.namespace);
        let may_be_there = self.objects.has_unknown || self.objects.unreadable.contains(&wanted);
        if found.is_none() && self.objects.forbidden.contains(&wanted) {
            let message = format!(
                "{wanted} may not be read: the chart's `controller.secretNamespaces` names the namespaces whose Secrets and ConfigMaps \
                 Weir's controller may read, so have `{}` added there",
                from.namespace
            );
            self.say_of_reference(from, field, message);
        } else if let (None, Some(why)) = (found, self.objects.unanswered.get(&wanted)) {
            let message = format!(
                "{wanted} can't be read: the API server says `{}`; it is asked again",
                short(why)
            );
            self.say_of_reference(from, field, message);
        } else if found.is_none() && !may_be_there {
            let here: Vec<&str> = all
                .iter()
                .filter(|other| other.namespace == from.namespace)
                .map(|other| other.name.as_str())
                .collect();
            // Nothing of other namespaces: what they have is not for whoever writes a backend to find out.
            let message = match nearest(name, &here) {
                Some(near) => format!("there is no {wanted}, did you mean `{near}`?"),
                None => format!(
                    "there is no {wanted}: add it there, in the backend's own namespace, or name one that there is"
                ),
            };
            self.say_of_reference(from, field, message);
        }
        found
    }
}

/// The hosts that a backend answers for: its own list, or its provider's.
fn hosts(spec: &AIBackendSpec) -> Vec<String> {
    match (spec.hosts.is_empty(), &spec.provider.named()[..]) {
        (true, [provider]) => provider.hosts().iter().map(|&host| host.to_owned()).collect(),
        _ => spec.hosts.clone(),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests;
