//! Conversations as Postfix 3.7 and Sendmail 8.17 hold them, and as they should not be held, replayed packet by
//! packet through a session: which events come of each, and what is answered.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

use std::sync::Arc;

use farthing_milter::frame::{Frame, FrameBuffer, write_frame};
use farthing_milter::negotiate::{Actions, Offer, Steps, Wanted};
use farthing_milter::session::{Event, Session, Violation};
use farthing_milter::text::SmtpReply;
use farthing_milter::verdict::{BodyReply, RcptReply, Reply, Verdict};

/// A session, and a handler that answers "go on" except where told.
struct Talk {
    session: Session,
    answers: Vec<(&'static str, Reply)>,
    body: BodyReply,
}

fn no() -> Reply {
    Reply::Refuse(SmtpReply::new(550, "5.7.1", ["no"]).unwrap())
}

impl Talk {
    fn fresh(steps: Steps) -> Talk {
        let session = Session::new(Arc::new(Wanted::nothing().steps(steps)));
        Talk { session, answers: Vec::new(), body: BodyReply::Continue }
    }

    /// Negotiated, with what is wanted of everything offered.
    fn new(steps: Steps) -> Talk {
        let mut talk = Talk::fresh(steps);
        let offer =
            Offer { version: 6, actions: Actions::from_bits(0x1FF), steps: Steps::from_bits(0x1F_FFFF) };
        let mut wire = Vec::new();
        offer.encode(&mut wire);
        assert_eq!(talk.say(b'O', &wire[5..]), "-> O");
        talk
    }

    /// And with a client connected and greeted.
    fn greeted(steps: Steps) -> Talk {
        let mut talk = Talk::new(steps);
        talk.say(b'C', b"localhost\x004\x04\xd2127.0.0.1\0");
        talk.say(b'H', b"a.example\0");
        talk
    }

    fn answering(mut self, event: &'static str, reply: Reply) -> Talk {
        self.answers.push((event, reply));
        self
    }

    /// One packet: the events that came of it, `->`, the codes of the answers.
    fn say(&mut self, code: u8, payload: &[u8]) -> String {
        self.try_say(code, payload).unwrap()
    }

    fn try_say(&mut self, code: u8, payload: &[u8]) -> Result<String, Violation> {
        let received = self.session.receive(Frame { code, payload })?;
        let mut said = if received.aborts { "ABORT ".to_string() } else { String::new() };
        let id = self.session.context().queue_id().map(|id| format!("i={} ", id.escape_ascii()));
        let event = match &received.event {
            Event::Connect(client) => format!("CONNECT {} ", client.address),
            Event::Helo(name) => format!("HELO {} ", name.escape_ascii()),
            Event::Mail(sender, _) => format!("MAIL {sender} "),
            Event::Rcpt(recipient, _) => format!("RCPT {recipient} "),
            Event::Data => "DATA ".into(),
            Event::Header(name, value) => format!("HEADER {}:{} ", name.escape_ascii(), value.escape_ascii()),
            Event::EndOfHeaders => "EOH ".into(),
            Event::Body(chunk) => format!("BODY {} ", chunk.escape_ascii()),
            Event::EndOfMessage(chunk) => format!("EOM {} ", chunk.escape_ascii()),
            Event::Unknown(command) => format!("UNKNOWN {} ", command.escape_ascii()),
            Event::RejectedRcpt(recipient) => format!("REJECTED {recipient} "),
            Event::Nothing => String::new(),
            Event::NewConnection => "NEW ".into(),
            Event::Quit => "QUIT ".into(),
        };
        self.answer(&received.event, &event);
        said.push_str(&event);
        if !event.is_empty() {
            said.push_str(&id.unwrap_or_default());
        }
        Ok(format!("{said}-> {}", self.replies()).trim_end().to_string())
    }

