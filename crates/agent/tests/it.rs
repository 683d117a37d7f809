//! The agent as real processes, with real guests, led by a stand-in for its region's node.

mod it {
    pub mod accelerator;
    pub mod agent;
    pub mod bench_sync_write;
    pub mod figures;
    pub mod hosting;
    pub mod images;
    pub mod introductions;
    pub mod lateness;
    pub mod leader;
    pub mod pair;
    pub mod qemu_arrivals;
    pub mod qemu_disk;
    pub mod qemu_life;
    pub mod qemu_moves;
    pub mod qemu_points;
    pub mod qemu_protect;
    pub mod qemu_tap;
    pub mod stalls;
    pub mod wanted;
}
