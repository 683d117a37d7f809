//! The rules in force.

use dwcp_telemetry::promql::Query;
use dwcp_telemetry::rules::{ExprError, Group, SHIPPED, read};

/// The rules that come with the product.
pub fn shipped() -> Vec<Group> {
    let check = |text: &str| match Query::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(ExprError { offset: error.position, message: error.message }),
    };
    let files = SHIPPED.iter().filter_map(|(_, text)| read(text, &check).ok());
    files.flat_map(|file| file.groups).collect()
}
