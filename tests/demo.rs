//! `farthing demo`: the story that the README begins with.
#![allow(clippy::unwrap_used)] // a demo that cannot be run fails the test

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farthing")).arg("demo").args(arguments).output().unwrap()
}

fn went_as_told(output: &Output) {
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}\n{said}");
    assert!(said.ends_with("\nEvery step went as told.\n"), "{said}");
    for word in [
        "550 5.7.1 <bob@b.example>: postage of 0.25c required",
        "spent",
        "wrong-sender",
        "bad-signature",
        "result=known",
        "the books balance",
    ] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
}

#[test]
fn the_story_goes_as_told() {
    went_as_told(&demo(&[]));
}

#[test]
fn a_program_reads_the_story_as_one_value() {
    let output = demo(&["--json"]);
    let story: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &story["ok"]), (Some(0), &true.into()));
    let steps = story["steps"].as_array().unwrap();
    assert!(steps.len() > 5 && steps.iter().all(|step| step["title"].is_string()), "{story}");
    let shown = steps[0]["shown"].as_array().unwrap();
    assert!(shown.iter().any(|line| line.as_str().unwrap().starts_with("< 550 5.7.1 ")), "{story}");
}

#[test]
fn the_story_goes_as_told_behind_a_real_postfix() {
    went_as_told(&demo(&["--postfix"]));
}
