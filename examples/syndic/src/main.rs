//! syndic
fn main() {}
