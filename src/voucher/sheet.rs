//! Vouchers on paper: one page of HTML, complete in itself, to be printed and cut.
//!
//! Each has its code for people and, for phones, a QR code of the office's page with the code behind `#`, where
//! no web server gets to see or log it.

use askama::Template;
use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use super::Code;
use crate::{
    address::Domain,
    clock::utc_date,
    money::{Currency, MICROS_PER_UNIT, Micros},
};

/// White modules around a QR code: scanners want four (ISO/IEC 18004).
const QUIET_MODULES: usize = 4;
/// Digits after the point of an amount that has any: as prices are written.
const DECIMALS_MIN: usize = 2;

/// One voucher of a sheet.
pub struct Leaf {
    /// Its public handle.
    pub number: u64,
    /// Its code.
    pub code: Code,
}

/// What stands on a sheet.
pub struct Sheet<'a> {
    /// Where the vouchers are good.
    pub office: &'a Domain,
    /// How that office is reached; ends in `/`.
    pub url: &'a str,
    /// Of each.
    pub value: Micros,
    /// Of the value.
    pub currency: Currency,
    /// The last second at which they are good, in Unix seconds.
    pub expiry: Option<u64>,
    /// The vouchers.
    pub leaves: &'a [Leaf],
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The office's URL is too long for a QR code.
    #[error("the office's URL does not fit into a QR code: {0}")]
    Qr(#[from] qrcode::types::QrError),
    /// The page could not be made.
    #[error("the sheet cannot be made: {0}")]
    Page(#[from] askama::Error),
}

impl Sheet<'_> {
    /// The page. It holds the codes: whoever reads it can use them.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn to_html(&self) -> Result<Zeroizing<String>, SheetError> {
        let cards = self.leaves.iter().map(|leaf| {
            let code = leaf.code.to_text();
            let link = Zeroizing::new(format!("{}p/voucher#{}", self.url, *code));
            Ok(Card { number: leaf.number, qr: Qr::of(&link)?, code })
        });
        let page = Page {
            office: self.office.as_str(),
            url: self.url,
            value: in_units(self.value),
            currency: self.currency.to_string(),
            until: self.expiry.map(utc_date),
            cards: cards.collect::<Result<_, SheetError>>()?,
        };
        Ok(Zeroizing::new(page.render()?))
    }
}

/// A QR code as one path of an SVG image.
struct Qr {
    /// Modules of a side, white ones around it among them.
    side: usize,
    path: Zeroizing<String>,
}

impl Qr {
    fn of(text: &str) -> Result<Self, SheetError> {
        // Paper is folded and worn: a quarter of the code may be unreadable.
        let code = QrCode::with_error_correction_level(text, EcLevel::Q)?;
        let width = code.width();
        let mut path = Zeroizing::new(String::new());
        for (at, color) in code.to_colors().into_iter().enumerate() {
            if color == Color::Dark {
                let (x, y) = (at % width + QUIET_MODULES, at / width + QUIET_MODULES);
                path.push_str(&format!("M{x} {y}h1v1h-1z"));
            }
        }
        Ok(Self { side: width + 2 * QUIET_MODULES, path })
    }
}

/// `5`, `2.50`, `0.0025`: an amount in units of the currency.
fn in_units(amount: Micros) -> String {
    let (whole, micros) = (amount.get() / MICROS_PER_UNIT, amount.get() % MICROS_PER_UNIT);
    if micros == 0 {
        return whole.to_string();
    }
    let decimals = format!("{micros:06}");
    format!("{whole}.{:0<DECIMALS_MIN$}", decimals.trim_end_matches('0'))
}

struct Card {
    number: u64,
    code: Zeroizing<String>,
    qr: Qr,
}

