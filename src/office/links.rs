//! `/w/TOKEN` and `/u/TOKEN`: the links of a digest, by which its reader says whether a letter was wanted (SPEC.md §7, §10).
//!
//! GET shows a button and changes nothing, for programs follow every link of a mail to look what is there; POST does it.
//! The token is all the authority there is: it is one of links, made for this letter, its recipient and this verb. Whoever
//! has none hears the same of every number. The reader's own address stands nowhere: a link that travels does not tell
//! whose it was.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use jiff::Timestamp;

use super::{
    Office, SharedOffice, Site,
    page::{Forms, page, wants_page},
    problem::Problem,
};
use crate::{
    clock::unix_now,
    ledger::{
        Mark, MarkError, MarkTarget, Marked,
        settings::{PostageState, StrangerLetter},
    },
    stamp::tokens::{Token, Verb},
};

/// `GET /w/TOKEN`
///
/// # Errors
/// 404 for what is no token of a link, 503.
pub async fn ask_wanted(
    State(office): State<SharedOffice>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    ask(&office, Mark::Wanted, &token, &headers).await
}

/// `GET /u/TOKEN`
///
/// # Errors
/// 404 for what is no token of a link, 503.
pub async fn ask_unwanted(
    State(office): State<SharedOffice>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    ask(&office, Mark::Unwanted, &token, &headers).await
}

/// `POST /w/TOKEN`
///
/// # Errors
/// 404 for what is no token of a link, 503.
pub async fn mark_wanted(
    State(office): State<SharedOffice>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    mark(&office, Mark::Wanted, &token, &headers).await
}

/// `POST /u/TOKEN`
///
/// # Errors
/// 404 for what is no token of a link, 503.
pub async fn mark_unwanted(
    State(office): State<SharedOffice>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    mark(&office, Mark::Unwanted, &token, &headers).await
}

async fn ask(office: &Office, mark: Mark, token: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some((_, letter)) = letter_of(office, &office.site(), mark, token).await? else {
        return no_such_link(headers);
    };
    page(StatusCode::OK, Forms::Here, |nonce| Ask {
        nonce,
        sender: sender(&letter),
        time: shown_time(letter.time),
        postage: letter.postage.as_ref().map(|postage| postage.value.to_string()).unwrap_or_default(),
        state: state(&letter),
        wanted: mark == Mark::Wanted,
    })
}

async fn mark(office: &Office, mark: Mark, token: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some((number, letter)) = letter_of(office, &office.site(), mark, token).await? else {
        return no_such_link(headers);
    };
    let marked = match office.ledger().mark(MarkTarget::Number(number), mark, unix_now()).await {
        Ok(marked) => marked,
        Err(MarkError::Ledger(error)) => return Err(error.into()),
        // Dropped between the look and the mark: as if the link had come a moment later.
        Err(MarkError::NoSuchLetter | MarkError::Ambiguous) => return no_such_link(headers),
    };
    tracing::info!(
        recipient = %marked.recipient,
        sender = %sender(&letter),
        mark = if mark == Mark::Wanted { "wanted" } else { "unwanted" },
        refunded = %marked.refunded.unwrap_or_default(),
        "marked by a link"
    );
    page(StatusCode::OK, Forms::None, |nonce| Done {
        nonce,
        sender: sender(&letter),
        wanted: mark == Mark::Wanted,
        money: money(&letter, mark, &marked),
        known: marked.known,
    })
}

/// The redemption and the letter that a token names, if it is a token of this link.
async fn letter_of(
    office: &Office,
    site: &Site,
    mark: Mark,
    text: &str,
) -> Result<Option<(u64, StrangerLetter)>, Problem> {
    let Some(token) = Token::parse(text.as_bytes()) else { return Ok(None) };
    let verb = match mark {
        Mark::Wanted => Verb::LinkWanted,
        Mark::Unwanted => Verb::LinkUnwanted,
    };
    let number = token.number();
    let letter = office.ledger().paid_letter(number).await?;
    Ok(letter
        .filter(|letter| token.is_genuine(&site.tokens, verb, &letter.recipient))
        .map(|letter| (number, letter)))
}

