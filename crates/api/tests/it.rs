//! Tests of the API's types.

mod it {
    mod document;
    mod travel;
}
