//! Forgetting a rule of an op is a compile error that names it.

#[test]
fn a_missing_rule_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
