//! Frames: a u32 length in network order that counts the code byte, the code, the payload.
//!
//! Not what a code means. What always holds: nothing is reserved for a frame before its length was found
//! to be within the limit, and a frame handed out borrows the buffer it was read into.

use thiserror::Error;

/// The longest payload, bytes, that MTA and filter may send unless they agree on more, which we never do
/// (`MILTER_MAX_DATA_SIZE` of the protocol). It is also the size of a full body chunk.
pub const MAX_PAYLOAD_BYTES: usize = 65_535;

/// Length field, bytes.
const LENGTH_BYTES: usize = 4;

/// What a connection reads at once, bytes: a message's headers fit most times, and ten thousand idle
/// connections hold no more than 80 MB.
const READ_BYTES: usize = 8 * 1024;

/// One frame, without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The command or reply code, an ASCII character in every version known.
    pub code: u8,
    /// The rest; what it holds depends on the code.
    pub payload: &'a [u8],
}

/// A length that no peer in step would send. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Length 0 leaves no room for the code.
    #[error("a frame of length 0")]
    Empty,
    /// Longer than a payload may be.
    #[error(
        "a frame of {bytes} bytes (\"{}\"), more than {}: not a milter client, or out of step",
        bytes.to_be_bytes().escape_ascii(),
        MAX_PAYLOAD_BYTES + 1
    )]
    TooLong {
        /// The length announced, code byte included.
        bytes: u32,
    },
}

/// Bytes read and not yet looked at. Read into [`FrameBuffer::spare`], then take frames until there are none.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl FrameBuffer {
    /// An empty buffer; takes no memory until first used.
    pub fn new() -> FrameBuffer {
        FrameBuffer::default()
    }

    /// Takes the next frame, if all of it is there.
    ///
    /// # Errors
    /// [`FrameError`] as soon as a bad length is seen, whether or not the frame is complete; and again on every
    /// further call.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(end) = self.frame_end()? else { return Ok(None) };
        let frame = self.bytes.get(self.start + LENGTH_BYTES..end);
        self.start = end;
        Ok(frame.and_then(|frame| frame.split_first()).map(|(&code, payload)| Frame { code, payload }))
    }

    /// Whether [`FrameBuffer::next_frame`] has one.
    ///
    /// # Errors
    /// As it.
    pub fn has_frame(&self) -> Result<bool, FrameError> {
        Ok(self.frame_end()?.is_some())
    }

    /// The buffer to append what is read to, with room for the rest of a frame that has begun.
    pub fn spare(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let wanted = self.announced_end().map_or(0, |end| end.saturating_sub(self.bytes.len()));
        self.bytes.reserve(wanted.max(if self.bytes.capacity() == 0 { READ_BYTES } else { 1 }));
        &mut self.bytes
    }

    /// Appends bytes that came by another way than [`FrameBuffer::spare`].
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare().extend_from_slice(bytes);
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Gives back the memory that a large frame took; for the pause between two messages.
    pub fn release(&mut self) {
        if !self.is_partial() && self.bytes.capacity() > READ_BYTES {
            *self = FrameBuffer::new();
        }
    }

    /// Where the frame at `start` ends, once all of it is there.
    fn frame_end(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.length() else { return Ok(None) };
        if length == 0 {
            return Err(FrameError::Empty);
        }
        match self.announced_end() {
            None => Err(FrameError::TooLong { bytes: length }),
            Some(end) if end <= self.bytes.len() => Ok(Some(end)),
            Some(_) => Ok(None),
        }
    }

    /// Where the frame at `start` will end, if its length is known and allowed.
    fn announced_end(&self) -> Option<usize> {
        let length =
            usize::try_from(self.length()?).ok().filter(|&length| length <= MAX_PAYLOAD_BYTES + 1)?;
        Some(self.start + LENGTH_BYTES + length)
    }

    fn length(&self) -> Option<u32> {
        self.bytes.get(self.start..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Appends a frame whose payload `write` appends. The caller sees to it that the payload is not longer than
/// [`MAX_PAYLOAD_BYTES`]; every value this crate encodes is bounded so.
pub(crate) fn put(out: &mut Vec<u8>, code: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(code);
    write(out);
    let length = out.len() - start - LENGTH_BYTES;
    debug_assert!(length <= MAX_PAYLOAD_BYTES + 1, "a frame of {length} bytes");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a frame with this payload; for what is already bytes.
pub fn write_frame(out: &mut Vec<u8>, code: u8, payload: &[u8]) {
    put(out, code, |out| out.extend_from_slice(payload));
}

/// Splits off the string before the first NUL; all of it when there is none, as some clients leave the last
/// one out.
pub(crate) fn split_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

/// Appends a NUL-terminated string.
pub(crate) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(string);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(buffer: &mut FrameBuffer) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = buffer.next_frame().unwrap() {
            frames.push((frame.code, frame.payload.to_vec()));
        }
        frames
    }

    fn wire(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        frames.iter().for_each(|(code, payload)| write_frame(&mut out, *code, payload));
        out
    }

    #[test]
    fn pitfall_01_many_frames_in_one_read_and_a_frame_split_at_every_byte() {
        let frames =
            vec![(b'H', b"a.example\0".to_vec()), (b'T', vec![]), (b'B', vec![7; 300]), (b'A', vec![])];
        let bytes = wire(&frames);
        for cut in 0..=bytes.len() {
            let mut buffer = FrameBuffer::new();
            buffer.extend(&bytes[..cut]);
            let mut seen = all(&mut buffer);
            buffer.extend(&bytes[cut..]);
            seen.extend(all(&mut buffer));
            assert_eq!(seen, frames, "cut at {cut}");
            assert!(!buffer.is_partial());
        }
        let mut buffer = FrameBuffer::new();
        let mut seen = Vec::new();
        for byte in &bytes {
            buffer.extend(&[*byte]);
            seen.extend(all(&mut buffer));
        }
        assert_eq!(seen, frames, "one byte at a time");
    }

    #[test]
    fn pitfall_02_a_bad_length_is_refused_before_anything_is_reserved_for_it() {
        for (length, error) in [
            (0, Some(FrameError::Empty)),
            (1, None),
            (65_536, None),
            (65_537, Some(FrameError::TooLong { bytes: 65_537 })),
            (u32::MAX, Some(FrameError::TooLong { bytes: u32::MAX })),
        ] {
            let mut buffer = FrameBuffer::new();
            buffer.extend(&length.to_be_bytes());
            assert_eq!(buffer.next_frame().err(), error, "length {length}");
            assert!(buffer.spare().capacity() <= MAX_PAYLOAD_BYTES + READ_BYTES, "length {length}");
            assert_eq!(buffer.next_frame().err(), error, "the error stays");
        }
        let mut largest = FrameBuffer::new();
        largest.extend(&wire(&[(b'B', vec![1; MAX_PAYLOAD_BYTES])]));
        assert_eq!(largest.next_frame().unwrap().unwrap().payload.len(), MAX_PAYLOAD_BYTES);
    }

    #[test]
    fn memory_for_a_large_frame_is_given_back() {
        let mut buffer = FrameBuffer::new();
        buffer.extend(&wire(&[(b'B', vec![1; MAX_PAYLOAD_BYTES])]));
        buffer.release();
        assert!(buffer.is_partial(), "not while it still holds something");
        assert_eq!(all(&mut buffer).len(), 1);
        buffer.release();
        assert_eq!(buffer.bytes.capacity(), 0);
        assert_eq!(buffer.spare().capacity(), READ_BYTES);
    }
}
