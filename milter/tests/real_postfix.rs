//! The Postfix that other tests stand on: it starts, takes mail, delivers it, and goes away.

mod support;

use std::time::Duration;

use support::postfix::{Postfix, PostfixConfig};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_real_postfix_takes_mail_by_smtp_and_by_sendmail() {
    let postfix = Postfix::start(PostfixConfig::default());
    let mut smtp = postfix.smtp();
    smtp.expect("EHLO a.example", 250);
    let answer = smtp.send_mail("ann@a.example", &["bob@b.example"], b"Subject: one\n\n.dot\n");
    assert_eq!(answer.code, 250, "{answer}");
    let output = postfix.submit("carol@b.example", &["bob@b.example"], b"Subject: two\n\nhello\n");
    assert!(output.status.success(), "{output:?}\n{}", postfix.log());

    let mut mail = postfix.wait_for_mail(2, LIMIT);
    mail.sort_by_key(|mail| mail.header("Subject"));
    assert_eq!(mail[0].header("subject"), ["one"]);
    assert!(mail[0].text().ends_with("\n\n.dot\n"), "{}", mail[0].text());
    assert_eq!(mail[1].header("Subject"), ["two"]);
    assert_eq!(mail[1].recipient, "bob@b.example");
}
