//! Looking for the counter that makes a stamp (SPEC.md §4), one SHA-1 block a try.
//!
//! The counter stands in the last block of what is hashed, at its very end, in hexadecimal digits of fixed width
//! behind as many zeros as it takes: all blocks before are hashed once, and a try is one copy of five words and one
//! block. As the `hashcash` program does, which is why long stamps are full of zeros.

use std::ops::Range;

use sha1::block_api::compress;

/// Octets of a SHA-1 block.
const BLOCK: usize = 64;
/// Digits of a counter: 64 bits, 4 a digit.
const DIGITS: usize = 16;
/// Octets behind the text in its last block: 0x80, and the length in bits as eight octets.
const CLOSING: usize = 9;
/// The state that SHA-1 begins with (FIPS 180-4 §5.3.1).
const BEGIN: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];

/// The first stamp of this prefix with so many bits whose counter is in the range; `None` when there is none.
/// About 2^bits counters are looked at before one is found, so callers go by short ranges.
#[must_use]
pub fn search(prefix: &str, bits: u32, counters: Range<u64>) -> Option<String> {
    let mut text = prefix.to_owned();
    while text.len() % BLOCK + DIGITS + CLOSING > BLOCK {
        text.push('0');
    }
    let (blocks, rest) = text.as_bytes().as_chunks::<BLOCK>();
    let mut midway = BEGIN;
    compress(&mut midway, blocks);
    let length_bits = u64::try_from(text.len() + DIGITS).ok()?.checked_mul(8)?;
    let mut block = [0; BLOCK];
    let (digits_at, end) = (rest.len(), rest.len() + DIGITS);
    block.get_mut(..digits_at)?.copy_from_slice(rest);
    *block.get_mut(end)? = 0x80;
    block.last_chunk_mut::<8>()?.copy_from_slice(&length_bits.to_be_bytes());

    for counter in counters {
        block.get_mut(digits_at..end)?.copy_from_slice(&hex(counter));
        let mut state = midway;
        compress(&mut state, std::slice::from_ref(&block));
        if zero_bits(state) >= bits {
            return Some(format!("{text}{counter:016x}"));
        }
    }
    None
}

/// Hexadecimal digits, all sixteen, eight at a time: each octet of a spread number becomes a digit without a branch.
fn hex(number: u64) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    let (high, low) = digits.split_at_mut(DIGITS / 2);
    high.copy_from_slice(&digits_of((number >> 32) & 0xFFFF_FFFF));
    low.copy_from_slice(&digits_of(number & 0xFFFF_FFFF));
    digits
}

/// Eight digits of a number below 2^32.
const fn digits_of(number: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = number;
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    // One in each octet whose digit is a letter; `a` is 39 beyond what follows `9`.
    let letters = (spread + 6 * ONES) >> 4 & ONES;
    (spread + 0x30 * ONES + 39 * letters).to_be_bytes()
}

fn zero_bits(state: [u32; 5]) -> u32 {
    let mut bits = 0;
    for word in state {
        bits += word.leading_zeros();
        if word != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    use super::*;

    #[test]
    fn whatever_the_length_the_text_is_what_was_hashed() {
        for length in 0..200 {
            let prefix = "x".repeat(length);
            let found = search(&prefix, 6, 0..10_000).unwrap();
            assert!(found.starts_with(&prefix));
            assert_eq!(Sha1::digest(&found)[0] >> 2, 0, "{length}: {found}");
            let before = u64::from_str_radix(&found[found.len() - DIGITS..], 16).unwrap();
            assert_eq!(search(&prefix, 6, 0..before), None, "{length}: it is the first");
        }
    }

    #[test]
    fn no_range_no_stamp() {
        assert_eq!(search("1:", 0, 5..5), None);
        assert_eq!(search("1:", 160, 0..5_000), None);
        assert!(search("1:", 0, u64::MAX - 1..u64::MAX).unwrap().ends_with("fffffffffffffffe"));
    }

    proptest! {
        #[test]
        fn counters_are_hexadecimal(counter: u64) {
            let wanted = format!("{counter:016x}");
            prop_assert_eq!(&hex(counter), wanted.as_bytes());
        }
    }
}
