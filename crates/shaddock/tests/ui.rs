//! What the compiler says about mistakes: sentences of ours, next to the mistake.

#[test]
fn mistakes_get_a_readable_sentence() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
