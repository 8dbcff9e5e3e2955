//! Puts a function together again, around a call of the runtime:
//!
//! ```text
//! attributes visibility fn name() -> type {
//!     fn name() -> type { body }
//!     ::pirn::__private::run_main(
//!         ::pirn::__private::Options { workers: Some(4), stack_size: None },
//!         name,
//!     )
//! }
//! ```
//!
//! Where the type is for the system alone, as that of a private `main` and of a test, the value is reported
//! where it was made, so that it need not be `Send`: `report_main` stands for `run_main`, and the outer function
//! has the type of what was reported, `::std::process::ExitCode`.
//!
//! The body gets a function, not a closure, of its own: only that can have `impl Trait` as its
//! return type. It has the same name, which the body cannot have given to anything else.

use crate::function::{Error, Function};
use crate::options::Options;
use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// What tells the attributes apart.
pub(crate) struct Attribute {
    /// As the user writes it.
    name: &'static str,
    /// The function that runs the body.
    runner: &'static str,
    /// The function that runs the body and reports what it returns.
    reporter: &'static str,
    is_test: bool,
}

pub(crate) const MAIN: Attribute = Attribute {
    name: "`#[pirn::main]`",
    runner: "run_main",
    reporter: "report_main",
    is_test: false,
};
pub(crate) const TEST: Attribute = Attribute {
    name: "`#[pirn::test]`",
    runner: "run_test",
    reporter: "report_test",
    is_test: true,
};

pub(crate) fn expand(
    options: TokenStream,
    item: TokenStream,
    attribute: &Attribute,
) -> TokenStream {
    match Function::parse(item.clone(), attribute.name) {
        Err(error) => [compile_error(&error), item].into_iter().collect(),
        Ok(function) => match check(&function, options, attribute) {
            // Without the function there would be more errors, about what is missing.
            Err(error) => [compile_error(&error), stub(&function)].into_iter().collect(),
            Ok(options) => assemble(function, options, attribute),
        },
    }
}

fn check(
    function: &Function,
    options: TokenStream,
    attribute: &Attribute,
) -> Result<Options, Error> {
    if let Some(span) = function.attribute("test").filter(|_| attribute.is_test) {
        let message = format!("{} makes the test: remove `#[test]`", attribute.name);
        return Err(Error::new(span, message));
    }
    Options::parse(options)
}

fn assemble(function: Function, options: Options, attribute: &Attribute) -> TokenStream {
    let reports =
        function.returns_something() && (attribute.is_test || function.is_called_by_the_system());
    let Function { attributes, visibility, name, returns, body } = function;
    // Whatever is wrong with the call is wrong with the function: it is said at its name.
    let span = Span::mixed_site().located_at(name.span());
    let inner_function = signature(&name, &returns, TokenTree::Group(body));

    let arguments = [
        private("Options", span),
        [braces(option_fields(options, span)), comma(span)].into_iter().collect(),
        [TokenTree::Ident(name.clone()), comma(span)].into_iter().collect(),
    ];
    let mut call = private(if reports { attribute.reporter } else { attribute.runner }, span);
    call.extend([parentheses(arguments.into_iter().collect(), span)]);

    let outer_body: TokenStream = [inner_function, call].into_iter().collect();
    let mut output = if attribute.is_test { test_attribute(span) } else { TokenStream::new() };
    output.extend(attributes);
    output.extend(visibility);
    let returns = if reports { exit_code(span) } else { returns };
    output.extend(signature(&name, &returns, braces(outer_body)));
    output
}

/// `-> ::std::process::ExitCode`
fn exit_code(span: Span) -> Vec<TokenTree> {
    let mut dash = Punct::new('-', Spacing::Joint);
    dash.set_span(span);
    let arrow = [TokenTree::Punct(dash), punct('>', span)];
    arrow.into_iter().chain(path(&["std", "process", "ExitCode"], span)).collect()
}

/// `fn name() -> type body`
fn signature(name: &Ident, returns: &[TokenTree], body: TokenTree) -> TokenStream {
    let span = name.span();
    let mut output: TokenStream = [
        TokenTree::Ident(Ident::new("fn", span)),
        TokenTree::Ident(name.clone()),
        parentheses(TokenStream::new(), span),
    ]
    .into_iter()
    .collect();
    output.extend(returns.iter().cloned());
    output.extend([body]);
    output
}

/// `workers: Some(4), stack_size: None,`
fn option_fields(options: Options, span: Span) -> TokenStream {
    let mut fields = TokenStream::new();
    for (name, value) in options.into_fields() {
        fields.extend([TokenTree::Ident(Ident::new(name, span)), punct(':', span)]);
        let variant = if value.is_some() { "Some" } else { "None" };
        fields.extend(path(&["core", "option", "Option", variant], span));
        fields.extend(value.map(|value| parentheses(value, span)));
        fields.extend([comma(span)]);
    }
    fields
}

/// `#[::core::prelude::v1::test]`
fn test_attribute(span: Span) -> TokenStream {
    let inside = path(&["core", "prelude", "v1", "test"], span);
    let brackets = TokenTree::Group(Group::new(Delimiter::Bracket, inside));
    [punct('#', span), brackets].into_iter().collect()
}

/// `::pirn::__private::name`
fn private(name: &str, span: Span) -> TokenStream {
    path(&["pirn", "__private", name], span)
}

/// A path from the root.
fn path(segments: &[&str], span: Span) -> TokenStream {
    let mut output = TokenStream::new();
    for segment in segments {
        let mut colon = Punct::new(':', Spacing::Joint);
        colon.set_span(span);
        output.extend([
            TokenTree::Punct(colon),
            punct(':', span),
            TokenTree::Ident(Ident::new(segment, span)),
        ]);
    }
    output
}

fn punct(sign: char, span: Span) -> TokenTree {
    let mut punct = Punct::new(sign, Spacing::Alone);
    punct.set_span(span);
    TokenTree::Punct(punct)
}

fn comma(span: Span) -> TokenTree {
    punct(',', span)
}

fn parentheses(inside: TokenStream, span: Span) -> TokenTree {
    let mut group = Group::new(Delimiter::Parenthesis, inside);
    group.set_span(span);
    TokenTree::Group(group)
}

fn braces(inside: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(Delimiter::Brace, inside))
}

/// `::core::compile_error! { "message" }`
fn compile_error(error: &Error) -> TokenStream {
    let span = error.span;
    let mut text = Literal::string(&error.message);
    text.set_span(span);
    let mut output = path(&["core", "compile_error"], span);
    let mut arguments = Group::new(Delimiter::Brace, TokenTree::Literal(text).into());
    arguments.set_span(span);
    output.extend([punct('!', span), TokenTree::Group(arguments)]);
    output
}

/// The function with nothing in it.
fn stub(function: &Function) -> TokenStream {
    let mut output: TokenStream = function.visibility.iter().cloned().collect();
    output.extend(signature(&function.name, &[], braces(TokenStream::new())));
    output
}
