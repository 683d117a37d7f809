//! Operators, and which elements they find.

use super::{check, check_refused, memory};

#[test]
fn operators_bind_as_they_are_documented() {
    check(
        &memory(""),
        0,
        &[
            ("2 ^ 3 ^ 2", "scalar 512"),
            ("-2 ^ 2", "scalar -4"),
            ("1 + 2 * 3", "scalar 7"),
            ("10 - 4 - 3", "scalar 3"),
            ("7 % 4 * 2", "scalar 6"),
            ("2 ^ -1 * 4", "scalar 2"),
            ("1 + 1 == bool 2", "scalar 1"),
            ("1 atan2 1 * 4", "scalar 3.141592653589793"),
            ("-5 % 3", "scalar -2"),
            ("1 / 0", "scalar inf"),
            ("0 / 0", "scalar NaN"),
            ("vector(1) or vector(2) and vector(3)", "1"),
        ],
    );
}

#[test]
fn a_scalar_meets_every_element() {
    let two = memory("x{a=\"1\"} | 1\n x{a=\"2\"} | 4");
    check(
        &two,
        0,
        &[
            ("x * 2", r#"{a="1"} 2; {a="2"} 8"#),
            ("10 - x", r#"{a="1"} 9; {a="2"} 6"#),
            ("x ^ 2", r#"{a="1"} 1; {a="2"} 16"#),
            ("x > 1", r#"x{a="2"} 4"#),
            ("1 < x", r#"x{a="2"} 4"#),
            ("x >= 1 <= 3", r#"x{a="1"} 1"#),
            ("x == 4", r#"x{a="2"} 4"#),
            ("x != 4", r#"x{a="1"} 1"#),
            ("x > bool 1", r#"{a="1"} 0; {a="2"} 1"#),
            ("2 >= bool x", r#"{a="1"} 1; {a="2"} 0"#),
            ("x == NaN", ""),
        ],
    );
}

#[test]
fn elements_with_the_same_labels_meet() {
    let some = memory(
        "x{a=\"1\",b=\"p\"} | 1
         x{a=\"2\",b=\"p\"} | 2
         y{a=\"1\",b=\"p\"} | 10
         y{a=\"3\",b=\"p\"} | 30
         z{a=\"1\"} | 100
         z{a=\"2\"} | 200",
    );
    check(
        &some,
        0,
        &[
            ("x + y", r#"{a="1", b="p"} 11"#),
            ("x < y", r#"x{a="1", b="p"} 1"#),
            ("x > y", ""),
            ("x > bool y", r#"{a="1", b="p"} 0"#),
            ("x + on (a) z", r#"{a="1"} 101; {a="2"} 202"#),
            ("x + ignoring (b) z", r#"{a="1"} 101; {a="2"} 202"#),
            ("x < on (a) z", r#"{a="1"} 1; {a="2"} 2"#),
            ("x < ignoring (b) z", r#"x{a="1"} 1; x{a="2"} 2"#),
            ("x + nothing", ""),
        ],
    );
}

#[test]
fn many_meet_one_and_take_its_labels() {
    let some = memory(
        "many{a=\"1\",i=\"1\"} | 1
         many{a=\"1\",i=\"2\"} | 2
         many{a=\"2\",i=\"1\"} | 4
         one{a=\"1\",v=\"old\"} | 10
         one{a=\"2\",v=\"new\"} | 20",
    );
    check(
        &some,
        0,
        &[
            ("many * on (a) group_left one", r#"{a="1", i="1"} 10; {a="1", i="2"} 20; {a="2", i="1"} 80"#),
            (
                "many * on (a) group_left (v) one",
                r#"{a="1", i="1", v="old"} 10; {a="1", i="2", v="old"} 20; {a="2", i="1", v="new"} 80"#,
            ),
            ("one - on (a) group_right many", r#"{a="1", i="1"} 9; {a="1", i="2"} 8; {a="2", i="1"} 16"#),
            ("one > on (a) group_right () many * 9", r#"{a="1", i="1"} 10"#),
        ],
    );
    check_refused(
        &some,
        0,
        &[
            ("many * on (a) one", "many to one"),
            ("one * on (a) many", "many-to-many"),
            ("many * on () group_left one", "many-to-many"),
            ("many * on (a) group_left (i) one", "the same labels"),
        ],
    );
}

#[test]
fn sets_are_made_of_elements_that_are_there() {
    let some = memory(
        "x{a=\"1\"} | 1
         x{a=\"2\"} | 2
         y{a=\"2\"} | 20
         y{a=\"3\",b=\"q\"} | 30",
    );
    check(
        &some,
        0,
        &[
            ("x and y", r#"x{a="2"} 2"#),
            ("x unless y", r#"x{a="1"} 1"#),
            ("x or y", r#"x{a="1"} 1; x{a="2"} 2; y{a="3", b="q"} 30"#),
            ("x and on () y", r#"x{a="1"} 1; x{a="2"} 2"#),
            ("x unless on () nothing", r#"x{a="1"} 1; x{a="2"} 2"#),
            ("x or ignoring (a) y", r#"x{a="1"} 1; x{a="2"} 2; y{a="3", b="q"} 30"#),
            ("x and y > 20", ""),
        ],
    );
}
