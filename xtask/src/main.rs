//! Chores of the Esker workspace.
fn main() {}
