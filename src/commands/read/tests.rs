//! Mails as programs write them, in their styles and encodings.

use super::*;

fn lines(message: &str) -> Vec<String> {
    read(message.replace('\n', "\r\n").as_bytes()).lines
}

fn with(fields: &str, body: &str) -> Vec<String> {
    lines(&format!("From: bob@b.example\nTo: postage@b.example\nMIME-Version: 1.0\n{fields}\n\n{body}"))
}

#[test]
fn subjects_are_decoded() {
    for (field, subject) in [
        ("Subject: list", "list"),
        ("Subject: =?utf-8?Q?allow_zo=C3=AB=40a=2Eexample?=", "allow zoë@a.example"),
        ("Subject: =?iso-8859-1?B?bGlzdA==?=", "list"),
        ("subject:\n  list ", "list"),
        ("Subject: =?utf-8?Q?wanted=C2=A0alice=40a.example?=", "wanted alice@a.example"),
        ("Subject: Re: list", "Re: list"),
    ] {
        let said = read(format!("{field}\r\n\r\n").as_bytes());
        assert_eq!(said.subject.as_deref(), Some(subject), "{field}");
        assert!(said.lines.is_empty());
    }
    assert_eq!(
        read(b"From: bob@b.example\r\n\r\nlist\r\n"),
        Said { subject: None, lines: vec!["list".into()] }
    );
}

#[test]
fn encodings_and_charsets() {
    for (fields, body) in [
        ("", "allow zoë@a.example"),
        ("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit", "allow zoë@a.example"),
        (
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
            "allow zo=C3=\n=AB@a.ex=\nample",
        ),
        (
            "Content-Type: text/plain; charset=iso-8859-15\nContent-Transfer-Encoding: quoted-printable",
            "allow zo=EB@a.example",
        ),
        (
            "Content-Type: text/plain; charset=\"UTF-8\"\nContent-Transfer-Encoding: base64",
            "YWxsb3cgem/Dq0BhLmV4YW1wbGUK",
        ),
        (
            "Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64",
            "YQBsAGwAbwB3ACAAegBvAOsAQABhAC4AZQB4AGEAbQBwAGwAZQA=",
        ),
        ("Content-Type: text/plain; charset=windows-1252; format=flowed", "allow\u{20}\nzo\u{eb}@a.example"),
        ("Content-Type: text/html; charset=utf-8", "<p>allow zo&euml;@a.<b>example</b>"),
        (
            "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
            "<div style=3D\"x\">allow zo=C3=AB@a.example</div>",
        ),
    ] {
        let latin = fields.contains("windows-1252");
        let text = format!("From: bob@b.example\r\n{fields}\r\n\r\n{}", body.replace('\n', "\r\n"));
        let text = text.replacen("\r\n\r\n\r\n", "\r\n\r\n", usize::from(fields.is_empty()));
        let octets =
            if latin { text.chars().map(|c| u8::try_from(c).unwrap()).collect() } else { text.into_bytes() };
        assert_eq!(read(&octets).lines, ["allow zoë@a.example"], "{fields}");
    }
}

#[test]
fn the_first_text_part_holds_the_commands() {
    const PLAIN: &str = "--x\nContent-Type: text/plain\n\nlist\n";
    const HTML: &str = "--x\nContent-Type: text/html\n\n<p>help\n";
    let mixed =
        |parts: &str| with("Content-Type: multipart/mixed; boundary=x", &format!("preamble\n{parts}--x--\n"));
    let alternative =
        |parts: &str| with("Content-Type: multipart/alternative; boundary=\"x\"", &format!("{parts}--x--\n"));
    assert_eq!(mixed(PLAIN), ["list"]);
    assert_eq!(mixed(&format!("{PLAIN}--x\nContent-Type: text/plain\n\nhelp\n")), ["list"], "the first");
    assert_eq!(mixed(&format!("{PLAIN}{HTML}")), ["list"]);
    assert_eq!(mixed(HTML), ["help"]);
    assert_eq!(alternative(&format!("{PLAIN}{HTML}")), ["list"]);
    assert_eq!(alternative(&format!("{HTML}{PLAIN}")), ["list"]);
    assert_eq!(alternative(HTML), ["help"]);
    assert_eq!(
        alternative(&format!("--x\nContent-Type: text/plain\n\n \n{HTML}")),
        ["help"],
        "the plain one is empty"
    );
    let attached = "--x\nContent-Type: text/plain; name=a.txt\nContent-Disposition: attachment\n\nhelp\n";
    assert_eq!(mixed(attached), Vec::<String>::new(), "what is attached was written by anybody");
    assert_eq!(mixed(&format!("{attached}{PLAIN}")), ["list"]);
    let forwarded = "--x\nContent-Type: message/rfc822\n\nSubject: help\nFrom: m@m.example\n\nhelp\n";
    assert_eq!(mixed(forwarded), Vec::<String>::new(), "what is forwarded too");
    assert_eq!(mixed(&format!("{forwarded}{PLAIN}")), ["list"]);
    let nested = "--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\nContent-Type: text/plain\n\nlist\n\
                  --y\nContent-Type: text/html\n\n<p>help\n--y--\n";
    assert_eq!(mixed(nested), ["list"]);
    let signed = with(
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=x",
        &format!("{PLAIN}--x\nContent-Type: application/pgp-signature\n\nabc\n--x--\n"),
    );
    assert_eq!(signed, ["list"]);
    assert_eq!(
        with("Content-Type: image/png\nContent-Transfer-Encoding: base64", "aGVscA=="),
        Vec::<String>::new()
    );
    assert_eq!(with("Content-Type: multipart/mixed; boundary=x", "--x\n"), Vec::<String>::new(), "cut off");
    assert_eq!(
        with("Content-Type: multipart/mixed; boundary=x", "--x\nContent-Type: text/plain\n\nlist"),
        ["list"]
    );
}