fn sender(letter: &StrangerLetter) -> String {
    letter.author.as_ref().map_or_else(|| "an unnamed sender".into(), ToString::to_string)
}

fn shown_time(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
    time.strftime("%A, %d %B %Y, %H:%M UTC").to_string()
}

/// What was done about the letter before.
fn state(letter: &StrangerLetter) -> &'static str {
    match letter.postage.as_ref().map(|postage| postage.state) {
        Some(PostageState::Refunded) => "The postage has been given back.",
        Some(PostageState::Unwanted) => "The letter has been marked as unwanted.",
        Some(PostageState::Final) => "The time in which its postage could be given back is over.",
        Some(PostageState::Waiting) | None => "",
    }
}

/// What became of the postage by this mark, or before it.
fn money(letter: &StrangerLetter, mark: Mark, marked: &Marked) -> String {
    if let Some(value) = marked.refunded {
        return format!("The postage of {value} has gone back to the sender.");
    }
    match letter.postage.as_ref().map(|postage| postage.state) {
        Some(PostageState::Refunded) => "The postage had gone back to the sender before.".into(),
        _ if mark == Mark::Unwanted && !marked.too_late => {
            "Its postage is not given back, unless you say later that it was wanted.".into()
        }
        _ if marked.already_refunded => "The postage had gone back to the sender before.".into(),
        _ => "The time in which its postage could be given back is over.".into(),
    }
}

/// The same for every token that is none: a page for a person, a problem document for a program.
fn no_such_link(headers: &HeaderMap) -> Result<Response, Problem> {
    if wants_page(headers) {
        return page(StatusCode::NOT_FOUND, Forms::None, |nonce| NoSuchLink { nonce });
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "that is not a link of a digest, or its letter is no longer kept",
    ))
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{% if wanted %}Was this letter wanted?{% else %}Was this letter unwanted?{% endif %}</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.3 }
button { font: inherit; padding: .6rem 1.2rem }
</style>
</head>
<body>
<main>
<h1>{% if wanted %}Was this letter wanted?{% else %}Was this letter unwanted?{% endif %}</h1>
<p>A letter from <strong>{{ sender }}</strong> that was delivered on {{ time }} for postage of {{ postage }}. {{ state }}</p>
{% if wanted %}
<p>If you wanted it, its sender gets the postage back and, if the letter proved to be the sender's, needs none for later
letters to you.</p>
<form method="post"><button type="submit">It was wanted</button></form>
{% else %}
<p>If you did not want it, its sender does not get the postage back, and has to pay for later letters to you too.</p>
<form method="post"><button type="submit">It was unwanted</button></form>
{% endif %}
</main>
</body>
</html>
"#
)]
struct Ask {
    nonce: String,
    sender: String,
    time: String,
    postage: String,
    state: &'static str,
    wanted: bool,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Done</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.3 }
</style>
</head>
<body>
<main>
<h1>Marked as {% if wanted %}wanted{% else %}unwanted{% endif %}</h1>
<p>The letter from <strong>{{ sender }}</strong>. {{ money }}</p>
<p>{% if known %}Letters from this sender reach you without postage.{% else %}This sender's letters need postage.{% endif %}</p>
</main>
</body>
</html>
"#
)]
struct Done {
    nonce: String,
    sender: String,
    wanted: bool,
    money: String,
    known: bool,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Not a link of this office</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }
</style>
</head>
<body>
<main>
<h1>Not a link of this office</h1>
<p>Open the link as it stands in your digest; a mail program may have cut it. Links to letters that are no longer kept
do not work any more.</p>
</main>
</body>
</html>
"#
)]
struct NoSuchLink {
    nonce: String,
}
