//! The words every other package uses: ids, quantities, time, refusals and the tagged binary codec.
//!
//! Nothing here does IO, reads a clock or draws randomness.

pub mod codec;
mod codec_macros;
mod hex;
mod ids;
mod image;
mod level;
mod quantity;
pub mod refusal;
mod rng;
mod time;

pub use codec::{DecodeError, Wire, decode, encode};
pub use hex::hex;
pub use ids::{
    DrillId, FailoverId, Generation, GroupId, HostId, ImageDigest, MigrationId, NodeId, OperationId,
    RegionId, Revision, TokenId, VmId, WindowId, ZoneId,
};
pub use image::{
    IMAGE_FILE, IMAGE_LIST_BYTES, IMAGE_PARTS_MOST, ImagePart, check_parts, image_bytes, image_list,
    is_plain_name, is_sha256, read_image_list,
};
pub use level::{LEVEL, PROPOSER_LEVEL, VERSION};
pub use quantity::{Amount, Priority};
pub use refusal::{Code, Refusal};
pub use rng::Rng;
pub use time::{CLOCK_DRIFT_PERCENT, Mono, Now, Wall};
