//! Replies: what a filter sends, packet by packet. [`crate::modification::Modification`] is a change that was checked.
//!
//! Read strictly, as Postfix does: a stray byte after `c` makes it give the filter up, so the client of this
//! crate must see it too.

use thiserror::Error;

use crate::frame::{Frame, put, put_string, split_string};
use crate::negotiate::Offer;

/// One packet from a filter; what it holds borrows the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `O`: what the filter takes of the offer, and the macro lists it wants (pairs of number and string).
    Negotiate(Offer, &'a [u8]),
    /// `c`: go on.
    Continue,
    /// `a`: take the message (or the connection) without asking further.
    Accept,
    /// `d`: say that it was taken, and drop it.
    Discard,
    /// `r`: refuse for good, in the MTA's words.
    Reject,
    /// `t`: refuse for now, in the MTA's words.
    Tempfail,
    /// `y`: refuse in these words, `%` doubled, CR LF between lines.
    ReplyCode(&'a [u8]),
    /// `s`: send no more of this; only in place of an answer to a piece of the body.
    Skip,
    /// `p`: still at work on the end of the message.
    Progress,
    /// `4`: answer 421 and hang up (Postfix).
    Shutdown,
    /// `f`: hang up.
    ConnectionFailed,
    /// `h`: add a header field at the end.
    AddHeader(&'a [u8], &'a [u8]),
    /// `i`: insert a header field at this index.
    InsertHeader(u32, &'a [u8], &'a [u8]),
    /// `m`: change the n-th field of this name, counted from 1; an empty value deletes it.
    ChangeHeader(u32, &'a [u8], &'a [u8]),
    /// `e`: change the envelope sender; ESMTP arguments may follow.
    ChangeSender(&'a [u8], &'a [u8]),
    /// `+`: add a recipient.
    AddRecipient(&'a [u8]),
    /// `2`: add a recipient with ESMTP arguments.
    AddRecipientArgs(&'a [u8], &'a [u8]),
    /// `-`: delete a recipient.
    DeleteRecipient(&'a [u8]),
    /// `b`: a piece of the new body.
    ReplaceBody(&'a [u8]),
    /// `q`: hold the message, for this reason.
    Quarantine(&'a [u8]),
}

/// A packet that an MTA would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// No version has it.
    #[error("an answer of unknown type {:?}", char::from(*.0))]
    Code(u8),
    /// The payload is not of the form this type has.
    #[error("an answer of type {:?} with a payload of another form", char::from(*.0))]
    Form(u8),
}

impl<'a> Answer<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn decode(frame: Frame<'a>) -> Result<Answer<'a>, AnswerError> {
        let form = AnswerError::Form(frame.code);
        if let Some(answer) = Answer::bare(frame.code) {
            return if frame.payload.is_empty() { Ok(answer) } else { Err(form) };
        }
        let mut rest = frame.payload;
        let answer = match frame.code {
            b'O' => {
                Offer::decode(rest).zip(rest.get(12..)).map(|(offer, lists)| Answer::Negotiate(offer, lists))
            }
            b'b' => Some(Answer::ReplaceBody(rest)),
            b'y' => take_last(&mut rest).map(Answer::ReplyCode),
            b'h' => {
                take(&mut rest).zip(take_last(&mut rest)).map(|(name, value)| Answer::AddHeader(name, value))
            }
            b'i' | b'm' => take_indexed(&mut rest).map(|(index, name, value)| match frame.code {
                b'i' => Answer::InsertHeader(index, name, value),
                _ => Answer::ChangeHeader(index, name, value),
            }),
            b'e' => take(&mut rest)
                .zip(take_args(rest))
                .map(|(address, args)| Answer::ChangeSender(address, args)),
            b'2' => take(&mut rest)
                .zip(take_args(rest))
                .map(|(address, args)| Answer::AddRecipientArgs(address, args)),
            b'+' => take_last(&mut rest).map(Answer::AddRecipient),
            b'-' => take_last(&mut rest).map(Answer::DeleteRecipient),
            b'q' => take_last(&mut rest).map(Answer::Quarantine),
            code => return Err(AnswerError::Code(code)),
        };
        answer.ok_or(form)
    }

    /// The answer of a code that has no payload.
    fn bare(code: u8) -> Option<Answer<'a>> {
        Some(match code {
            b'c' => Answer::Continue,
            b'a' => Answer::Accept,
            b'd' => Answer::Discard,
            b'r' => Answer::Reject,
            b't' => Answer::Tempfail,
            b's' => Answer::Skip,
            b'p' => Answer::Progress,
            b'4' => Answer::Shutdown,
            b'f' => Answer::ConnectionFailed,
            _ => return None,
        })
    }

    /// Appends the packet. The payload must fit into a frame ([`crate::frame::MAX_PAYLOAD_BYTES`]).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let strings = |out: &mut Vec<u8>, code, index: Option<u32>, strings: &[&[u8]]| {
            put(out, code, |out| {
                index.iter().for_each(|index| out.extend_from_slice(&index.to_be_bytes()));
                strings.iter().for_each(|string| put_string(out, string));
            });
        };
        let with_args = |out: &mut Vec<u8>, code, address: &[u8], args: &[u8]| {
            if args.is_empty() {
                strings(out, code, None, &[address]);
            } else {
                strings(out, code, None, &[address, args]);
            }
        };
        match *self {
            Answer::Negotiate(offer, lists) => {
                let mut packet = Vec::new();
                offer.encode(&mut packet);
                put(out, Offer::CODE, |out| {
                    out.extend_from_slice(packet.get(5..).unwrap_or_default());
                    out.extend_from_slice(lists);
                });
            }
            Answer::Continue => strings(out, b'c', None, &[]),
            Answer::Accept => strings(out, b'a', None, &[]),
            Answer::Discard => strings(out, b'd', None, &[]),
            Answer::Reject => strings(out, b'r', None, &[]),
            Answer::Tempfail => strings(out, b't', None, &[]),
            Answer::Skip => strings(out, b's', None, &[]),
            Answer::Progress => strings(out, b'p', None, &[]),
            Answer::Shutdown => strings(out, b'4', None, &[]),
            Answer::ConnectionFailed => strings(out, b'f', None, &[]),
            Answer::ReplyCode(text) => strings(out, b'y', None, &[text]),
            Answer::AddHeader(name, value) => strings(out, b'h', None, &[name, value]),
            Answer::InsertHeader(index, name, value) => strings(out, b'i', Some(index), &[name, value]),
            Answer::ChangeHeader(index, name, value) => strings(out, b'm', Some(index), &[name, value]),
            Answer::ChangeSender(address, args) => with_args(out, b'e', address, args),
            Answer::AddRecipientArgs(address, args) => with_args(out, b'2', address, args),
            Answer::AddRecipient(address) => strings(out, b'+', None, &[address]),
            Answer::DeleteRecipient(address) => strings(out, b'-', None, &[address]),
            Answer::ReplaceBody(chunk) => put(out, b'b', |out| out.extend_from_slice(chunk)),
            Answer::Quarantine(reason) => strings(out, b'q', None, &[reason]),
        }
    }
}

