//! Checks a located tree against the schema of a type: every unknown field, wrong type, bad value and missing field, each with its line.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use crate::problem::{nearest, suggestion};
use crate::tree::{Kind, Node, Value};

/// The JSON schema of `T`, with nothing referred to by name.
pub(crate) fn of<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Fields and values that people will try because documentation, Kubernetes or a later version has them; and what to say then.
const NOT_YET: &[(&str, &str)] = &[
    (
        "spec.allowedNamespaces.selector",
        "selecting namespaces by label is not supported yet; use `from: Same` or `from: All`",
    ),
    (
        "spec.allowedNamespaces.from=Selector",
        "selecting namespaces by label is not supported yet; use Same or All",
    ),
    ("spec.provider.azureopenai", "this provider is not supported yet"),
    ("spec.provider.bedrock", "this provider is not supported yet"),
    ("spec.provider.gemini", "this provider is not supported yet"),
    ("spec.provider.vertexai", "this provider is not supported yet"),
];

/// What to say of a missing field, beyond that it is missing.
const MISSING: &[(&str, &str)] = &[
    (
        "spec.auth",
        "say whose key goes upstream: `secretRef: {name: …}` for one of yours, or `passthrough: {}` for the caller's own",
    ),
    ("spec.provider", "say whose API it is, such as `openai: {}`"),
];

fn entry(table: &'static [(&str, &str)], path: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, message)| *message)
}

/// A problem of a field, not yet of an object.
pub(crate) struct FieldProblem {
    pub(crate) line: usize,
    pub(crate) field: String,
    pub(crate) message: String,
}

/// What a check has found.
#[derive(Default)]
pub(crate) struct Check {
    pub(crate) problems: Vec<FieldProblem>,
    /// Whether the tree can be read as the type: only unknown fields, if anything, are wrong.
    pub(crate) unreadable: bool,
    /// The line of every known field that is there.
    pub(crate) lines: HashMap<String, usize>,
    /// The maps that have unknown fields: that a known one is missing there most likely is the same mistake.
    pub(crate) unknown_in: HashSet<String>,
}

impl Check {
    /// Checks an object.
    pub(crate) fn object(node: &Node, schema: &Json) -> Self {
        let mut check = Self::default();
        check.node(node, schema, "");
        check
    }

    fn say(&mut self, line: usize, field: &str, message: String) {
        self.problems.push(FieldProblem {
            line,
            field: field.to_owned(),
            message,
        });
    }

    /// As [`Self::say`], of what makes the tree unreadable.
    fn refuse(&mut self, line: usize, field: &str, message: String) {
        self.unreadable = true;
        self.say(line, field, message);
    }

    fn node(&mut self, node: &Node, schema: &Json, path: &str) {
        self.lines.insert(path.to_owned(), node.line);
        let schema = without_null(schema);
        if *schema == Json::Bool(true) {
            return; // anything
        }
        if let Some(choices) = choices(schema) {
            return self.choice(node, &choices, path);
        }
        let wanted = type_of(schema);
        let kind = node.kind();
        match (&node.value, wanted) {
            (Value::Map(_), "object") => self.map(node, schema, path),
            (Value::List(items), "array") => {
                for (index, item) in items.iter().enumerate() {
                    self.node(item, &schema["items"], &format!("{path}[{index}]"));
                }
            }
            (_, "string") if kind == Kind::Text => {}
            (_, "boolean") if kind == Kind::Boolean => {}
            (_, "integer") if kind == Kind::Integer => self.range(node, schema, path),
            _ if kind == Kind::Null => {
                let mend = match schema.get("properties") {
                    None if wanted == "object" && schema.get("additionalProperties").is_none() => {
                        "write `{}`"
                    }
                    _ => "give it a value, or leave the field out",
                };
                self.refuse(node.line, path, format!("is empty: {mend}"));
            }
            (_, "string") => {
                let mend = match kind {
                    Kind::List | Kind::Map => "",
                    _ => ": put it in quotes",
                };
                self.refuse(
                    node.line,
                    path,
                    format!("must be a text, not {}{mend}", kind.describe()),
                );
            }
            _ => {
                let wanted = match wanted {
                    "object" => "a map",
                    "array" => "a list",
                    "boolean" => "true or false",
                    "integer" => "a whole number",
                    other => other,
                };
                self.refuse(
                    node.line,
                    path,
                    format!("must be {wanted}, not {}", kind.describe()),
                );
            }
        }
    }

