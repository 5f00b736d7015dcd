//! Vouchers, grants and payments in the plainest words, for the life that dice throw.

use std::collections::{HashMap, HashSet};

use farthing::ledger::{
    AccountKey, Ledger,
    funding::{GrantRequest, Granted, NewVouchers, Paid, Payment, Voided, VoucherUse},
};

use crate::{model::Model, support::*};

/// What all grants of a day may sum to.
const DAILY: u64 = 18_000;

#[derive(Default)]
pub struct Funds {
    /// Value, expiry, and how each ended; numbers count from 1.
    vouchers: Vec<(u64, Option<u64>, Option<End>)>,
    /// By day and account, and by proof.
    granted: HashMap<(u64, AccountKey), u64>,
    proofs: HashMap<[u8; 16], u64>,
    events: HashSet<u64>,
    references: HashSet<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Used(AccountKey),
    Void,
}

impl Funds {
    /// Something happens, in the ledger as here; what it was.
    pub async fn happen(
        &mut self,
        dice: &mut Dice,
        ledger: &dyn Ledger,
        model: &mut Model,
        account: AccountKey,
        now: u64,
    ) -> &'static str {
        match dice.below(8) {
            0 => self.issue(dice, ledger, now).await,
            1..4 => self.redeem(dice, ledger, model, account, now).await,
            4 => self.void(dice, ledger, now).await,
            5..7 => {
                let first = self.grant(dice, ledger, model, account, now).await;
                // Who asks once asks again: days go by too fast for it to come by itself.
                if dice.one_in(3) { self.grant(dice, ledger, model, account, now).await } else { first }
            }
            _ => self.pay(dice, ledger, model, account, now).await,
        }
    }

    fn code(number: u64) -> [u8; 32] {
        let mut code = [0; 32];
        code[..8].copy_from_slice(&number.to_be_bytes());
        code
    }

    async fn issue(&mut self, dice: &mut Dice, ledger: &dyn Ledger, now: u64) -> &'static str {
        let (value, count) = (1 + dice.below(20_000), 1 + dice.below(3));
        let expiry = dice.one_in(2).then(|| now + dice.below(5 * DAY));
        let numbers: Vec<u64> = (1..=count).map(|n| self.vouchers.len() as u64 + n).collect();
        let codes = numbers.iter().map(|number| Self::code(*number)).collect();
        let new = NewVouchers { now, value: micros(value), expiry, memo: String::new(), codes };
        assert_eq!(ledger.voucher_issue(new).await.unwrap(), numbers);
        self.vouchers.extend(numbers.iter().map(|_| (value, expiry, None)));
        "issued"
    }

    /// Some voucher's number, or one beyond.
    fn some(&self, dice: &mut Dice) -> u64 {
        1 + dice.below(self.vouchers.len() as u64 + 1)
    }

    async fn redeem(
        &mut self,
        dice: &mut Dice,
        ledger: &dyn Ledger,
        model: &mut Model,
        account: AccountKey,
        now: u64,
    ) -> &'static str {
        let number = self.some(dice);
        let name = format!("account:{account}");
        let found = ledger.voucher_use(Self::code(number), account, now).await.unwrap();
        let voucher = self.vouchers.get_mut(usize::try_from(number).unwrap() - 1);
        let credited = voucher.and_then(|(value, expiry, end)| match end {
            None if expiry.is_none_or(|last| now <= last) => {
                *end = Some(End::Used(account));
                Some((*value, false))
            }
            Some(End::Used(by)) if *by == account => Some((*value, true)),
            _ => None,
        });
        let Some((value, again)) = credited else {
            assert_eq!(found, VoucherUse::No);
            return "worth nothing";
        };
        if !again {
            model.transfer("funding:voucher", &name, value);
        }
        let balance = micros(model.balance(&name));
        assert_eq!(found, VoucherUse::Credited { number, value: micros(value), balance, again });
        if again { "used before" } else { "used" }
    }

    async fn void(&mut self, dice: &mut Dice, ledger: &dyn Ledger, now: u64) -> &'static str {
        let number = self.some(dice);
        let found = ledger.voucher_void(number, now).await.unwrap();
        let expected = match self.vouchers.get_mut(usize::try_from(number).unwrap() - 1) {
            None => Voided::NoSuch,
            Some((_, _, Some(End::Used(by)))) => Voided::Used(*by),
            Some((_, _, Some(End::Void))) => Voided::Before,
            Some((_, _, end)) => {
                *end = Some(End::Void);
                Voided::Now
            }
        };
        assert_eq!(found, expected);
        "void"
    }

    async fn grant(
        &mut self,
        dice: &mut Dice,
        ledger: &dyn Ledger,
        model: &mut Model,
        account: AccountKey,
        now: u64,
    ) -> &'static str {
        let day = now / DAY;
        // A proof is dated, and names its account.
        let mut proof = [0; 16];
        proof[..8].copy_from_slice(&(day * 4 + dice.below(2)).to_be_bytes());
        proof[8] = account.0[0];
        let amount = 5_000 + dice.below(10_000);
        let daily_max = micros(DAILY);
        let request = GrantRequest {
            now,
            account,
            amount: micros(amount),
            daily_max,
            network: [0; 16],
            network_max: daily_max,
            given_max: daily_max,
            proof,
        };
        let found = ledger.grant(request).await.unwrap();
        let name = format!("account:{account}");
        if let Some(before) = self.proofs.get(&proof) {
            let balance = micros(model.balance(&name));
            assert_eq!(found, Granted::Credited { amount: micros(*before), balance, again: true });
            return "granted before";
        }
        if self.granted.contains_key(&(day, account)) {
            assert_eq!(found, Granted::HadToday);
            return "had today";
        }
        let given: u64 = self.granted.iter().filter(|((d, _), _)| *d == day).map(|(_, given)| given).sum();
        if given + amount > DAILY {
            assert_eq!(found, Granted::BudgetUsed);
            return "budget used";
        }
        self.granted.insert((day, account), amount);
        self.proofs.insert(proof, amount);
        model.transfer("grants", &name, amount);
        let balance = micros(model.balance(&name));
        assert_eq!(found, Granted::Credited { amount: micros(amount), balance, again: false });
        "granted"
    }

    async fn pay(
        &mut self,
        dice: &mut Dice,
        ledger: &dyn Ledger,
        model: &mut Model,
        account: AccountKey,
        now: u64,
    ) -> &'static str {
        let (event, reference, amount) = (dice.below(30), dice.below(30), 1 + dice.below(20_000));
        let payment = Payment {
            now,
            provider: "stripe",
            event: event.to_string(),
            reference: reference.to_string(),
            account,
            amount: micros(amount),
        };
        let found = ledger.payment(payment).await.unwrap();
        if self.events.contains(&event) || self.references.contains(&reference) {
            assert_eq!(found, Paid::Before);
            return "told before";
        }
        self.events.insert(event);
        self.references.insert(reference);
        let name = format!("account:{account}");
        model.transfer("funding:stripe", &name, amount);
        assert_eq!(found, Paid::Credited(micros(model.balance(&name))));
        "paid in"
    }
}
