//! What a mail folder is for, by its name: in the languages of mail programs and in the ways servers write names on disk.
//!
//! Pure. The tables hold each language's names, English first, in the form of [`plain`]. A name that is in no table is one that somebody gave: what lies there was put there to be kept.

use std::borrow::Cow;

/// What a folder is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What came in and nobody put anywhere.
    Inbox,
    /// What the user wrote.
    Sent,
    /// What the user has not sent (yet).
    Drafts,
    /// What nobody wants.
    Junk,
    /// What somebody put away to keep.
    Kept,
}

/// Folders of what came in, and those with every message in them: they keep nothing. Nor does Strangers, into which our own
/// Sieve script files what came without postage (`packaging/sieve/postage.sieve`).
const INBOX: &str = "\
    inbox strangers mbox newmail allmail allmailincludingspamandtrash \
    posteingang allenachrichten boitedereception touslesmessages bandejadeentrada todos \
    caixadeentrada todososemails todoocorreio postainarrivo tuttiimessaggi postvakin alleberichten \
    odebrane wszystkie inkorg allamail indbakke allemails innboks alleposter saapuneet \
    dorucenaposta входящие всяпочта \
    gelenkutusu 受信トレイ すべてのメール 收件箱 收件匣 所有邮件 받은편지함 전체보관함";

/// Folders of what the user wrote.
const SENT: &str = "\
    sent sentitems sentmail sentmessages sentobjects outbox outgoing sentarchive \
    gesendet gesendeteobjekte gesendeteelemente gesendetenachrichten postausgang envoyes \
    elementsenvoyes messagesenvoyes courrierenvoye objetsenvoyes boitedenvoi enviados \
    elementosenviados mensajesenviados correoenviado itensenviados mensagensenviadas emailsenviados \
    inviati inviata postainviata elementiinviati messaggiinviati verzonden verzondenitems \
    verzondenberichten \
    wyslane elementywyslane skickat skickade skickadeobjekt sendt sendtemails sendtepost \
    sendteelementer sendtpost lahetetyt odeslane odeslanaposta odeslanepolozky отправленные \
    исходящие надіслані \
    elkuldott elkuldottelemek gonderilmispostalar gonderilenler gonderilmisogeler 送信済み \
    送信済みメール 送信済みアイテム 已发送 已发送邮件 已傳送 寄件備份 보낸편지함";

/// Folders of what the user has not sent.
const DRAFTS: &str = "\
    drafts draft templates entwurf entwurfe entwuerfe vorlagen brouillons brouillon modeles \
    borradores borrador rascunhos bozze concepten concept kopiewwersjiroboczej wersjerobocze \
    szkice utkast kladder kladde luonnokset koncepty rozepsane черновики чернетки \
    piszkozatok taslaklar 下書き 草稿 草稿箱 임시보관함";

/// Folders of what nobody wants: junk and trash.
const JUNK: &str = "\
    junk junkemail junkmail junkmessages spam spammail probablyspam probablespam bulk \
    bulkmail suspect caughtspam trash deleted deleteditems deletedmessages deletedobjects \
    wastebasket recyclebin bin quarantine virus viruses unwanted expunged \
    papierkorb geloscht geloschte geloschteobjekte geloschteelemente geloeschteobjekte \
    geloeschteelemente geloeschtenachrichten geloschtenachrichten spamverdacht unerwunscht \
    unerwunschtewerbung junkeemail werbung corbeille elementssupprimes messagessupprimes supprimes \
    indesirables courrierindesirable pourriel pourriels papelera papeleradereciclaje eliminados \
    elementoseliminados correonodeseado nodeseado lixo lixeira lixoeletronico \
    itenseliminados itensexcluidos correioeletroniconaosolicitado cestino postaeliminata \
    elementieliminati eliminati postaindesiderata indesiderata prullenbak prullenmand \
    verwijderdeitems verwijderd ongewenst ongewensteemail ongewenstemail reclame \
    kosz elementyusuniete wiadomoscismieci smieci niechciane papperskorgen borttaget \
    borttagnaobjekt skrappost papirkurv slettetpost slettet slettedeelementer slettede uonsketmail \
    uonsket soppel soppelpost roskakori poistetut roskaposti kos odstranenaposta \
    odstranenepolozky nevyzadanaposta kosik корзина удаленные спам нежелательнаяпочта кошик \
    видалені небажанапошта \
    kuka toroltelemek levelszemet copkutusu copsepeti silinmispostalar silinmisogeler \
    onemsiz istenmeyenposta gereksiz ごみ箱 ゴミ箱 迷惑メール 削除済みアイテム 已删除 已删除邮件 \
    垃圾箱 垃圾邮件 垃圾郵件 废件箱 刪除的郵件 휴지통 스팸메일함 스팸";

/// What a folder is for. Parts of the name are parted by `/`; the whole may be in IMAP's own encoding.
#[must_use]
pub fn purpose(folder: &str) -> Purpose {
    let decoded = decoded(folder);
    let mut parts: Vec<String> = decoded.split('/').map(plain).filter(|part| !part.is_empty()).collect();
    let stands_above = |part: &str| is_among(INBOX, part) || matches!(part, "[gmail]" | "[googlemail]");
    // Servers put everything below INBOX, Gmail below [Gmail].
    if parts.len() > 1 && parts.first().is_some_and(|first| stands_above(first)) {
        parts.remove(0);
    }
    let any = |names: &str| parts.iter().any(|part| is_among(names, part));
    match () {
        () if any(JUNK) => Purpose::Junk,
        () if any(DRAFTS) => Purpose::Drafts,
        () if any(SENT) => Purpose::Sent,
        () if parts.is_empty() || any(INBOX) => Purpose::Inbox,
        () => Purpose::Kept,
    }
}

