//! Model names of the form `mock-WORD-WORD…` ask for misbehaviour, or for a certain way of sending. Words combine: `mock-gzip-split-crlf`.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use super::reply::{Body, Reply, Step};

/// How the bytes of an answer are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstandard,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// As it should.
    Whole,
    /// Connection reset in the middle.
    Reset,
    /// Connection closed in the middle.
    Truncated,
    /// Chunk framing that no parser takes, in the middle.
    BrokenChunking,
    /// After its first half nothing more comes.
    Hold,
    /// An error event in the middle of a stream, after which it ends.
    ErrorEvent,
}

/// What a model's name asks of the mock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// `gzip`, `deflate`, `br`, `zstd`.
    pub coding: Option<Coding>,
    /// `split`: every byte a chunk and a write of its own.
    pub split: bool,
    /// `slow`: 20 ms before each event.
    pub slow: bool,
    /// `reset`, `truncated`, `badchunk`, `hold`, `midstreamerror`; see [`Finish`].
    pub finish: Finish,
    /// `endless`: content events without end, as fast as they are taken.
    pub endless: bool,
    /// `silent`: the request is read and never answered.
    pub silent: bool,
    /// `gone`: the request is read, then the connection is closed without an answer.
    pub gone: bool,
    /// A number from 400 to 599: that status, as an error of the dialect.
    pub status: Option<u16>,
    /// `large-N`: the answer's text has N bytes.
    pub large: Option<usize>,
    /// `zero`: a stream reports usage of zeros first.
    pub zero_usage_first: bool,
    /// `nousage`: no usage at all.
    pub no_usage: bool,
    /// `crlf` or `cr`: line ends of the events; LF otherwise.
    pub line_end: &'static str,
    /// `nospace`: `data:{…}` without the space.
    pub no_space: bool,
    /// `comments`: keep-alive comments between the events, blank lines before JSON.
    pub comments: bool,
    /// `cached`: most of the prompt was read from the provider's cache.
    pub cached: bool,
    /// `reasoning`: part of the output was reasoning.
    pub reasoning: bool,
    /// `early`: answered before the request's body is complete.
    pub early: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            coding: None,
            split: false,
            slow: false,
            finish: Finish::Whole,
            endless: false,
            silent: false,
            gone: false,
            status: None,
            large: None,
            zero_usage_first: false,
            no_usage: false,
            line_end: "\n",
            no_space: false,
            comments: false,
            cached: false,
            reasoning: false,
            early: false,
        }
    }
}

/// Names that real providers' models begin with; each gets an ordinary answer.
const REAL_NAMES: &[&str] = &[
    "gpt-",
    "o1",
    "o3",
    "o4",
    "chatgpt-",
    "text-embedding-",
    "davinci",
    "babbage",
    "claude-",
    "deepseek-",
    "llama",
    "mistral",
    "grok-",
];

impl Behaviour {
    /// Reads a model's name; `None` is a model that this provider does not have.
    pub fn of(model: &str) -> Option<Self> {
        let mut behaviour = Self::default();
        let Some(words) = model.strip_prefix("mock") else {
            return REAL_NAMES
                .iter()
                .any(|name| model.starts_with(name))
                .then_some(behaviour);
        };
        let mut words = words.split('-').skip(1);
        while let Some(word) = words.next() {
            match word {
                "gzip" => behaviour.coding = Some(Coding::Gzip),
                "deflate" => behaviour.coding = Some(Coding::Deflate),
                "br" => behaviour.coding = Some(Coding::Brotli),
                "zstd" => behaviour.coding = Some(Coding::Zstandard),
                "split" => behaviour.split = true,
                "slow" => behaviour.slow = true,
                "reset" => behaviour.finish = Finish::Reset,
                "truncated" => behaviour.finish = Finish::Truncated,
                "badchunk" => behaviour.finish = Finish::BrokenChunking,
                "hold" => behaviour.finish = Finish::Hold,
                "midstreamerror" => behaviour.finish = Finish::ErrorEvent,
                "endless" => behaviour.endless = true,
                "silent" => behaviour.silent = true,
                "gone" => behaviour.gone = true,
                "large" => behaviour.large = Some(words.next()?.parse().ok()?),
                "zero" => behaviour.zero_usage_first = true,
                "nousage" => behaviour.no_usage = true,
                "crlf" => behaviour.line_end = "\r\n",
                "cr" => behaviour.line_end = "\r",
                "nospace" => behaviour.no_space = true,
                "comments" => behaviour.comments = true,
                "cached" => behaviour.cached = true,
                "reasoning" => behaviour.reasoning = true,
                "early" => behaviour.early = true,
                // Words that only make a name read well, as in mock-usage-zero-first and mock-reset-midstream.
                "usage" | "first" | "midstream" => {}
                number => match number.parse() {
                    Ok(status @ 400..=599) => behaviour.status = Some(status),
                    _ => return None,
                },
            }
        }
        Some(behaviour)
    }

