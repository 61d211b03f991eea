//! Load from inside a pod: calls without a pause, on connections that are opened for each and on ones that are kept, and streams that
//! stay open all the while. What becomes of each is counted.

mod http2;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    sync::{Barrier, Mutex},
};

use crate::{
    client::{PREFIX, tls},
    scene::{HOST, Scene},
    support::{LOCAL_V4, outside},
};

const OPENING: usize = 2;
const KEEPING: usize = 2;
pub(crate) const STREAMING: usize = 6;
/// By HTTP/2, on one connection for as long as it is not asked to leave.
const SHARING: usize = 1;
/// Everybody has been answered so often before the load counts as begun.
const WARM: usize = 3;

/// What became of the load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) answered: usize,
    pub(crate) streamed: usize,
    pub(crate) failures: Vec<String>,
}

/// A load that runs in the pod of a scene.
pub(crate) struct Load {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Load {
    /// Returns when all its streams are open, and calls are answered.
    pub(crate) fn start(scene: &Scene) -> Self {
        let arguments = format!(
            "load {LOCAL_V4}:443 {} {} {}",
            scene.file("root.pem").display(),
            scene.file("stop").display(),
            scene.file("over").display()
        );
        let command: Command = scene.pod.command(&outside(&arguments));
        let mut command = command;
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut load = Self { process, lines };
        assert_eq!(load.word(), "begun");
        load
    }

    fn word(&mut self) -> String {
        let word = self
            .lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(PREFIX).map(str::to_owned));
        word.unwrap_or_else(|| {
            let mut said = String::new();
            let _ = self.process.stderr.take().unwrap().read_to_string(&mut said);
            panic!("the load has ended: {said}")
        })
    }

    /// Ends calls, then streams, and says what became of them.
    pub(crate) fn stop(mut self, scene: &Scene) -> Counted {
        std::fs::write(scene.file("stop"), "").unwrap();
        let answered = self.word().parse().unwrap();
        std::fs::write(scene.file("over"), "").unwrap();
        let streamed = self.word().parse().unwrap();
        let mut failures = Vec::new();
        loop {
            match self.word() {
                word if word == "end" => break,
                word => failures.push(word),
            }
        }
        self.process.wait().unwrap();
        Counted {
            answered,
            streamed,
            failures,
        }
    }
}

impl Counted {
    pub(crate) fn assert_nothing_was_lost(&self) {
        assert_eq!(self.failures, Vec::<String>::new());
        assert_eq!(self.streamed, STREAMING);
        assert!(self.answered >= WARM * (OPENING + KEEPING + SHARING), "{self:?}");
    }
}

/// In the pod: `ADDRESS ROOT STOP OVER`.
pub(crate) fn run(words: &[&str]) {
    let address: SocketAddr = words[0].parse().unwrap();
    let (root, stop, over) = (words[1], Path::new(words[2]), Path::new(words[3]));
    let begun = Barrier::new(OPENING + KEEPING + SHARING + STREAMING + 1);
    let failures = Mutex::new(Vec::new());
    let failed = |what: &str, error: &io::Error| failures.lock().unwrap().push(format!("{what}: {error}"));
    println!();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..OPENING + KEEPING)
            .map(|number| {
                let (begun, failed) = (&begun, &failed);
                scope.spawn(move || {
                    let mut caller = Caller {
                        open: || tls(address, HOST, root),
                        keeps: number >= OPENING,
                        kept: None,
                    };
                    let mut answered = 0;
                    for calls in 1.. {
                        match caller.call() {
                            Ok(()) => answered += 1,
                            Err(error) => failed("call", &error),
                        }
                        if calls == WARM {
                            begun.wait();
                        }
                        if stop.exists() {
                            break;
                        }
                    }
                    answered
                })
            })
            .collect();
        let sharing = scope.spawn(|| {
            let failed = |error: &io::Error| failed("call by HTTP/2", error);
            http2::calls(
                address,
                root,
                stop,
                || {
                    begun.wait();
                },
                failed,
            )
        });
        let streams: Vec<_> = (0..STREAMING)
            .map(|_| {
                let (begun, failed) = (&begun, &failed);
                scope.spawn(move || {
                    let outcome = tls(address, HOST, root).and_then(|stream| streamed(stream, begun, over));
                    outcome.inspect_err(|error| failed("stream", error)).is_ok()
                })
            })
            .collect();
        begun.wait();
        println!("{PREFIX}begun");
        let answered: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        println!("{PREFIX}{}", answered + sharing.join().unwrap());
        let streamed = streams
            .into_iter()
            .filter_map(|stream| stream.join().ok())
            .filter(|&whole| whole);
        println!("{PREFIX}{}", streamed.count());
    });
    for failure in failures.lock().unwrap().iter() {
        println!("{PREFIX}{failure}");
    }
    println!("{PREFIX}end");
}

struct Caller<S, F: Fn() -> io::Result<S>> {
    open: F,
    keeps: bool,
    kept: Option<BufReader<S>>,
}

impl<S: Read + Write, F: Fn() -> io::Result<S>> Caller<S, F> {
    /// One call, on the connection that was kept if there is one.
    fn call(&mut self) -> io::Result<()> {
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => BufReader::new((self.open)()?),
        };
        ask(connection.get_mut(), "false")?;
        let head = head(&mut connection)?;
        let length = value(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        connection.read_exact(&mut body)?;
        check(&String::from_utf8_lossy(&body))?;
        let closes = value(&head, "connection").is_some_and(|connection| connection == "close");
        self.kept = (self.keeps && !closes).then_some(connection);
        Ok(())
    }
}

fn question(streams: &str) -> String {
    format!(r#"{{"model":"gpt-4o","stream":{streams},"messages":[]}}"#)
}

/// What only Weir could have the provider answer.
fn check(answer: &str) -> io::Result<()> {
    match answer.contains("Bearer sk-real") {
        true => Ok(()),
        false => Err(io::Error::other(format!("not served by Weir: {answer}"))),
    }
}

fn ask(stream: &mut impl Write, streams: &str) -> io::Result<()> {
    let body = question(streams);
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

/// The lines of an answer's head.
fn head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(head),
            line => head.push(line.to_owned()),
        }
    }
}

fn value<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Reads a stream to its end: each event has to come, in its order, and the end only when it is over.
fn streamed(stream: impl Read + Write, begun: &Barrier, over: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    ask(reader.get_mut(), "true")?;
    head(&mut reader)?;
    let mut number = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("cut after {number} events")));
        }
        match line.trim_end().strip_prefix("data: ") {
            Some("[DONE]") if over.exists() => return Ok(()),
            Some(event) if event == format!("{{\"number\":{number}}}") => number += 1,
            Some(event) => return Err(io::Error::other(format!("{event} where {number} is due"))),
            // The framing of chunks.
            None => {}
        }
        if number == 1 && line.starts_with("data: ") {
            begun.wait();
        }
    }
}
