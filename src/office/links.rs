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
    routing::{MethodRouter, get},
};

use super::{
    Office, SharedOffice,
    page::{Forms, page, wants_page},
    problem::Problem,
};
use crate::{
    clock::{self, unix_now},
    ledger::{
        Mark, MarkError, MarkTarget, Marked,
        settings::{PostageState, StrangerLetter},
    },
    stamp::tokens::{Token, Verb},
};

/// The calls of the link that says this, `/w/TOKEN` or `/u/TOKEN`. They answer 404 for what is no token of such a link, and
/// 503.
pub fn of(mark: Mark) -> MethodRouter<SharedOffice> {
    get(move |office: State<SharedOffice>, token: Path<String>, headers: HeaderMap| async move {
        ask(&office, mark, &token, &headers).await
    })
    .post(move |office: State<SharedOffice>, token: Path<String>, headers: HeaderMap| async move {
        say(&office, mark, &token, &headers).await
    })
}

async fn ask(office: &Office, mark: Mark, token: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some((_, letter)) = letter_of(office, mark, token).await? else {
        return no_such_link(headers);
    };
    page(StatusCode::OK, Forms::Here, |nonce| Ask {
        nonce,
        sender: sender(&letter),
        time: shown_time(letter.time),
        postage: letter.postage.as_ref().map(|postage| postage.value.to_string()).unwrap_or_default(),
        state: state(&letter),
        word: word(mark),
    })
}

async fn say(office: &Office, mark: Mark, token: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some((number, letter)) = letter_of(office, mark, token).await? else {
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
        mark = word(mark),
        refunded = %marked.refunded.unwrap_or_default(),
        "marked by a link"
    );
    page(StatusCode::OK, Forms::None, |nonce| Done {
        nonce,
        sender: sender(&letter),
        word: word(mark),
        money: money(&letter, mark, &marked),
        known: marked.known,
    })
}

const fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Wanted => "wanted",
        Mark::Unwanted => "unwanted",
    }
}

/// The redemption and the letter that a token names, if it is a token of this link. A token is bound to the recipient, whom
/// it does not name: the ledger is asked before it can be checked, one look by a number drawn at random.
async fn letter_of(
    office: &Office,
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
        .filter(|letter| token.is_genuine(&office.site().tokens, verb, &letter.recipient))
        .map(|letter| (number, letter)))
}

fn sender(letter: &StrangerLetter) -> String {
    letter.author.as_ref().map_or_else(|| "an unnamed sender".into(), ToString::to_string)
}

fn shown_time(unix_s: u64) -> String {
    clock::utc(unix_s, "%A, %d %B %Y, %H:%M UTC")
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
    config = "src/templates/askama.toml",
    ext = "html",
    source = r#"{% extends "notice.html" %}
{% block title %}Was this letter {{ word }}?{% endblock %}
{% block heading %}Was this letter {{ word }}?{% endblock %}
{% block text %}
<p>A letter from <strong>{{ sender }}</strong> that was delivered on {{ time }} for postage of {{ postage }}. {{ state }}</p>
{% if word == "wanted" %}
<p>If you wanted it, its sender gets the postage back and, if the letter proved to be the sender's, needs none for later
letters to you.</p>
{% else %}
<p>If you did not want it, its sender does not get the postage back, and has to pay for later letters to you too.</p>
{% endif %}
<form method="post"><button type="submit">It was {{ word }}</button></form>
{% endblock %}"#
)]
struct Ask {
    nonce: String,
    sender: String,
    time: String,
    postage: String,
    state: &'static str,
    /// `wanted` or `unwanted`.
    word: &'static str,
}

#[derive(Template)]
#[template(
    config = "src/templates/askama.toml",
    ext = "html",
    source = r#"{% extends "notice.html" %}
{% block title %}Done{% endblock %}
{% block heading %}Marked as {{ word }}{% endblock %}
{% block text %}
<p>The letter from <strong>{{ sender }}</strong>. {{ money }}</p>
<p>{% if known %}Letters from this sender reach you without postage.{% else %}This sender's letters need postage.{% endif %}</p>
{% endblock %}"#
)]
struct Done {
    nonce: String,
    sender: String,
    /// `wanted` or `unwanted`.
    word: &'static str,
    money: String,
    known: bool,
}

#[derive(Template)]
#[template(
    config = "src/templates/askama.toml",
    ext = "html",
    source = r#"{% extends "notice.html" %}
{% block title %}Not a link of this office{% endblock %}
{% block heading %}Not a link of this office{% endblock %}
{% block text %}
<p>Open the link as it stands in your digest; a mail program may have cut it. Links to letters that are no longer kept
do not work any more.</p>
{% endblock %}"#
)]
struct NoSuchLink {
    nonce: String,
}
