//! The page's texts, one file a language, and which of them a reader understands.
//!
//! A language is a file `words/CODE.toml` and its line in [`LANGUAGES`]; a test holds that every file has the same
//! texts with the same blanks. The first language is what everybody gets who asks for none of the others.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use crate::office::problem::Problem;

/// The languages: code as in `lang=`, and the file.
const LANGUAGES: [(&str, &str); 2] =
    [("en", include_str!("words/en.toml")), ("de", include_str!("words/de.toml"))];

static ALL: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let read = |(code, text): &(&'static str, &str)| Language {
        code,
        // A file that cannot be read has no texts, and the test below fails.
        file: toml::from_str(text).unwrap_or_default(),
    };
    LANGUAGES.iter().map(read).collect()
});

/// One language.
pub struct Language {
    /// `en`, `de`, …
    pub code: &'static str,
    file: File,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The language's own name for itself.
    name: String,
    /// Between a number's whole and the rest.
    decimal: String,
    page: BTreeMap<String, String>,
    script: BTreeMap<String, String>,
    /// What a refusal says, by its [`Kind`](crate::office::problem::Kind).
    problem: BTreeMap<String, String>,
}

/// The texts that the page's script fills in.
#[derive(Serialize)]
struct ForScript<'a> {
    #[serde(flatten)]
    script: &'a BTreeMap<String, String>,
    problem: &'a BTreeMap<String, String>,
}

impl Language {
    /// Its own name for itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// A number that was written with a point, as this language writes it.
    #[must_use]
    pub fn number(&self, text: &str) -> String {
        text.replace('.', &self.file.decimal)
    }

    /// The texts of the page, with their blanks filled.
    #[must_use]
    pub fn filled(&self, blanks: &[(&str, &str)]) -> Filled {
        Filled(self.file.page.iter().map(|(key, text)| (key.clone(), fill(text, blanks))).collect())
    }

    /// A text of the page's script, for where no script runs, with its blanks filled.
    #[must_use]
    pub fn script_text(&self, key: &str, blanks: &[(&str, &str)]) -> String {
        self.file.script.get(key).map_or_else(String::new, |text| fill(text, blanks))
    }

    /// The texts that the page's script fills in, as JSON.
    #[must_use]
    pub fn for_script(&self) -> String {
        let texts = ForScript { script: &self.file.script, problem: &self.file.problem };
        serde_json::to_string(&texts).unwrap_or_default()
    }

    /// What is wrong, in this language; in the office's own words where it has none for it.
    #[must_use]
    pub fn problem(&self, problem: &Problem) -> String {
        let Some(text) = problem.kind.and_then(|kind| self.file.problem.get(kind.as_str())) else {
            return self.script_text("refused", &[("detail", &problem.detail)]);
        };
        let (balance, cost) = problem.short.unwrap_or_default();
        let seconds = problem.retry_after_s.unwrap_or_default().to_string();
        fill(text, &[("balance", &balance.to_string()), ("cost", &cost.to_string()), ("seconds", &seconds)])
    }
}

/// Texts ready to be shown.
pub struct Filled(BTreeMap<String, String>);

impl Filled {
    /// The text of that name; a test holds that all those exist that a page asks for.
    #[must_use]
    pub fn t(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}

/// Puts values where `{name}` stands. What a value holds is not looked at again.
fn fill(text: &str, blanks: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let named = behind.split_once('}').and_then(|(name, after)| {
            blanks.iter().find(|(blank, _)| *blank == name).map(|(_, value)| (*value, after))
        });
        (filled, rest) = match named {
            Some((value, after)) => (filled + value, after),
            None => (filled + "{", behind),
        };
    }
    filled + rest
}

/// All languages, the usual one first.
#[must_use]
pub fn languages() -> &'static [Language] {
    &ALL
}

/// The language for someone who chose one (`?lang=de`) or whose browser names some (`Accept-Language`).
#[must_use]
pub fn language(chosen: Option<&str>, accepted: &str) -> Option<&'static Language> {
    let of = |code: &str| ALL.iter().find(|language| language.code.eq_ignore_ascii_case(code));
    chosen.and_then(of).or_else(|| preferred(accepted).find_map(of)).or(ALL.first())
}

