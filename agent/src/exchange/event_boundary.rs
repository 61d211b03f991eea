//! Where a stream of events can be added to.

/// Whether a stream of events stands between two of them, told from its last bytes (WHATWG HTML §9.2.5: an empty line ends an event).
#[derive(Default)]
pub(super) struct EventBoundary {
    last: [u8; 4],
}

impl EventBoundary {
    /// Bytes that have gone to the client.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(4)..];
        self.last.rotate_left(new.len());
        self.last[4 - new.len()..].copy_from_slice(new);
    }

    /// Whether the next byte begins an event.
    pub(super) fn at_boundary(&self) -> bool {
        self.last.ends_with(b"\n\n")
            || self.last == *b"\r\n\r\n"
            || self.last.ends_with(b"\r\r")
            || self.last == [0; 4]
    }
}

#[cfg(test)]
mod tests {
    use super::EventBoundary;

    #[test]
    fn an_event_has_ended_after_an_empty_line() {
        for (pieces, expected) in [
            (&["data: 1\n", "\n"][..], true),
            (&["data: 1\r\n\r\n"], true),
            (&["data: 1\r", "\n", "\r", "\n"], true),
            (&["data: 1\n"], false),
            (&["data: 1\n\nd"], false),
            (&[], true),
        ] {
            let mut boundary = EventBoundary::default();
            pieces.iter().for_each(|piece| boundary.push(piece.as_bytes()));
            assert_eq!(boundary.at_boundary(), expected, "{pieces:?}");
        }
    }
}
