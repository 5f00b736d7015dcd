//! Reading TOML so that every fault is found at once and named by its line.
//!
//! The keys a section knows are those it was asked for: an unknown key is what nobody asked for.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Fault;

/// How far a misspelt key may be from a known one to be suggested (Jaro-Winkler, 0 to 1).
const SUGGEST_SIMILARITY_MIN: f64 = 0.7;

/// A document and the faults found in it so far.
pub struct Document<'a> {
    text: &'a str,
    root: DeTable<'a>,
    sections: Vec<&'static str>,
    pub faults: Vec<Fault>,
}

impl<'a> Document<'a> {
    /// Parses the text; on a syntax error the document is empty and the fault says where.
    pub fn parse(text: &'a str) -> Self {
        let mut document = Self { text, root: DeTable::new(), sections: vec![], faults: vec![] };
        match DeTable::parse(text) {
            Ok(table) => document.root = table.into_inner(),
            Err(e) => {
                let span = e.span().unwrap_or_default();
                let mut words = e.message().trim().replace('\n', ", ");
                if words == "duplicate key" {
                    words = format!("`{}` is there twice", document.source(&span));
                }
                document.fault_at(span.start, words);
            }
        }
        document
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count() + 1
    }

    /// What is written there, cut and escaped.
    fn source(&self, span: &std::ops::Range<usize>) -> String {
        crate::address::shown(self.text.get(span.clone()).unwrap_or_default().as_bytes())
    }

    fn fault_at(&mut self, offset: usize, text: String) {
        let line = self.line_of(offset);
        self.faults.push(Fault { line, text });
    }

    /// A section; one that is left out reads as empty.
    pub fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        self.sections.push(name);
        Section { document: self, name, asked: vec![], wrong: vec![] }
    }

    pub fn has(&self, section: &str) -> bool {
        self.root.contains_key(section)
    }

    /// Names sections nobody asked for, and returns the faults in the order of the lines.
    pub fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<(usize, String)> = self
            .root
            .keys()
            .filter(|key| !self.sections.contains(&key.get_ref().as_ref()))
            .map(|key| (key.span().start, unknown("section", key.get_ref(), "", &self.sections)))
            .collect();
        for (at, text) in unknown {
            self.fault_at(at, text);
        }
        self.faults.sort_by_key(|fault| fault.line);
        self.faults
    }
}

fn unknown(what: &str, given: &str, place: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|k| (strsim::jaro_winkler(given, k), *k))
        .filter(|(similarity, _)| *similarity >= SUGGEST_SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let given = crate::address::shown(given.as_bytes());
    match near {
        Some((_, near)) => format!("unknown {what} `{given}`{place}; did you mean `{near}`?"),
        None => format!("unknown {what} `{given}`{place}; known are {}", known.join(", ")),
    }
}

/// One section of the document.
pub struct Section<'d, 'a> {
    document: &'d mut Document<'a>,
    name: &'static str,
    asked: Vec<&'static str>,
    /// Keys with a fault.
    wrong: Vec<String>,
}

impl<'a> Section<'_, 'a> {
    fn table(&self) -> Option<&DeTable<'a>> {
        self.document.root.get(self.name).and_then(|v| v.get_ref().as_table())
    }

    fn value(&mut self, key: &'static str) -> Option<&Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table().and_then(|t| t.get(key))
    }

    /// Whether the key is written at all.
    pub fn has(&self, key: &str) -> bool {
        self.table().is_some_and(|t| t.contains_key(key))
    }

    /// Whether a key that is missing or empty is so for no reason that was said already.
    pub fn is_unexplained(&self, key: &str) -> bool {
        let no_table = self.table().is_none() && self.document.has(self.name);
        !no_table && !self.wrong.iter().any(|wrong| wrong == key)
    }

    /// Adds a fault at a key, or at the section's head when the key is not there.
    pub fn fault(&mut self, key: &str, text: impl std::fmt::Display) {
        self.wrong.push(key.to_owned());
        let at = self
            .table()
            .and_then(|t| t.get_key_value(key))
            .map(|(k, _)| k.span().start)
            .or_else(|| self.document.root.get_key_value(self.name).map(|(k, _)| k.span().start));
        let text = format!("[{}] {key}: {text}", self.name);
        match at {
            Some(at) => self.document.fault_at(at, text),
            None => self.document.faults.push(Fault { line: 0, text }),
        }
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        get: impl Fn(&DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let (got, span) = match self.value(key) {
            None => return None,
            Some(value) => (get(value.get_ref()), value.span()),
        };
        if got.is_none() {
            let found = self.document.source(&span);
            self.fault(key, format!("{wanted} is wanted here, not {found}"));
        }
        got
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "a text in quotes", |v| v.as_str().map(str::to_owned))
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// An integer of `least` to `most`.
    pub fn integer(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let wanted = format!("a whole number of {least} to {most}");
        self.typed(key, &wanted, |v| {
            let integer = v.as_integer()?;
            let n = u32::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            (least..=most).contains(&n).then_some(n)
        })
    }

    /// A list of texts; a single text is a list of one.
    pub fn list(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.typed(key, "a list of texts in quotes", |v| match v {
            DeValue::String(one) => Some(vec![one.to_string()]),
            _ => v.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
        })
    }

    /// A text read by `read`, whose error becomes a fault; the default when the key is left out or wrong.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        default: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let given = self.text(key);
        match read(given.as_deref().unwrap_or(default)) {
            Ok(value) => Some(value),
            Err(e) => {
                self.fault(key, e);
                None
            }
        }
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let Some(given) = self.text(key) else { return default };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == given) {
            return *value;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.fault(
            key,
            format!("`{}` is none of {}", crate::address::shown(given.as_bytes()), words.join(", ")),
        );
        default
    }

    /// A list of items each read by `read`; items that cannot be read are faults.
    pub fn parsed_list<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        default: &[&str],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let given = self.list(key).unwrap_or_else(|| default.iter().map(ToString::to_string).collect());
        let mut items = Vec::with_capacity(given.len());
        for text in &given {
            match read(text) {
                Ok(item) => items.push(item),
                Err(e) => self.fault(key, e),
            }
        }
        items
    }

    /// Names the keys nobody asked for.
    pub fn finish(self) {
        let Self { document, name, asked, .. } = self;
        let Some(value) = document.root.get(name) else { return };
        let Some(table) = value.get_ref().as_table() else {
            let at = value.span().start;
            document.fault_at(at, format!("`{name}` is a section: write [{name}] on a line of its own"));
            return;
        };
        let place = format!(" in [{name}]");
        let unknown: Vec<(usize, String)> = table
            .keys()
            .filter(|key| !asked.contains(&key.get_ref().as_ref()))
            .map(|key| (key.span().start, unknown("key", key.get_ref(), &place, &asked)))
            .collect();
        for (at, text) in unknown {
            document.fault_at(at, text);
        }
    }
}
