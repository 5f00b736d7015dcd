//! Properties over random input: whatever comes, answers are neither owed nor overpaid, and how bytes were cut
//! does not matter.

use farthing_milter::frame::write_frame;
use farthing_milter::fuzz;
use proptest::prelude::*;

/// Codes of commands, the common ones more often.
const CODES: &[u8] = b"CHMRTLNBEAMRTLNBEMRTLLNBBEMRRRTLLLNBEDDDDUKQO";

/// A packet that means something most times, and some bytes that mean nothing now and then.
fn packet() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let code = proptest::sample::select(CODES);
    let payload = prop_oneof![
        Just(b"<a@a.example>\0".to_vec()),
        Just(b"Ri\0Q1\0{rcpt_mailer}\0error\0".to_vec()),
        Just(b"Mi\0Q1\0".to_vec()),
        Just(b"Subject\0 x\0".to_vec()),
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    (code, payload)
}

/// Messages in their right order with other packets strewn in.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let message = Just(b"MRTLNBE".iter().map(|&code| (code, b"x\0y\0".to_vec())).collect::<Vec<_>>());
    let stray = packet().prop_map(|packet| vec![packet]);
    let part = prop_oneof![3 => message, 2 => stray];
    (any::<bool>(), proptest::collection::vec(part, 0..12)).prop_map(|(greets, parts)| {
        let mut bytes = Vec::new();
        if greets {
            write_frame(&mut bytes, b'C', b"x\x004\0\x19192.0.2.1\0");
            write_frame(&mut bytes, b'H', b"a.example\0");
        }
        parts.iter().flatten().for_each(|(code, payload)| write_frame(&mut bytes, *code, payload));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pitfall_05_answers_are_neither_owed_nor_overpaid(
        steps in 0u32..0x20_0000,
        answers in proptest::collection::vec(any::<u8>(), 1..40),
        bytes in conversation(),
    ) {
        fuzz::session(steps, &answers, &bytes);
    }

    #[test]
    fn pitfall_05_with_every_stage_unanswered_only_the_end_is_answered(
        answers in proptest::collection::vec(any::<u8>(), 1..40),
        bytes in conversation(),
    ) {
        fuzz::session(0xF_F080, &answers, &bytes);
    }

    #[test]
    fn pitfall_01_frames_do_not_depend_on_how_bytes_were_cut(
        bytes in conversation(),
        pieces in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        fuzz::frames(&bytes, &pieces);
    }

    #[test]
    fn pitfall_02_any_bytes_are_frames_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        pieces in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        fuzz::frames(&bytes, &pieces);
    }

    #[test]
    fn pitfall_09_any_macro_packet_is_taken(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b'D', &payload);
        fuzz::session(0, &[0], &bytes);
        fuzz::command(b'D', &payload);
    }

    #[test]
    fn pitfall_13_any_bytes_are_kept_in_commands_and_answers(
        code in any::<u8>(),
        known in proptest::sample::select(CODES),
        answer in proptest::sample::select(b"cadrtyspO4fhime+2-bq".as_slice()),
        payload in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..60),
    ) {
        fuzz::command(code, &payload);
        fuzz::command(known, &payload);
        fuzz::answer(code, &payload);
        fuzz::answer(answer, &payload);
    }
}
