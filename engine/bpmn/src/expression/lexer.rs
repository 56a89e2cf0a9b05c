//! Tokens of one `${...}` expression, with their byte positions in the whole text.

use super::ExpressionErrorKind as Kind;
use super::evaluate::Error;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lexeme {
    Name(String),
    Text(String),
    Integer(i64),
    Decimal(f64),
    /// Operator or bracket.
    Symbol(&'static str),
}

/// A token and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) position: usize,
    pub(super) lexeme: Lexeme,
}

/// Longer symbols come first.
const SYMBOLS: [&str; 21] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", "(", ")", "[", "]", ".", ",", "+", "-", "*", "/"];

/// Reads tokens from `start` up to the closing `}`; returns them and the position behind it.
pub(super) fn lex(text: &str, start: usize) -> Result<(Vec<Located>, usize), Error> {
    let mut lexemes = Vec::new();
    let mut position = start;
    loop {
        let rest = text.get(position..).unwrap_or_default();
        let Some(first) = rest.chars().next() else {
            return Err(Error::syntax(start, "expression is not closed with }"));
        };
        if first == '}' {
            return Ok((lexemes, position.saturating_add(1)));
        }
        if first.is_whitespace() {
            position = position.saturating_add(first.len_utf8());
            continue;
        }
        let (lexeme, length) = one(rest, first).map_err(|kind| Error { position, kind })?;
        lexemes.push(Located { position, lexeme });
        position = position.saturating_add(length);
    }
}

fn one(rest: &str, first: char) -> Result<(Lexeme, usize), Kind> {
    if first == '\'' || first == '"' {
        return string(rest, first);
    }
    if first.is_ascii_digit() {
        return number(rest);
    }
    if is_name_start(first) {
        let length =
            rest.find(|character| !is_name_start(character) && !character.is_ascii_digit()).unwrap_or(rest.len());
        return Ok((Lexeme::Name(rest.get(..length).unwrap_or_default().to_owned()), length));
    }
    for symbol in SYMBOLS {
        if rest.starts_with(symbol) {
            return Ok((Lexeme::Symbol(symbol), symbol.len()));
        }
    }
    if first == '%' {
        return Ok((Lexeme::Symbol("%"), 1));
    }
    Err(Kind::Syntax(format!("unexpected character {first:?}")))
}

fn is_name_start(character: char) -> bool {
    character.is_alphabetic() || character == '_' || character == '$'
}

fn string(rest: &str, quote: char) -> Result<(Lexeme, usize), Kind> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((Lexeme::Text(value), at.saturating_add(1)));
        }
        if character == '\\' {
            match characters.next() {
                Some((_, escaped)) if escaped == '\\' || escaped == '\'' || escaped == '"' => value.push(escaped),
                _ => return Err(Kind::Syntax("invalid escape in string".to_owned())),
            }
        } else {
            value.push(character);
        }
    }
    Err(Kind::Syntax("string is not closed".to_owned()))
}

fn number(rest: &str) -> Result<(Lexeme, usize), Kind> {
    let digits = |text: &str| text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let mut length = digits(rest);
    let mut decimal = false;
    if let Some(after) = rest.get(length..).and_then(|after| after.strip_prefix('.')) {
        let fraction = digits(after);
        if fraction > 0 {
            decimal = true;
            length = length.saturating_add(1).saturating_add(fraction);
        }
    }
    if let Some(after) = rest.get(length..).and_then(|after| after.strip_prefix(['e', 'E'])) {
        let sign = usize::from(after.starts_with(['+', '-']));
        let exponent = digits(after.get(sign..).unwrap_or_default());
        if exponent > 0 {
            decimal = true;
            length = length.saturating_add(1).saturating_add(sign).saturating_add(exponent);
        }
    }
    let text = rest.get(..length).unwrap_or_default();
    let invalid = || Kind::Syntax(format!("number {text} is out of range"));
    let lexeme = if decimal {
        let value: f64 = text.parse().map_err(|_| invalid())?;
        Lexeme::Decimal(if value.is_finite() { value } else { return Err(invalid()) })
    } else {
        Lexeme::Integer(text.parse().map_err(|_| invalid())?)
    };
    Ok((lexeme, length))
}
