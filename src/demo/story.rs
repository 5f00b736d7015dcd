//! The story: a stranger, a stamp, a forger, and a letter that was wanted.

use super::{
    Narrator, expect,
    mta::{Letter, Mta, Sent},
    site::Site,
};
use crate::{
    address::Address,
    clock::unix_now,
    message::split_message,
    policy::status,
    stamp::{CancelledStamp, SecretKey, Terms},
};

const ALICE_IP: [u8; 4] = [127, 0, 0, 1];
const MALLORY_IP: [u8; 4] = [127, 0, 0, 66];
const ALICE: &str = "alice@a.example";
const MALLORY: &str = "mallory@m.example";
const BOB: &str = "bob@b.example";
/// What a stamp costs here, in micros.
const PRICE: i64 = 2_500;

/// Tells it, step by step.
pub fn tell(site: &Site, mta: &dyn Mta, narrator: &mut Narrator) -> Result<(), String> {
    let mut teller = Teller { site, mta, narrator };
    teller.a_stranger_is_asked_for_postage()?;
    let account = teller.she_opens_a_wallet()?;
    teller.she_gets_money_and_buys(&account)?;
    let letter = teller.she_stamps_her_letter()?;
    let token = teller.it_is_delivered(&letter)?;
    teller.a_retry_costs_nothing(&letter)?;
    teller.the_stamp_is_spent(&letter)?;
    teller.a_thief_gets_nowhere(&letter)?;
    teller.a_forger_gets_nowhere(&letter)?;
    teller.bob_wanted_it(&token, &account)?;
    teller.now_she_is_known()?;
    teller.nobody_else_is_alice()?;
    teller.the_books_are_proved()
}

struct Teller<'a> {
    site: &'a Site,
    mta: &'a dyn Mta,
    narrator: &'a mut Narrator,
}