    fn map(&mut self, node: &Node, schema: &Json, map_path: &str) {
        let below = |name: &str| match map_path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let properties = schema.get("properties").and_then(Json::as_object);
        let free = schema
            .get("additionalProperties")
            .filter(|schema| schema.is_object());
        let without_effect = schema.get("x-without-effect").and_then(Json::as_array);
        let is_without_effect = |name: &str| {
            without_effect
                .into_iter()
                .flatten()
                .any(|known| known.as_str() == Some(name))
        };
        for field in node.fields() {
            let path = below(&field.name);
            if is_without_effect(&field.name) {
                continue;
            }
            if let Some(schema) = properties.and_then(|known| known.get(&field.name)).or(free) {
                self.node(&field.value, schema, &path);
            } else if let Some(message) = entry(NOT_YET, &path) {
                self.unknown_in.insert(map_path.to_owned());
                self.say(field.value.line, &path, message.to_owned());
            } else {
                let known: Vec<&str> = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str())
                    .collect();
                let hint = suggestion(&field.name, known);
                self.unknown_in.insert(map_path.to_owned());
                self.say(field.value.line, &path, format!("unknown field{hint}"));
            }
        }
        for name in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if node.field(name).is_none() {
                let path = below(name);
                let message = match entry(MISSING, &path) {
                    Some(mend) => format!("missing: {mend}"),
                    None => "missing".to_owned(),
                };
                self.refuse(node.line, &path, message);
            }
        }
    }

    fn choice(&mut self, node: &Node, choices: &[&str], path: &str) {
        let known = match choices {
            [only] => format!("`{only}`"),
            several => format!("one of {}", several.join(", ")),
        };
        match node.text() {
            _ if node.kind() == Kind::Null => {
                self.refuse(node.line, path, format!("is empty: write {known}"))
            }
            None => self.refuse(
                node.line,
                path,
                format!("must be {known}, not {}", node.kind().describe()),
            ),
            Some(text) if choices.contains(&text) => {}
            Some(text) => {
                let message = match (entry(NOT_YET, &format!("{path}={text}")), nearest(text, choices)) {
                    (Some(message), _) => message.to_owned(),
                    (None, Some(near)) => {
                        format!("must be {known}, not `{}`; did you mean `{near}`?", short(text))
                    }
                    (None, None) => format!("must be {known}, not `{}`", short(text)),
                };
                self.refuse(node.line, path, message);
            }
        }
    }

    fn range(&mut self, node: &Node, schema: &Json, path: &str) {
        let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
        let value = node.text().and_then(|text| text.parse::<i64>().ok());
        if let (Some(value), Some(minimum), Some(maximum)) = (value, bound("minimum"), bound("maximum"))
            && !(minimum..=maximum).contains(&value)
        {
            self.refuse(
                node.line,
                path,
                format!("must be from {minimum} to {maximum}, not {value}"),
            );
        }
    }
}

/// What is echoed of a wrong value: enough to find it by.
pub(crate) fn short(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(64)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}

/// `Option<T>` is written as "T or null" where T is an enum or a struct.
fn without_null(schema: &Json) -> &Json {
    let alternatives = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    alternatives
        .into_iter()
        .find(|schema| type_of(schema) != "null")
        .unwrap_or(schema)
}

fn type_of(schema: &Json) -> &str {
    match &schema["type"] {
        Json::String(name) => name,
        Json::Array(names) => names
            .iter()
            .filter_map(Json::as_str)
            .find(|name| *name != "null")
            .unwrap_or_default(),
        _ => "",
    }
}

/// The values of an enum: `enum`, or one `const` for each variant that has a description.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return Some(values.iter().filter_map(Json::as_str).collect());
    }
    let alternatives = schema.get("oneOf")?.as_array()?;
    alternatives
        .iter()
        .map(|alternative| alternative.get("const").and_then(Json::as_str))
        .collect()
}
