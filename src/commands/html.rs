//! The text of an HTML body, line by line as a reader sees it, what it quotes marked with `>`. Pure and linear.
//!
//! Not a renderer: it knows what begins a line, what is not shown, and what is quoted, and takes anything for HTML.

use mail_parser::decoders::html::add_html_token;

/// Octets of a tag that are looked at; what is longer (images inside of it) is no tag that matters here.
const TAG_OCTETS_MAX: usize = 4_096;
/// Octets of a character's name between `&` and `;`; the longest that there is has 31.
const ENTITY_OCTETS_MAX: usize = 34;

/// Elements that begin and end a line.
const BLOCKS: [&str; 26] = [
    "address", "article", "aside", "body", "center", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "hr", "li", "ol", "p", "section", "table", "tr", "ul",
];
/// Elements whose text is not shown.
const HIDDEN: [&str; 6] = ["head", "script", "style", "template", "title", "textarea"];
/// Marks that mail programs put where the letter they answer begins, without quoting it.
const ANSWERED: [&str; 4] =
    ["divrplyfwdmsg", "appendonsend", "olk_src_body_section", "mail-editor-reference-message-container"];

/// The text of this HTML.
#[must_use]
pub fn text_of(html: &str) -> String {
    let mut text = Text::default();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        text.push(before);
        let (piece, after) = piece(from);
        match piece {
            Piece::Tag(tag) if text.is_over_at(tag) => return text.out,
            Piece::Tag(tag) => text.tag(tag),
            Piece::Shown(shown) => text.push(shown),
            Piece::Entity(entity) => text.entity(entity),
            Piece::Nothing => {}
        }
        rest = after;
    }
    text.push(rest);
    text.out
}

enum Piece<'a> {
    /// What stands between `<` and `>`.
    Tag(&'a str),
    /// `&name;`
    Entity(&'a str),
    /// A `<` or `&` that stands for itself.
    Shown(&'a str),
    /// A comment.
    Nothing,
}

/// What begins here with `<` or `&`, and what follows it.
fn piece(from: &str) -> (Piece<'_>, &str) {
    let alone = || from.split_at_checked(1).map_or((Piece::Nothing, ""), |(c, rest)| (Piece::Shown(c), rest));
    if from.starts_with('&') {
        let end = from.bytes().take(ENTITY_OCTETS_MAX).position(|b| b == b';');
        return match end.and_then(|end| from.split_at_checked(end + 1)) {
            Some((entity, rest)) if entity.is_ascii() => (Piece::Entity(entity), rest),
            _ => alone(),
        };
    }
    if let Some(comment) = from.strip_prefix("<!--") {
        return (Piece::Nothing, comment.split_once("-->").map_or("", |(_, rest)| rest));
    }
    let is_tag = from.as_bytes().get(1).is_some_and(|&b| b.is_ascii_alphabetic() || b"/!?".contains(&b));
    if !is_tag {
        return alone();
    }
    let end = tag_length(from);
    let (tag, rest) = from.split_at_checked(end).unwrap_or((from, ""));
    let tag = tag.strip_suffix('>').unwrap_or(tag).get(1..).unwrap_or_default();
    (if tag.len() <= TAG_OCTETS_MAX { Piece::Tag(tag) } else { Piece::Nothing }, rest)
}

/// Octets of the tag that begins here; a `>` in a quoted value does not end it, unless nothing else does.
fn tag_length(from: &str) -> usize {
    let mut quote = None;
    for (at, b) in from.bytes().enumerate().take(TAG_OCTETS_MAX) {
        match (quote, b) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(open), b) if open == b => quote = None,
            _ => {}
        }
    }
    from.find('>').map_or(from.len(), |at| at + 1)
}

/// The text so far.
#[derive(Default)]
struct Text {
    out: String,
    /// Something stands on the last line.
    on_line: bool,
    /// White space was seen since.
    space: bool,
    /// Depth of quotes.
    quotes: usize,
    /// The element whose text is not shown, if in one.
    hidden: Option<&'static str>,
    preformatted: bool,
}

impl Text {
    fn is_over_at(&self, tag: &str) -> bool {
        let Some(id) = attribute(tag, "id") else { return false };
        self.quotes == 0 && ANSWERED.iter().any(|mark| id.eq_ignore_ascii_case(mark))
    }

