//! Reading objects from a text, each told where it stands.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Located, Objects, Place};
use crate::problem::{Problem, Problems, suggestion};
use crate::schema::{self, Check, FieldProblem, short};
use crate::secret::{self, Environment};
use crate::tree::{self, Node};
use crate::types::{AIBackendSpec, AIPolicySpec, ConfigMap, Document, ListShape, Metadata, SecretShape};
use crate::{API_VERSION, DEFAULT_NAMESPACE, names};

/// Reads the objects of one text: YAML of one or several documents. `environment` is asked for the variables that Secrets name.
///
/// # Errors
/// Everything that is wrong with the objects by themselves; [`translate`](crate::translate()) tells what is wrong between them.
pub fn parse(
    source_name: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Objects, Problems> {
    let (objects, problems) = parse_what_can_be(source_name, text, environment);
    problems.into_result(objects)
}

/// As [`parse`], but what is right is given along with what is wrong, so that all problems of a configuration can be told at once.
pub(crate) fn parse_what_can_be(
    source: &str,
    text: &str,
    environment: Environment<'_>,
) -> (Objects, Problems) {
    let mut reading = Reading {
        source: Arc::from(source),
        environment,
        objects: Objects::default(),
        problems: Problems::default(),
    };
    let (documents, error) = tree::read(text);
    for document in &documents {
        reading.document(document);
    }
    if let Some(error) = error {
        reading.objects.has_unknown = true;
        reading.say(error.line, None, "", error.message);
    }
    (reading.objects, reading.problems)
}

/// Kinds that have their own schema here, with their versions.
const KINDS: [(&str, &str); 5] = [
    ("AIBackend", API_VERSION),
    ("AIPolicy", API_VERSION),
    ("ConfigMap", "v1"),
    ("List", "v1"),
    ("Secret", "v1"),
];
/// Kinds that Weir will know.
const LATER_KINDS: [&str; 2] = ["Gateway", "HTTPRoute"];

static BACKEND: LazyLock<Json> = LazyLock::new(schema::of::<Document<AIBackendSpec>>);
static POLICY: LazyLock<Json> = LazyLock::new(schema::of::<Document<AIPolicySpec>>);
static CONFIG_MAP: LazyLock<Json> = LazyLock::new(schema::of::<ConfigMap>);
static LIST: LazyLock<Json> = LazyLock::new(schema::of::<ListShape>);
static SECRET: LazyLock<Json> = LazyLock::new(schema::of::<SecretShape>);

struct Reading<'a> {
    source: Arc<str>,
    environment: Environment<'a>,
    objects: Objects,
    problems: Problems,
}

