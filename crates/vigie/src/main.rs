//! vigie
fn main() {}
