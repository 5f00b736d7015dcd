//! What the author of a mail wrote himself: without what he quotes, the line that introduces it, and his signature.
//! Pure and linear.
//!
//! Mail programs differ, and speak their users' languages. So what can be told without words is: a quote begins with
//! `>`, an introduction stands before a quote and ends in a colon, a line of dashes ends what is new. Words are looked
//! at only where a program quotes without any mark.

/// Lines that the introduction of a quote is broken into at most.
const INTRODUCTION_LINES_MAX: usize = 3;
/// Characters of a line that is looked at for words; introductions and labels are shorter.
const LINE_OCTETS_MAX: usize = 500;

/// What the first field of a quoted header is called, lower-case.
const FROM_LABELS: [&str; 17] = [
    "from",
    "von",
    "de",
    "da",
    "van",
    "från",
    "fra",
    "od",
    "lähettäjä",
    "feladó",
    "gönderen",
    "expéditeur",
    "remitente",
    "от",
    "від",
    "发件人",
    "差出人",
];

/// The word of an introduction that says that somebody wrote, lower-case.
const WROTE: [&str; 23] = [
    "wrote",
    "writes",
    "schrieb",
    "écrit",
    "escribió",
    "escribio",
    "ha scritto",
    "scrive",
    "escreveu",
    "schreef",
    "skrev",
    "kirjoitti",
    "napisał",
    "napsal",
    "napísal",
    "írta",
    "a scris",
    "yazdı",
    "написал",
    "написав",
    "пише",
    "写道",
    "のメール",
];

/// How the line begins that a telephone puts below what was written, lower-case.
const FOOTERS: [&str; 14] = [
    "sent from my ",
    "sent from mail",
    "sent via ",
    "get outlook for ",
    "sent with ",
    "von meinem ",
    "gesendet von ",
    "gesendet mit ",
    "diese nachricht wurde von meinem ",
    "envoyé de mon ",
    "envoyé depuis ",
    "enviado desde ",
    "inviato da",
    "verstuurd vanaf ",
];

/// The lines that are the author's own, none of them empty, without white space around them. `is_command` tells lines
/// that are meant to be read from those that may belong to the introduction of a quote.
#[must_use]
pub fn own_lines(text: &str, is_command: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut own: Vec<&str> = Vec::new();
    let mut in_quote = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if matches!(line.trim_end_matches('\r'), "-- " | "--") {
            break;
        }
        let line = line.trim();
        if line.starts_with(['>', '|']) {
            if !in_quote {
                drop_introduction(&mut own, &is_command);
            }
            in_quote = true;
            continue;
        }
        in_quote = in_quote && line.is_empty();
        if is_rule(line) || begins_header(line) {
            break;
        }
        own.push(line);
        if says_wrote(line) {
            while lines.next_if(|next| next.trim().is_empty()).is_some() {}
            let quoted = lines.peek().is_some_and(|next| next.trim_start().starts_with(['>', '|']));
            if !quoted {
                // What follows is quoted without a mark.
                drop_introduction(&mut own, &is_command);
                break;
            }
        }
    }
    own.retain(|line| !line.is_empty() && !is_footer(line));
    own
}

/// Takes the introduction of a quote off the end: the paragraph's last lines, if they end in a colon.
fn drop_introduction(own: &mut Vec<&str>, is_command: impl Fn(&str) -> bool) {
    let kept = own.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    if !own.get(kept.wrapping_sub(1)).is_some_and(|last| ends_in_colon(last)) {
        return;
    }
    own.truncate(kept);
    for _ in 0..INTRODUCTION_LINES_MAX {
        match own.last() {
            Some(line) if !line.is_empty() && !is_command(line) => own.pop(),
            _ => break,
        };
    }
}

fn ends_in_colon(line: &str) -> bool {
    line.ends_with([':', '：'])
}

fn says_wrote(line: &str) -> bool {
    if !ends_in_colon(line) || line.len() > LINE_OCTETS_MAX {
        return false;
    }
    let line = line.to_lowercase();
    WROTE.iter().any(|word| line.contains(word))
}

/// A line of dashes, or one between dashes: `-----Original Message-----`, `________________`.
fn is_rule(line: &str) -> bool {
    let Some(mark) = line.chars().next().filter(|c| "-_=*".contains(*c)) else { return false };
    let at_start = line.chars().take_while(|c| *c == mark).count();
    at_start >= 5 || at_start >= 2 && line.ends_with(mark)
}

