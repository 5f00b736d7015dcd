//! Doors for fuzzing: functions that take any bytes and panic when something that must always hold does not.
//!
//! Called from property tests, from a replay of kept inputs, or by a fuzzer; they need no feature of either.

use std::sync::Arc;

use crate::command::Command;
use crate::frame::{Frame, FrameBuffer};
use crate::negotiate::{Offer, Steps, Wanted};
use crate::reply::Answer;
use crate::session::{Event, Session};
use crate::text::SmtpReply;
use crate::verdict::{BodyReply, RcptReply, Reply, Verdict};

/// Bytes as they come, in pieces of any size: the same frames as in one piece, and no memory for what was only
/// announced.
pub fn frames(bytes: &[u8], pieces: &[u8]) {
    let whole = collect(&[bytes]);
    let mut rest = bytes;
    let mut parts = Vec::new();
    for &piece in pieces {
        let (part, tail) = rest.split_at(rest.len().min(usize::from(piece)));
        parts.push(part);
        rest = tail;
    }
    parts.push(rest);
    assert_eq!(collect(&parts), whole, "frames depend on how bytes were cut");
}

type Frames = (Vec<(u8, Vec<u8>)>, Option<crate::frame::FrameError>);

fn collect(parts: &[&[u8]]) -> Frames {
    let mut buffer = FrameBuffer::new();
    let mut frames = Vec::new();
    for part in parts {
        buffer.extend(part);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => frames.push((frame.code, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// One packet from an MTA: what can be read is written the same, and reads the same again.
pub fn command(code: u8, payload: &[u8]) {
    if let Ok(command) = Command::decode(Frame { code, payload }) {
        let (again, error) = encoded(|out| command.encode(out));
        assert_eq!(error, None);
        let frame = again.first().map(|(code, payload)| Frame { code: *code, payload });
        assert_eq!(frame.map(Command::decode), Some(Ok(command)));
    }
}

/// One packet from a filter: likewise.
pub fn answer(code: u8, payload: &[u8]) {
    if let Ok(answer) = Answer::decode(Frame { code, payload }) {
        let (again, _) = encoded(|out| answer.encode(out));
        let frame = again.first().map(|(code, payload)| Frame { code: *code, payload });
        assert_eq!(frame.map(Answer::decode), Some(Ok(answer)));
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Frames {
    let mut out = Vec::new();
    encode(&mut out);
    collect(&[&out])
}

/// A whole connection after an offer of everything: `steps` is what the filter wants, `answers` how its handler
/// answers, one byte an event. Exactly the answers that are owed are given, and every message ends once.
pub fn session(steps: u32, answers: &[u8], bytes: &[u8]) {
    let wanted = Wanted::nothing().steps(Steps::from_bits(steps));
    let mut session = Session::new(Arc::new(wanted));
    let mut input = Vec::new();
    let offer =
        Offer { version: 6, actions: crate::negotiate::Actions::NONE, steps: Steps::from_bits(0x1F_FFFF) };
    offer.encode(&mut input);
    input.extend_from_slice(bytes);
    let mut buffer = FrameBuffer::new();
    buffer.extend(&input);
    let mut answers = answers.iter().copied().cycle();
    let mut open = false;
    while let Ok(Some(frame)) = buffer.next_frame() {
        let owed = replies_owed(frame, steps);
        let Ok(received) = session.receive(frame) else { break };
        assert!(!received.aborts || open, "the end of a message that was not begun, or had ended");
        open &= !received.aborts;
        open |= is_of_a_message(&received.event);
        open &= !answer_event(&mut session, &received.event, answers.next().unwrap_or(0));
        let (replies, error) = collect(&[session.output()]);
        assert_eq!(error, None);
        let replies: Vec<u8> = replies.iter().map(|(code, _)| *code).collect();
        assert_eq!(replies.len(), owed, "answers {replies:?} to {:?}", char::from(frame.code));
        assert!(frame.code == b'B' || !replies.contains(&b's'), "skip where it is not a body");
        assert!(frame.code != b'R' || !replies.iter().any(|code| b"ad".contains(code)), "accept at RCPT");
        session.sent(session.output().len());
        if received.event == Event::Quit {
            break;
        }
    }
    assert_eq!(session.end(), open, "a message must end once");
}

/// Counted from the packet alone, not from what the session knows.
fn replies_owed(frame: Frame<'_>, steps: u32) -> usize {
    let unanswered = match frame.code {
        b'O' | b'E' => 0,
        b'C' => 0x1000,
        b'H' => 0x2000,
        b'M' => 0x4000,
        b'R' => 0x8000,
        b'T' => 0x1_0000,
        b'U' => 0x2_0000,
        b'N' => 0x4_0000,
        b'L' => 0x80,
        b'B' => 0x8_0000,
        _ => return 0,
    };
    usize::from(steps & unanswered == 0)
}

fn is_of_a_message(event: &Event<'_>) -> bool {
    match event {
        Event::Mail(..) | Event::Rcpt(..) | Event::RejectedRcpt(_) | Event::Data | Event::Header(..) => true,
        Event::EndOfHeaders | Event::Body(_) | Event::EndOfMessage(_) => true,
        Event::Connect(_) | Event::Helo(_) | Event::Unknown(_) => false,
        Event::Nothing | Event::NewConnection | Event::Quit => false,
    }
}

/// Answers as the byte says, and says whether that decided a message.
fn answer_event(session: &mut Session, event: &Event<'_>, answer: u8) -> bool {
    let refusal = SmtpReply::trouble("try again later");
    match event {
        Event::Nothing | Event::Quit | Event::NewConnection | Event::RejectedRcpt(_) => false,
        Event::Rcpt(..) | Event::Unknown(_) => {
            let refuses = answer % 8 == 1;
            session.answer_one(if refuses { RcptReply::Refuse(refusal) } else { RcptReply::Continue });
            // One recipient cannot be refused alone where no answer is owed.
            let unanswered = session.context().terms().steps.contains(Steps::NR_RCPT);
            refuses && unanswered && matches!(event, Event::Rcpt(..))
        }
        Event::Body(_) => {
            session.answer_body(if answer % 2 == 1 { BodyReply::Skip } else { BodyReply::Continue });
            false
        }
        Event::EndOfMessage(_) => {
            let verdict = match answer % 4 {
                1 => Verdict::Refuse(refusal),
                2 => Verdict::Discard,
                _ => Verdict::deliver(),
            };
            assert_eq!(session.answer_verdict(verdict), Ok(()));
            true
        }
        _ => {
            let reply = match answer % 16 {
                1 => Reply::Refuse(refusal),
                2 => Reply::Accept,
                3 => Reply::Discard,
                _ => Reply::Continue,
            };
            let decides = reply != Reply::Continue;
            session.answer(reply);
            decides && is_of_a_message(event)
        }
    }
}
