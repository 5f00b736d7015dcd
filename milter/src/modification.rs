//! Changes of a message, made of checked parts, for the end of the message.

use crate::address::{EsmtpArgs, Mailbox};
use crate::frame::{MAX_PAYLOAD_BYTES, put, put_string};
use crate::negotiate::Actions;
use crate::reply::Answer;
use crate::text::{HeaderName, HeaderValue};

/// A change of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modification {
    /// Add a header field at the end of the header.
    AddHeader(HeaderName, HeaderValue),
    /// Insert a header field. Index 0 is above the MTA's own Received, 1 below it in Postfix; after an insert
    /// at 0 a following 1 is still above it. Only 0 means the same everywhere.
    InsertHeader(u32, HeaderName, HeaderValue),
    /// Change the n-th field of this name, counted from 1 among those that came with the message.
    ChangeHeader(u32, HeaderName, HeaderValue),
    /// Delete the n-th field of this name, counted likewise. To delete several, see [`Modification::remove_copies`].
    DeleteHeader(u32, HeaderName),
    /// Change the envelope sender.
    ChangeSender(Mailbox, EsmtpArgs),
    /// Add a recipient. With arguments it is another action, which fewer MTAs know.
    AddRecipient(Mailbox, EsmtpArgs),
    /// Delete a recipient. Deleting all of them would make the message vanish without a trace; a session
    /// answers such a verdict with a temporary failure instead.
    DeleteRecipient(Mailbox),
    /// Replace the body.
    ReplaceBody(Vec<u8>),
}

impl Modification {
    /// Deletes the first `count` fields of this name, the last first: after a delete some MTAs count anew and
    /// others do not. Fields are counted whatever the case of their name.
    pub fn remove_copies(name: &HeaderName, count: u32) -> impl Iterator<Item = Modification> + use<> {
        let name = name.clone();
        (1..=count).rev().map(move |index| Modification::DeleteHeader(index, name.clone()))
    }

    /// What must have been agreed on for it.
    pub fn action(&self) -> Actions {
        match self {
            Modification::AddHeader(..) | Modification::InsertHeader(..) => Actions::ADD_HEADERS,
            Modification::ChangeHeader(..) | Modification::DeleteHeader(..) => Actions::CHANGE_HEADERS,
            Modification::ChangeSender(..) => Actions::CHANGE_SENDER,
            Modification::AddRecipient(_, args) if args.is_empty() => Actions::ADD_RECIPIENTS,
            Modification::AddRecipient(..) => Actions::ADD_RECIPIENTS_ARGS,
            Modification::DeleteRecipient(_) => Actions::DELETE_RECIPIENTS,
            Modification::ReplaceBody(_) => Actions::CHANGE_BODY,
        }
    }

    /// Appends its packet, or packets. `leading_space` is whether [`crate::negotiate::Steps::LEADING_SPACE`] was agreed on: the
    /// MTA then puts no space after the colon itself.
    pub fn encode(&self, leading_space: bool, out: &mut Vec<u8>) {
        let header = |out: &mut Vec<u8>, code, index: Option<u32>, name: &HeaderName, value: &HeaderValue| {
            put(out, code, |out| {
                index.iter().for_each(|index| out.extend_from_slice(&index.to_be_bytes()));
                put_string(out, name.as_str().as_bytes());
                value.put(out, leading_space);
            });
        };
        match self {
            Modification::AddHeader(name, value) => header(out, b'h', None, name, value),
            Modification::InsertHeader(index, name, value) => header(out, b'i', Some(*index), name, value),
            Modification::ChangeHeader(index, name, value) => header(out, b'm', Some(*index), name, value),
            Modification::DeleteHeader(index, name) => {
                Answer::ChangeHeader(*index, name.as_str().as_bytes(), b"").encode(out);
            }
            Modification::ChangeSender(address, args) => {
                Answer::ChangeSender(&bracketed(address), args.bytes()).encode(out);
            }
            Modification::AddRecipient(address, args) if args.is_empty() => {
                Answer::AddRecipient(&bracketed(address)).encode(out);
            }
            Modification::AddRecipient(address, args) => {
                Answer::AddRecipientArgs(&bracketed(address), args.bytes()).encode(out);
            }
            Modification::DeleteRecipient(address) => {
                Answer::DeleteRecipient(&bracketed(address)).encode(out)
            }
            // An empty body takes a packet too: without one the old body would stay.
            Modification::ReplaceBody(body) if body.is_empty() => Answer::ReplaceBody(b"").encode(out),
            Modification::ReplaceBody(body) => {
                body.chunks(MAX_PAYLOAD_BYTES).for_each(|chunk| Answer::ReplaceBody(chunk).encode(out));
            }
        }
    }
}

