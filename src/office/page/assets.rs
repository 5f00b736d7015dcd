//! The files that the page loads: its style, its scripts, and the libraries beside them.
//!
//! They stand in the program and are reached below `p/-/VERSION/`, where VERSION names the contents of them all: what a
//! browser has once it need never ask for again, and no page meets a file of another version.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use data_encoding::BASE32_NOPAD;
use flate2::Compression;

use super::gzip;
use crate::office::problem::Problem;

/// A year: as long as HTTP knows.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What a script may do that runs as a worker: run WebAssembly, and load what stands beside it.
const WORKER_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const WASM: &str = "application/wasm";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Name below the version, media type, octets.
type Asset = (&'static str, &'static str, &'static [u8]);

macro_rules! assets {
    ($($name:literal: $kind:expr),+ $(,)?) => {
        [$(($name, $kind, include_bytes!(concat!("assets/", $name)))),+]
    };
}

const ASSETS: [Asset; 9] = assets! {
    "page.css": "text/css; charset=utf-8",
    "page.js": SCRIPT,
    "purse.js": SCRIPT,
    "work.js": SCRIPT,
    "vendor/argon2id.js": SCRIPT,
    "vendor/argon2id-simd.wasm": WASM,
    "vendor/argon2id-plain.wasm": WASM,
    "vendor/noble.js": SCRIPT,
    "vendor/LICENSES": PLAIN_TEXT,
};

/// Names the contents of all files together.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (name, _, octets) in ASSETS {
        hasher.update(name.as_bytes()).update(&[0]).update(blake3::hash(octets).as_bytes());
    }
    let mut version = [0; 10];
    hasher.finalize_xof().fill(&mut version);
    BASE32_NOPAD.encode(&version).to_ascii_lowercase()
});

/// The files packed, where that makes them smaller, in their order.
static PACKED: LazyLock<Vec<Option<Vec<u8>>>> =
    LazyLock::new(|| ASSETS.iter().map(|(_, _, octets)| gzip::packed(octets, Compression::best())).collect());

/// The version of the files.
#[must_use]
pub fn version() -> &'static str {
    &VERSION
}

/// `GET /p/-/VERSION/NAME`
///
/// # Errors
/// 404 for a name that is none, and for another version.
pub async fn show(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut files = ASSETS.iter().zip(PACKED.iter());
    let found = files.find(|((known, _, _), _)| *known == name).filter(|_| version == *VERSION);
    let Some(((_, kind, octets), packed)) = found else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such file; load the page again"));
    };
    let packed = packed.as_deref().filter(|_| gzip::is_taken(&headers));
    // Other octets, another tag (RFC 9110 §8.8.3).
    let form = if packed.is_some() { "-gzip" } else { "" };
    let tag = HeaderValue::try_from(format!("\"{version}{form}\"")).map_err(Problem::bad)?;
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| *given == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        packed.unwrap_or(octets).into_response()
    };
    let fields = response.headers_mut();
    if packed.is_some() && !known {
        fields.insert(header::CONTENT_ENCODING, gzip::GZIP);
    }
    fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, FOR_EVER);
    fields.insert(header::ETAG, tag);
    fields.insert(header::CONTENT_SECURITY_POLICY, WORKER_POLICY);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_loads_before_anyone_presses_a_button_is_small() {
        let octets: usize = ASSETS
            .iter()
            .filter(|(name, _, _)| ["page.css", "page.js"].contains(name))
            .map(|(_, _, octets)| octets.len())
            .sum();
        assert!(octets < 18_000, "{octets}");
        assert!(version().len() == 16 && version().bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