impl Teller<'_> {
    fn a_stranger_is_asked_for_postage(&mut self) -> Result<(), String> {
        self.narrator.step("Alice, a stranger, writes to Bob. His server asks for postage.");
        self.site.publish()?;
        let sent = self.send(ALICE_IP, ALICE, &message(ALICE, "Lunch?"))?;
        let wanted =
            format!("postage of 0.25c required from new senders; see {}p/{BOB}", self.site.office_url());
        expect(sent.reply.starts_with("550") && sent.reply.contains(&wanted), || {
            format!("not refused: {}", sent.reply)
        })
    }

    fn she_opens_a_wallet(&mut self) -> Result<String, String> {
        self.narrator.step("Alice makes a wallet. Nobody needs to register: an account is a key.");
        self.type_in(&["wallet", "new"], b"")?;
        let shown = self.site.farthing(&["--json", "wallet", "show"], b"")?.done()?.json()?;
        let account = shown.get("account").and_then(|a| a.as_str()).ok_or("no account in `wallet show`")?;
        Ok(account.to_owned())
    }

    fn she_gets_money_and_buys(&mut self, account: &str) -> Result<(), String> {
        self.narrator
            .step("The admin at b.example credits her account, and she buys two stamps for b.example.");
        self.type_as_admin(&["account", "credit", account, "1c", "--memo", "a gift"])?;
        let url = self.site.office_url();
        self.type_in(&["buy", "b.example", "--count", "2", "--office", &url], b"")?;
        self.balances(&[(&format!("account:{account}"), 10_000 - 2 * PRICE), ("stamps", 2 * PRICE)])
    }

    fn she_stamps_her_letter(&mut self) -> Result<Vec<u8>, String> {
        self.narrator.step("She puts a stamp on her letter.");
        let plain = message(ALICE, "Lunch?");
        self.narrator.show("$", &format!("farthing stamp --to {BOB} < letter > stamped"));
        let stamped = self.site.farthing(&["stamp", "--to", BOB], &plain)?.done()?.stdout;
        let value = stamp_of(&stamped)?;
        self.narrator.show(" ", &format!("Postage-Stamp: {}", value.trim()));
        Ok(stamped)
    }

    fn it_is_delivered(&mut self, letter: &[u8]) -> Result<String, String> {
        self.narrator
            .step("The letter is let in; the stamp is redeemed. The money waits in escrow for Bob's word.");
        let sent = self.send(ALICE_IP, ALICE, letter)?;
        let status = self.show_fields(&sent)?;
        expect(status.contains("result=paid") && status.contains("value=2500"), || {
            format!("not paid: {status}")
        })?;
        expect(sent.values("Postage-Stamp").is_empty(), || "the stamp was left in the letter".into())?;
        self.balances(&[("stamps", PRICE), ("escrow:b.example", PRICE)])?;
        let wanted = sent.values(status::WANTED);
        let token =
            wanted.first().and_then(|w| w.split("+w.").nth(1)?.split('@').next()).ok_or("no token")?;
        Ok(token.to_owned())
    }

    fn a_retry_costs_nothing(&mut self, letter: &[u8]) -> Result<(), String> {
        self.narrator.step("Her server did not hear the answer and sends the same letter again: free.");
        let sent = self.send(ALICE_IP, ALICE, letter)?;
        let status = self.show_fields(&sent)?;
        expect(status.contains("result=paid"), || format!("the retry was not let in: {}", sent.reply))?;
        self.balances(&[("stamps", PRICE), ("escrow:b.example", PRICE)])
    }

    fn the_stamp_is_spent(&mut self, letter: &[u8]) -> Result<(), String> {
        self.narrator.step("The same stamp on another letter: refused.");
        let second = with_stamp(&message(ALICE, "And dinner?"), &stamp_of(letter)?);
        let sent = self.send(ALICE_IP, ALICE, &second)?;
        refused_for(&sent, "spent")
    }

    fn a_thief_gets_nowhere(&mut self, letter: &[u8]) -> Result<(), String> {
        self.narrator.step("Mallory steals Alice's stamp for a letter of her own: it is bound to Alice.");
        let stolen = with_stamp(&message(MALLORY, "Buy now!"), &stamp_of(letter)?);
        let sent = self.send(MALLORY_IP, MALLORY, &stolen)?;
        refused_for(&sent, "wrong-sender")
    }

    fn a_forger_gets_nowhere(&mut self, letter: &[u8]) -> Result<(), String> {
        self.narrator.step("Mallory prints a stamp herself, signed with a key of her own.");
        let stamp = forged_stamp(&stamp_of(letter)?)?;
        let sent = self.send(MALLORY_IP, MALLORY, &with_stamp(&message(MALLORY, "Buy now!"), &stamp))?;
        refused_for(&sent, "bad-signature")
    }

    fn bob_wanted_it(&mut self, token: &str, account: &str) -> Result<(), String> {
        self.narrator.step("Bob wanted Alice's letter. One word, and the money goes back.");
        self.type_as_admin(&["wanted", token])?;
        self.balances(&[(&format!("account:{account}"), 10_000 - PRICE), ("escrow:b.example", 0)])
    }

    fn now_she_is_known(&mut self) -> Result<(), String> {
        self.narrator.step("Alice is no stranger any more: her next letter needs no stamp.");
        let sent = self.send(ALICE_IP, ALICE, &message(ALICE, "Thursday then"))?;
        let status = self.show_fields(&sent)?;
        expect(status.contains("result=known"), || format!("she is not known: {}", sent.reply))
    }

    fn nobody_else_is_alice(&mut self) -> Result<(), String> {
        self.narrator.step("Mallory writes as Alice. Her computer is not Alice's, and SPF says so.");
        let sent = self.send(MALLORY_IP, ALICE, &message(ALICE, "Send money"))?;
        expect(sent.reply.contains("postage of 0.25c required"), || format!("let in: {}", sent.reply))
    }

    fn the_books_are_proved(&mut self) -> Result<(), String> {
        self.narrator.step("The books: every movement recomputed.");
        self.type_as_admin(&["ledger", "balances"])?;
        self.type_as_admin(&["ledger", "check"])
    }

    fn send(&mut self, ip: [u8; 4], mail_from: &str, message: &[u8]) -> Result<Sent, String> {
        self.narrator.show(">", &format!("MAIL FROM:<{mail_from}>  RCPT TO:<{BOB}>"));
        let sent = self.mta.send(&Letter { from_ip: ip.into(), mail_from, rcpt_to: BOB, message })?;
        self.narrator.show("<", &sent.reply);
        Ok(sent)
    }

    /// Shows the fields of postage in a delivered letter; returns the status.
    fn show_fields(&mut self, sent: &Sent) -> Result<String, String> {
        for name in [status::STATUS, status::WANTED] {
            for value in sent.values(name) {
                self.narrator.show(" ", &format!("{name}: {value}"));
            }
        }
        Ok(sent.values(status::STATUS).join("\n"))
    }

    fn type_in(&mut self, arguments: &[&str], stdin: &[u8]) -> Result<(), String> {
        self.narrator.show("$", &typed(arguments));
        let ran = self.site.farthing(arguments, stdin)?;
        self.narrator.show(" ", &ran.text());
        ran.done().map(drop)
    }

    /// The same, by one who may read the daemon's configuration.
    fn type_as_admin(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.narrator.show("$", &typed(arguments));
        let config = self.site.config_path();
        let ran = self.site.farthing(&[&["-c", config.as_str()], arguments].concat(), b"")?;
        self.narrator.show(" ", &ran.text());
        ran.done().map(drop)
    }

    fn balances(&mut self, wanted: &[(&str, i64)]) -> Result<(), String> {
        let config = self.site.config_path();
        let value =
            self.site.farthing(&["--json", "-c", &config, "ledger", "balances"], b"")?.done()?.json()?;
        let all = value.get("balances").and_then(|b| b.as_object()).ok_or("no balances")?;
        let sum: i64 = all.values().filter_map(serde_json::Value::as_i64).sum();
        expect(sum == 0, || format!("the accounts sum to {sum}, not to zero: {value}"))?;
        for (account, micros) in wanted {
            let found = all.get(*account).and_then(serde_json::Value::as_i64).unwrap_or(0);
            expect(found == *micros, || format!("{account} holds {found}, not {micros}: {value}"))?;
            let short = account.get(..20).unwrap_or(account);
            self.narrator.show("=", &format!("{short} {}", crate::money::signed_cents(found)));
        }
        Ok(())
    }
}

