//! Bytes without pattern, the same on both sides of a transfer.

/// An endless sequence (xorshift64*); equal seeds give equal bytes.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// Overwrites `buffer` with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let bytes = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            for (target, byte) in piece.iter_mut().zip(bytes) {
                *target = byte;
            }
        }
    }
}

/// Writes `length` bytes of noise and gives their SHA-256.
///
/// # Errors
/// As the writer's.
pub fn send(writer: &mut impl std::io::Write, seed: u64, length: u64) -> std::io::Result<String> {
    use sha2::Digest;
    let mut noise = Noise::new(seed);
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = length;
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..take).unwrap_or_default();
        noise.fill(piece);
        hash.update(&*piece);
        writer.write_all(piece)?;
        left -= take as u64;
    }
    writer.flush()?;
    Ok(crate::mock::record::hexadecimal(&hash.finalize()))
}

/// Reads to the end and gives the length and the SHA-256.
///
/// # Errors
/// As the reader's.
pub fn receive(reader: &mut impl std::io::Read) -> std::io::Result<(u64, String)> {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let taken = reader.read(&mut buffer)?;
        if taken == 0 {
            return Ok((length, crate::mock::record::hexadecimal(&hash.finalize())));
        }
        hash.update(buffer.get(..taken).unwrap_or_default());
        length += taken as u64;
    }
}
