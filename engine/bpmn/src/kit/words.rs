//! Words of a line: texts, quoted texts and JSON values.

use serde_json::Value;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Text(String),
    Json(Value),
}

/// Words of a line with access by keyword.
#[derive(Debug, Clone)]
pub(super) struct Words(std::collections::VecDeque<Word>);

impl Words {
    /// Splits a line. A word that begins with `{` or `[` is a JSON value.
    pub(super) fn of(line: &str) -> Result<Self, String> {
        let mut words = std::collections::VecDeque::new();
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '{' | '[' | '"' => {
                    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                    match values.next() {
                        Some(Ok(Value::String(text))) => words.push_back(Word::Text(text)),
                        Some(Ok(value)) => words.push_back(Word::Json(value)),
                        Some(Err(error)) => return Err(format!("{error} in {rest}")),
                        None => return Err(format!("no value in {rest}")),
                    }
                    values.byte_offset()
                }
                _ => {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    words.push_back(Word::Text(rest.get(..end).unwrap_or_default().to_owned()));
                    end
                }
            };
            rest = rest.get(length..).unwrap_or_default().trim_start();
        }
        Ok(Self(words))
    }

    /// The next word, if it is a text.
    pub(super) fn text(&mut self) -> Result<String, String> {
        match self.0.pop_front() {
            Some(Word::Text(text)) => Ok(text),
            Some(Word::Json(value)) => Err(format!("a word is expected instead of {value}")),
            None => Err("a word is missing".to_owned()),
        }
    }

    /// The next word, if it is a JSON value.
    pub(super) fn json(&mut self) -> Result<Value, String> {
        match self.0.pop_front() {
            Some(Word::Json(value)) => Ok(value),
            other => Err(format!("a JSON value is expected instead of {other:?}")),
        }
    }

    /// The text behind a keyword, which may stand anywhere.
    pub(super) fn option(&mut self, keyword: &str) -> Result<Option<String>, String> {
        match self.position(keyword) {
            Some(at) => match self.0.remove(at.saturating_add(1)) {
                Some(Word::Text(text)) => {
                    self.0.remove(at);
                    Ok(Some(text))
                }
                other => Err(format!("a word is expected behind {keyword} instead of {other:?}")),
            },
            None => Ok(None),
        }
    }

    /// The members of the JSON object behind a keyword.
    pub(super) fn variables(&mut self, keyword: &str) -> Result<Vec<(String, Value)>, String> {
        match self.position(keyword) {
            Some(at) => match self.0.remove(at.saturating_add(1)) {
                Some(Word::Json(Value::Object(members))) => {
                    self.0.remove(at);
                    Ok(members.into_iter().collect())
                }
                other => Err(format!("a JSON object is expected behind {keyword} instead of {other:?}")),
            },
            None => Ok(Vec::new()),
        }
    }

    /// All remaining words, which must be texts.
    pub(super) fn rest(&mut self) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        while !self.0.is_empty() {
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    /// Refuses what was not understood.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("not understood: {:?}", self.0)) }
    }

    fn position(&self, keyword: &str) -> Option<usize> {
        self.0.iter().position(|word| matches!(word, Word::Text(text) if text == keyword))
    }
}