#[derive(Template)]
#[template(
    config = "src/templates/askama.toml",
    ext = "html",
    source = r##"{% extends "frame.html" %}
{% block head %}
<meta name="referrer" content="no-referrer">{% endblock %}
{% block title %}{{ cards.len() }} vouchers of {{ value }} {{ currency }} for {{ office }}{% endblock %}
{% block style %}
@page { margin: 12mm }
body { font: 11pt/1.4 system-ui, sans-serif; color: #000; background: #fff; margin: 1rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(85mm, 1fr)) }
article { border: 1px dashed #777; padding: 5mm; break-inside: avoid; display: flex; gap: 4mm; align-items: center }
svg { width: 34mm; height: 34mm; flex: none }
h2, p { margin: 0 0 1.5mm }
h2 { font-size: 14pt }
code { font: bold 11pt/1.5 ui-monospace, monospace; white-space: nowrap; display: block }
small { font-size: 8.5pt; overflow-wrap: anywhere; display: block }{% endblock %}
{% block body %}
<main>
{%- for card in cards %}
<article>
<svg viewBox="0 0 {{ card.qr.side }} {{ card.qr.side }}" role="img" aria-label="QR code of this voucher" shape-rendering="crispEdges"><rect width="100%" height="100%" fill="#fff"/><path d="{{ *card.qr.path }}"/></svg>
<div>
<h2>{{ value }} {{ currency }}</h2>
<p>Postage at {{ office }}</p>
<code>{{ *card.code }}</code>
<small>No. {{ card.number }}{% if let Some(until) = until %} · good until {{ until }}{% endif %} · good once</small>
<small>{{ url }}p/voucher</small>
</div>
</article>
{%- endfor %}
</main>{% endblock %}"##
)]
struct Page<'a> {
    office: &'a str,
    url: &'a str,
    value: String,
    currency: String,
    until: Option<String>,
    cards: Vec<Card>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(url: &str, expiry: Option<u64>) -> Result<Zeroizing<String>, SheetError> {
        let leaves: Vec<Leaf> = (1..=3)
            .map(|number| Leaf { number, code: Code::from_random(&[u8::try_from(number).unwrap(); 12]) })
            .collect();
        let office = "b.example".parse().unwrap();
        Sheet {
            office: &office,
            url,
            value: "2.50".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            expiry,
            leaves: &leaves,
        }
        .to_html()
    }

    #[test]
    fn a_sheet_has_every_code_once_and_needs_nothing_else() {
        let html = sheet("https://b.example/", Some(1_795_305_599)).unwrap();
        for number in 1..=3_u8 {
            let code = Code::from_random(&[number; 12]).to_text();
            assert_eq!(html.matches(code.as_str()).count(), 1, "{number}");
            assert!(html.contains(&format!("No. {number} · good until 2026-11-21")), "{}", *html);
        }
        assert_eq!(html.matches("2.50 EUR</h2>").count(), 3);
        for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(!sheet("https://b.example/", None).unwrap().contains("good until"));
    }

    #[test]
    fn what_comes_from_the_configuration_stays_text() {
        let html = sheet("https://b.example/'&amp/", None).unwrap();
        assert!(!html.contains("'&amp/"), "{}", *html);
        let long = format!("https://b.example/{}/", "x".repeat(3_000));
        assert!(matches!(sheet(&long, None), Err(SheetError::Qr(_))));
    }

    #[test]
    fn a_qr_code_has_its_quiet_zone() {
        let qr = Qr::of("https://b.example/p/voucher#7K3QF-2M9XR-0VBTD-HWA5E").unwrap();
        let modules: Vec<(usize, usize)> = qr
            .path
            .split('M')
            .skip(1)
            .map(|step| {
                let (x, y) = step.split_once('h').unwrap().0.split_once(' ').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        let within = QUIET_MODULES..qr.side - QUIET_MODULES;
        assert!(modules.iter().all(|(x, y)| within.contains(x) && within.contains(y)));
        assert!(modules.contains(&(QUIET_MODULES, QUIET_MODULES)), "the corner of a finder");
    }

    #[test]
    fn amounts_as_prices_are_written() {
        for (micros, text) in
            [(5_000_000, "5"), (2_500_000, "2.50"), (2_500, "0.0025"), (1_010_000, "1.01"), (100_000, "0.10")]
        {
            assert_eq!(in_units(Micros::new(micros).unwrap()), text);
        }
    }
}