/// The codes of an Accept-Language, most wanted first; of `de-AT` the language alone.
fn preferred(accepted: &str) -> impl Iterator<Item = &str> {
    /// Languages looked at in one request; people speak fewer.
    const LOOKED_AT_MAX: usize = 20;
    let mut all: Vec<(f32, &str)> = accepted
        .split(',')
        .take(LOOKED_AT_MAX)
        .filter_map(|item| {
            let (tag, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = match parameters.trim().strip_prefix("q=") {
                Some(text) => text.trim().parse().ok()?,
                None => 1.0,
            };
            let code = tag.trim().split('-').next().unwrap_or_default();
            (weight > 0.0).then_some((weight, code))
        })
        .collect();
    // Stable: of those wanted alike the first comes first.
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().map(|(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::problem::Kind;

    #[test]
    fn everybody_gets_a_language_they_asked_for_or_english() {
        for (chosen, accepted, code) in [
            (None, "", "en"),
            (None, "de", "de"),
            (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
            (None, "en-GB,de", "en"),
            (None, "en;q=0.5, DE;q=0.7", "de"),
            (None, "fr-FR,fr;q=0.9,de;q=0.3,en;q=0.2", "de"),
            (None, "fr", "en"),
            (None, "de;q=0,fr", "en"),
            (None, "*", "en"),
            (None, "de;q=x,;;,,", "en"),
            (Some("de"), "en", "de"),
            (Some("xx"), "de", "de"),
            (Some("<script>"), "", "en"),
        ] {
            assert_eq!(language(chosen, accepted).unwrap().code, code, "{chosen:?} {accepted}");
        }
    }

    /// The names of a text's blanks.
    fn blanks(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn every_language_has_the_same_texts_with_the_same_blanks() {
        let shape = |file: &File| -> Vec<(String, Vec<String>)> {
            let all = file.page.iter().chain(&file.script).chain(&file.problem);
            all.map(|(key, text)| {
                assert!(!text.trim().is_empty(), "{key} is empty");
                (key.clone(), blanks(text).into_iter().map(str::to_owned).collect())
            })
            .collect()
        };
        let first = shape(&ALL[0].file);
        assert!(first.len() > 40, "the file was read");
        for language in languages() {
            assert!(!language.name().is_empty() && !language.file.decimal.is_empty());
            assert_eq!(shape(&language.file), first, "{}", language.code);
        }
    }

    #[test]
    fn every_text_that_is_asked_for_exists_and_none_besides() {
        let asked = |source: &str, call: &str| -> Vec<String> {
            let calls = source.split(call).skip(1);
            let mut keys: Vec<String> =
                calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect();
            keys.sort();
            keys.dedup();
            keys
        };
        let templates = concat!(
            include_str!("templates/pay.html"),
            include_str!("templates/voucher.html"),
            include_str!("templates/ways.html"),
            include_str!("templates/plain.html"),
            include_str!("templates/let_in.html"),
            include_str!("templates/not_here.html"),
            include_str!("templates/key.html"),
            include_str!("templates/languages.html"),
        );
        let scripts = concat!(include_str!("assets/page.js"), include_str!("assets/purse.js"));
        let keys = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(asked(templates, "words.t(\""), keys(&ALL[0].file.page));
        assert_eq!(asked(scripts, "say(\""), keys(&ALL[0].file.script));
        let without_scripts = include_str!("form.rs");
        for key in [asked(without_scripts, "script_text(\""), asked(without_scripts, " bad(\"")].concat() {
            assert!(ALL[0].file.script.contains_key(&key), "{key}");
        }
    }

    #[test]
    fn every_kind_of_problem_has_words_in_every_language() {
        let mut kinds = Kind::ALL.map(Kind::as_str);
        kinds.sort_unstable();
        for language in languages() {
            assert!(language.file.problem.keys().eq(kinds), "{}", language.code);
        }
        let german = language(Some("de"), "").unwrap();
        for (problem, words) in [
            (Problem::too_many("address", 7), "in 7 Sekunden"),
            (Problem::short("1c".parse().unwrap(), "2.5c".parse().unwrap()), "nur 1c da; nötig sind 2.5c"),
            (Problem::bad("new").of(Kind::VoucherWorthless), "Dieser Code"),
            (Problem::unavailable("DNS"), "gerade nicht"),
            (Problem::bad("something else"), "Das Postamt sagt: something else"),
        ] {
            let said = german.problem(&problem);
            assert!(said.contains(words) && !said.contains('{'), "{said}");
        }
    }

    #[test]
    fn values_are_put_in_as_they_are() {
        assert_eq!(fill("{to}, {x} and {to}", &[("to", "{x}"), ("x", "y")]), "{x}, y and {x}");
        assert_eq!(fill("{unknown} {", &[]), "{unknown} {");
    }
}
