//! Compiles what is not Rust: what the kernel runs, where clang is there. A router that was built without it says so when it is asked to use it; whoever
//! installs clang later builds anew (`cargo clean -p dwcp-edge`).

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/kernel/xdp.c";
const PORTS: &str = "src/dpdk/ports.c";

fn main() {
    xdp();
    if std::env::var_os("CARGO_FEATURE_DPDK").is_some() {
        dpdk();
    }
}

fn xdp() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let object = Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("xdp.o");
    let targets = Command::new("clang").arg("-print-targets").output();
    if !targets.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("bpf")) {
        return std::fs::write(&object, []).expect("a file of cargo's own folder");
    }
    let clang = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-c", SOURCE, "-o"])
        .arg(&object)
        .status();
    assert!(clang.is_ok_and(|status| status.success()), "clang can't compile {SOURCE}");
}

/// The part of the filter of DPDK that is C. Its functions are inline, so the library's headers have to be there.
fn dpdk() {
    println!("cargo::rerun-if-changed={PORTS}");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let flags = |which: &str| -> Vec<String> {
        let said = Command::new("pkg-config").args([which, "libdpdk"]).output();
        let said = said.ok().filter(|said| said.status.success());
        let said =
            said.expect("the feature `dpdk` needs pkg-config and libdpdk (Debian: libdpdk-dev, pkg-config)");
        String::from_utf8_lossy(&said.stdout).split_whitespace().map(str::to_owned).collect()
    };
    let object = format!("{out}/ports.o");
    let compiled = Command::new("cc")
        .args(["-O2", "-Wall", "-c", PORTS, "-o", &object])
        .args(flags("--cflags"))
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc can't compile {PORTS}");
    println!("cargo::rustc-link-arg-bin=dwcp-dpdk={object}");
    for flag in flags("--libs") {
        println!("cargo::rustc-link-arg-bin=dwcp-dpdk={flag}");
    }
}
