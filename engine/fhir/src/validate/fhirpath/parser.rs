//! Expressions of FHIRPath, by precedence climbing (FHIRPath N1 section 6.6).

use regex::RegexBuilder;

use super::functions::Function;
use super::lexer::{Token, tokens};
use super::{Ast, ExpressionError, Literal, Operator, TypeTest, Variable};
use crate::Number;
use crate::validate::limits;

pub(super) fn parse(text: &str) -> Result<Ast, ExpressionError> {
    if text.len() > limits::EXPRESSION_BYTES {
        return Err(ExpressionError::TooLong(limits::EXPRESSION_BYTES));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, end: text.len() };
    let root = parser.expression(0)?;
    match parser.peek() {
        None => Ok(root),
        Some(_) => Err(parser.unexpected()),
    }
}

/// Makes the regular expression of `matches` in the way Java and JavaScript read it, bounded in size.
pub(super) fn regular_expression(pattern: &str) -> Result<regex::Regex, ExpressionError> {
    RegexBuilder::new(pattern)
        .size_limit(limits::REGEX_BYTES)
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| ExpressionError::Unsupported(format!("regular expression '{pattern}'")))
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    end: usize,
}

/// What follows an operand.
enum Infix {
    Operator(Operator, u8),
    Type(TypeTest, u8),
}

