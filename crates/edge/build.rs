//! Compiles what the kernel runs, where clang is there. A router that was built without it says so when it is asked to use it.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/kernel/xdp.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=PATH");
    let object = Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("xdp.o");
    let clang = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-c", SOURCE, "-o"])
        .arg(&object)
        .status();
    match clang {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("clang {SOURCE}: {status}"),
        Err(_) => std::fs::write(&object, []).expect("a file of cargo's own folder"),
    }
}
