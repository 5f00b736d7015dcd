//! The overview as one page that needs nothing else: plots in SVG, no script.

use askama::Template;

use super::overview::{Counts, Overview, RESULTS, SenderLine, meaning};
use crate::clock::utc_day;

/// Bars in the plot of days; with more days, each stands for several.
const BARS_MAX: u64 = 60;
/// Senders on the page.
const SENDERS_SHOWN: usize = 100;
/// Width of the plots in units of their own.
const WIDTH: f64 = 720.0;
/// Height of the plot of days.
const HEIGHT: f64 = 200.0;
/// Colours of the results, in the order of [`RESULTS`]; told apart by people who see red and green alike.
const COLOURS: [&str; RESULTS.len()] =
    ["#117733", "#88ccee", "#44aa99", "#332288", "#6699cc", "#ddcc77", "#cc6677", "#882255", "#999999"];

/// A rectangle of a plot.
struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    colour: &'static str,
    title: String,
}

/// One result with its share.
struct Share {
    result: &'static str,
    meaning: &'static str,
    messages: u64,
    width: f64,
    colour: &'static str,
}

#[derive(Template)]
#[template(
    config = "src/templates/askama.toml",
    ext = "html",
    source = r#"{% extends "frame.html" %}
{% block head %}
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">{% endblock %}
{% block title %}{{ title }}{% endblock %}
{% block style %}
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; vertical-align: top; border-bottom: 1px solid #8884 }
td.w { overflow-wrap: anywhere }
td.n { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto }
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem }
code { font-size: .85rem }{% endblock %}
{% block body %}
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
<h2>Results</h2>
<table>
{% for share in shares %}<tr><td><span class="key" style="background:{{ share.colour }}"></span>{{ share.result }}</td><td class="n">{{ share.messages }}</td><td>{{ share.meaning }}</td><td style="width:30%"><svg viewBox="0 0 100 8" role="img" aria-label="{{ share.messages }}"><rect width="{{ share.width }}" height="8" fill="{{ share.colour }}"/></svg></td></tr>
{% endfor %}</table>
{% if !bars.is_empty() %}<h2>Days</h2>
<p>{{ days }}</p>
<svg viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="Letters a day by result">
{% for bar in bars %}<rect x="{{ bar.x }}" y="{{ bar.y }}" width="{{ bar.width }}" height="{{ bar.height }}" fill="{{ bar.colour }}"><title>{{ bar.title }}</title></rect>
{% endfor %}</svg>
{% endif %}<h2>Senders</h2>
<table>
<tr><th>Letters</th><th>Result</th><th>Sender</th><th>Why, and what would let them in</th></tr>
{% for line in senders %}<tr><td class="n">{{ line.messages }}</td><td>{{ line.result }}</td><td class="w">{{ line.sender }}{% if line.kind != "person" %} ({{ line.kind }}){% endif %}</td><td class="w">{{ line.reason }}{% if let Some(allow) = line.allow %}<br><code>{{ allow }}</code>{% endif %}</td></tr>
{% endfor %}</table>
{% if more > 0 %}<p>and {{ more }} more</p>
{% endif %}{% endblock %}"#
)]
struct Page<'a> {
    title: &'a str,
    summary: &'a str,
    shares: Vec<Share>,
    bars: Vec<Bar>,
    days: String,
    width: f64,
    height: f64,
    senders: Vec<&'a SenderLine>,
    more: usize,
}

/// The page, as HTML.
///
/// # Errors
/// When the template cannot be filled, which is a fault of this program.
pub fn page(title: &str, summary: &str, overview: &Overview) -> Result<String, askama::Error> {
    let mut senders = overview.senders();
    let more = senders.len().saturating_sub(SENDERS_SHOWN);
    senders.truncate(SENDERS_SHOWN);
    let (bars, days) = bars(overview);
    Page {
        title,
        summary,
        shares: shares(&overview.results),
        bars,
        days,
        width: WIDTH,
        height: HEIGHT,
        senders,
        more,
    }
    .render()
}

fn shares(results: &Counts) -> Vec<Share> {
    let most = results.0.iter().copied().max().unwrap_or(0).max(1);
    results
        .iter()
        .zip(COLOURS)
        .map(|((result, messages), colour)| Share {
            result,
            meaning: meaning(result),
            messages,
            width: rounded(ratio(messages, most) * 100.0),
            colour,
        })
        .collect()
}

/// Stacked bars from the first day to the last, and what one bar stands for.
fn bars(overview: &Overview) -> (Vec<Bar>, String) {
    let (Some((&first, _)), Some((&last, _))) =
        (overview.days.first_key_value(), overview.days.last_key_value())
    else {
        return (Vec::new(), String::new());
    };
    let span = (last - first + 1).div_ceil(BARS_MAX);
    let mut sums = std::collections::BTreeMap::<u64, Counts>::new();
    for (day, counts) in &overview.days {
        let sum = sums.entry((day - first) / span).or_default();
        counts.iter().for_each(|(word, letters)| sum.add(word, letters));
    }
    let most = sums.values().map(Counts::sum).max().unwrap_or(0).max(1);
    let slot = WIDTH / ratio((last - first) / span + 1, 1);
    let mut bars = Vec::new();
    for (at, counts) in &sums {
        let day = utc_day(first + at * span);
        let mut top = HEIGHT;
        for ((word, letters), colour) in counts.iter().zip(COLOURS).filter(|((_, letters), _)| *letters > 0) {
            let height = ratio(letters, most) * HEIGHT;
            top -= height;
            bars.push(Bar {
                x: rounded(ratio(*at, 1) * slot),
                y: rounded(top),
                width: rounded((slot * 0.9).max(0.5)),
                height: rounded(height),
                colour,
                title: format!("{day}: {letters} {word}"),
            });
        }
    }
    let each = if span == 1 { "each bar a day".to_owned() } else { format!("each bar {span} days") };
    (bars, format!("{} to {}, {each}; the tallest stands for {most} letters", utc_day(first), utc_day(last)))
}

/// Letters are far fewer than what an f64 counts exactly.
#[allow(clippy::cast_precision_loss)]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_plots_and_nothing_a_sender_wrote_as_markup() {
        let mut overview = Overview::default();
        for day in [20_000, 20_001, 20_400] {
            let line = SenderLine {
                sender: "<script>alert(1)</script>@x.example".into(),
                messages: 3,
                result: "unpaid",
                kind: "list",
                reason: "not in \"the book\"".into(),
                allow: Some("farthing known add x".into()),
            };
            overview.add(line, Some(day * crate::clock::DAY_S));
        }
        let html = page("Simulation", "9 letters", &overview).unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&#60;script") || html.contains("&lt;script"));
        assert!(html.contains("2024-10-04: 6 unpaid") && html.contains("each bar 7 days"), "{html}");
        assert_eq!(html.matches("<title>").count(), 3, "the page's own and two bars");
        assert!(page("Nothing", "", &Overview::default()).unwrap().contains("</html>"));
    }
}
