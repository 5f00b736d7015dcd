//! Work for the page: a puzzle of memory-hard hashes, made and checked without remembering anything. Pure.
//!
//! The challenge names nothing but carries a MAC over recipient, sender, time and difficulty, so the office keeps no
//! list of those it gave. It holds [`PUZZLES`] puzzles: for each, find a number so that Argon2id of it begins with
//! enough zero bits. With several small ones instead of a large one luck evens out, so that the page can say about how
//! long; and eight hashes check what took two thousand. A false solution would cost its maker nothing and the office a
//! hash, so the numbers are sealed: a ninth puzzle of small hashes over them all, which is a two-hundredth of the work,
//! takes seven times as long as that hash, and is checked in no time. What always holds: a challenge is worth one
//! pass, for [`Challenge::id`] names it, however often it is solved.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

use crate::{address::Address, stamp::tokens::TokenKey};

/// Memory of one hash, in KiB. A phone has room for four at a time; a graphics card's cores have not.
pub const MEMORY_KIB: u32 = 32 * 1024;
/// Puzzles of a challenge; a power of two.
pub const PUZZLES: usize = 8;
/// log2 of [`PUZZLES`]: so many bits of the difficulty are in their number.
const PUZZLES_BITS: u32 = PUZZLES.trailing_zeros();
/// The least difficulty: every number solves a puzzle.
pub const BITS_MIN: u32 = PUZZLES_BITS;
/// The most: hours of a fast machine.
pub const BITS_MAX: u32 = 24;
/// Memory of one hash of the seal, in KiB: more would take the office longer to check, and with less a browser needs more
/// time around each hash than for it.
pub const SEAL_MEMORY_KIB: u32 = 256;
/// Zero bits of a seal at the most: a thousand hashes of a hundred-and-twenty-eighth of [`MEMORY_KIB`].
const SEAL_BITS_MAX: u32 = 10;
/// By how much the seal's bits are fewer than those of all the work: so that it is a two-hundred-and-fiftieth of it.
const SEAL_BITS_FEWER: u32 = 1;
/// How long a challenge may be solved, in seconds: a slow phone at the usual difficulty takes some minutes.
pub const LIFETIME_S: u64 = 3_600;
/// Octets of a hash that count.
const TAG_OCTETS: usize = 16;
/// Octets of a challenge: expiry, difficulty, seed, MAC.
const OCTETS: usize = 8 + 1 + 16 + 16;

/// A challenge, made here or read; only [`Challenge::is_genuine`] says whether it is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    expires: u64,
    bits: u8,
    seed: [u8; 16],
    mac: [u8; 16],
}

impl Challenge {
    /// A challenge to let in a letter of `from` to `to`; `bits` is log2 of the hashes it takes on average.
    #[must_use]
    pub fn make(key: &TokenKey, to: &Address, from: &Address, bits: u32, seed: [u8; 16], now: u64) -> Self {
        let bits = u8::try_from(bits.clamp(BITS_MIN, BITS_MAX)).unwrap_or(u8::MAX);
        let mut challenge = Self { expires: now.saturating_add(LIFETIME_S), bits, seed, mac: [0; 16] };
        challenge.mac = challenge.mac_by(key, to, from);
        challenge
    }

