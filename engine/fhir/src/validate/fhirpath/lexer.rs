//! Tokens of FHIRPath.

use super::ExpressionError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Identifier(String),
    /// In back-ticks or double quotes: never a keyword.
    Delimited(String),
    Text(String),
    Number(String),
    /// `@2014`, without the `@`.
    Date(String),
    /// `$this`, `$index`, without the `$`.
    Dollar(String),
    /// `%resource`, without the `%`.
    Percent(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 22] =
    ["!=", "!~", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "=", "~", "<", ">", "|", "+", "-", "&", "*", "/"];

/// Splits `text`; each token comes with its position.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, ExpressionError> {
    let mut cursor = Cursor { rest: text, position: 0 };
    let mut tokens = Vec::new();
    loop {
        cursor.skip_blanks();
        let position = cursor.position;
        let Some(first) = cursor.peek() else { return Ok(tokens) };
        let token = match first {
            'a'..='z' | 'A'..='Z' | '_' => Token::Identifier(cursor.take_while(is_name)),
            '0'..='9' => Token::Number(cursor.number()),
            '\'' => Token::Text(cursor.quoted('\'')?),
            '"' => Token::Delimited(cursor.quoted('"')?),
            '`' => Token::Delimited(cursor.quoted('`')?),
            '@' => {
                cursor.bump();
                Token::Date(cursor.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+')))
            }
            '$' => {
                cursor.bump();
                Token::Dollar(cursor.take_while(is_name))
            }
            '%' => {
                cursor.bump();
                match cursor.peek() {
                    Some('`') => Token::Percent(cursor.quoted('`')?),
                    Some('"') => Token::Percent(cursor.quoted('"')?),
                    _ => Token::Percent(cursor.take_while(|c| is_name(c) || c == '-')),
                }
            }
            _ => cursor.symbol()?,
        };
        tokens.push((token, position));
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Cursor<'a> {
    rest: &'a str,
    position: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.position += c.len_utf8();
        self.rest = chars.as_str();
        Some(c)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| accept(*c)) {
            taken.push(c);
            self.bump();
        }
        taken
    }

    fn number(&mut self) -> String {
        let mut number = self.take_while(|c| c.is_ascii_digit());
        let mut ahead = self.rest.chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
            number.push('.');
            number.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        number
    }

    fn quoted(&mut self, quote: char) -> Result<String, ExpressionError> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return Err(self.error("end of expression in a string")),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ExpressionError> {
        match self.bump() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('f') => Ok('\u{c}'),
            Some(c @ ('\\' | '\'' | '"' | '`' | '/')) => Ok(c),
            Some('u') => {
                let digits: String = (0..4).filter_map(|_| self.bump()).collect();
                u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(|| self.error("escape in a string"))
            }
            _ => Err(self.error("escape in a string")),
        }
    }

    fn symbol(&mut self) -> Result<Token, ExpressionError> {
        let Some(symbol) = SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) else {
            let found = self.peek().map_or_else(String::new, |c| format!("character {c:?}"));
            return Err(self.error(&found));
        };
        for _ in symbol.chars() {
            self.bump();
        }
        Ok(Token::Symbol(symbol))
    }

    fn error(&self, found: &str) -> ExpressionError {
        ExpressionError::Syntax { found: found.to_owned(), position: self.position }
    }
}
