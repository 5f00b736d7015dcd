//! Answers made smaller for who takes them so: a phone on a slow line waits for what is loaded before it can do anything.
//! What bears a secret is never packed: its length would tell of it.

use std::io::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};
use flate2::{Compression, write::GzEncoder};

/// The value of Content-Encoding.
pub const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whether the client takes gzip (RFC 9110 §12.5.3).
pub fn is_taken(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1").trim().parse::<f32>();
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// The octets packed, if that makes fewer of them.
pub fn packed(octets: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(octets.len() / 2), level);
    encoder.write_all(octets).ok()?;
    encoder.finish().ok().filter(|packed| packed.len() < octets.len())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn who_takes_it() {
        for (accepts, taken) in [
            (&["gzip, deflate, br"][..], true),
            (&["br", "x, GZIP;q=0.5"], true),
            (&["gzip; q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip;q=x"], false),
            (&["*"], false),
            (&["identity"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepts {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(is_taken(&headers), taken, "{accepts:?}");
        }
    }

    #[test]
    fn it_comes_out_as_it_went_in() {
        let text = "a page of words, a page of words, a page of words".repeat(9);
        let packed = packed(text.as_bytes(), Compression::best()).unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*packed).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == text && packed.len() < text.len() / 4);
        assert_eq!(super::packed(b"x", Compression::best()), None);
    }
}