    /// Reads what [`Challenge::to_text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; OCTETS] = crate::stamp::taglist::base64(text)?;
        let (expires, rest) = bytes.split_first_chunk()?;
        let (bits, rest) = rest.split_first()?;
        let (seed, mac) = rest.split_first_chunk()?;
        let expires = u64::from_be_bytes(*expires);
        Some(Self { expires, bits: *bits, seed: *seed, mac: mac.try_into().ok()? })
    }

    /// As the page gets and returns it.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.to_bytes())
    }

    fn to_bytes(&self) -> [u8; OCTETS] {
        let mut bytes = [0; OCTETS];
        let parts = [&self.expires.to_be_bytes()[..], &[self.bits], &self.seed, &self.mac];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Whether one of the site's keys made it for these two.
    #[must_use]
    pub fn is_genuine(&self, keys: &[TokenKey], to: &Address, from: &Address) -> bool {
        keys.iter().any(|key| self.mac_by(key, to, from).ct_eq(&self.mac).into())
    }

    fn mac_by(&self, key: &TokenKey, to: &Address, from: &Address) -> [u8; 16] {
        // An address holds no zero byte: where one ends is certain.
        let (to, from) = (to.to_bytes(), from.to_bytes());
        let times = self.expires.to_be_bytes();
        key.mac(&[b"postage-page-v1\0", &to, b"\0", &from, b"\0", &times, &[self.bits], &self.seed])
    }

    /// Whether it can still be solved.
    #[must_use]
    pub const fn is_over(&self, now: u64) -> bool {
        self.expires < now
    }

    /// When it is over, in Unix seconds.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// What names it, and the pass it is worth.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        blake3::Hasher::new_derive_key("farthing page 1 solved challenge")
            .update(&self.to_bytes())
            .finalize_xof()
            .fill(&mut id);
        id
    }

    /// Zero bits that each puzzle's hash begins with.
    #[must_use]
    pub fn bits_each(&self) -> u32 {
        u32::from(self.bits).saturating_sub(PUZZLES_BITS)
    }

    /// Whether these numbers solve its puzzles. Takes [`PUZZLES`] hashes of [`MEMORY_KIB`] at the most, one at a time,
    /// and ends with the first that is wrong. It begins with puzzle `first` (modulo their number) and goes round; where
    /// that is chosen at random, to solve only some buys a maker of false solutions little of our time.
    #[must_use]
    pub fn is_solved_by(&self, numbers: &[u64; PUZZLES], first: u8) -> bool {
        let mut memory = vec![Block::default(); MEMORY_KIB as usize];
        let first = usize::from(first) % PUZZLES;
        (0..).zip(numbers).cycle().skip(first).take(PUZZLES).all(|(puzzle, number)| {
            self.hash(puzzle, *number, &mut memory).is_some_and(|hash| zero_bits(&hash) >= self.bits_each())
        })
    }

    /// Zero bits that the seal's hash begins with.
    #[must_use]
    pub fn seal_bits(&self) -> u32 {
        u32::from(self.bits).saturating_sub(SEAL_BITS_FEWER).min(SEAL_BITS_MAX)
    }

    /// Whether these numbers are sealed by this one. Takes one hash of [`SEAL_MEMORY_KIB`].
    #[must_use]
    pub fn is_sealed_by(&self, numbers: &[u64; PUZZLES], seal: u64) -> bool {
        let mut memory = vec![Block::default(); SEAL_MEMORY_KIB as usize];
        let sealed: Vec<u8> = numbers.iter().chain([&seal]).flat_map(|number| number.to_be_bytes()).collect();
        self.hash_of(&sealed, SEAL_MEMORY_KIB, &mut memory)
            .is_some_and(|hash| zero_bits(&hash) >= self.seal_bits())
    }

    /// The hash of puzzle and number.
    fn hash(&self, puzzle: u8, number: u64, memory: &mut [Block]) -> Option<[u8; TAG_OCTETS]> {
        let mut password = [puzzle; 9];
        password.iter_mut().skip(1).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        self.hash_of(&password, MEMORY_KIB, memory)
    }

    /// Argon2id (version 1.3, one pass, one lane); the salt is the whole challenge.
    fn hash_of(&self, password: &[u8], memory_kib: u32, memory: &mut [Block]) -> Option<[u8; TAG_OCTETS]> {
        let params = Params::new(memory_kib, 1, 1, Some(TAG_OCTETS)).ok()?;
        let mut hash = [0; TAG_OCTETS];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, &self.to_bytes(), &mut hash, memory)
            .ok()?;
        Some(hash)
    }
}

