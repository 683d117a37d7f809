//! The rule files that come with the product.

/// Name and text of each. They hold for a whole federation and are evaluated over the metrics of all its regions.
pub const SHIPPED: [(&str, &str); 5] = [
    ("capacity.yaml", include_str!("../../rules/capacity.yaml")),
    ("health.yaml", include_str!("../../rules/health.yaml")),
    ("protection.yaml", include_str!("../../rules/protection.yaml")),
    ("sla.yaml", include_str!("../../rules/sla.yaml")),
    ("traffic.yaml", include_str!("../../rules/traffic.yaml")),
];
