//! Tests of configuration files.

mod it {
    mod contexts;
    mod region;
}
