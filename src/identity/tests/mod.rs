//! Letters signed here, DNS from a zone on loopback: who is believed to have sent them.

mod hostile;
mod sealed;
mod signatures;
mod spf;
mod verdicts;

use ed25519_dalek::SigningKey;
use mail_auth::{
    common::{
        crypto::{Ed25519Key, RsaKey, Sha256},
        headers::HeaderWriter,
    },
    dkim::{Canonicalization, DkimSigner, Done},
};
use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::demo::dns::{Manner, ZoneServer};

/// A key made for these tests; it signs nothing else.
const RSA_KEY: &str = "MIIEowIBAAKCAQEArdB3lLBuAAGQdqr6Usv3/PzsQc5bBH3ilEz9ueKnike3FNsUI0d5yASpKtXNkcAikIAiXupQ2AhSVK5QmBSC\
nupNpX3IwVKOQ3aOXw2Ro7OswCTfFfkwtjqNZAaNcdAe0baMKJ6l7lDEsPMg5RXWV+R9k6o3mGgTB9ZfIsxsFfjxD7bA+xYZTHGE\
mYr8H/8szrbnHtM3mAEsJ4eMY5hTGBoygPYCLfl47Bx54ubmYhtHOhdIe9SMYsykVdTNjoMQMpbveARMuvZOwN+Mu8+3sFjtUw8B\
s2Q3quvUdF6FppqnHO+a4vBAI7X3b7e2dkn4t+VI+t+KN8D4CpaYos5vaQIDAQABAoIBAAR6frxIa/sozyi5mNPVkNUWTL2Y1DBK\
UJJe5fo6SHQYCzP4vZz3mGASm6vAgMiYvWNBA/GzYqQgWcO4DphOjfuLgLbrBedSSdtb5Ij3M+mWhXTZdlyN9Eb7vP0m7JHSSZsA\
c73PsamRb/H5v78bWA+hceliPUa6ZsQgzkh6oS3TNneSYGREvPDHAhd4Kh6ATi5qh7ct/YwCBH3FNXK/p9V2crfKhAXHCixnpoxC\
Blk2R9FG+PlhqMTF5zr8ahueYuouUmmXsgJNc+x1EEBv2zkDuijPgc3k+dlzbtZYNJwwPb/pALjLvewcspxcb2F5PWHOZxGOKpAM\
CguI2ogCM9ECgYEA4vtc9qu2DgtB3SqjhXyOqn/NpYVwbgA5d3PeLuBybd5QaHVfFByYmFcii2v5oMlsh3FdnZ4dPMXoDg/A/Usq\
N24Z3XtjjpfsGpbDAowJt9CR0mbUBOMrGdN0PDbx3tooaJ67aJkfJ4ftU51PdfHqIxDfrMmq9hX5xG9IugfPo3kCgYEAxAkKyrlT\
ZC+qNOt2tulqYRyQ480WzNpEXHt2ZMbXgRy2rcq+eDpqV0a4Gu+XbgAhwRU4v4Zt+CrXvPfY8IfL6HeXEyy5+BszQPg3m2mTEyDX\
gjv3lTBfW/jQmT15i250yvfAPQHBEagtktCGMd0GUO+w8KkC/Jd7bJkaM3Kwv3ECgYEAlj40BsMaOqmQ60hx/MW52XnHMazmAqn7\
X+o+Q2El3TuulbY7PSDAkPX8U7UhAyDQycZsZQxn5fZJ6CTdZcv/IbmrPUOTXquJCQCKDIGNXTKdk1ulM6b6vJmO8tybtRtKbBXF\
jzLrwErk+NfD5RpAFP3yUHkcxM8/CJtw1FKfSmECgYB2a1PmlD8IxTZXU2naInRNh3kK8yfzxWIIT9h8FhW2e8bqgw++BuOYJzMt\
qk/adh/tyEkIgUdK426BS2L0IcQOgLd1MM6CTsQOWiMVMZhTtMIafOkZaSghodM4zobusGHC/hhVggrEBMjK6EY4NuEK4VAMgLw6\
I7O+LVpDe+PDMQKBgAnRvdez2Og7GIaqwc/yQru67FMUagHj7Q5hr7PA5RzyjZbYLah6cey0nDhdDYC1VLYfSeRnVX36S3XqGyI2\
Jqs4c2Ed8OvRpqqQEiI9XVd38sPa3gxd3yFwWTDyVSZRcXus7kBXIy3X2PiMG6lhgk8KSdW/A6e0vGIsbGvofPh5";

