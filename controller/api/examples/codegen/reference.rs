//! `docs/reference.md`: every field of the custom resources, out of their schemas.

use std::fmt::Write;

use serde_json::Value as Json;
use weir_api::kubernetes;

const HEAD: &str = "\
<!-- Generated from controller/api/src/types by `cargo xtask codegen`: change it there. -->

# Reference

Every field of Weir's objects, as `kubectl explain` has them too. [Configuration](configuration.md) says how they go together.
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(HEAD);
    for definition in kubernetes::definitions() {
        let names = &definition.spec.names;
        let short = names.short_names.iter().flatten().next();
        let version = &definition.spec.versions[0];
        let schema = version
            .schema
            .as_ref()
            .and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema).expect("a schema is JSON");
        line(&mut page, format_args!("\n## {}\n", names.kind));
        line(
            &mut page,
            format_args!(
                "`{}/{}`; `kubectl get {}`{}. {}\n",
                definition.spec.group,
                version.name,
                names.plural,
                short.map(|short| format!(" or `{short}`")).unwrap_or_default(),
                text(&schema, "description")
            ),
        );
        line(&mut page, format_args!("| field | | |\n|---|---|---|"));
        for section in ["spec", "status"] {
            fields(&mut page, section, &schema["properties"][section]);
        }
    }
    page
}

/// A row for each field below `path`, in the order of their names.
fn fields(page: &mut String, path: &str, schema: &Json) {
    let required: Vec<&str> = list(&schema["required"])
        .iter()
        .filter_map(Json::as_str)
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut remarks = Vec::new();
        if required.contains(&name.as_str()) {
            remarks.push("required".to_owned());
        }
        if let Some(default) = field.get("default").filter(|default| !default.is_object()) {
            remarks.push(format!(
                "default `{}`",
                default
                    .as_str()
                    .map_or_else(|| default.to_string(), str::to_owned)
            ));
        }
        let (kind, below) = kind_of(field);
        remarks.insert(0, kind);
        let rules: Vec<String> = list(&field["x-kubernetes-validations"])
            .iter()
            .chain(list(&field["items"]["x-kubernetes-validations"]))
            .map(|rule| text(rule, "message"))
            .collect();
        let mut what = text(field, "description");
        if !rules.is_empty() {
            let _ = write!(what, " Refused with: *{}*.", rules.join("*; *"));
        }
        line(
            page,
            format_args!(
                "| `{path}` | {} | {} |",
                remarks.join(", "),
                what.replace('|', "\\|").replace('\n', " ")
            ),
        );
        // Conditions are Kubernetes' own.
        if name != "conditions" {
            fields(page, &path, below);
        }
    }
}

/// What a field is, and the schema whose fields stand below it.
fn kind_of(field: &Json) -> (String, &Json) {
    let choices: Vec<String> = list(&field["enum"])
        .iter()
        .filter_map(Json::as_str)
        .map(|choice| format!("`{choice}`"))
        .collect();
    if !choices.is_empty() {
        return (choices.join(", "), &Json::Null);
    }
    match field["type"].as_str().unwrap_or_default() {
        "array" => {
            let (kind, below) = kind_of(&field["items"]);
            (format!("list: {kind}"), below)
        }
        "object" if field.get("additionalProperties").is_some() => ("texts by name".to_owned(), &Json::Null),
        "object" => ("map".to_owned(), field),
        "string" => ("text".to_owned(), &Json::Null),
        "integer" => {
            let bound = |name: &str| field[name].as_f64().map(|bound| format!("{bound:.0}"));
            let range = bound("minimum")
                .zip(bound("maximum"))
                .map(|(from, to)| format!(" from {from} to {to}"));
            (format!("number{}", range.unwrap_or_default()), &Json::Null)
        }
        other => (other.to_owned(), &Json::Null),
    }
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn line(page: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(page, "{line}"); // writing to a String cannot fail
}
