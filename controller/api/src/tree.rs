//! YAML as a tree in which everything knows its line.
//!
//! No serde reader of YAML gives more than the first error, nor the lines of what it has read; the events of a YAML parser give both.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// Deeper than any object of ours; keeps the recursion over a tree bounded.
const MAXIMUM_DEPTH: usize = 32;
/// Aliases make trees that are exponentially larger than their text.
const MAXIMUM_NODES: usize = 100_000;

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Node {
    /// From 1. For a field's value the line of the field's name, which is where a reader looks for it.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone)]
pub(crate) enum Value {
    /// Any scalar. It may be a key, hence wiped, and no `Debug` on any of these.
    Scalar {
        text: Zeroizing<String>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Field>),
}

#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Node,
}

/// What a value is, as YAML's core schema says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Map,
}

impl Kind {
    /// For messages.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean => "a boolean",
            Self::Integer | Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

impl Node {
    pub(crate) fn kind(&self) -> Kind {
        match &self.value {
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Scalar { plain: false, .. } => Kind::Text,
            Value::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
                "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Boolean,
                number if number.parse::<i64>().is_ok() => Kind::Integer,
                // Rust's parser also knows "inf" and "nan", which are words in YAML.
                number if number.contains(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok() => {
                    Kind::Number
                }
                _ => Kind::Text,
            },
        }
    }

    /// A scalar as it was written.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Map(fields) => fields,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        self.fields()
            .iter()
            .find(|field| field.name == name)
            .map(|field| &field.value)
    }

    /// For serde. Never called on a Secret, whose texts would be copied to where nobody wipes them.
    pub(crate) fn to_json(&self) -> Json {
        match (&self.value, self.kind()) {
            (Value::List(items), _) => items.iter().map(Self::to_json).collect(),
            (Value::Map(fields), _) => fields
                .iter()
                .map(|field| (field.name.clone(), field.value.to_json()))
                .collect(),
            (Value::Scalar { .. }, Kind::Null) => Json::Null,
            (Value::Scalar { text, .. }, Kind::Boolean) => Json::Bool(text.eq_ignore_ascii_case("true")),
            (Value::Scalar { text, .. }, Kind::Integer | Kind::Number) => text
                .parse::<i64>()
                .map(Json::from)
                .or_else(|_| text.parse::<f64>().map(Json::from))
                .unwrap_or(Json::Null),
            (Value::Scalar { text, .. }, _) => Json::String(text.to_string()),
        }
    }
}

/// Why a text is not YAML that we take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// The documents of a text, without empty ones, and the syntax error that ended the reading. Never panics.
pub(crate) fn read(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut builder = Builder::default();
    // A byte order mark is no part of the text; some editors write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        if let Err(error) = event
            .map_err(|error| syntax_error(&error, text))
            .and_then(|(event, span)| builder.take(event, span))
        {
            return (builder.documents, Some(error));
        }
    }
    (builder.documents, None)
}

fn syntax_error(error: &ScanError, text: &str) -> SyntaxError {
    let at = error.marker().index();
    // `{apiKey: ${KEY}}`: to YAML a `$`, and a map that begins behind it.
    let is_variable = at > 0 && text.chars().skip(at - 1).take(2).eq(['$', '{']);
    let mend = match is_variable {
        true => "; within braces or brackets put a variable in quotes: \"${NAME}\"",
        false => "",
    };
    SyntaxError {
        line: error.marker().line(),
        message: format!("not valid YAML: {}{mend}", error.info()),
    }
}

/// A list or map that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: the name whose value comes next, and its line.
    name: Option<(String, usize)>,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tagged = check_tag(tag.as_deref(), line)?;
                let text = Zeroizing::new(text.into_owned());
                let plain = style == ScalarStyle::Plain && !tagged;
                self.close(
                    Node {
                        line,
                        value: Value::Scalar { text, plain },
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), line)?;
                self.open(
                    Node {
                        line,
                        value: Value::List(Vec::new()),
                    },
                    anchor,
                )
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), line)?;
                self.open(
                    Node {
                        line,
                        value: Value::Map(Vec::new()),
                    },
                    anchor,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    self.nodes += count(node);
                    let mut node = node.clone();
                    node.line = line;
                    self.close(node, 0)
                }
                None => Err(SyntaxError {
                    line,
                    message: "an alias to what is not complete yet, or stands in another document".to_owned(),
                }),
            },
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if self.open.len() >= MAXIMUM_DEPTH {
            return Err(SyntaxError {
                line: node.line,
                message: format!("nested more than {MAXIMUM_DEPTH} levels deep"),
            });
        }
        self.open.push(Open {
            node,
            anchor,
            name: None,
        });
        Ok(())
    }

    fn close(&mut self, mut node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let line = node.line;
        self.nodes += 1;
        if anchor != 0 {
            self.nodes += count(&node);
            self.anchors.insert(anchor, node.clone());
        }
        if self.nodes > MAXIMUM_NODES {
            return Err(SyntaxError {
                line,
                message: format!("more than {MAXIMUM_NODES} values"),
            });
        }
        let Some(parent) = self.open.last_mut() else {
            if node.kind() != Kind::Null {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Map(fields) => match (parent.name.take(), node.value) {
                (Some((name, line)), value) => {
                    node = Node { line, value };
                    fields.push(Field { name, value: node });
                }
                (None, Value::Scalar { text, .. }) => {
                    // Which of the two was meant nobody can say; most readers of YAML silently take the last.
                    if fields.iter().any(|field| field.name == *text) {
                        return Err(SyntaxError {
                            line,
                            message: format!("the field `{}` stands here twice", *text),
                        });
                    }
                    parent.name = Some((text.to_string(), line));
                }
                (None, _) => {
                    return Err(SyntaxError {
                        line,
                        message: "a list or map as the name of a field".to_owned(),
                    });
                }
            },
            Value::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// Whether the tag says text. Other tags would change what a value is, and no object of ours needs one.
fn check_tag(tag: Option<&Tag>, line: usize) -> Result<bool, SyntaxError> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) => Err(SyntaxError {
            line,
            message: format!("the tag `{tag}` is not supported"),
        }),
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(fields) => 1 + fields.iter().map(|field| count(&field.value)).sum::<usize>(),
    }
}
