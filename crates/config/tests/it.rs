//! Tests of configuration files.

mod it {
    mod contexts;
    mod host;
    mod region;
    mod settings;
}
