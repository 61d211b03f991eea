use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{AccessLog, AccessLogError, FULL};
use crate::telemetry::record::ExchangeRecord;
use crate::telemetry::tests::exchange;

fn numbered(number: usize) -> ExchangeRecord {
    ExchangeRecord {
        path: format!("/{number}"),
        ..exchange("gpt-4o")
    }
}

/// The number of each line, in order; every line must be whole.
fn numbers(log: impl Read) -> Vec<usize> {
    BufReader::new(log)
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line.expect("UTF-8")).expect("a whole line");
            value["url.path"].as_str().expect("a path")[1..]
                .parse()
                .expect("a number")
        })
        .collect()
}

fn pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    (File::from(reader), File::from(writer))
}

#[test]
fn lines_are_appended_to_a_file_of_mode_0640() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("access.log");
    for number in 0..2 {
        let log = AccessLog::open(&path).expect("a log");
        log.settle(&numbered(number));
        log.close().expect("written");
        log.close().expect("again is nothing");
    }
    assert_eq!(numbers(File::open(&path).expect("it is there")), [0, 1]);
    assert_eq!(
        fs::metadata(&path).expect("it is there").permissions().mode() & 0o137,
        0
    );
}

#[test]
fn a_log_that_cannot_be_opened_names_the_flag_and_the_mend() {
    let error = AccessLog::open(Path::new("/does/not/exist/access.log")).expect_err("no such directory");
    assert_eq!(
        error.to_string(),
        "--access-log /does/not/exist/access.log: No such file or directory (os error 2); name a file in a directory \
         that you may write, or - for standard output"
    );
}

#[test]
fn a_line_is_there_while_the_log_is_open() {
    let (reader, writer) = pipe();
    let log = AccessLog::start(writer, "a pipe".to_owned()).expect("a thread");
    let mut lines = BufReader::new(reader).lines();
    for number in 0..3 {
        log.settle(&numbered(number));
        let line = lines.next().expect("a line").expect("UTF-8");
        assert!(line.contains(&format!("\"/{number}\"")), "{line}");
    }
}

const SENDERS: usize = 4;

/// Has each sender settle `lines` exchanges. Returns when all have.
fn settle_at_once(log: &AccessLog, lines: usize) {
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                for number in 0..lines {
                    log.settle(&numbered(sender * lines + number));
                }
            });
        }
    });
}

/// A log on a pipe that somebody made non-blocking, as happens to standard output, and the pipe's other end.
fn log_on_a_pipe() -> (AccessLog, File) {
    let (reader, writer) = pipe();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe");
    let log = AccessLog::start(writer, "a pipe".to_owned()).expect("a thread");
    (log, reader)
}

/// More than the pipe holds, but no more than the buffer, with a reader that starts when all is settled.
#[test]
fn nothing_is_lost_while_the_buffer_has_room() {
    const LINES: usize = FULL / 1000 / SENDERS;
    let (log, reader) = log_on_a_pipe();
    settle_at_once(&log, LINES);
    let reading = std::thread::spawn(move || numbers(reader));
    log.close().expect("all written");
    drop(log);
    let received = reading.join().expect("no panic");
    for sender in 0..SENDERS {
        let of_sender = received.iter().filter(|number| **number / LINES == sender);
        assert!(of_sender.copied().eq(sender * LINES..(sender + 1) * LINES));
    }
}

/// More than the pipe and the buffer hold, and nobody reads before all is settled: were a sender to wait, this would
/// not end.
#[test]
fn a_reader_that_stalls_holds_no_sender_up_and_what_is_lost_is_counted() {
    const LINES: usize = 4 * FULL / 400 / SENDERS;
    let (log, reader) = log_on_a_pipe();
    settle_at_once(&log, LINES);
    assert!(
        log.shared.state.lock().pending.len() < FULL + 4096,
        "it is bounded"
    );
    let reading = std::thread::spawn(move || numbers(reader));
    let error = log.close().expect_err("lines are missing");
    drop(log);
    let received = reading.join().expect("no panic");
    assert!(received.len() > 1000, "{}", received.len());
    for sender in 0..SENDERS {
        let of_sender = received.iter().filter(|number| **number / LINES == sender);
        assert!(of_sender.is_sorted());
    }
    assert_eq!(
        error.to_string(),
        format!(
            "the access log a pipe lacks {} lines: its reader was slower than the exchanges",
            SENDERS * LINES - received.len()
        )
    );
}

#[test]
fn a_closed_pipe_loses_lines_but_holds_nobody_up() {
    let (reader, writer) = pipe();
    drop(reader);
    let log = AccessLog::start(writer, "a pipe".to_owned()).expect("a thread");
    for number in 0..10_000 {
        log.settle(&numbered(number));
    }
    assert_eq!(
        log.close().expect_err("lines are missing").to_string(),
        "the access log a pipe lacks 10,000 lines: Broken pipe (os error 32)".replace(',', "")
    );
}

#[test]
fn a_full_disk_is_reported() {
    let log = AccessLog::open(Path::new("/dev/full")).expect("a device");
    log.settle(&numbered(0));
    let error = log.close().expect_err("no space");
    assert!(matches!(&error, AccessLogError::Lost { lines: 1, .. }), "{error}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
}

/// A disk that takes half a line, is then full, and has room again.
struct FullForAWhile {
    takes: Vec<io::Result<usize>>,
    content: mpsc::Sender<Vec<u8>>,
    descriptor: OwnedFd,
}

impl Write for FullForAWhile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.takes.pop().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.content
            .send(bytes[..taken].to_vec())
            .expect("the test receives");
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for FullForAWhile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[test]
fn half_a_line_does_not_swallow_the_next_one() {
    let (content, received) = mpsc::channel();
    let output = FullForAWhile {
        takes: vec![Err(io::ErrorKind::StorageFull.into()), Ok(10)],
        content,
        descriptor: File::open("/dev/null").expect("a device").into(),
    };
    let log = AccessLog::start(output, "a disk".to_owned()).expect("a thread");
    log.settle(&numbered(0));
    let half = received.recv().expect("half a line");
    while log.shared.state.lock().lost == 0 {
        std::thread::yield_now();
    }
    log.settle(&numbered(1));
    let error = log.close().expect_err("a line is missing");
    assert!(matches!(error, AccessLogError::Lost { lines: 1, .. }));
    drop(log);
    let rest: Vec<u8> = received.iter().flatten().collect();
    assert_eq!(half, b"{\"time\":\"2");
    assert_eq!(rest[0], b'\n');
    assert_eq!(numbers(&rest[1..]), [1]);
}
