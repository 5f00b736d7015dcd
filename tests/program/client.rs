//! A client in another language, which knows only what the office says of itself: `examples/buy_stamp.py`.

use std::{path::Path, process::Command};

use farthing::{
    clock::unix_now,
    stamp::{CancelledStamp, SecretKey, Stamp, Terms},
};
use serde_json::{Value, json};

use crate::post::{Post, patient};

/// The Python that tests/run gave the modules PyNaCl and blake3.
fn python() -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("bin/python3")
}

/// What the client prints, or its last words.
fn client(key: &Path, arguments: &[&str]) -> Result<Value, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/buy_stamp.py");
    let mut command = Command::new(python());
    command.arg(script).arg(key).args(arguments);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run once"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(stderr) }
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    data_encoding::BASE64URL_NOPAD.decode(value.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
}

#[test]
fn a_client_written_by_the_description_buys_a_stamp_that_pays() {
    for path_of_url in ["", "post/office/"] {
        let post = Post::with(patient(), path_of_url);
        let key = post.directory.path().join("account.key");
        let url = post.url();
        let account = client(&key, &[&url]).unwrap();
        assert_eq!(account["balance"], 0);
        let short = client(&key, &[&url, "bob@b.example"]).unwrap_err();
        assert!(short.contains("402: the account holds"), "{short}");
        post.credit(account["account"].as_str().unwrap(), "1c");
        let sold = client(&key, &[&url, "Bob@B.example"]).unwrap();
        assert_eq!(client(&key, &[&url]).unwrap()["balance"], 7_500);

        let terms = Terms {
            office: sold["i"].as_str().unwrap().parse().unwrap(),
            selector: sold["s"].as_str().unwrap().parse().unwrap(),
            id: bytes(&sold["id"]),
            value: farthing::money::Micros::new(sold["n"].as_u64().unwrap()).unwrap(),
            currency: sold["c"].as_str().unwrap().parse().unwrap(),
            audience: sold["d"].as_str().unwrap().parse().unwrap(),
            expiry: sold["x"].as_u64().unwrap(),
            holder: bytes(&sold["k"]),
        };
        let stamp = Stamp { terms, signature: bytes(&sold["b"]) };
        let holder = SecretKey::from_seed(&bytes(&sold["secret"]));
        let (to, from) = ("bob@b.example".parse().unwrap(), "alice@a.example".parse().unwrap());
        let field = holder.cancel(stamp, &to, &from, unix_now()).unwrap().to_field_value();
        CancelledStamp::parse(field.as_bytes()).unwrap();
        let pass = post.post("/p/bob@b.example", &json!({"from": "alice@a.example", "stamp": field}));
        assert_eq!((pass.status, &pass.json()["pass"]), (200, &json!("paid")), "the office takes it");
        post.proof();
    }
}
