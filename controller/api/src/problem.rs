//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;

/// One thing that is wrong. Its `Display` is one line:
/// `openai.yaml:7: AIBackend default/openai: spec.hots: unknown field, did you mean `hosts`?`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named; empty where the object came from the API server.
    pub source: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// `Kind namespace/name`, as far as it is known.
    pub object: Option<String>,
    /// The field, such as `spec.hosts[0]`; empty where the object as a whole is meant.
    pub field: String,
    /// What is wrong, and the mend.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.is_empty() {
            write!(formatter, "{}:", self.source)?;
            if self.line > 0 {
                write!(formatter, "{}:", self.line)?;
            }
            formatter.write_str(" ")?;
        }
        if let Some(object) = &self.object {
            write!(formatter, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)
    }
}

impl Problem {
    /// As `Display`, without file and line.
    pub fn without_place(&self) -> String {
        let everywhere = Self {
            source: String::new(),
            ..self.clone()
        };
        everywhere.to_string()
    }

    /// For the status of `object` (`Kind namespace/name`), which need not say its own name.
    pub fn in_status_of(&self, object: &str) -> String {
        let mut problem = self.clone();
        problem.source.clear();
        problem.object = problem.object.filter(|other| other != object);
        problem.to_string()
    }
}

/// Everything that is wrong, in the order of files and lines. Its `Display` has a line for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// `Err` if there are any.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `, did you mean …?` where a known name is near, else what is known.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(written, &known) {
        Some(name) => format!(", did you mean `{name}`?"),
        None if known.is_empty() => "; no field is known here yet: write `{}`".to_owned(),
        None => format!("; known here: {}", known.join(", ")),
    }
}

/// The known name that `written` most likely was meant to be.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    // Longer than any known name could be mistyped to: no need to measure a megabyte against each of them.
    if written.len() > 64 {
        return None;
    }
    let lower = written.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), *name))
        // A third of the letters may be wrong; with more, a guess is more often misleading than helpful.
        .filter(|(distance, name)| *distance <= (name.len().max(3) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
