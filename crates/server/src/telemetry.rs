//! What this process measures and says of itself.

pub mod figures;
pub mod instruments;
pub mod keeper;
pub mod logs;
pub mod regions;
mod wire;

pub use instruments::Instruments;
pub use wire::is_mine;
