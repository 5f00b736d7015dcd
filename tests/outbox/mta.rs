//! A real Postfix as the smarthost, with the gate behind it: our own mail comes through and is delivered.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use crate::{
    desk::{Desk, NOW},
    postfix::{Delivered, Postfix, PostfixConfig},
    support::{BOB, Site, World, block_on},
};

const LIMIT: Duration = Duration::from_secs(30);

fn mx() -> (Postfix, World) {
    // The default networks: mail of this machine is not asked for postage.
    let world = World::start(&Site::gate("exempt_networks = [\"127.0.0.0/8\"]"));
    let milter = format!("unix:{}", world.path("milter.sock").display());
    let config =
        PostfixConfig { non_smtpd_milters: vec![milter.clone()], ..PostfixConfig::with_milter(milter) };
    (Postfix::start(config), world)
}

fn sent(smarthost: &str, postfix: &Postfix) -> Delivered {
    block_on(async {
        let mut desk = Desk::new(smarthost);
        desk.answer_bob("list", NOW).await;
        desk.round(NOW).await;
        assert_eq!(desk.state().await.last_error, None);
    });
    let mut mail = postfix.wait_for_mail(1, LIMIT);
    assert_eq!(mail.len(), 1, "{mail:#?}");
    mail.remove(0)
}

fn is_ours(mail: &Delivered) {
    assert_eq!(mail.recipient, BOB);
    assert!(mail.text().starts_with("Return-Path: <>\n"), "{}", mail.text());
    assert_eq!(mail.header("Auto-Submitted"), ["auto-replied"]);
    assert_eq!(mail.header("Subject"), ["Re: list"]);
    let status = mail.header("Postage-Status");
    assert!(status.len() == 1 && status[0].contains("result=exempt"), "{status:?}");
    assert!(
        mail.text().ends_with(
            "

list: done
"
        ),
        "{}",
        mail.text()
    );
}

#[test]
fn an_answer_comes_through_postfix_and_the_gate_to_its_mailbox() {
    let (postfix, _world) = mx();
    is_ours(&sent(&format!("smtp://{}", postfix.smtp_addr), &postfix));
}

#[test]
fn an_answer_comes_through_postfix_s_sendmail() {
    let (postfix, world) = mx();
    let program = world.path("sendmail");
    let script =
        format!("#!/bin/sh\nexec /usr/sbin/sendmail -C {} \"$@\"\n", postfix.config_directory().display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    is_ours(&sent(&format!("sendmail:{}", program.display()), &postfix));
}
