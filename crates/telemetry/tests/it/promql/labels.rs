//! Functions that change labels.

use super::{check, check_refused, memory};

#[test]
fn a_label_is_made_of_what_a_pattern_finds() {
    let one = memory("x{region=\"eu-west-1\"} | 1");
    check(
        &one,
        0,
        &[
            (
                r#"label_replace(x, "zone", "${1}_$2", "region", "(\\w+)-(.*)")"#,
                r#"x{region="eu-west-1", zone="eu_west-1"} 1"#,
            ),
            (
                r#"label_replace(x, "zone", "$name", "region", "(?P<name>eu).*")"#,
                r#"x{region="eu-west-1", zone="eu"} 1"#,
            ),
            // The pattern must meet all of it.
            (r#"label_replace(x, "zone", "z", "region", "eu")"#, r#"x{region="eu-west-1"} 1"#),
            (r#"label_replace(x, "region", "", "region", ".*")"#, "x 1"),
            (r#"label_replace(x, "zone", "none", "missing", "")"#, r#"x{region="eu-west-1", zone="none"} 1"#),
            (r#"label_replace(x, "__name__", "y", "", "")"#, r#"y{region="eu-west-1"} 1"#),
        ],
    );
    check_refused(
        &one,
        0,
        &[
            (r#"label_replace(x, "a-b", "", "region", "")"#, "no name of a label"),
            (r#"label_replace(x, "a", "", "region", "(")"#, "no regular expression"),
        ],
    );
}

#[test]
fn labels_are_joined_in_the_order_asked_for() {
    let one = memory("x{a=\"1\",b=\"2\"} | 1");
    check(
        &one,
        0,
        &[
            (r#"label_join(x, "c", "/", "b", "missing", "a")"#, r#"x{a="1", b="2", c="2//1"} 1"#),
            (r#"label_join(x, "a", "")"#, r#"x{b="2"} 1"#),
        ],
    );
}

#[test]
fn labels_that_told_series_apart_may_not_go() {
    let two = memory("x{a=\"1\"} | 1\n x{a=\"2\"} | 2");
    check_refused(&two, 0, &[(r#"label_replace(x, "a", "", "a", ".*")"#, "the same labels")]);
}