impl Infix {
    const fn precedence(&self) -> u8 {
        match self {
            Self::Operator(_, precedence) | Self::Type(_, precedence) => *precedence,
        }
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    fn unexpected(&self) -> ExpressionError {
        match self.tokens.get(self.next) {
            Some((token, position)) => ExpressionError::Syntax { found: format!("{token:?}"), position: *position },
            None => ExpressionError::Syntax { found: "end of expression".to_owned(), position: self.end },
        }
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(next)) if *next == symbol);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ExpressionError> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expression(&mut self, lowest: u8) -> Result<Ast, ExpressionError> {
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH {
            return Err(ExpressionError::TooDeep(limits::EXPRESSION_DEPTH));
        }
        let mut left = self.unary()?;
        let mut operators = 0;
        while let Some(infix) = self.infix().filter(|infix| infix.precedence() >= lowest) {
            // A chain of operators nests the tree to the left, where no recursion of the parser counts it.
            operators += 1;
            if operators > limits::EXPRESSION_DEPTH {
                return Err(ExpressionError::TooDeep(limits::EXPRESSION_DEPTH));
            }
            self.next += 1;
            left = match infix {
                Infix::Operator(operator, precedence) => {
                    let right = self.expression(precedence + 1)?;
                    Ast::Binary(operator, Box::new(left), Box::new(right))
                }
                Infix::Type(test, _) => {
                    let name = self.type_name()?;
                    Ast::Type { operand: Box::new(left), test, name }
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn infix(&self) -> Option<Infix> {
        use Operator as O;
        let operator = |operator, precedence| Some(Infix::Operator(operator, precedence));
        match self.peek()? {
            Token::Identifier(word) => match word.as_str() {
                "implies" => operator(O::Implies, 1),
                "or" => operator(O::Or, 2),
                "xor" => operator(O::Xor, 2),
                "and" => operator(O::And, 3),
                "in" => operator(O::In, 4),
                "contains" => operator(O::Contains, 4),
                "is" => Some(Infix::Type(TypeTest::Is, 8)),
                "as" => Some(Infix::Type(TypeTest::As, 8)),
                _ => None,
            },
            Token::Symbol(symbol) => match *symbol {
                "=" => operator(O::Equal, 5),
                "!=" => operator(O::NotEqual, 5),
                "~" => operator(O::Equivalent, 5),
                "!~" => operator(O::NotEquivalent, 5),
                "<" => operator(O::Less, 6),
                "<=" => operator(O::LessOrEqual, 6),
                ">" => operator(O::Greater, 6),
                ">=" => operator(O::GreaterOrEqual, 6),
                "|" => operator(O::Union, 7),
                "+" => operator(O::Add, 9),
                "-" => operator(O::Subtract, 9),
                "&" => operator(O::Concatenate, 9),
                "*" => operator(O::Multiply, 10),
                _ => None,
            },
            _ => None,
        }
    }

    fn unary(&mut self) -> Result<Ast, ExpressionError> {
        if self.accept("-") {
            return Ok(Ast::Negate(Box::new(self.postfix()?)));
        }
        self.accept("+");
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Ast, ExpressionError> {
        let mut operand = self.term()?;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > limits::EXPRESSION_DEPTH {
                return Err(ExpressionError::TooDeep(limits::EXPRESSION_DEPTH));
            }
            if self.accept(".") {
                operand = match self.take() {
                    Some(Token::Identifier(name)) => self.member_or_call(Some(operand), name)?,
                    Some(Token::Delimited(name)) => Ast::Member(Some(Box::new(operand)), name),
                    _ => {
                        self.next -= 1;
                        return Err(self.unexpected());
                    }
                };
            } else if self.accept("[") {
                let index = self.expression(0)?;
                self.expect("]")?;
                operand = Ast::Index(Box::new(operand), Box::new(index));
            } else {
                return Ok(operand);
            }
        }
    }

    fn term(&mut self) -> Result<Ast, ExpressionError> {
        match self.take() {
            Some(Token::Text(text)) => Ok(Ast::Literal(Literal::Text(text))),
            Some(Token::Date(text)) => Ok(Ast::Literal(Literal::Date(text))),
            Some(Token::Number(text)) => {
                let number =
                    Number::parse(&text).ok_or_else(|| ExpressionError::Unsupported(format!("number {text}")))?;
                Ok(Ast::Literal(Literal::Number(number)))
            }
            Some(Token::Symbol("{")) => {
                self.expect("}")?;
                Ok(Ast::Literal(Literal::Empty))
            }
            Some(Token::Symbol("(")) => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Dollar(name)) => match name.as_str() {
                "this" => Ok(Ast::This),
                "index" => Ok(Ast::Variable(Variable::Index)),
                _ => Err(ExpressionError::Unsupported(format!("${name}"))),
            },
            Some(Token::Percent(name)) => match name.as_str() {
                "resource" => Ok(Ast::Variable(Variable::Resource)),
                "rootResource" => Ok(Ast::Variable(Variable::RootResource)),
                "context" => Ok(Ast::Variable(Variable::Context)),
                "ucum" => Ok(Ast::Variable(Variable::Ucum)),
                _ => Err(ExpressionError::Unsupported(format!("%{name}"))),
            },
            Some(Token::Delimited(name)) => Ok(Ast::Member(None, name)),
            Some(Token::Identifier(name)) => match name.as_str() {
                "true" => Ok(Ast::Literal(Literal::Boolean(true))),
                "false" => Ok(Ast::Literal(Literal::Boolean(false))),
                _ => self.member_or_call(None, name),
            },
            _ => {
                self.next -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn member_or_call(&mut self, target: Option<Ast>, name: String) -> Result<Ast, ExpressionError> {
        let target = target.map(Box::new);
        if !self.accept("(") {
            return Ok(Ast::Member(target, name));
        }
        if let Some(test) = type_test(&name) {
            let name = self.type_name()?;
            self.expect(")")?;
            return Ok(Ast::Type { operand: target.unwrap_or(Box::new(Ast::This)), test, name });
        }
        let mut arguments = Vec::new();
        if !self.accept(")") {
            loop {
                arguments.push(self.expression(0)?);
                if self.accept(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        let function = Function::named(&name, arguments.len()).ok_or_else(|| {
            ExpressionError::Unsupported(format!("function {name} with {} arguments", arguments.len()))
        })?;
        let regex = match (function, arguments.first()) {
            (Function::Matches | Function::ReplaceMatches, Some(Ast::Literal(Literal::Text(pattern)))) => {
                Some(Box::new(regular_expression(pattern)?))
            }
            (Function::Matches | Function::ReplaceMatches, _) => {
                return Err(ExpressionError::Unsupported(format!("{name} with a computed pattern")));
            }
            _ => None,
        };
        Ok(Ast::Call { target, function, arguments, regex })
    }

    fn type_name(&mut self) -> Result<String, ExpressionError> {
        loop {
            let Some(Token::Identifier(name) | Token::Delimited(name)) = self.take() else {
                self.next -= 1;
                return Err(self.unexpected());
            };
            // `FHIR.Patient` and `System.String` name the same types as their last part.
            if !self.accept(".") {
                return Ok(name);
            }
        }
    }
}

fn type_test(name: &str) -> Option<TypeTest> {
    match name {
        "is" => Some(TypeTest::Is),
        "as" => Some(TypeTest::As),
        "ofType" => Some(TypeTest::OfType),
        _ => None,
    }
}
