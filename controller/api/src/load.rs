//! Texts to a snapshot, with all that is wrong told at once.

use std::collections::HashMap;

use crate::objects::{Objects, parse_what_can_be};
use crate::problem::{Problem, Problems};
use crate::snapshot::Snapshot;
use crate::translate::translate_what_can_be;

/// Reads texts, each with its name, and translates the objects of all of them together: [`parse`](crate::parse), [`Objects::extend`]
/// and [`translate`](crate::translate()) in one, save that all problems are told at once. A text without any object is a problem too: it is
/// more likely a file caught in the middle of being written than a wish to configure nothing.
///
/// # Errors
/// All that is wrong, in the order of texts and lines.
pub fn load<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Snapshot, Problems> {
    let mut all = Objects::default();
    let mut problems = Vec::new();
    let mut order = HashMap::new();
    for (name, text) in texts {
        let next = order.len();
        order.entry(name.to_owned()).or_insert(next);
        let (objects, wrong) = parse_what_can_be(name, text, environment);
        if objects.is_empty() && wrong.0.is_empty() {
            let message = "has no object: write an AIBackend, or leave the file out".to_owned();
            problems.push(Problem {
                source: name.to_owned(),
                line: 0,
                object: None,
                field: String::new(),
                message,
            });
        }
        problems.extend(wrong.0);
        all.extend(objects);
    }
    let (snapshot, wrong) = translate_what_can_be(&all);
    problems.extend(wrong.0);
    problems.sort_by_key(|problem| (order.get(&problem.source).copied(), problem.line));
    Problems(problems).into_result(snapshot)
}
