//! A client for what no ordinary client does.
fn main() {}