/// A string that ends in NUL.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if !rest.contains(&0) {
        return None;
    }
    let (string, tail) = split_string(rest);
    *rest = tail;
    Some(string)
}

/// A string whose NUL is the last byte.
fn take_last<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    take(rest).filter(|_| rest.is_empty())
}

fn take_indexed<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8], &'a [u8])> {
    let (index, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some((u32::from_be_bytes(*index), take(rest)?, take_last(rest)?))
}

/// Nothing, or one string whose NUL is the last byte.
fn take_args(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_last() {
        None => Some(rest),
        Some((0, args)) if !args.contains(&0) => Some(args),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::{Actions, Steps};

    fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut buffer = crate::frame::FrameBuffer::new();
        buffer.extend(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = buffer.next_frame().unwrap() {
            frames.push((frame.code, frame.payload.to_vec()));
        }
        frames
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let offer = Offer { version: 6, actions: Actions::QUARANTINE, steps: Steps::SKIP };
        for answer in [
            Answer::Negotiate(offer, b"\0\0\0\x05i\0"),
            Answer::Continue,
            Answer::Accept,
            Answer::Discard,
            Answer::Reject,
            Answer::Tempfail,
            Answer::ReplyCode(b"550 5.7.1 no"),
            Answer::Skip,
            Answer::Progress,
            Answer::Shutdown,
            Answer::ConnectionFailed,
            Answer::AddHeader(b"A", b"b"),
            Answer::InsertHeader(0, b"A", b"b\n\tc"),
            Answer::ChangeHeader(7, b"A", b""),
            Answer::ChangeSender(b"<a@b>", b""),
            Answer::ChangeSender(b"<a@b>", b"SIZE=1"),
            Answer::AddRecipient(b"<a@b>"),
            Answer::AddRecipientArgs(b"<a@b>", b"NOTIFY=NEVER"),
            Answer::DeleteRecipient(b"<a@b>"),
            Answer::ReplaceBody(b"x\0y"),
            Answer::Quarantine(b"why"),
        ] {
            let mut out = Vec::new();
            answer.encode(&mut out);
            let found = frames(&out);
            let [(code, payload)] = &found[..] else { panic!("{answer:?} is {} frames", found.len()) };
            assert_eq!(Answer::decode(Frame { code: *code, payload }), Ok(answer));
        }
    }

    #[test]
    fn an_answer_of_another_form_is_refused_as_postfix_does() {
        for (code, payload) in [
            (b'c', &b"x"[..]),
            (b'a', b"\0"),
            (b'y', b"550 5.7.1 no"),
            (b'y', b"550\0more"),
            (b'y', b""),
            (b'h', b"A\0b"),
            (b'h', b"A\0b\0c\0"),
            (b'i', b"\0\0A\0b\0"),
            (b'm', b"\0\0\0\x01A\0"),
            (b'+', b"<a@b>"),
            (b'e', b"<a@b>\0x\0y\0"),
            (b'q', b""),
            (b'O', b"\0\0\0\x06"),
        ] {
            assert_eq!(Answer::decode(Frame { code, payload }), Err(AnswerError::Form(code)), "{payload:?}");
        }
        assert_eq!(Answer::decode(Frame { code: b'X', payload: b"" }), Err(AnswerError::Code(b'X')));
    }
}