impl Reading<'_> {
    fn say(&mut self, line: usize, object: Option<&str>, field: &str, message: impl Into<String>) {
        self.problems.0.push(Problem {
            source: self.source.to_string(),
            line,
            object: object.map(str::to_owned),
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn document(&mut self, document: &Node) {
        let has_name = document
            .field("metadata")
            .is_some_and(|metadata| metadata.field("name").is_some());
        let kind = document.field("kind").and_then(Node::text).unwrap_or_default();
        let is_known = KINDS.iter().any(|(known, _)| *known == kind);
        self.objects.has_unknown |= !is_known || (!has_name && kind != "List");
        if document.kind() != tree::Kind::Map {
            let message = format!("must be an object (a map), not {}", document.kind().describe());
            return self.say(document.line, None, "", message);
        }
        let Some(kind) = document.field("kind") else {
            let kinds = KINDS.map(|(kind, _)| kind).join(", ");
            return self.say(
                document.line,
                None,
                "kind",
                format!("missing: write one of {kinds}"),
            );
        };
        let line = kind.line;
        if kind.kind() != tree::Kind::Text {
            return self.say(
                line,
                None,
                "kind",
                format!("must be a text, not {}", kind.kind().describe()),
            );
        }
        let kind = kind.text().unwrap_or_default();
        let object = identity(kind, document);
        let known = KINDS.iter().find(|(known, _)| *known == kind);
        let Some((_, version)) = known else {
            let message = match LATER_KINDS.contains(&kind) {
                true => format!("this version of Weir does not support {kind} yet: take the object out"),
                false => format!(
                    "unknown kind `{}`{}",
                    short(kind),
                    suggestion(kind, KINDS.iter().map(|(kind, _)| *kind).chain(LATER_KINDS))
                ),
            };
            return self.say(line, Some(&short(&object)), "kind", message);
        };
        let written = document.field("apiVersion").and_then(Node::text);
        if let (Some(line), Some(written)) = (document.field("apiVersion").map(|node| node.line), written)
            && written != *version
        {
            let message = format!("`{}` has no {kind}: write `{version}`", short(written));
            self.say(line, Some(&object), "apiVersion", message);
        }
        match kind {
            "AIBackend" => {
                if let Some((read, place)) = self.read::<Document<AIBackendSpec>>(document, &BACKEND, object)
                {
                    let located = located("AIBackend", read.metadata, place, read.spec);
                    self.objects.backends.push(located);
                }
            }
            "AIPolicy" => {
                if let Some((read, place)) = self.read::<Document<AIPolicySpec>>(document, &POLICY, object) {
                    let located = located("AIPolicy", read.metadata, place, read.spec);
                    self.objects.policies.push(located);
                }
            }
            "ConfigMap" => {
                if let Some((read, place)) = self.read::<ConfigMap>(document, &CONFIG_MAP, object) {
                    let located = located("ConfigMap", read.metadata, place, read.data);
                    self.objects.config_maps.push(located);
                }
            }
            "List" => self.list(document, &object),
            _ => self.secret(document, object),
        }
    }

    /// Each item as if it stood in the file by itself.
    fn list(&mut self, list: &Node, object: &str) {
        if self.check(list, &LIST, object).is_none() {
            self.objects.has_unknown = true;
            return;
        }
        for item in list.field("items").map(Node::items).unwrap_or_default() {
            self.document(item);
        }
    }

    /// Reads what a schema says; `None`, and the problems told, where that cannot be.
    fn read<T: DeserializeOwned>(
        &mut self,
        document: &Node,
        schema: &Json,
        object: String,
    ) -> Option<(T, Place)> {
        let place = self.check(document, schema, &object)?;
        match serde_json::from_value(document.to_json()) {
            Ok(read) => Some((read, place)),
            Err(error) => {
                // The schema is derived from the type, so only a bug can bring us here; a configuration is refused, not misread.
                self.say(document.line, Some(&object), "", error.to_string());
                self.objects.unreadable.insert(object);
                None
            }
        }
    }

    fn check(&mut self, document: &Node, schema: &Json, object: &str) -> Option<Place> {
        let mut check = Check::object(document, schema);
        if let Some(metadata) = document.field("metadata") {
            let rules: [(&str, names::Rule); 2] = [("name", names::object), ("namespace", names::label)];
            for (field, rule) in rules {
                let written = metadata
                    .field(field)
                    .filter(|node| node.kind() == tree::Kind::Text);
                if let Some((node, message)) = written.and_then(|node| Some((node, rule(node.text()?)?))) {
                    let field = format!("metadata.{field}");
                    let message = format!("`{}` {message}", short(node.text().unwrap_or_default()));
                    check.problems.push(FieldProblem {
                        line: node.line,
                        field,
                        message,
                    });
                }
            }
        }
        for problem in check.problems {
            self.say(problem.line, Some(object), &problem.field, problem.message);
        }
        if check.unreadable {
            self.objects.unreadable.insert(object.to_owned());
            return None;
        }
        Some(Place {
            source: Arc::clone(&self.source),
            line: document.line,
            object: object.to_owned(),
            lines: check.lines,
            unknown_in: check.unknown_in,
        })
    }

    /// By hand: serde would leave copies of the keys in memory that nobody wipes.
    fn secret(&mut self, document: &Node, object: String) {
        let Some(place) = self.check(document, &SECRET, &object) else {
            return;
        };
        let metadata = document.field("metadata").map(Node::to_json).unwrap_or_default();
        let Ok(metadata) = serde_json::from_value::<Metadata>(metadata) else {
            return;
        };
        let mut values = BTreeMap::new();
        let mut broken = false;
        // In this order: `stringData` goes over `data`, as in Kubernetes.
        for (section, is_text) in [("data", false), ("stringData", true)] {
            for field in document.field(section).map(Node::fields).unwrap_or_default() {
                let text = field.value.text().unwrap_or_default();
                let value = match is_text {
                    true => secret::from_text(text, self.environment),
                    false => secret::from_base64(text).map_err(|problem| vec![problem]),
                };
                match value {
                    Ok(value) => {
                        values.insert(field.name.clone(), value);
                    }
                    Err(problems) => {
                        broken = true;
                        let path = format!("{section}.{}", field.name);
                        for problem in problems {
                            self.say(field.value.line, Some(&object), &path, problem);
                        }
                    }
                }
            }
        }
        if broken {
            self.objects.unreadable.insert(object);
        } else {
            self.objects
                .secrets
                .push(located("Secret", metadata, place, values));
        }
    }
}

fn located<T>(kind: &'static str, metadata: Metadata, place: Place, value: T) -> Located<T> {
    let namespace = metadata.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    Located {
        kind,
        place,
        creation: None,
        name: metadata.name,
        namespace,
        value,
    }
}

/// `Kind namespace/name`, as far as they are written.
fn identity(kind: &str, document: &Node) -> String {
    let metadata = |field| {
        document
            .field("metadata")
            .and_then(|metadata| metadata.field(field))
            .and_then(Node::text)
    };
    match metadata("name") {
        Some(name) => format!(
            "{kind} {}/{}",
            short(metadata("namespace").unwrap_or(DEFAULT_NAMESPACE)),
            short(name)
        ),
        None => kind.to_owned(),
    }
}
