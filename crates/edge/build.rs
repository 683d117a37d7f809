//! Compiles what the kernel runs, where clang is there. A router that was built without it says so when it is asked to use it; whoever
//! installs clang later builds anew (`cargo clean -p dwcp-edge`).

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/kernel/xdp.c";

fn main() {
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
