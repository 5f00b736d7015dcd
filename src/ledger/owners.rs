//! Which addresses belong together: those of one login share one book, what they sent, and their daily count of work
//! (DESIGN.md "The verdict" row 5).
//!
//! Addresses of exactly the same logins are one owner's, and what is learned for one of them is kept under the first.
//! An address that others share with him (`info@`, of Bob's login and of Carol's) has a book of its own, which each of
//! them reads beside his. Nothing is moved when logins change: what stands under any address of an owner is read, so
//! what an address has learned for itself is not lost when it joins another, and stays with it when it leaves.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::address::Address;

/// Addresses of one owner under which is looked, and as many that are shared with others: look-ups cost the same
/// however many a login owns. Those it is kept under and asked for by are always among them.
pub const LOOKED_UNDER_MAX: usize = 16;
/// Addresses of one login among which those shared with others are searched.
const SHARED_SEARCHED_MAX: usize = 1_000;

/// Whose each address is. The default: each is by itself, `+detail` aside.
#[derive(Clone, Debug, Default)]
pub struct Owners(Option<Arc<HashMap<Address, Arc<Household>>>>);

/// The addresses of exactly the same logins.
#[derive(Debug)]
struct Household {
    /// The first is the one that what belongs to them is kept under.
    members: Vec<Address>,
    shared: Vec<Address>,
}

/// Under which addresses stands what belongs to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// His own, that under which new things are kept first.
    pub own: Vec<Address>,
    /// Those that others own too; only read.
    pub shared: Vec<Address>,
}

impl Owners {
    /// Each address by itself.
    #[must_use]
    pub const fn apart() -> Self {
        Self(None)
    }

    /// By the addresses of each login, in the order in which they are written down; `+detail` is left out of them.
    #[must_use]
    pub fn of_logins(logins: &[Vec<Address>]) -> Self {
        let mut holders: HashMap<&Address, Vec<usize>> = HashMap::new();
        let mut in_order: Vec<&Address> = vec![];
        for (login, addresses) in logins.iter().enumerate() {
            for address in addresses {
                let holders = holders.entry(address).or_insert_with(|| {
                    in_order.push(address);
                    vec![]
                });
                if holders.last() != Some(&login) {
                    holders.push(login);
                }
            }
        }
        let mut households: HashMap<&[usize], Vec<&Address>> = HashMap::new();
        for address in in_order {
            if let Some(holders) = holders.get(address) {
                households.entry(holders).or_default().push(address);
            }
        }
        let mut of = HashMap::new();
        for (same, members) in households {
            let of_one_of_them = same.first().and_then(|&login| logins.get(login)).into_iter().flatten();
            let is_shared = |address: &&Address| {
                let others = holders.get(*address).map_or(&[][..], |holders| holders);
                others.len() > same.len() && same.iter().all(|login| others.binary_search(login).is_ok())
            };
            let mut seen = HashSet::new();
            let shared =
                of_one_of_them.take(SHARED_SEARCHED_MAX).filter(is_shared).filter(|a| seen.insert(*a));
            let household = Arc::new(Household {
                members: members.iter().take(LOOKED_UNDER_MAX).copied().cloned().collect(),
                shared: shared.take(LOOKED_UNDER_MAX).cloned().collect(),
            });
            if members.len() > 1 || !household.shared.is_empty() {
                of.extend(members.into_iter().map(|member| (member.clone(), Arc::clone(&household))));
            }
        }
        if of.is_empty() { Self(None) } else { Self(Some(Arc::new(of))) }
    }

    fn household(&self, bare: &Address) -> Option<&Household> {
        self.0.as_ref()?.get(bare).map(|household| &**household)
    }

    /// The address under which what belongs to this one is kept.
    #[must_use]
    pub fn owner(&self, address: &Address) -> Address {
        let bare = address.without_detail();
        self.household(&bare).and_then(|household| household.members.first().cloned()).unwrap_or(bare)
    }

    /// Under which addresses stands what belongs to this one.
    #[must_use]
    pub fn of(&self, address: &Address) -> Owned {
        let bare = address.without_detail();
        let Some(household) = self.household(&bare) else { return Owned { own: vec![bare], shared: vec![] } };
        let mut own = household.members.clone();
        if !own.contains(&bare) {
            own.push(bare);
        }
        Owned { own, shared: household.shared.clone() }
    }
}

impl Owned {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Address> {
        self.own.iter().chain(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(logins: &[&[&str]]) -> Owners {
        let read = |address: &&str| address.parse().unwrap();
        Owners::of_logins(&logins.iter().map(|own| own.iter().map(read).collect()).collect::<Vec<_>>())
    }

    fn texts(addresses: &[Address]) -> String {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whose_an_address_is() {
        type Row<'a> = (&'a [&'a [&'a str]], &'a str, &'a str, &'a str);
        let bobs = &["bob@b.example", "robert@b.example", "info@b.example"][..];
        let carols = &["info@b.example", "carol@b.example"][..];
        // logins; the address; its own, the first that things are kept under; those shared with others
        let table: &[Row<'_>] = &[
            (&[], "bob+x@b.example", "bob@b.example", ""),
            (&[&["bob@b.example"]], "bob@b.example", "bob@b.example", ""),
            (&[bobs], "robert+x@b.example", "bob@b.example robert@b.example info@b.example", ""),
            (&[bobs], "dave@b.example", "dave@b.example", ""),
            // A shared mailbox has a book of its own, which each who shares it reads.
            (&[bobs, carols], "robert@b.example", "bob@b.example robert@b.example", "info@b.example"),
            (&[bobs, carols], "carol@b.example", "carol@b.example", "info@b.example"),
            (&[bobs, carols], "info@b.example", "info@b.example", ""),
            // Two logins of one person.
            (&[bobs, bobs], "info@b.example", "bob@b.example robert@b.example info@b.example", ""),
            (&[bobs, bobs, carols], "robert@b.example", "bob@b.example robert@b.example", "info@b.example"),
            // Written twice on a line.
            (&[&["bob@b.example", "bob@b.example"]], "bob@b.example", "bob@b.example", ""),
        ];
        for (logins, address, own, shared) in table {
            let owners = owners(logins);
            let owned = owners.of(&address.parse().unwrap());
            assert_eq!(
                (texts(&owned.own), texts(&owned.shared)),
                ((*own).into(), (*shared).into()),
                "{address}"
            );
            assert_eq!(owners.owner(&address.parse().unwrap()), owned.own[0], "{address}");
        }
    }

    #[test]
    fn a_login_of_ten_thousand_addresses_is_looked_up_as_fast_as_any() {
        let many: Vec<Address> = (0..10_000).map(|n| format!("a{n}@b.example").parse().unwrap()).collect();
        let owners = Owners::of_logins(&[many.clone(), many[5_000..].to_vec()]);
        let owned = owners.of(&many[4_999]);
        assert_eq!(owned.own.len(), LOOKED_UNDER_MAX + 1, "that it was asked for by is among them");
        assert_eq!((&owned.own[0], owned.own.last()), (&many[0], Some(&many[4_999])));
        assert_eq!(owners.owner(&many[9_999]), many[5_000]);
        let each_shared: Vec<Vec<Address>> =
            (0..2_000).map(|n| vec![many[n].clone(), many[9_999].clone()]).collect();
        let owned = Owners::of_logins(&each_shared).of(&many[1_999]);
        assert_eq!((owned.own, owned.shared), (vec![many[1_999].clone()], vec![many[9_999].clone()]));
    }
}
