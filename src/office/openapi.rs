//! `GET /v1/openapi.json`: the office's calls, described for programs and those who write them (OpenAPI 3.1).
//!
//! The description is a file beside this one, written by hand; tests hold it against the routes and against answers.
//! Only the office's own URL is filled in here.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::{SharedOffice, Site, problem::Problem};

/// The description, of an office at no place.
const DOCUMENT: &str = include_str!("openapi.json");
/// Where it is below the office's URL.
const BELOW_URL: &str = "v1/openapi.json";

/// Answers the call.
///
/// # Errors
/// 500 when it cannot be made.
pub async fn show(State(office): State<SharedOffice>) -> Result<Json<Value>, Problem> {
    document(&office.site().url).map(Json).map_err(|error| {
        tracing::error!(%error, "the description of the calls was not made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the description cannot be made")
    })
}

impl Site {
    /// Where the description is.
    pub(super) fn openapi(&self) -> String {
        format!("{}{BELOW_URL}", self.url)
    }
}

/// The description of an office at this URL. Paths begin with a slash there, so the URL ends without one.
fn document(url: &str) -> Result<Value, serde_json::Error> {
    let mut document: Value = serde_json::from_str(DOCUMENT)?;
    if let Value::Object(members) = &mut document {
        members.insert("servers".into(), json!([{"url": url.trim_end_matches('/')}]));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_stands_in_it_without_the_last_slash() {
        let said = document("https://b.example/post/").unwrap();
        assert_eq!(said["servers"], json!([{"url": "https://b.example/post"}]));
        assert_eq!(said["openapi"], "3.1.1");
    }
}