#[test]
fn html_mails_of_programs() {
    let html = |body: &str| with("Content-Type: text/html; charset=utf-8", body);
    for (program, body) in [
        (
            "Gmail",
            "<div dir=\"ltr\">wanted 1</div><br><div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">\
             On Mon, Nov 2, 2026 at 9:00 AM Alice &lt;<a href=\"mailto:alice@a.example\">alice@a.example</a>&gt; \
             wrote:<br></div><blockquote class=\"gmail_quote\" style=\"margin:0\">list<br></blockquote></div>",
        ),
        (
            "Outlook",
            "<html><head><style>p{x:y}</style></head><body><div class=\"WordSection1\"><p class=\"MsoNormal\">wanted 1\
             <o:p></o:p></p><div style='border:none'><p class=\"MsoNormal\"><b>Von:</b> Alice<br><b>Gesendet:</b> \
             Montag</p></div><p>list</p></div></body></html>",
        ),
        (
            "Outlook on the web",
            "<div class=\"elementToProof\">wanted 1</div><div id=\"appendonsend\"></div><hr style=\"width:98%\">\
             <div id=\"divRplyFwdMsg\" dir=\"ltr\"><b>From:</b> Alice</div><div>list</div>",
        ),
        (
            "Apple Mail",
            "<html><body><div>wanted 1</div><div><br><blockquote type=\"cite\"><div>Am 02.11.2026 um 09:00 schrieb \
             Alice:</div><br><div>list</div></blockquote></div><br></body></html>",
        ),
        (
            "Thunderbird",
            "<p>wanted 1</p><div class=\"moz-cite-prefix\">Le 02/11/2026 à 09:00, Alice a écrit&nbsp;:<br></div>\
             <blockquote type=\"cite\" cite=\"mid:1@a.example\">list</blockquote><div class=\"moz-signature\">-- <br>Bob</div>",
        ),
        (
            "a telephone",
            "<div>wanted 1</div><div dir=\"ltr\">Sent from my iPhone</div><div dir=\"ltr\"><br><blockquote type=\"cite\">\
             On 2 Nov 2026, at 09:00, Alice wrote:<br><br></blockquote></div><blockquote type=\"cite\">list</blockquote>",
        ),
        (
            "Yahoo",
            "<div>wanted 1</div><div id=\"yahoo_quoted_1\"><div>On Monday, Alice wrote:</div><div>list</div></div>",
        ),
    ] {
        assert_eq!(html(body), ["wanted 1"], "{program}");
    }
}

#[test]
fn what_is_not_seen_is_not_there() {
    assert_eq!(with("", "\u{feff}wan\u{200b}ted\u{a0}alice@a.example\n"), ["wanted alice@a.example"]);
}

/// On a thread with as little room as the daemon's have.
#[test]
fn mails_made_to_be_deep_or_long_are_read_at_once() {
    let multiparts = |depth: usize| {
        let mut mail = String::from("From: bob@b.example\r\n");
        for n in 0..depth {
            mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"));
        }
        mail.push_str("Content-Type: text/plain\r\n\r\nlist\r\n");
        (0..depth).rev().for_each(|n| mail.push_str(&format!("--b{n}--\r\n")));
        mail
    };
    let letters = |depth: usize| "Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "\r\nlist\r\n";
    let encoded = |depth: usize| {
        let mut inner = "list".to_owned();
        for _ in 0..depth {
            let text = data_encoding::BASE64.encode(inner.as_bytes());
            inner = format!(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}\r\n"
            );
        }
        inner
    };
    let read_small = |mail: String| {
        std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(move || read(mail.as_bytes()))
            .unwrap()
            .join()
            .unwrap()
    };
    assert_eq!(read_small(multiparts(100)).lines, ["list"]);
    read_small(multiparts(15_000));
    read_small(letters(100));
    read_small(letters(30_000));
    let digests =
        |depth: usize| "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\n".repeat(depth);
    read_small(digests(90) + "\r\nlist\r\n");
    read_small(digests(20_000) + "\r\nlist\r\n");
    read_small(encoded(20));
    let many = format!("From: bob@b.example\r\n\r\n{}", "wanted alice@a.example\r\n".repeat(10_000));
    assert_eq!(read_small(many).lines.len(), 10_000);
    for piece in [
        "a",
        "\r\n",
        "=?utf-8?q?",
        "Subject: ",
        "--",
        "\0",
        "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n",
    ] {
        read_small(piece.repeat((1 << 20) / piece.len()));
    }
}
