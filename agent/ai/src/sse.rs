//! An incremental reader of server-sent events: finds the data, whatever the line ends and the split of the bytes.
//!
//! As <https://html.spec.whatwg.org/multipage/server-sent-events.html> says, save that data is passed on as it comes:
//! an event that is cut short by the end of the stream has been seen as far as it went.

use memchr::memchr2;

/// What is found, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part<'a> {
    /// All data of an event, which has ended. The ordinary case.
    Event(&'a [u8]),
    /// Some data of an event; the line feed between two data lines is part of it.
    Data(&'a [u8]),
    /// The end of an event whose data came as [`Part::Data`].
    End,
}

const FIELD: &[u8] = b"data:";
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    /// So many bytes of a byte order mark, which may stand before the first line.
    Mark(usize),
    /// So many bytes of `data:`.
    Field(usize),
    /// After the colon: one space is not part of the data.
    Space,
    Data,
    /// A comment or another field.
    Skip,
}

/// The reader. Push the stream's pieces in order.
#[derive(Clone, Debug)]
pub(crate) struct SseScan {
    line: Line,
    after_carriage_return: bool,
    /// Whether the present event has had a data line.
    has_data: bool,
}

impl SseScan {
    pub(crate) fn new() -> Self {
        Self {
            line: Line::Mark(0),
            after_carriage_return: false,
            has_data: false,
        }
    }

    /// Takes the next piece and passes on the data in it.
    pub(crate) fn push(&mut self, piece: &[u8], on: &mut impl FnMut(Part<'_>)) {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if std::mem::take(&mut self.after_carriage_return) && byte == b'\n' {
                at += 1;
                continue;
            }
            let line = self.line;
            match line {
                Line::Mark(matched) if byte == BYTE_ORDER_MARK[matched] => {
                    at += 1;
                    self.line = match matched + 1 {
                        3 => Line::Field(0),
                        more => Line::Mark(more),
                    };
                }
                Line::Mark(0) => self.line = Line::Field(0),
                Line::Mark(_) => self.line = Line::Skip,
                Line::Field(0) if !self.has_data && self.whole_event(piece, &mut at, on) => {}
                Line::Field(matched) if byte == FIELD[matched] => {
                    at += 1;
                    self.line = Line::Field(matched + 1);
                    if matched + 1 == FIELD.len() {
                        self.begin_data(on);
                        self.line = Line::Space;
                    }
                }
                Line::Field(matched) if is_line_end(byte) => {
                    at += 1;
                    match matched {
                        0 if std::mem::take(&mut self.has_data) => on(Part::End),
                        4 => self.begin_data(on), // `data` without a colon: an empty line of data
                        _ => {}
                    }
                    self.end_line(byte);
                }
                Line::Field(_) => self.line = Line::Skip,
                Line::Space => {
                    at += usize::from(byte == b' ');
                    self.line = Line::Data;
                }
                Line::Data | Line::Skip => {
                    let rest = &piece[at..];
                    let end = memchr2(b'\n', b'\r', rest);
                    let part = &rest[..end.unwrap_or(rest.len())];
                    if self.line == Line::Data && !part.is_empty() {
                        on(Part::Data(part));
                    }
                    at += part.len();
                    if end.is_some() {
                        self.end_line(piece[at]);
                        at += 1;
                    }
                }
            }
        }
    }

    /// The ordinary case: one data line and a blank one, both whole in this piece.
    fn whole_event(&mut self, piece: &[u8], at: &mut usize, on: &mut impl FnMut(Part<'_>)) -> bool {
        let Some(line) = piece[*at..].strip_prefix(FIELD) else {
            return false;
        };
        let Some(length) = memchr2(b'\n', b'\r', line) else {
            return false;
        };
        let mut blank = *at + FIELD.len() + length + 1;
        if piece[blank - 1] == b'\r' && piece.get(blank) == Some(&b'\n') {
            blank += 1;
        }
        match piece.get(blank) {
            Some(&byte) if is_line_end(byte) => self.end_line(byte),
            _ => return false,
        }
        let data = &line[..length];
        on(Part::Event(data.strip_prefix(b" ").unwrap_or(data)));
        *at = blank + 1;
        true
    }

    fn begin_data(&mut self, on: &mut impl FnMut(Part<'_>)) {
        if std::mem::replace(&mut self.has_data, true) {
            on(Part::Data(b"\n"));
        }
    }

    fn end_line(&mut self, byte: u8) {
        self.line = Line::Field(0);
        self.after_carriage_return = byte == b'\r';
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::{Part, SseScan};
    use crate::testing::{pieces, stream_text};

    /// The events' data; what has no end yet stands last, marked.
    fn events(parts: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut scan = SseScan::new();
        let mut events = Vec::new();
        let mut open: Option<Vec<u8>> = None;
        for part in parts {
            scan.push(part, &mut |part| match part {
                Part::Event(data) => {
                    assert_eq!(open, None);
                    events.push((data.to_vec(), true));
                }
                Part::Data(data) => open.get_or_insert_default().extend_from_slice(data),
                Part::End => events.push((open.take().unwrap_or_default(), true)),
            });
        }
        events.extend(open.map(|data| (data, false)));
        events
    }

    #[test]
    fn every_form_of_a_line() {
        for (stream, expected) in [
            ("data: a\n\ndata:b\n\n", vec![("a", true), ("b", true)]),
            ("data: a\r\n\r\ndata:b\r\n\r\n", vec![("a", true), ("b", true)]),
            ("data: a\r\rdata:b\r\r", vec![("a", true), ("b", true)]),
            ("\u{feff}data:  a \n\n", vec![(" a ", true)]),
            (": comment\n\n:x\ndata: a\nid: 7\n\n", vec![("a", true)]),
            ("event: x\ndata: a\ndata: b\ndata\n\n", vec![("a\nb\n", true)]),
            ("datax: a\n\ndat: b\n\nDATA: c\n\n", vec![]),
            ("data: a\n\ndata: b\n", vec![("a", true), ("b", false)]),
            ("data: a\n\ndata: b", vec![("a", true), ("b", false)]),
            ("\n\n\ndata: a\n\n\n\n", vec![("a", true)]),
            ("data\n\n", vec![("", true)]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(data, ended)| (data.as_bytes().to_vec(), ended))
                .collect();
            let stream = stream.as_bytes();
            assert_eq!(events(&[stream]), expected);
            assert_eq!(events(&stream.chunks(1).collect::<Vec<_>>()), expected);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(stream in stream_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            prop_assert_eq!(events(&[&stream]), events(&pieces(&stream, &cuts)));
            prop_assert_eq!(events(&[&stream]), events(&stream.chunks(1).collect::<Vec<_>>()));
        }

        #[test]
        fn no_bytes_are_too_odd(stream in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            prop_assert_eq!(events(&[&stream]), events(&pieces(&stream, &cuts)));
        }
    }
}
