//! What the coroutines of a running program do, in a terminal.

fn main() {}