fn bracketed(address: &Mailbox) -> Vec<u8> {
    [b"<", address.bytes(), b">"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut buffer = crate::frame::FrameBuffer::new();
        buffer.extend(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = buffer.next_frame().unwrap() {
            frames.push((frame.code, frame.payload.to_vec()));
        }
        frames
    }

    fn encoded(modification: &Modification, leading_space: bool) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        modification.encode(leading_space, &mut out);
        frames(&out).remove(0)
    }

    #[test]
    fn pitfall_14_a_leading_space_is_supplied_when_the_mta_adds_none() {
        let name = HeaderName::new("X-A").unwrap();
        let value = HeaderValue::new("b\n c").unwrap();
        let add = Modification::AddHeader(name.clone(), value.clone());
        assert_eq!(encoded(&add, false), (b'h', b"X-A\0b\n c\0".to_vec()));
        assert_eq!(encoded(&add, true), (b'h', b"X-A\0 b\n c\0".to_vec()));
        let delete = Modification::DeleteHeader(2, name);
        assert_eq!(
            encoded(&delete, true),
            (b'm', b"\0\0\0\x02X-A\0\0".to_vec()),
            "a delete has no value at all"
        );
    }

    #[test]
    fn pitfall_21_copies_of_a_header_go_last_first() {
        let name = HeaderName::new("X-A").unwrap();
        let order: Vec<_> = Modification::remove_copies(&name, 3).collect();
        let expected: Vec<_> = [3, 2, 1].map(|index| Modification::DeleteHeader(index, name.clone())).into();
        assert_eq!(order, expected);
        assert_eq!(Modification::remove_copies(&name, 0).count(), 0);
    }

    #[test]
    fn a_body_is_replaced_in_pieces_that_fit() {
        for (bytes, pieces) in [(0, vec![0]), (1, vec![1]), (65_535, vec![65_535]), (65_537, vec![65_535, 2])]
        {
            let mut out = Vec::new();
            Modification::ReplaceBody(vec![b'x'; bytes]).encode(false, &mut out);
            assert_eq!(frames(&out).iter().map(|(_, payload)| payload.len()).collect::<Vec<_>>(), pieces);
        }
    }

    #[test]
    fn addresses_go_out_in_brackets() {
        let bob = Mailbox::new("bob@b.example").unwrap();
        let never = EsmtpArgs::new("NOTIFY=NEVER").unwrap();
        for (modification, code, payload) in [
            (Modification::ChangeSender(bob.clone(), EsmtpArgs::none()), b'e', &b"<bob@b.example>\0"[..]),
            (
                Modification::ChangeSender(bob.clone(), never.clone()),
                b'e',
                b"<bob@b.example>\0NOTIFY=NEVER\0",
            ),
            (Modification::AddRecipient(bob.clone(), EsmtpArgs::none()), b'+', b"<bob@b.example>\0"),
            (Modification::AddRecipient(bob.clone(), never), b'2', b"<bob@b.example>\0NOTIFY=NEVER\0"),
            (Modification::DeleteRecipient(bob), b'-', b"<bob@b.example>\0"),
        ] {
            assert_eq!(encoded(&modification, false), (code, payload.to_vec()));
        }
    }
}