/// Whether a header is quoted from here on: `From: Alice`, `*Von:* Alice`, `De : Alice`.
fn begins_header(line: &str) -> bool {
    let line = line.get(..LINE_OCTETS_MAX).unwrap_or(line).trim_start_matches(['*', '_']);
    let Some((label, _)) = line.split_once([':', '：']) else { return false };
    let label = label.trim_matches(|c: char| c.is_whitespace() || c == '*').to_lowercase();
    FROM_LABELS.contains(&label.as_str())
}

fn is_footer(line: &str) -> bool {
    let start: String = line.chars().take(40).flat_map(char::to_lowercase).collect();
    FOOTERS.iter().any(|footer| start.starts_with(footer))
}

/// A text in format=flowed (RFC 3676) with its lines put together again; quoted lines stay as they are, for nobody reads
/// them.
#[must_use]
pub fn unflowed(text: &str, delete_space: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open = false;
    for line in text.lines() {
        let quoted = line.starts_with('>');
        if open && quoted {
            out.push('\n');
        }
        let line = if quoted { line } else { line.strip_prefix(' ').unwrap_or(line) };
        open = !quoted && line.ends_with(' ') && line != "-- ";
        let shown = if open && delete_space { line.strip_suffix(' ').unwrap_or(line) } else { line };
        out.push_str(shown);
        if !open {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<&str> {
        own_lines(text, |line| line.starts_with("wanted") || line == "list")
    }

    #[test]
    fn quotes_and_what_introduces_them_in_many_programs_and_languages() {
        let table: &[(&str, &str)] = &[
            ("Thunderbird", "wanted 1\n\nOn 11/2/26 09:00, Alice Anderson wrote:\n> Dear Bob,\n>\n> hello\n"),
            (
                "Thunderbird, German",
                "wanted 1\n\nAm 02.11.26 um 09:00 schrieb Alice Anderson:\n> Lieber Bob\n",
            ),
            (
                "Thunderbird, answer below",
                "Am 02.11.26 um 09:00 schrieb Alice:\n> Lieber Bob\n> hallo\n\nwanted 1\n-- \nBob\n",
            ),
            (
                "Gmail",
                "wanted 1\n\nOn Mon, Nov 2, 2026 at 9:00 AM Alice Anderson <alice@a.example>\nwrote:\n\n> Dear Bob\n",
            ),
            (
                "Gmail, broken twice",
                "wanted 1\nOn Mon, Nov 2, 2026 at 9:00 AM Alice\nAnderson-Longname the Third\n<alice@a.example> wrote:\n> Dear Bob\n",
            ),
            (
                "Gmail, Spanish",
                "wanted 1\n\nEl lun, 2 nov 2026 a las 9:00, Alice (<alice@a.example>) escribió:\n\n> Hola\n",
            ),
            (
                "Gmail, French",
                "wanted 1\n\nLe lun. 2 nov. 2026 à 09:00, Alice <alice@a.example> a écrit :\n\n> Bonjour\n",
            ),
            (
                "Gmail, Italian",
                "wanted 1\n\nIl giorno lun 2 nov 2026 alle ore 09:00 Alice <alice@a.example>\nha scritto:\n\n> Ciao\n",
            ),
            (
                "Gmail, Chinese",
                "wanted 1\n\nAlice <alice@a.example> 于2026年11月2日周一 09:00写道：\n\n> 你好\n",
            ),
            (
                "Gmail, forwarded",
                "wanted 1\n\n---------- Forwarded message ---------\nFrom: Alice <alice@a.example>\nlist\n",
            ),
            (
                "Outlook",
                "wanted 1\r\n\r\n-----Original Message-----\r\nFrom: Alice <alice@a.example>\r\nSent: Monday\r\n\r\nlist\r\n",
            ),
            (
                "Outlook, German",
                "wanted 1\n\n-----Ursprüngliche Nachricht-----\nVon: Alice\nGesendet: Montag\n\nlist\n",
            ),
            ("Outlook, a line", "wanted 1\n________________________________\nVon: Alice\nlist\n"),
            (
                "Outlook, no line",
                "wanted 1\n\nFrom: Alice Anderson <alice@a.example>\nSent: Monday, November 2\n\nlist\n",
            ),
            ("Outlook, French", "wanted 1\n\nDe : Alice\nEnvoyé : lundi\n\nlist\n"),
            ("Outlook, bold", "wanted 1\n\n*From:* Alice\n*Sent:* Monday\n\nlist\n"),
            ("Outlook, Spanish", "wanted 1\n\nDe: Alice\nEnviado el: lunes\nPara: Bob\n\nlist\n"),
            (
                "Apple Mail",
                "wanted 1\n\n> On 2 Nov 2026, at 09:00, Alice <alice@a.example> wrote:\n> \n> list\n",
            ),
            (
                "Apple Mail, telephone",
                "wanted 1\n\nVon meinem iPhone gesendet\n\n> Am 02.11.2026 um 09:00 schrieb Alice:\n> \n> list\n",
            ),
            ("K-9", "wanted 1\n\n-------- Ursprüngliche Nachricht --------\nVon: Alice\nlist\n"),
            (
                "K-9, marked",
                "wanted 1\n\nAm 2. November 2026 09:00:00 MEZ schrieb Alice <alice@a.example>:\n>list\n",
            ),
            (
                "mutt",
                "On Mon, Nov 02, 2026 at 09:00:00AM +0000, Alice wrote:\n> Dear Bob\n\nwanted 1\n\n> list\n",
            ),
            ("mutt, terse", "* Alice [2026-11-02 09:00]:\n> list\n\nwanted 1\n"),
            (
                "Yahoo",
                "wanted 1\n\n    On Monday, November 2, 2026, Alice <alice@a.example> wrote:  \n \n Dear Bob,\nlist\n",
            ),
            (
                "Outlook, telephone",
                "wanted 1\n\nGet Outlook for Android\n________________________________\nlist\n",
            ),
            ("Roundcube", "wanted 1\n\nAm 2026-11-02 09:00, schrieb Alice:\n> list\n-- \nlist\n"),
            (
                "Swedish",
                "wanted 1\n\nDen mån 2 nov. 2026 kl 09:00 skrev Alice <alice@a.example>:\n\n> list\n",
            ),
            ("Dutch", "wanted 1\n\nOp 2 nov 2026 om 09:00 schreef Alice:\n\nlist\n"),
            (
                "Russian",
                "wanted 1\n\nпн, 2 нояб. 2026 г. в 09:00, Alice <alice@a.example> написала:\n\nlist\n",
            ),
            ("a signature", "wanted 1\n-- \nBob\nlist\n"),
            ("a signature whose space was lost", "wanted 1\n--\nBob\nlist\n"),
            ("white space", "\n\n\t wanted 1 \t\r\n\r\n"),
        ];
        for (program, text) in table {
            assert_eq!(of(text), ["wanted 1"], "{program}");
        }
    }

    #[test]
    fn what_is_the_author_s_stays() {
        for (text, lines) in [
            ("list\n> old\nwanted 2\n> older\nlist\n", &["list", "wanted 2", "list"][..]),
            ("Please:\nwanted 1\nlist", &["Please:", "wanted 1", "list"]),
            ("wanted 1\n:\n> old", &["wanted 1"]),
            ("hello\n\nAlice wrote:\n> x\n\nthere", &["hello", "there"]),
            ("--help\n- list\n-", &["--help", "- list", "-"]),
            ("a --\nb", &["a --", "b"]),
            ("fromage: list", &["fromage: list"]),
            ("Sent from my iPhone\nlist", &["list"]),
            ("", &[]),
            (">", &[]),
        ] {
            assert_eq!(of(text), lines, "{text:?}");
        }
    }

    #[test]
    fn flowed_text_is_put_together() {
        for (text, delete_space, whole) in [
            ("wanted \n<17@a.example>\nlist", false, "wanted <17@a.example>\nlist\n"),
            ("wanted <17@a.ex \nample>\n", true, "wanted <17@a.example>\n"),
            (" >not quoted\n  two", false, ">not quoted\n two\n"),
            ("one \n> two \n> three\nfour", false, "one \n> two \n> three\nfour\n"),
            ("one\n-- \nBob", false, "one\n-- \nBob\n"),
            ("one ", false, "one "),
        ] {
            assert_eq!(unflowed(text, delete_space), whole, "{text:?}");
        }
    }

    #[test]
    fn texts_made_to_be_slow_are_read_at_once() {
        for piece in
            ["x:\n", "wrote:\n\n", "x:\n>\n", ">\n", "\n", "-", "- \n", "from", "a \n", "x\n:\n> \n", "Ⱥ"]
        {
            let text = piece.repeat(1_000_000 / piece.len());
            assert!(of(&text).len() <= text.len());
            assert!(unflowed(&text, true).len() <= text.len() + 1);
        }
    }

    proptest! {
        #[test]
        fn lines_are_lines_of_the_text(text in "([>|:\n\r -]|list|wrote|From|é|：){0,30}") {
            for line in of(&text) {
                prop_assert!(!line.is_empty() && text.contains(line));
            }
        }
    }
}