fn zero_bits(hash: &[u8; TAG_OCTETS]) -> u32 {
    u128::from_be_bytes(*hash).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_262_400;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn challenge(bits: u32) -> Challenge {
        let (to, from) = (address("bob@b.example"), address("alice@a.example"));
        Challenge::make(&TokenKey::new([7; 32]), &to, &from, bits, [9; 16], NOW)
    }

    #[test]
    fn a_challenge_is_for_its_two_alone() {
        let keys = [TokenKey::new([1; 32]), TokenKey::new([7; 32])];
        let (bob, alice) = (address("bob@b.example"), address("alice@a.example"));
        let made = challenge(11);
        let read = Challenge::parse(&made.to_text()).unwrap();
        assert_eq!(read, made);
        assert!(read.is_genuine(&keys, &bob, &alice), "an older key still counts");
        assert!(!read.is_genuine(&keys[..1], &bob, &alice));
        assert!(!read.is_genuine(&keys, &alice, &bob));
        assert!(!read.is_genuine(&keys, &bob, &address("eve@a.example")));
        assert!(!read.is_over(NOW + LIFETIME_S) && read.is_over(NOW + LIFETIME_S + 1));
        let changed = [
            Challenge { expires: made.expires + 1, ..made.clone() },
            Challenge { bits: 3, ..made.clone() },
            Challenge { seed: [8; 16], ..made.clone() },
        ];
        for forged in changed {
            assert!(!forged.is_genuine(&keys, &bob, &alice), "{forged:?}");
            assert_ne!(forged.id(), made.id());
        }
        for text in ["", "AAAA", &made.to_text()[1..], &format!("{}=", made.to_text())] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_solve_it_or_not() {
        let easy = challenge(BITS_MIN);
        assert_eq!(easy.bits_each(), 0);
        assert!(easy.is_solved_by(&[0; PUZZLES], 0), "every number does");
        let made = challenge(5);
        let mut memory = vec![Block::default(); MEMORY_KIB as usize];
        let mut find = |puzzle: u8, solves: bool| {
            let mut bits = |n: &u64| zero_bits(&made.hash(puzzle, *n, &mut memory).unwrap());
            (0..).find(|n| (bits(n) >= 2) == solves).unwrap()
        };
        let good: [u64; PUZZLES] = std::array::from_fn(|puzzle| find(puzzle as u8, true));
        assert!([0, 7, 255].into_iter().all(|first| made.is_solved_by(&good, first)));
        let mut bad = good;
        bad[PUZZLES - 1] = find(PUZZLES as u8 - 1, false);
        assert!([0, 7, 255].into_iter().all(|first| !made.is_solved_by(&bad, first)));
    }

    #[test]
    fn a_seal_is_for_all_the_numbers_and_costs_little_of_the_work() {
        for (bits, seal_bits) in [(0, 2), (3, 2), (4, 3), (11, 10), (24, 10)] {
            assert_eq!(challenge(bits).seal_bits(), seal_bits, "{bits}");
        }
        let (made, numbers) = (challenge(9), [1, 2, 3, 4, 5, 6, 7, 8]);
        let seal = (0..).find(|seal| made.is_sealed_by(&numbers, *seal)).unwrap();
        assert!(!made.is_sealed_by(&numbers, seal + 1));
        for place in 0..PUZZLES {
            let mut other = numbers;
            other[place] += 1;
            assert!(!made.is_sealed_by(&other, seal), "{place}");
        }
    }

    #[test]
    fn the_hash_is_what_the_page_computes() {
        // By the WebAssembly module that the page uses, from a challenge of these octets.
        let made = Challenge { expires: 0, bits: 0, seed: [0; 16], mac: [0; 16] };
        let mut memory = vec![Block::default(); MEMORY_KIB as usize];
        let hash = made.hash(3, 0x0102_0304_0506_0708, &mut memory).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&hash), "87eb915de3c33bb20eca5f0371d0bc55");
    }

    #[test]
    fn difficulties_out_of_range_become_the_nearest() {
        assert_eq!((challenge(0).bits, challenge(99).bits), (3, 24));
    }
}
