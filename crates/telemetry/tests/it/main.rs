//! Tests of the package from outside.

mod shipped_rules;