/// A signature of [`SHORT_LETTER`] by an RSA key of 768 bits, which holds and must not count.
const SHORT_SIGNATURE: &str = "VKJvy+T8SRdcgnhIDu/irD2Vs/UPWEkRG5YE8Bxn0hsONK5eWSjGDhJghEjP8pKcFvNoEh1c1fxw6h/JzLpLnZ5cLuwfAVmceAb6\
9OQmIiq/Z0Iik8iC6muYYDoyDssn";
const SHORT_KEY: &str = "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhANstoEgRCXi7ofYeusySU3c7Sj77H71Fu4RRg4WqKYBoOufv5a4omwJl8lXNpIISbzH5\
7deTEOkrjjawZVzYRRyujeWydFPQmXkkwH41bNppBENmxDeU1v1unYqMIXohvwIDAQAB";
/// The same by the key of 2,048 bits, to show that nothing else is wrong with it.
const LONG_SIGNATURE: &str = "VrnIhHIqhKxF1AV22/gF6DbR9qDHwr5d5psUxiS8VYyfxoZjyB2mnCU5b/Zs+bk1Brss84unz6YEysgqTe3d2YVavTbuInNtW8fd\
OppaxaL8861U44z4PsyFvpWeG7jYr21v905ktaITB+DADgfj32kZZde0Sv5Uc49KI43w0Pv43hvgPigQ+AB6y/m/NxKQKocO6Man\
XrenSIy8zKAwZhGlF6ADcdAvsBn5OOUK4VCWGSDvWh/Llu6B6cROIqDKgB0ElT617g0kiD3xhGUm1jzOZF+r/wHz0o+bEuVaOlCv\
/wCwlFkSNSIBAaOGDiEbt3qz3G72Ki8Abj/4A/MH1Q==";
const SHORT_LETTER: &str = "From: bob@b.example\r\n\r\nShort key.\r\n";

const LETTER: &str = "From: Bob <bob@b.example>\r\nTo: ann@a.example\r\nSubject: Hello\r\n\tthere\r\n\r\nDear Ann,\r\n  how  are you? \r\n\r\n\r\n";
const CLIENT: &str = "192.0.2.1";

fn world() -> (ZoneServer, Dns) {
    let zone = ZoneServer::start().unwrap();
    let dns = Dns::new(&[zone.address()]).unwrap();
    (zone, dns)
}

fn d(text: &str) -> Domain {
    text.parse().unwrap()
}

fn inquiry(dns: &Dns, mail_from: &str) -> Inquiry {
    let envelope = Envelope::new(Some(CLIENT.parse().unwrap()), b"mail.helo.example", mail_from.as_bytes());
    Inquiry::new(dns.clone(), envelope)
}

fn rsa() -> (RsaKey<Sha256>, String) {
    let der = data_encoding::BASE64.decode(RSA_KEY.as_bytes()).unwrap();
    let key = RsaKey::from_key_der(PrivateKeyDer::Pkcs1(der.into())).unwrap();
    let public = data_encoding::BASE64.encode(&key.public_key());
    (key, format!("v=DKIM1; k=rsa; p={public}"))
}

fn ed25519() -> (Ed25519Key, String) {
    let seed = [7; 32];
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let key = Ed25519Key::from_seed_and_public_key(&seed, &public).unwrap();
    (key, format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(&public)))
}

type Signer = DkimSigner<Ed25519Key, Done>;

/// A signer of `s1._domainkey.<domain>`, whose key is published.
fn signer(zone: &ZoneServer, domain: &str) -> Signer {
    let (key, record) = ed25519();
    zone.txt(&format!("s1._domainkey.{domain}"), record);
    DkimSigner::from_key(key).domain(domain).selector("s1").headers(["From", "To", "Subject"])
}

fn signed(signer: &Signer, letter: &str) -> String {
    format!("{}{letter}", signer.sign(letter.as_bytes()).unwrap().to_header())
}

async fn by_dkim(dns: &Dns, author: &str, message: &str) -> Authentication {
    inquiry(dns, "x@elsewhere.example").by_dkim(&d(author), &Letter::from_message(message.as_bytes())).await
}

fn aligned(means: Means, domain: &str) -> Authentication {
    Authentication::Aligned(Proof { means, domain: d(domain) })
}

#[track_caller]
fn assert_not(found: Authentication, why: &str) {
    assert!(matches!(&found, Authentication::Not(said) if said.contains(why)), "{found:?}");
}

#[track_caller]
fn assert_trouble(found: &Authentication) {
    assert!(matches!(found, Authentication::Trouble(_)), "{found:?}");
}
