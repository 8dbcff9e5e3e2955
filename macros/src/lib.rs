//! The attribute macros of pirn.
//!
//! They see a function as a row of tokens, `attributes fn name() -> type { body }`, and pass body
//! and type on as they are, so that whatever the compiler says of them is said where they stand.
//! No parser of Rust is needed for that, and none has to be built.

mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

/// Runs the program's `main` function as a coroutine.
///
/// The function is an ordinary one: no arguments, not `async`, and any return type that `main` may
/// have. When it returns, the process ends, whatever coroutines there are. What it returns is reported by the
/// coroutine; of a function that is `pub`, or not called `main`, it goes to the caller, and has to be `Send`.
///
/// # Options
///
/// They are written as expressions: `#[pirn::main(workers = 4, stack_size = 64 * 1024)]`.
///
/// | option | meaning | without it |
/// |---|---|---|
/// | `workers` | threads that run coroutines | those of the default runtime |
/// | `stack_size` | bytes of stack of a coroutine | those of the default runtime |
///
/// Without options the function runs in the default runtime, where `pirn::spawn` starts
/// coroutines anyway.
///
/// # Examples
///
/// ```ignore
/// #[pirn::main(workers = 4)]
/// fn main() -> std::io::Result<()> {
///     let worker = pirn::spawn(|| 6 * 7);
///     println!("{}", worker.join().unwrap());
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(options, item, &expand::MAIN)
}

/// Makes a test of a function, and runs it as a coroutine of a runtime of its own.
///
/// Attributes such as `#[should_panic]` and `#[ignore]` work as usual, and it may return what a test may. The
/// options are those of [`main`](macro@main).
///
/// # Examples
///
/// ```ignore
/// #[pirn::test(workers = 2)]
/// fn joins() {
///     assert_eq!(pirn::spawn(|| 1).join().unwrap(), 1);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(options, item, &expand::TEST)
}
