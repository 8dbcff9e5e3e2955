//! Takes a function apart.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// A function without arguments.
pub(crate) struct Function {
    pub(crate) attributes: Vec<TokenTree>,
    pub(crate) visibility: Vec<TokenTree>,
    pub(crate) name: Ident,
    /// With its arrow; empty if there is none.
    pub(crate) returns: Vec<TokenTree>,
    pub(crate) body: Group,
}

/// What is wrong, and where.
pub(crate) struct Error {
    pub(crate) span: Span,
    pub(crate) message: String,
}

impl Error {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Error {
        Error { span, message: message.into() }
    }
}

impl Function {
    /// `attribute` is what the user has written, for messages.
    pub(crate) fn parse(item: TokenStream, attribute: &str) -> Result<Function, Error> {
        let mut tokens: Vec<TokenTree> = item.into_iter().collect();
        let not_a_function = |span| Error::new(span, format!("{attribute} is for functions"));
        let body = match tokens.pop() {
            Some(last) => {
                let span = last.span();
                braces(last).ok_or_else(|| not_a_function(span))?
            }
            None => return Err(not_a_function(Span::call_site())),
        };
        let mut tokens = tokens.into_iter().peekable();

        let mut attributes = Vec::new();
        while tokens.peek().is_some_and(|token| is_punct(token, '#')) {
            attributes.extend(tokens.by_ref().take(2));
        }

        let mut visibility = Vec::new();
        loop {
            let Some(token) = tokens.next() else { return Err(not_a_function(Span::call_site())) };
            let TokenTree::Ident(word) = &token else {
                // `(crate)` after `pub`, or a visibility that a `macro_rules!` macro has passed on.
                let TokenTree::Group(group) = &token else {
                    return Err(not_a_function(token.span()));
                };
                let part_of_visibility = match group.delimiter() {
                    Delimiter::None => true,
                    Delimiter::Parenthesis => !visibility.is_empty(),
                    _ => false,
                };
                if !part_of_visibility {
                    return Err(not_a_function(token.span()));
                }
                visibility.push(token);
                continue;
            };
            match word.to_string().as_str() {
                "fn" => break,
                "pub" => visibility.push(token),
                "async" => {
                    return Err(Error::new(
                        word.span(),
                        format!(
                            "{attribute} is for ordinary functions: remove `async`, and call what blocks without `.await`"
                        ),
                    ));
                }
                qualifier @ ("const" | "unsafe" | "extern" | "safe") => {
                    // These also begin items that are no functions.
                    let is_function = tokens.any(|token| is_word(&token, "fn"));
                    return Err(if is_function {
                        Error::new(
                            word.span(),
                            format!("{attribute} is for ordinary functions: remove `{qualifier}`"),
                        )
                    } else {
                        not_a_function(word.span())
                    });
                }
                _ => return Err(not_a_function(word.span())),
            }
        }

        let name = match tokens.next() {
            Some(token) => name(&token).ok_or_else(|| not_a_function(token.span()))?,
            None => return Err(not_a_function(Span::call_site())),
        };
        match tokens.next() {
            Some(TokenTree::Group(arguments))
                if arguments.delimiter() == Delimiter::Parenthesis =>
            {
                no_arguments(&arguments, attribute)?;
            }
            Some(token) if is_punct(&token, '<') => {
                return Err(Error::new(
                    token.span(),
                    format!("the function of {attribute} cannot be generic"),
                ));
            }
            _ => return Err(not_a_function(name.span())),
        }
        let returns: Vec<TokenTree> = tokens.collect();
        if let Some(bounds) = returns.iter().find(|token| is_word(token, "where")) {
            return Err(Error::new(
                bounds.span(),
                format!("the function of {attribute} cannot be generic"),
            ));
        }
        Ok(Function { attributes, visibility, name, returns, body })
    }

    /// Whether it is a program's own, which others could not call by its name.
    pub(crate) fn is_called_by_the_system(&self) -> bool {
        self.name.to_string() == "main" && self.visibility.is_empty()
    }

    /// Whether a type is written that is not `()`.
    pub(crate) fn returns_something(&self) -> bool {
        match self.returns.as_slice() {
            [] => false,
            [_, _, TokenTree::Group(unit)] => {
                unit.delimiter() != Delimiter::Parenthesis || !unit.stream().is_empty()
            }
            _ => true,
        }
    }

    /// The span of an attribute `#[name]`, if the function has one.
    pub(crate) fn attribute(&self, name: &str) -> Option<Span> {
        self.attributes.iter().find_map(|token| {
            let TokenTree::Group(group) = token else { return None };
            let mut inside = group.stream().into_iter();
            let found = inside.next().is_some_and(|token| is_word(&token, name));
            (found && inside.next().is_none()).then(|| group.span())
        })
    }
}

fn no_arguments(arguments: &Group, attribute: &str) -> Result<(), Error> {
    let mut tokens = arguments.stream().into_iter().peekable();
    let Some(first) = tokens.peek().cloned() else { return Ok(()) };
    // `self`, `mut self`, `&self`, `&mut self`, `&'a mut self`, `self: T`
    let receiver = tokens
        .take_while(|token| !is_punct(token, ',') && !is_punct(token, ':'))
        .any(|token| is_word(&token, "self"));
    let message = if receiver {
        format!("{attribute} is for free functions: this one is a method, it takes `self`")
    } else {
        format!("the function of {attribute} cannot take arguments")
    };
    Err(Error::new(first.span(), message))
}

/// A block, also one that a `macro_rules!` macro has passed on.
fn braces(token: TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = token else { return None };
    match group.delimiter() {
        Delimiter::Brace => Some(group),
        Delimiter::None => only(&group).and_then(braces),
        _ => None,
    }
}

/// A name, also one that a `macro_rules!` macro has passed on.
fn name(token: &TokenTree) -> Option<Ident> {
    match token {
        TokenTree::Ident(name) => Some(name.clone()),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            only(group).as_ref().and_then(name)
        }
        _ => None,
    }
}

fn only(group: &Group) -> Option<TokenTree> {
    let mut inside = group.stream().into_iter();
    let first = inside.next()?;
    inside.next().is_none().then_some(first)
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}
