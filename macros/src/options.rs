//! What stands in the parentheses of an attribute: `name = expression, …`.

use crate::function::Error;
use proc_macro::{Ident, Span, TokenStream, TokenTree};

/// The options there are: the fields of `pirn::__private::Options`.
const NAMES: [&str; 2] = ["workers", "stack_size"];

/// The value of each of [`NAMES`], if it was given.
#[derive(Default)]
pub(crate) struct Options([Option<TokenStream>; NAMES.len()]);

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut tokens = tokens.into_iter();
        while let Some(token) = tokens.next() {
            let TokenTree::Ident(name) = token else {
                return Err(Error::new(token.span(), format!("expected an option: {}", known())));
            };
            let value = parse_value(&name, &mut tokens)?;
            options.set(&name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &Ident, value: TokenStream) -> Result<(), Error> {
        let text = name.to_string();
        let Some(index) = NAMES.iter().position(|known| *known == text) else {
            let message = format!("unknown option `{text}`; there are {}", known());
            return Err(Error::new(name.span(), message));
        };
        if self.0[index].replace(value).is_some() {
            return Err(Error::new(name.span(), format!("option `{text}` is given twice")));
        }
        Ok(())
    }

    /// Each option and its value.
    pub(crate) fn into_fields(self) -> impl Iterator<Item = (&'static str, Option<TokenStream>)> {
        NAMES.into_iter().zip(self.0)
    }
}

/// Reads `= expression`, and the comma after it.
fn parse_value(
    name: &Ident,
    tokens: &mut impl Iterator<Item = TokenTree>,
) -> Result<TokenStream, Error> {
    let missing = |span: Span| Error::new(span, format!("expected `{name} = value`"));
    match tokens.next() {
        Some(TokenTree::Punct(sign)) if sign.as_char() == '=' => {}
        Some(other) => return Err(missing(other.span())),
        None => return Err(missing(name.span())),
    }
    let is_comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ',');
    let value: TokenStream = tokens.take_while(|token| !is_comma(token)).collect();
    if value.is_empty() { Err(missing(name.span())) } else { Ok(value) }
}

fn known() -> String {
    NAMES.map(|name| format!("`{name}`")).join(" and ")
}
