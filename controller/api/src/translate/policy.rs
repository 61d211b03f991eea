//! `AIPolicy`: what it says, and what it is attached to.

use http::{HeaderName, HeaderValue};

use super::Translator;
use crate::names;
use crate::objects::Located;
use crate::policy::{Glob, Policy, Timeouts, WorkloadSelector, duration};
use crate::problem::nearest;
use crate::schema::short;
use crate::types::{
    AIPolicySpec, DurationText, HeadersSpec, KEPT_HEADERS, NamespacesFrom, Operation, TargetKind,
    TargetReference, TimeoutsSpec,
};

/// A policy, and the backends that it targets, by namespace and name.
pub(super) struct Attached {
    pub(super) policy: Policy,
    pub(super) backends: Vec<(String, String)>,
}

impl Translator<'_> {
    /// `None` where something is wrong with it and it restricts nothing. One that does is kept, and denies: a restriction that cannot be read must
    /// not mean that everything is allowed.
    pub(super) fn policy(&mut self, located: &Located<AIPolicySpec>) -> Option<Attached> {
        let spec = &located.value;
        let before = self.own_problems();
        let mut attached = Attached {
            policy: Policy {
                namespace: located.namespace.clone(),
                name: located.name.clone(),
                failure_policy: spec.failure_policy,
                ..Policy::default()
            },
            backends: Vec::new(),
        };
        self.says_something(located);
        if spec.target_refs.is_empty() {
            let message = "is empty: name a backend, `{kind: AIBackend, name: …}`, or `{kind: Workload}`";
            self.say(located, "spec.targetRefs", message);
        }
        for (index, target) in spec.target_refs.iter().enumerate() {
            self.target(
                located,
                &format!("spec.targetRefs[{index}]"),
                target,
                &mut attached,
            );
        }
        self.failure_policy(located, &attached);
        let policy = &mut attached.policy;
        if let Some(models) = &spec.models {
            policy.allowed_models = self.globs(located, "spec.models.allowed", &models.allowed);
            policy.denied_models = self.globs(located, "spec.models.denied", &models.denied);
        }
        if let Some(operations) = &spec.operations {
            policy.allowed_operations.clone_from(&operations.allowed);
            policy.denied_operations.clone_from(&operations.denied);
        }
        if let Some(headers) = &spec.headers {
            self.headers(located, headers, policy);
        }
        if let Some(timeouts) = &spec.timeouts {
            policy.timeouts = self.timeouts(located, timeouts);
        }
        if self.own_problems() == before {
            return Some(attached);
        }
        if spec.models.is_none() && spec.operations.is_none() {
            return None;
        }
        *policy = Policy {
            namespace: located.namespace.clone(),
            name: located.name.clone(),
            denied_models: Glob::new("*").into_iter().collect(),
            denied_operations: Operation::ALL.to_vec(),
            failure_policy: spec.failure_policy,
            workloads: std::mem::take(&mut policy.workloads),
            ..Policy::default()
        };
        Some(attached)
    }

    fn says_something(&mut self, located: &Located<AIPolicySpec>) {
        let spec = &located.value;
        let nothing = spec.models.is_none()
            && spec.operations.is_none()
            && spec.headers.is_none()
            && spec.timeouts.is_none()
            && spec.failure_policy.is_none();
        if nothing && !located.place.has_unknown_in("spec") {
            let message = "says nothing: write models, operations, headers, timeouts or failurePolicy";
            self.say(located, "spec", message);
        }
        let lists = [
            (
                "spec.models",
                spec.models
                    .as_ref()
                    .is_some_and(|models| models.allowed.is_empty() && models.denied.is_empty()),
            ),
            (
                "spec.operations",
                spec.operations
                    .as_ref()
                    .is_some_and(|operations| operations.allowed.is_empty() && operations.denied.is_empty()),
            ),
        ];
        for (field, _) in lists
            .into_iter()
            .filter(|(field, empty)| *empty && !located.place.has_unknown_in(field))
        {
            self.say(
                located,
                field,
                "says neither what is allowed nor what is denied: write one, or leave the field out",
            );
        }
    }

    fn failure_policy(&mut self, located: &Located<AIPolicySpec>, attached: &Attached) {
        let own = |selector: &WorkloadSelector| selector.namespace == located.namespace;
        if located.value.failure_policy.is_some() && !attached.policy.workloads.iter().any(own) {
            let message = format!(
                "is about the capture of workloads: target some of namespace {}, such as `{{kind: Workload}}`",
                located.namespace
            );
            self.say(located, "spec.failurePolicy", message);
        }
    }

    fn target(
        &mut self,
        located: &Located<AIPolicySpec>,
        field: &str,
        target: &TargetReference,
        attached: &mut Attached,
    ) {
        let below = |name: &str| format!("{field}.{name}");
        let namespace = target.namespace.as_deref().unwrap_or(&located.namespace);
        let rules: [(&str, Option<&str>, names::Rule); 3] = [
            ("name", target.name.as_deref(), names::object),
            ("namespace", target.namespace.as_deref(), names::label),
            ("serviceAccount", target.service_account.as_deref(), names::object),
        ];
        let before = self.own_problems();
        for (name, written, rule) in rules {
            if let Some((written, problem)) = written.and_then(|written| Some((written, rule(written)?))) {
                self.say(located, &below(name), format!("`{}` {problem}", short(written)));
            }
        }
        match (target.kind, &target.name) {
            (TargetKind::AIBackend, name) => {
                for (field, written) in [
                    ("serviceAccount", target.service_account.is_some()),
                    ("labels", target.labels.is_some()),
                ] {
                    if written {
                        let message = "selects workloads: leave it out, or write `kind: Workload`";
                        self.say(located, &below(field), message);
                    }
                }
                match name {
                    None => self.say(located, &below("name"), "missing: say which AIBackend"),
                    Some(name) if self.own_problems() == before => {
                        if self.backend_target(located, &below("name"), namespace, name) {
                            attached.backends.push((namespace.to_owned(), name.clone()));
                        }
                    }
                    Some(_) => {}
                }
            }
            (TargetKind::Workload, Some(_)) => {
                let message = "workloads have none: select them by serviceAccount or labels, or write `kind: AIBackend`";
                self.say(located, &below("name"), message);
            }
            (TargetKind::Workload, None) => {
                let labels = target.labels.clone().unwrap_or_default();
                for (name, value) in &labels {
                    if !is_label(name, value) {
                        let message = format!(
                            "`{}: {}` is no label: letters, digits, `-`, `_` and `.`, at most 63",
                            short(name),
                            short(value)
                        );
                        self.say(located, &below("labels"), message);
                    }
                }
                if self.own_problems() == before {
                    attached.policy.workloads.push(WorkloadSelector {
                        namespace: namespace.to_owned(),
                        service_account: target.service_account.clone(),
                        labels,
                    });
                }
            }
        }
    }

    /// Whether there is such a backend, and the policy's namespace may use it.
    fn backend_target(
        &mut self,
        located: &Located<AIPolicySpec>,
        field: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let objects = self.objects;
        let found = objects
            .backends
            .iter()
            .find(|backend| backend.namespace == namespace && backend.name == name);
        let wanted = format!("AIBackend {namespace}/{name}");
        match found {
            Some(backend)
                if namespace != located.namespace
                    && backend.value.allowed_namespaces.from == NamespacesFrom::Same =>
            {
                let message = format!(
                    "{wanted} may not be used from namespace {}: let it, with `allowedNamespaces: {{from: All}}` there, or take the target out",
                    located.namespace
                );
                self.say_of_reference(located, field, message);
                false
            }
            Some(_) => true,
            None => {
                if !objects.has_unknown && !objects.unreadable.contains(&wanted) {
                    let here: Vec<&str> = objects
                        .backends
                        .iter()
                        .filter(|backend| backend.namespace == namespace)
                        .map(|backend| backend.name.as_str())
                        .collect();
                    let elsewhere = objects.backends.iter().find(|backend| backend.name == name);
                    let message = match (nearest(name, &here), elsewhere) {
                        (Some(near), _) => format!("there is no {wanted}, did you mean `{near}`?"),
                        (None, Some(other)) => format!(
                            "there is no {wanted}, but one in namespace {}: add `namespace: {}`",
                            other.namespace, other.namespace
                        ),
                        (None, None) => format!("there is no {wanted}: add it, or name one that there is"),
                    };
                    self.say_of_reference(located, field, message);
                }
                false
            }
        }
    }

    fn globs(&mut self, located: &Located<AIPolicySpec>, field: &str, patterns: &[String]) -> Vec<Glob> {
        let mut globs = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            match Glob::new(pattern) {
                Ok(glob) => globs.push(glob),
                Err(problem) => {
                    let field = format!("{field}[{index}]");
                    self.say(located, &field, format!("`{}` {problem}", short(pattern)));
                }
            }
        }
        globs
    }

    fn headers(&mut self, located: &Located<AIPolicySpec>, spec: &HeadersSpec, policy: &mut Policy) {
        if spec.set.is_empty() && spec.remove.is_empty() && !located.place.has_unknown_in("spec.headers") {
            let message = "says neither what to set nor what to remove: write one, or leave the field out";
            self.say(located, "spec.headers", message);
        }
        for (index, header) in spec.set.iter().enumerate() {
            let field = format!("spec.headers.set[{index}]");
            let Some(name) = self.header_name(located, &format!("{field}.name"), &header.name.0) else {
                continue;
            };
            if policy.set_headers.iter().any(|(set, _)| *set == name) {
                self.say(
                    located,
                    &format!("{field}.name"),
                    format!("`{name}` is set already"),
                );
                continue;
            }
            let bytes = header.value.as_bytes();
            let is_printable = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            match HeaderValue::from_str(&header.value) {
                Ok(value) if is_printable && !bytes.is_empty() && header.value.trim() == header.value => {
                    policy.set_headers.push((name, value));
                }
                _ => {
                    let message =
                        "must be visible ASCII, without spaces at its ends; to send none, remove the header";
                    self.say(located, &format!("{field}.value"), message);
                }
            }
        }
        for (index, header) in spec.remove.iter().enumerate() {
            let field = format!("spec.headers.remove[{index}]");
            let Some(name) = self.header_name(located, &field, &header.0) else {
                continue;
            };
            if policy.set_headers.iter().any(|(set, _)| *set == name) {
                let message = format!("`{name}` is set as well: leave one of them out");
                self.say(located, &field, message);
            } else if !policy.remove_headers.contains(&name) {
                policy.remove_headers.push(name);
            }
        }
    }

    fn header_name(
        &mut self,
        located: &Located<AIPolicySpec>,
        field: &str,
        written: &str,
    ) -> Option<HeaderName> {
        match HeaderName::try_from(written) {
            Ok(name) if KEPT_HEADERS.contains(&name.as_str()) => {
                let message = format!(
                    "`{name}` is Weir's to write, or the connection's: it carries the host, a credential, or how the body is sent"
                );
                self.say(located, field, message);
                None
            }
            Ok(name) => Some(name),
            Err(_) => {
                let message = format!(
                    "`{}` is no header's name: letters, digits and `-`",
                    short(written)
                );
                self.say(located, field, message);
                None
            }
        }
    }

    fn timeouts(&mut self, located: &Located<AIPolicySpec>, spec: &TimeoutsSpec) -> Timeouts {
        if *spec == TimeoutsSpec::default() && !located.place.has_unknown_in("spec.timeouts") {
            let message = "says nothing: write connect, firstByte or idle, or leave the field out";
            self.say(located, "spec.timeouts", message);
        }
        let mut read = |field: &str, text: &Option<DurationText>| {
            let text = text.as_ref()?;
            match duration::parse(&text.0) {
                Ok(duration) => Some(duration),
                Err(problem) => {
                    let message = format!("`{}` {problem}", short(&text.0));
                    self.say(located, &format!("spec.timeouts.{field}"), message);
                    None
                }
            }
        };
        Timeouts {
            connect: read("connect", &spec.connect),
            first_byte: read("firstByte", &spec.first_byte),
            idle: read("idle", &spec.idle),
        }
    }
}

/// As far as a label that is none would never match, and its policy never apply.
fn is_label(name: &str, value: &str) -> bool {
    let is_part = |text: &str| {
        text.len() <= 63
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let (prefix, own) = name
        .split_once('/')
        .map_or((None, name), |(prefix, own)| (Some(prefix), own));
    !own.is_empty()
        && is_part(own)
        && is_part(value)
        && prefix.is_none_or(|prefix| names::subdomain(prefix).is_none())
}