/// A command as someone would type it.
fn typed(arguments: &[&str]) -> String {
    let quoted = |a: &&str| if a.contains([' ', '<', '>']) { format!("'{a}'") } else { (*a).to_owned() };
    format!("farthing {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

fn refused_for(sent: &Sent, word: &str) -> Result<(), String> {
    let said = format!("postage refused: {word};");
    expect(sent.reply.starts_with("550") && sent.reply.contains(&said), || {
        format!("not refused as {word}: {}", sent.reply)
    })
}

fn message(from: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{BOB}>\r\nDate: Mon, 02 Nov 2026 09:00:00 +0000\r\n\
         Message-ID: <{}.{}>\r\nSubject: {subject}\r\n\r\nHi Bob,\r\n\r\n{subject}\r\n",
        subject.len() * 7919,
        from
    )
    .into_bytes()
}

/// The value of the first stamp of a letter.
fn stamp_of(letter: &[u8]) -> Result<String, String> {
    let letter = split_message(letter);
    let value = letter.values(status::STAMP).next().ok_or("no Postage-Stamp in the letter")?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

fn with_stamp(message: &[u8], value: &str) -> Vec<u8> {
    [status::STAMP.as_bytes(), b":", value.as_bytes(), b"\r\n", message].concat()
}

/// A stamp like this one, from Mallory to Bob, signed with a key that is not the office's.
fn forged_stamp(like: &str) -> Result<String, String> {
    let genuine = CancelledStamp::parse(like.as_bytes()).map_err(|e| e.to_string())?;
    let (rogue, holder) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let terms = Terms { id: [7; 16], holder: holder.public().to_bytes(), ..genuine.stamp.terms };
    let stamp = rogue.sell(terms).map_err(|e| e.to_string())?;
    let address = |text: &str| text.parse::<Address>().map_err(|e| e.to_string());
    let cancelled =
        holder.cancel(stamp, &address(BOB)?, &address(MALLORY)?, unix_now()).map_err(|e| e.to_string())?;
    Ok(format!(" {}", cancelled.to_field_value()))
}
