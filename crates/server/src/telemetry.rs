//! What this process measures and says of itself.

pub mod figures;
pub mod instruments;

pub use instruments::Instruments;
