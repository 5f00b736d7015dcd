//! One digest for what is carried forward on all accounts, kept up to date by the few that change.
//!
//! Pure. A set hash (Bellare and Micciancio 1997; Lewi and others 2019): each element gives 1,024 numbers of 16 bits,
//! drawn from BLAKE3, and a set is their sums. Elements go in and out in any order, at the cost of one each; two sets
//! with the same sums cannot be found.

use blake3::Hasher;

/// Octets of the sums.
const OCTETS: usize = 2_048;
/// Separates this use of BLAKE3 from every other.
const CONTEXT: &str = "farthing ledger 1 carried forward on an account";

/// The digest of a set of (account, micros).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Carried(Box<[u8; OCTETS]>);

impl Carried {
    /// Of the empty set.
    pub fn nothing() -> Self {
        Self(Box::new([0; OCTETS]))
    }

    /// As it was kept; `None` when that cannot be one.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(|octets| Self(Box::new(octets)))
    }

    /// As it is kept.
    pub fn octets(&self) -> &[u8] {
        &*self.0
    }

    /// Exchanges what is carried on an account. Nothing carried is no element.
    pub fn change(&mut self, account: &str, was: i64, is: i64) {
        self.put(account, was, u16::wrapping_sub);
        self.put(account, is, u16::wrapping_add);
    }

    fn put(&mut self, account: &str, micros: i64, operation: fn(u16, u16) -> u16) {
        if micros == 0 {
            return;
        }
        let mut element = [0; OCTETS];
        let mut hasher = Hasher::new_derive_key(CONTEXT);
        hasher.update(&micros.to_be_bytes()).update(account.as_bytes());
        hasher.finalize_xof().fill(&mut element);
        let (sums, _) = self.0.as_chunks_mut::<2>();
        let (numbers, _) = element.as_chunks::<2>();
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = operation(u16::from_be_bytes(*sum), u16::from_be_bytes(*number)).to_be_bytes();
        }
    }

    /// Thirty-two octets that stand for it.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&*self.0).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_the_set_and_not_of_its_history() {
        let mut one = Carried::nothing();
        one.change("a", 0, 5);
        one.change("b", 0, -5);
        let mut other = Carried::nothing();
        for (account, was, is) in
            [("b", 0, 7), ("a", 0, 1), ("c", 0, 3), ("b", 7, -5), ("c", 3, 0), ("a", 1, 5)]
        {
            other.change(account, was, is);
        }
        assert_eq!(one.digest(), other.digest());
        other.change("a", 5, 0);
        other.change("b", -5, 0);
        assert_eq!(other.digest(), Carried::nothing().digest());
    }

    #[test]
    fn another_amount_or_account_is_another_set() {
        let of = |elements: &[(&str, i64)]| {
            let mut carried = Carried::nothing();
            elements.iter().for_each(|(account, micros)| carried.change(account, 0, *micros));
            carried.digest()
        };
        let sets: [&[(&str, i64)]; 6] =
            [&[], &[("a", 5)], &[("a", 6)], &[("b", 5)], &[("a", 5), ("b", -5)], &[("a", -5), ("b", 5)]];
        for (i, one) in sets.iter().enumerate() {
            for other in &sets[..i] {
                assert_ne!(of(one), of(other));
            }
        }
        assert_eq!(Carried::from_octets(&[0; 2_047]).map(|c| c.digest()), None);
    }
}