    fn tag(&mut self, tag: &str) {
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(hidden) = self.hidden {
            if closes && is(hidden) {
                self.hidden = None;
            }
            return;
        }
        if let Some(hidden) = HIDDEN.into_iter().find(|hidden| is(hidden)) {
            self.hidden = (!closes && !tag.ends_with('/')).then_some(hidden);
        } else if is("br") {
            self.end_line(true);
        } else if is("blockquote") {
            self.end_line(false);
            self.quotes = if closes { self.quotes.saturating_sub(1) } else { self.quotes.saturating_add(1) };
        } else if is("pre") {
            self.end_line(false);
            self.preformatted = !closes;
        } else if BLOCKS.into_iter().any(is) {
            self.end_line(false);
        } else if is("td") || is("th") {
            self.space = true;
        }
    }

    /// Ends the line; an empty one only when asked to.
    fn end_line(&mut self, even_empty: bool) {
        if self.on_line || even_empty {
            self.out.push('\n');
        }
        (self.on_line, self.space) = (false, false);
    }

    fn entity(&mut self, entity: &str) {
        let mut character = String::new();
        add_html_token(&mut character, entity.as_bytes(), false);
        self.push(&character);
    }

    fn push(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        for c in text.chars() {
            match c {
                '\n' if self.preformatted => self.end_line(true),
                ' ' | '\t' | '\r' | '\n' | '\u{a0}' => self.space = true,
                c => {
                    if !self.on_line && self.quotes > 0 {
                        self.out.push_str("> ");
                    } else if self.on_line && self.space {
                        self.out.push(' ');
                    }
                    self.out.push(c);
                    (self.on_line, self.space) = (true, false);
                }
            }
        }
    }
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.match_indices('=').find_map(|(at, _)| {
        let (before, value) = (tag.get(..at)?.trim_end(), tag.get(at + 1..)?.trim_start());
        let start = before.len().checked_sub(name.len())?;
        let stands_alone = before.get(..start)?.ends_with(|c: char| c.is_ascii_whitespace());
        if !stands_alone || !before.get(start..)?.eq_ignore_ascii_case(name) {
            return None;
        }
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        match quote {
            Some(quote) => value.get(1..)?.split(quote).next(),
            None => value.split_ascii_whitespace().next(),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_as_a_reader_sees_them() {
        let table: &[(&str, &str)] = &[
            ("allow alice@a.example", "allow alice@a.example"),
            ("<p>one</p><p>two</p>", "one\ntwo\n"),
            ("<div>one</div>\r\n<div>two<br></div><div><br></div>three", "one\ntwo\n\nthree"),
            ("one<BR/>two<br />three", "one\ntwo\nthree"),
            ("<b>al</b>low  \n  alice@<i>a.example</i>", "allow alice@a.example"),
            ("<ul><li>list</li><li>help</li></ul>", "list\nhelp\n"),
            ("<table><tr><td>block</td><td>x.example</td></tr></table>", "block x.example\n"),
            ("wanted&nbsp;&lt;17@a.example&gt;", "wanted <17@a.example>"),
            ("b&uuml;cher &#x2d;&#45; &amp;amp; &bogus; & &;", "bücher -- &amp; &bogus; & &;"),
            ("a < b <3 <", "a < b <3 <"),
            ("<head><title>Help</title><style>p > a { list }</style></head>list", "list"),
            ("<script>if (a < b) help()</script>list<!-- help\n-->", "list"),
            ("<a href=\"x?a>b\" title='>'>list</a>", "list"),
            ("<pre>one\ntwo</pre>three", "one\ntwo\nthree"),
            ("new<blockquote type=cite>old<br>older</blockquote>newer", "new\n> old\n> older\nnewer"),
            ("<blockquote><blockquote>a</blockquote>b</blockquote>c</blockquote>d", "> a\n> b\nc\nd"),
            ("list<div id=\"appendonsend\"></div><hr>From: x", "list"),
            ("list<hr><div dir=ltr ID=divRplyFwdMsg>help", "list\n"),
            ("list<div data-id=\"divRplyFwdMsg\">help", "list\nhelp"),
            ("list<p unended", "list\n"),
            ("<textarea/>list", "list"),
            ("", ""),
        ];
        for (html, text) in table {
            assert_eq!(text_of(html), *text, "{html}");
        }
    }

    #[test]
    fn html_made_to_be_slow_is_read_at_once() {
        for piece in [
            "<",
            "<a",
            "&",
            "&amp",
            "<!--",
            "<p ",
            "<p =",
            "<a id=",
            "\"",
            "<blockquote>",
            "<p \"",
            "&;",
            "\u{a0}",
        ] {
            let html = piece.repeat(1_000_000 / piece.len());
            assert!(text_of(&html).len() <= 3 * html.len(), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_html(html in "([<>&;/!a\"= é\n-]|<blockquote>|</blockquote>|<br>|id=){0,40}") {
            let _ = text_of(&html);
        }
    }
}
