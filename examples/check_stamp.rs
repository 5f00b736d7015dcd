//! Library use: an office sells a stamp, its holder writes it out to Bob, and a gate checks it. No network, no
//! files, no clock: keys, times and randomness are arguments.
//!
//! ```text
//! cargo run --example check_stamp
//! ```

use farthing::{
    address::Address,
    stamp::{Asked, SecretKey, Terms, Word, check::check},
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let now = 1_800_000_000;
    let office = SecretKey::from_seed(&[1; 32]);
    let holder = SecretKey::from_seed(&[2; 32]);
    let (alice, bob): (Address, Address) = ("alice@a.example".parse()?, "bob@b.example".parse()?);

    // The office promises a quarter of a cent to b.example.
    let stamp = office.sell(Terms {
        office: "post.example".parse()?,
        selector: "s1".parse()?,
        id: [3; 16],
        value: "0.25c".parse()?,
        currency: "USD".parse()?,
        audience: "b.example".parse()?,
        expiry: now + 90 * 86_400,
        holder: holder.public().to_bytes(),
    })?;

    // The holder binds it to one sender, one recipient and a time: this is the value of the field Postage-Stamp.
    let field = holder.cancel(stamp, &bob, &alice, now)?.to_field_value();
    println!("Postage-Stamp: {field}\n");

    // A gate holds it against what it asks. Its own would also ask the ledger whether it was sold and spent.
    let judged = |author: &Address| {
        let asked = Asked {
            recipient: &bob,
            author: Some(author),
            currency: "USD".parse()?,
            price: "0.25c".parse()?,
            now: now + 60,
        };
        let result = check(field.as_bytes(), &asked, |_| Some(office.public()), |_| Ok(()));
        Ok::<_, Failure>(result.map_or_else(Word::as_str, |_| "ok"))
    };
    println!("in a letter from {alice}: {}", judged(&alice)?);
    println!("stolen for a letter from mallory@m.example: {}", judged(&"mallory@m.example".parse()?)?);
    Ok(())
}