fn is_among(names: &str, part: &str) -> bool {
    names.split_ascii_whitespace().any(|name| name == part)
}

/// A name without what programs write in different ways: case, accents, spaces, hyphens.
fn plain(part: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '[' | ']');
    part.to_lowercase().chars().filter(kept).map(without_accent).collect()
}

/// The letter without its accent, of the letters that stand in the tables with one.
const fn without_accent(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ù' | 'ú' | 'û' | 'ü' | 'ů' | 'ű' => 'u',
        'ý' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ğ' => 'g',
        'ё' => 'е',
        c => c,
    }
}

/// A name as people see it, of one that is written in IMAP's modified UTF-7 (RFC 3501 §5.1.3), as most servers do on
/// disk: `Entw&APw-rfe` is `Entwürfe`. A name in which the encoding does not hold is taken as it stands.
#[must_use]
pub fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains('&') {
        return Cow::Borrowed(name);
    }
    try_decode(name).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn try_decode(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let (coded, behind) = after.split_once('-')?;
        if coded.is_empty() {
            text.push('&');
        } else {
            let octets = data_encoding::BASE64_NOPAD.decode(coded.replace(',', "/").as_bytes()).ok()?;
            let units = octets.chunks(2).map(|pair| match pair {
                [high, low] => Some(u16::from_be_bytes([*high, *low])),
                _ => None,
            });
            text.push_str(&String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()?);
        }
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_folders_are_for() {
        for (folder, is) in [
            ("Inbox", Purpose::Inbox),
            ("INBOX", Purpose::Inbox),
            ("", Purpose::Inbox),
            ("mbox", Purpose::Inbox),
            ("Strangers", Purpose::Inbox),
            ("INBOX/Strangers", Purpose::Inbox),
            ("[Gmail]/All Mail", Purpose::Inbox),
            ("[Google Mail]/Alle Nachrichten", Purpose::Inbox),
            ("Sent", Purpose::Sent),
            ("INBOX/Sent Items", Purpose::Sent),
            ("Sent/2019", Purpose::Sent),
            ("sent-mail", Purpose::Sent),
            ("Sent_Messages", Purpose::Sent),
            ("Gesendet", Purpose::Sent),
            ("Gesendete Objekte", Purpose::Sent),
            ("&AMk-l&AOk-ments envoy&AOk-s", Purpose::Sent),
            ("Éléments envoyés", Purpose::Sent),
            ("Elementos enviados", Purpose::Sent),
            ("Wys&AUI-ane", Purpose::Sent),
            ("&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-", Purpose::Sent),
            ("&XfJT0ZAB-", Purpose::Sent),
            ("Drafts", Purpose::Drafts),
            ("Entw&APw-rfe", Purpose::Drafts),
            ("Brouillons", Purpose::Drafts),
            ("Junk", Purpose::Junk),
            ("Junk E-mail", Purpose::Junk),
            ("Junk E-Mail", Purpose::Junk),
            ("[Gmail]/Spam", Purpose::Junk),
            ("INBOX/spam", Purpose::Junk),
            ("Trash/Friends", Purpose::Junk),
            ("Papierkorb", Purpose::Junk),
            ("Gel&APY-schte Objekte", Purpose::Junk),
            ("Gelöschte Elemente", Purpose::Junk),
            ("Corbeille", Purpose::Junk),
            ("Courrier ind&AOk-sirable", Purpose::Junk),
            ("Correo no deseado", Purpose::Junk),
            ("Lixo Eletr&APQ-nico", Purpose::Junk),
            ("Posta indesiderata", Purpose::Junk),
            ("Ongewenste e-mail", Purpose::Junk),
            ("Skr&AOQ-ppost", Purpose::Junk),
            ("S&APg-ppel", Purpose::Junk),
            ("&BCEEPwQwBDw-", Purpose::Junk),
            ("&j,dg0TDhMPww6w-", Purpose::Junk),
            ("&V4NXPpCuTvY-", Purpose::Junk),
            ("Archive", Purpose::Kept),
            ("INBOX/Family", Purpose::Kept),
            ("Lists/Users", Purpose::Kept),
            ("Junkyard", Purpose::Kept),
            ("Fish &- Chips", Purpose::Kept),
        ] {
            assert_eq!(purpose(folder), is, "{folder}");
        }
    }

    #[test]
    fn names_in_imaps_encoding() {
        for (name, shown) in [
            ("Family", "Family"),
            ("Fish &- Chips", "Fish & Chips"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("&U,BTFw-/&ZeVnLIqe-", "台北/日本語"),
            ("&2D3eAA-", "\u{1f600}"),
            // What is not in that encoding is taken as it stands.
            ("Fish & Chips", "Fish & Chips"),
            ("a&b-c", "a&b-c"),
            ("&AA-", "&AA-"),
            ("&2AA-", "&2AA-"),
            ("&!!-", "&!!-"),
            ("&", "&"),
        ] {
            assert_eq!(decoded(name), shown, "{name}");
        }
    }
}
