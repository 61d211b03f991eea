//! `gzip` (RFC 1952). The header is read here, for flate2's own reader of it wants the whole input or a sink that
//! takes all output at once.

use flate2::{Crc, Decompress};

use super::Malformed;
use super::deflate::inflate_some;

pub(super) struct Gzip {
    inflate: Decompress,
    crc: Crc,
    part: Part,
    /// Whether a member has ended: what follows may be another, or padding.
    member: bool,
}

#[derive(Clone, Copy)]
enum Part {
    /// So many of the ten bytes of the header.
    Header {
        at: usize,
        flags: u8,
    },
    /// The optional fields still to come, in this order.
    ExtraLength {
        at: u8,
        length: u16,
        flags: u8,
    },
    Extra {
        left: u16,
        flags: u8,
    },
    Name {
        flags: u8,
    },
    Comment {
        flags: u8,
    },
    HeaderCrc {
        left: u8,
    },
    Body,
    /// CRC and length, little-endian.
    Trailer {
        at: usize,
        bytes: [u8; 8],
    },
    /// Padding after the last member.
    Padding,
}

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER: usize = 10;
const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

impl Gzip {
    pub(super) fn new() -> Self {
        let part = Part::Header { at: 0, flags: 0 };
        Self {
            inflate: Decompress::new(false),
            crc: Crc::new(),
            part,
            member: false,
        }
    }

    pub(super) fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Malformed> {
        loop {
            if let Part::Body = self.part {
                let (length, at_end) = inflate_some(&mut self.inflate, input, output)?;
                self.crc.update(&output[..length]);
                if at_end {
                    self.part = Part::Trailer { at: 0, bytes: [0; 8] };
                }
                if length > 0 || (input.is_empty() && !at_end) {
                    return Ok(length);
                }
                continue;
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(0);
            };
            if let Part::Padding = self.part {
                *input = &[];
                return Ok(0);
            }
            self.part = self.frame(byte)?;
            *input = rest;
        }
    }

    /// One byte of a header or trailer.
    fn frame(&mut self, byte: u8) -> Result<Part, Malformed> {
        Ok(match self.part {
            Part::Header { at, .. } if at < MAGIC.len() && byte != MAGIC[at] => {
                match self.member && at == 0 {
                    true => Part::Padding,
                    false => return Err(Malformed),
                }
            }
            Part::Header { at, flags } => match at + 1 {
                HEADER => after_header(flags),
                4 => Part::Header { at: 4, flags: byte },
                next => Part::Header { at: next, flags },
            },
            Part::ExtraLength { at: 0, flags, .. } => Part::ExtraLength {
                at: 1,
                length: u16::from(byte),
                flags,
            },
            Part::ExtraLength { length, flags, .. } => match length | u16::from(byte) << 8 {
                0 => after_header(flags & !HAS_EXTRA),
                left => Part::Extra { left, flags },
            },
            Part::Extra { left: 1, flags } => after_header(flags & !HAS_EXTRA),
            Part::Extra { left, flags } => Part::Extra {
                left: left - 1,
                flags,
            },
            Part::Name { flags } if byte == 0 => after_header(flags & !HAS_EXTRA & !HAS_NAME),
            Part::Comment { flags } if byte == 0 => after_header(flags & HAS_CRC),
            Part::HeaderCrc { left: 1 } => Part::Body,
            Part::HeaderCrc { left } => Part::HeaderCrc { left: left - 1 },
            Part::Trailer { at, mut bytes } => {
                bytes[at] = byte;
                if at + 1 < bytes.len() {
                    return Ok(Part::Trailer { at: at + 1, bytes });
                }
                let [a, b, c, d, e, f, g, h] = bytes;
                if u32::from_le_bytes([a, b, c, d]) != self.crc.sum()
                    || u32::from_le_bytes([e, f, g, h]) != self.crc.amount()
                {
                    return Err(Malformed);
                }
                self.inflate.reset(false);
                self.crc.reset();
                self.member = true;
                Part::Header { at: 0, flags: 0 }
            }
            part @ (Part::Name { .. } | Part::Comment { .. } | Part::Body | Part::Padding) => part,
        })
    }
}

fn after_header(flags: u8) -> Part {
    if flags & HAS_EXTRA != 0 {
        Part::ExtraLength {
            at: 0,
            length: 0,
            flags,
        }
    } else if flags & HAS_NAME != 0 {
        Part::Name { flags }
    } else if flags & HAS_COMMENT != 0 {
        Part::Comment { flags }
    } else if flags & HAS_CRC != 0 {
        Part::HeaderCrc { left: 2 }
    } else {
        Part::Body
    }
}