    fn answer(&mut self, event: &Event<'_>, line: &str) {
        let reply = self.answers.iter().find(|(text, _)| line.contains(text)).map(|(_, reply)| reply.clone());
        let reply = reply.unwrap_or(Reply::Continue);
        match (event, reply) {
            (Event::Rcpt(..) | Event::Unknown(_), Reply::Refuse(reply)) => {
                self.session.answer_one(RcptReply::Refuse(reply));
            }
            (Event::Rcpt(..) | Event::Unknown(_), _) => self.session.answer_one(RcptReply::Continue),
            (Event::Body(_), _) => self.session.answer_body(self.body),
            (Event::EndOfMessage(_), Reply::Refuse(reply)) => {
                self.session.answer_verdict(Verdict::Refuse(reply)).unwrap();
            }
            (Event::EndOfMessage(_), _) => self.session.answer_verdict(Verdict::deliver()).unwrap(),
            (Event::Nothing | Event::NewConnection | Event::Quit | Event::RejectedRcpt(_), _) => {}
            (_, reply) => self.session.answer(reply),
        }
    }

    fn replies(&mut self) -> String {
        let mut buffer = FrameBuffer::new();
        buffer.extend(self.session.output());
        self.session.sent(usize::MAX);
        let mut codes = String::new();
        while let Some(frame) = buffer.next_frame().unwrap() {
            codes.push(char::from(frame.code));
        }
        codes
    }
}

/// Replays packets, each with what is expected to come of it.
fn replay(talk: &mut Talk, packets: &[(u8, &[u8], &str)]) {
    for (number, (code, payload, expected)) in packets.iter().enumerate() {
        let said = talk.say(*code, payload);
        assert_eq!(said, *expected, "packet {number}, {} {}", char::from(*code), payload.escape_ascii());
    }
}

#[test]
fn pitfall_06_postfix_aborts_after_every_message_and_nothing_comes_of_it() {
    let mut talk = Talk::new(Steps::NONE);
    replay(&mut talk, &[
        (b'D', b"Cj\0mx.b.example\0{daemon_name}\0mx.b.example\0{daemon_addr}\x00127.0.0.1\0v\0Postfix 3.7.11\0", "->"),
        (b'C', b"localhost\x004\x9c\x40127.0.0.1\0", "CONNECT 127.0.0.1 -> c"),
        (b'D', b"H", "->"),
        (b'H', b"a.example\0", "HELO a.example -> c"),
    ]);
    for id in ["Q1", "Q2", "Q3"] {
        let with_id = |stage: char| format!("{stage}i\0{id}\0").into_bytes();
        replay(
            &mut talk,
            &[
                (b'D', b"M{mail_addr}\0a@s\0{mail_host}\0s\0{mail_mailer}\0smtp\0", "->"),
                (b'M', b"<a@s>\0", "MAIL <a@s> -> c"),
                (b'D', b"R{rcpt_addr}\0b@b.example\0{rcpt_host}\0b.example\0{rcpt_mailer}\0virtual\0", "->"),
                (b'R', b"<b@b.example>\0", "RCPT <b@b.example> -> c"),
                (b'D', &[&with_id('R')[..], b"{rcpt_addr}\0c@b.example\0"].concat(), "->"),
                (b'R', b"<c@b.example>\0", &format!("RCPT <c@b.example> i={id} -> c")),
                (b'D', &with_id('T'), "->"),
                (b'T', b"", &format!("DATA i={id} -> c")),
                (b'D', &with_id('L'), "->"),
                (b'L', b"From\0a@s\0", &format!("HEADER From:a@s i={id} -> c")),
                (b'D', &with_id('L'), "->"),
                (b'L', b"Subject\0x\0", &format!("HEADER Subject:x i={id} -> c")),
                (b'D', &with_id('N'), "->"),
                (b'N', b"", &format!("EOH i={id} -> c")),
                (b'D', &with_id('B'), "->"),
                (b'B', b"hi\r\n", &format!("BODY hi\\r\\n i={id} -> c")),
                (b'D', &with_id('E'), "->"),
                (b'E', b"", &format!("EOM  i={id} -> c")),
                (b'A', b"", "->"),
            ],
        );
        assert!(talk.session.context().queue_id().is_none(), "the queue id went with the message");
    }
    replay(&mut talk, &[(b'A', b"", "->"), (b'A', b"", "->"), (b'Q', b"", "QUIT ->")]);
}

#[test]
fn pitfall_06_sendmail_never_aborts_a_complete_message_and_the_next_is_clean() {
    let mut talk = Talk::new(Steps::NONE);
    replay(
        &mut talk,
        &[
            (b'D', b"Cj\0mx\0_\0localhost [127.0.0.1]\0{daemon_name}\0Daemon0\0{if_name}\0localhost\0", "->"),
            (b'C', b"localhost\x006\x9c\x40IPv6:0:0:0:0:0:0:0:1\0", "CONNECT ::1 -> c"),
            (b'H', b"a.example\0", "HELO a.example -> c"),
            (b'D', b"Mi\0Q1\0{mail_mailer}\0esmtp\0{mail_host}\0s.\0{mail_addr}\0a@s\0", "->"),
            (b'M', b"<a@s>\0SIZE=20\0", "MAIL <a@s> i=Q1 -> c"),
            (b'D', b"R{rcpt_mailer}\0local\0{rcpt_addr}\0root\0", "->"),
            (b'R', b"<root@b.example>\0", "RCPT <root@b.example> i=Q1 -> c"),
            (b'T', b"", "DATA i=Q1 -> c"),
            (b'L', b"Subject\0x\0", "HEADER Subject:x i=Q1 -> c"),
            (b'N', b"", "EOH i=Q1 -> c"),
            (b'B', b"hi\r\n", "BODY hi\\r\\n i=Q1 -> c"),
            (b'D', b"E{msg_id}\0<1@s>\0", "->"),
            (b'E', b"", "EOM  i=Q1 -> c"),
            (b'D', b"M{mail_addr}\0z@s\0", "->"),
            (b'M', b"<z@s>\0", "MAIL <z@s> -> c"),
            (b'A', b"", "ABORT ->"),
            (b'D', b"Mi\0Q3\0", "->"),
            (b'M', b"<y@s>\0", "MAIL <y@s> i=Q3 -> c"),
            (b'Q', b"", "ABORT QUIT ->"),
        ],
    );
}

#[test]
fn pitfall_06_a_message_is_over_when_another_begins_however_the_first_stood() {
    for length in 1..7 {
        let mut talk = Talk::greeted(Steps::NONE);
        let message: [(u8, &[u8]); 7] = [
            (b'M', b"<a@s>\0"),
            (b'R', b"<b@b>\0"),
            (b'T', b""),
            (b'L', b"A\0b\0"),
            (b'N', b""),
            (b'B', b"x"),
            (b'E', b""),
        ];
        talk.say(b'D', b"Mi\0OLD\0");
        message.iter().take(length).for_each(|(code, payload)| drop(talk.say(*code, payload)));
        talk.say(b'D', b"M{mail_addr}\0new\0");
        assert_eq!(talk.say(b'M', b"<new@s>\0"), "ABORT MAIL <new@s> -> c", "after {length} packets");
        assert_eq!(talk.session.context().macros().get("mail_addr"), Some(&b"new"[..]));
        for (code, payload) in &message[1..] {
            assert!(!talk.say(*code, payload).contains("OLD"));
        }
    }
}

#[test]
fn pitfall_06_a_decision_about_one_message_does_not_hold_for_the_next() {
    let mut talk = Talk::greeted(Steps::SKIP).answering("MAIL <bad@s>", no());
    talk.body = BodyReply::Skip;
    replay(
        &mut talk,
        &[
            (b'M', b"<bad@s>\0", "MAIL <bad@s> -> y"),
            (b'R', b"<b@b>\0", "-> y"),
            (b'A', b"", "->"),
            (b'M', b"<good@s>\0", "MAIL <good@s> -> c"),
            (b'B', b"1", "BODY 1 -> s"),
            (b'B', b"2", "-> s"),
            (b'E', b"", "EOM  -> c"),
            (b'M', b"<good@s>\0", "MAIL <good@s> -> c"),
            (b'B', b"1", "BODY 1 -> s"),
            (b'M', b"<bad@s>\0", "ABORT MAIL <bad@s> -> y"),
            (b'M', b"<good@s>\0", "MAIL <good@s> -> c"),
        ],
    );
}

#[test]
fn pitfall_08_helo_again_and_goodbye_in_the_middle() {
    let mut talk = Talk::greeted(Steps::NONE).answering("HELO bad", no());
    replay(
        &mut talk,
        &[
            (b'H', b"two\0", "HELO two -> c"),
            (b'M', b"<a@s>\0", "MAIL <a@s> -> c"),
            (b'R', b"<b@b>\0", "RCPT <b@b> -> c"),
            (b'H', b"bad\0", "ABORT HELO bad -> y"),
            (b'M', b"<a@s>\0", "-> y"),
            (b'R', b"<b@b>\0", "-> y"),
            (b'H', b"good\0", "HELO good -> c"),
            (b'M', b"<a@s>\0", "MAIL <a@s> -> c"),
            (b'Q', b"", "ABORT QUIT ->"),
        ],
    );
    assert!(!talk.session.end(), "told once");
}

#[test]
fn pitfall_08_the_connection_may_end_at_every_packet() {
    let packets: [(u8, &[u8]); 9] = [
        (b'C', b"x\0U"),
        (b'H', b"x\0"),
        (b'M', b"<a@s>\0"),
        (b'R', b"<b@b>\0"),
        (b'T', b""),
        (b'L', b"A\0b\0"),
        (b'N', b""),
        (b'B', b"x"),
        (b'E', b""),
    ];
    for length in 0..=packets.len() {
        let mut talk = Talk::new(Steps::NONE);
        packets.iter().take(length).for_each(|(code, payload)| drop(talk.say(*code, payload)));
        assert_eq!(talk.session.end(), (3..9).contains(&length), "after {length} packets");
        assert!(!talk.session.end());
    }
}

#[test]
fn pitfall_05_a_decision_is_told_at_the_next_stage_that_is_answered() {
    let nr = |flags: &[Steps]| flags.iter().fold(Steps::NONE, |all, &flag| all | flag);
    let message: [(u8, &[u8]); 8] = [
        (b'M', b"<a@s>\0"),
        (b'R', b"<b@b>\0"),
        (b'T', b""),
        (b'L', b"A\0b\0"),
        (b'L', b"C\0d\0"),
        (b'N', b""),
        (b'B', b"x"),
        (b'E', b""),
    ];
    for (decides, steps, reply, answers) in [
        ("HEADER A", nr(&[Steps::NR_HEADER]), no(), ["c", "c", "c", "", "", "y", "y", "y"]),
        (
            "HEADER C",
            nr(&[Steps::NR_HEADER, Steps::NR_END_OF_HEADERS]),
            no(),
            ["c", "c", "c", "", "", "", "y", "y"],
        ),
        (
            "EOH",
            nr(&[Steps::NR_END_OF_HEADERS, Steps::NR_BODY]),
            no(),
            ["c", "c", "c", "c", "c", "", "", "y"],
        ),
        ("MAIL", nr(&[Steps::NR_MAIL]), no(), ["", "y", "y", "y", "y", "y", "y", "y"]),
        ("MAIL", nr(&[Steps::NR_MAIL]), Reply::Accept, ["", "c", "a", "a", "a", "a", "a", "a"]),
        ("MAIL", nr(&[Steps::NR_MAIL]), Reply::Discard, ["", "c", "d", "d", "d", "d", "d", "d"]),
        (
            "MAIL",
            nr(&[Steps::NR_MAIL, Steps::NR_DATA]),
            Reply::Accept,
            ["", "c", "", "a", "a", "a", "a", "a"],
        ),
        ("RCPT", nr(&[Steps::NR_RCPT]), no(), ["c", "", "y", "y", "y", "y", "y", "y"]),
        ("RCPT", Steps::NONE, no(), ["c", "y", "c", "c", "c", "c", "c", "c"]),
        ("DATA", Steps::NONE, no(), ["c", "c", "y", "y", "y", "y", "y", "y"]),
    ] {
        let mut talk = Talk::greeted(steps).answering(decides, reply.clone());
        let mut events = 0;
        let said = message.map(|(code, payload)| {
            let said = talk.say(code, payload);
            let (event, answer) = said.split_once("->").unwrap();
            events += usize::from(event.starts_with(decides));
            answer.trim().to_string()
        });
        assert_eq!(said, answers, "{reply:?} at {decides} with {steps}");
        assert_eq!(events, 1);
        assert!(!talk.session.end(), "decided, so not to be told of its end");
    }
}

#[test]
fn a_decision_at_connect_holds_for_the_connection() {
    let mut talk = Talk::new(Steps::NR_CONNECT).answering("CONNECT", no());
    replay(
        &mut talk,
        &[
            (b'C', b"x\0U", "CONNECT unknown ->"),
            (b'H', b"x\0", "-> y"),
            (b'U', b"XYZ\0", "-> y"),
            (b'M', b"<a@s>\0", "-> y"),
            (b'A', b"", "->"),
            (b'M', b"<a@s>\0", "-> y"),
            (b'K', b"", "NEW ->"),
            (b'C', b"x\x004\0\x19192.0.2.1\0", "CONNECT 192.0.2.1 ->"),
        ],
    );
}

#[test]
fn pitfall_03_what_is_no_milter_client_is_told_so() {
    for (code, payload) in
        [(b'G', &b"ET / HTTP/1.1\r\n"[..]), (b'M', b"<a@s>\0"), (b'U', b""), (0, b""), (b'Q', b"")]
    {
        let error = Talk::fresh(Steps::NONE).try_say(code, payload).unwrap_err();
        assert_eq!(error, Violation::NotNegotiated(code));
        assert!(error.to_string().contains("not a milter negotiation"), "{error}");
    }
    let mut buffer = FrameBuffer::new();
    buffer.extend(b"GET / HTTP/1.1\r\n");
    let error = buffer.next_frame().unwrap_err().to_string();
    assert!(error.contains("\"GET \"") && error.contains("not a milter client"), "{error}");
    let mut buffer = FrameBuffer::new();
    buffer.extend(b"EHLO a.example\r\n");
    assert!(buffer.next_frame().is_err());
    let short = Talk::fresh(Steps::NONE).try_say(b'O', b"\0\0\0\x06").unwrap_err();
    assert!(matches!(short, Violation::Command(_)), "{short}");
}

#[test]
fn pitfall_09_macros_are_taken_anywhere() {
    let mut talk = Talk::fresh(Steps::NONE);
    replay(
        &mut talk,
        &[
            (b'D', b"", "->"),
            (b'D', b"C", "->"),
            (b'D', b"Cj\0x", "->"),
            (b'O', b"\0\0\0\x02\0\0\0\0\0\0\0\0", "-> O"),
            (b'D', b"Zj\0x\0", "->"),
            (b'D', b"\xff", "->"),
            (b'D', b"Cj\0x\0_", "->"),
            (b'C', b"x\0U", "CONNECT unknown -> c"),
            (b'D', b"Ui\0QU\0", "->"),
            (b'U', b"XYZ\0", "UNKNOWN XYZ i=QU -> c"),
            (b'D', b"Li\0QL", "->"),
            (b'D', b"B\0\0\0", "->"),
            (b'M', b"<a@s>\0", "MAIL <a@s> -> c"),
        ],
    );
}

#[test]
fn macros_of_an_unknown_command_go_with_it() {
    let mut talk = Talk::greeted(Steps::NONE);
    talk.say(b'D', b"Ui\0QU\0");
    assert_eq!(talk.say(b'U', b"XYZ\0"), "UNKNOWN XYZ i=QU -> c");
    assert_eq!(talk.say(b'M', b"<a@s>\0"), "MAIL <a@s> -> c");
    assert_eq!(talk.session.context().queue_id(), None);
}

#[test]
fn pitfall_15_the_rest_of_the_body_is_skipped_or_swallowed() {
    for (steps, expected) in [
        (Steps::SKIP, ["BODY 1 -> s", "-> s", "EOM  -> c"]),
        (Steps::NONE, ["BODY 1 -> c", "-> c", "EOM  -> c"]),
        (Steps::SKIP | Steps::NR_BODY, ["BODY 1 ->", "->", "EOM  -> c"]),
    ] {
        let mut talk = Talk::greeted(steps);
        talk.body = BodyReply::Skip;
        talk.say(b'M', b"<a@s>\0");
        let said = [talk.say(b'B', b"1"), talk.say(b'B', b"2"), talk.say(b'E', b"3")];
        assert_eq!(said, expected, "with {steps}");
    }
    let mut whole = Talk::greeted(Steps::SKIP);
    whole.say(b'M', b"<a@s>\0");
    let said = [whole.say(b'B', b"1"), whole.say(b'B', b"2"), whole.say(b'E', b"3")];
    assert_eq!(said, ["BODY 1 -> c", "BODY 2 -> c", "EOM 3 -> c"], "whoever wants all of it gets all of it");
}

#[test]
fn pitfall_29_recipients_that_the_mta_refused_are_not_the_message_s() {
    let refused = b"R{rcpt_mailer}\0error\0{rcpt_host}\x00550 5.1.1\0{rcpt_addr}\0User unknown\0";
    let mut talk = Talk::greeted(Steps::REJECTED_RECIPIENTS);
    replay(
        &mut talk,
        &[
            (b'M', b"<a@s>\0", "MAIL <a@s> -> c"),
            (b'D', refused, "->"),
            (b'R', b"<eve@b>\0", "REJECTED <eve@b> -> c"),
            (b'R', b"<bob@b>\0", "RCPT <bob@b> -> c"),
            (b'D', b"R{rcpt_mailer}\0local\0", "->"),
            (b'R', b"<kim@b>\0", "RCPT <kim@b> -> c"),
        ],
    );
    let mut unasked = Talk::greeted(Steps::NONE);
    unasked.say(b'M', b"<a@s>\0");
    unasked.say(b'D', refused);
    assert_eq!(
        unasked.say(b'R', b"<eve@b>\0"),
        "RCPT <eve@b> -> c",
        "an ordinary one where it was not asked for"
    );
}

#[test]
fn stages_that_are_not_sent_may_be_missing() {
    let mut talk =
        Talk::new(Steps::NO_CONNECT | Steps::NO_HELO | Steps::NO_MAIL | Steps::NO_RCPT | Steps::NO_HEADERS);
    replay(
        &mut talk,
        &[
            (b'T', b"", "DATA -> c"),
            (b'B', b"x", "BODY x -> c"),
            (b'E', b"", "EOM  -> c"),
            (b'T', b"", "DATA -> c"),
            (b'A', b"", "ABORT ->"),
        ],
    );
}

#[test]
fn what_is_out_of_order_ends_the_session() {
    for (before, code) in [
        (&b""[..], b'M'),
        (b"", b'H'),
        (b"", b'R'),
        (b"", b'U'),
        (b"C", b'C'),
        (b"C", b'R'),
        (b"C", b'E'),
        (b"C", b'O'),
        (b"CMRTE", b'B'),
        (b"CMRTE", b'R'),
        (b"CMRTL", b'R'),
        (b"CMRTLN", b'L'),
        (b"CMRTLNB", b'N'),
        (b"CMRTA", b'E'),
    ] {
        let mut talk = Talk::new(Steps::NONE);
        before.iter().for_each(|&code| drop(talk.say(code, b"x\0U")));
        let state = talk.session.state();
        let error = talk.try_say(code, b"\0\0\0\x06\0\0\0\0\0\0\0\0").unwrap_err();
        assert_eq!(error, Violation::OutOfOrder { code, state }, "after {}", before.escape_ascii());
    }
    let mut talk = Talk::greeted(Steps::NONE);
    for code in *b"MTRTRRLLLBBBE" {
        assert!(
            talk.try_say(code, b"x\0").is_ok(),
            "a recipient after DATA, and no end of the header, are in order"
        );
    }
}

#[test]
fn every_packet_that_is_read_can_be_said_in_one_go() {
    let mut wire = Vec::new();
    for code in *b"CHMRTLNBE" {
        write_frame(&mut wire, code, b"x\0U");
    }
    let mut buffer = FrameBuffer::new();
    buffer.extend(&wire);
    let mut talk = Talk::new(Steps::NR_HEADER);
    let mut said = Vec::new();
    while let Some(frame) = buffer.next_frame().unwrap() {
        let (code, payload) = (frame.code, frame.payload.to_vec());
        said.push(talk.say(code, &payload).split("-> ").nth(1).unwrap_or("").to_string());
    }
    assert_eq!(said.concat(), "cccccccc", "nine packets, one of them unanswered");
}