    /// One server-sent event in this behaviour's line ends and spacing.
    pub fn event(&self, name: Option<&str>, data: &str) -> String {
        let end = self.line_end;
        let space = if self.no_space { "" } else { " " };
        let comment = if self.comments {
            format!(": keep-alive{end}{end}")
        } else {
            String::new()
        };
        let name = name
            .map(|name| format!("event:{space}{name}{end}"))
            .unwrap_or_default();
        format!("{comment}{name}data:{space}{data}{end}{end}")
    }

    /// Bends an ordinary answer into what was asked for. `filler` is an event that an endless stream repeats.
    pub fn bend(&self, reply: Reply, filler: Option<String>) -> Reply {
        let Reply {
            status,
            mut headers,
            body,
        } = reply;
        let (streamed, mut pieces) = match body {
            Body::Full(bytes) if self.comments => (false, vec![Bytes::from_static(b"\n\n  "), bytes]),
            Body::Full(bytes) => (false, vec![bytes]),
            Body::Steps(steps) => {
                let data = steps.filter_map(|step| {
                    if let Step::Data(bytes) = step {
                        Some(bytes)
                    } else {
                        None
                    }
                });
                (true, data.collect())
            }
            other => {
                return Reply {
                    status,
                    headers,
                    body: other,
                };
            }
        };
        if let Some(coding) = self.coding {
            pieces = encode(coding, &pieces);
            headers.push(("Content-Encoding".to_owned(), coding.name().to_owned()));
        }
        if self.split {
            pieces = pieces
                .iter()
                .flat_map(|piece| (0..piece.len()).map(|at| piece.slice(at..at + 1)))
                .collect();
        }
        if !streamed && self.finish == Finish::Whole && !self.split && !self.slow {
            let body = Body::Full(pieces.concat().into());
            return Reply {
                status,
                headers,
                body,
            };
        }
        if !streamed && pieces.len() == 1 {
            pieces = halves(&pieces.remove(0));
        }
        let steps = self.steps(pieces, filler);
        Reply {
            status,
            headers,
            body: Body::Steps(steps),
        }
    }

    fn steps(&self, mut pieces: Vec<Bytes>, filler: Option<String>) -> Box<dyn Iterator<Item = Step> + Send> {
        if let (true, Some(filler)) = (self.endless, filler) {
            pieces.truncate(2);
            let filler = Bytes::from(filler);
            return Box::new(
                pieces
                    .into_iter()
                    .map(Step::Data)
                    .chain(std::iter::repeat(Step::Data(filler))),
            );
        }
        let last = match self.finish {
            Finish::Whole | Finish::ErrorEvent => None,
            Finish::Reset => Some(Step::Reset),
            Finish::Truncated => Some(Step::Close),
            Finish::BrokenChunking => Some(Step::Raw(Bytes::from_static(b"not a chunk size\r\n"))),
            Finish::Hold => Some(Step::Hold),
        };
        if last.is_some() {
            pieces.truncate(pieces.len().div_ceil(2));
        }
        let slow = self.slow;
        let steps = pieces.into_iter().flat_map(move |piece| {
            let pause = slow.then_some(Step::Pause(Duration::from_millis(20)));
            pause.into_iter().chain(std::iter::once(Step::Data(piece)))
        });
        let after = matches!(self.finish, Finish::BrokenChunking).then_some(Step::Close);
        Box::new(steps.chain(last).chain(after))
    }
}

fn halves(bytes: &Bytes) -> Vec<Bytes> {
    let middle = bytes.len() / 2;
    vec![bytes.slice(..middle), bytes.slice(middle..)]
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
        }
    }
}

/// Codes the pieces as one stream that is flushed after each, as a server does that wants its events to arrive at once.
fn encode(coding: Coding, pieces: &[Bytes]) -> Vec<Bytes> {
    match coding {
        Coding::Gzip => {
            let writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            flushed(writer, pieces, |w| w.get_mut(), |w| w.finish())
        }
        Coding::Deflate => {
            let writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            flushed(writer, pieces, |w| w.get_mut(), |w| w.finish())
        }
        Coding::Brotli => {
            let writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            flushed(writer, pieces, |w| w.get_mut(), |w| Ok(w.into_inner()))
        }
        Coding::Zstandard => {
            let writer = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("level 3 exists");
            flushed(writer, pieces, |w| w.get_mut(), |w| w.finish())
        }
    }
}

fn flushed<W: Write>(
    mut writer: W,
    pieces: &[Bytes],
    output: impl Fn(&mut W) -> &mut Vec<u8>,
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> Vec<Bytes> {
    const MEMORY: &str = "writing to memory does not fail";
    let mut coded = Vec::new();
    for piece in pieces {
        writer.write_all(piece).expect(MEMORY);
        writer.flush().expect(MEMORY);
        coded.push(Bytes::from(std::mem::take(output(&mut writer))));
    }
    coded.push(Bytes::from(finish(writer).expect(MEMORY)));
    coded.retain(|piece| !piece.is_empty());
    coded
}
