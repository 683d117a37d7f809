//! Builds the small guest image: Debian's cloud kernel, the drivers it needs, and `guest/init.c` as its only program.
//!
//! Every choice here serves one figure: CPU seconds from start to the first answer under emulation, because on a small
//! host that is most of a failover. What was measured: `docs/decisions/2026-11-23-guest-image.md`.

mod archive;
mod kernel;
mod lz4;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the drivers lie in the guest and in which order they can be loaded is up to `guest/init.c`.
const MODULES: [&str; 12] = [
    "virtio_ring",
    "virtio",
    "failover",
    "net_failover",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "virtio_balloon",
    "button",
    "evdev",
];

/// `init_on_alloc=0` saves most, `noreplace-smp` a sixth: without it a kernel that finds one processor writes over each of its
/// lock prefixes. See the decisions on the guest image and on its boot time.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off nokaslr init_on_alloc=0 \
cryptomgr.notests tsc=reliable no_timer_check lpj=10000000 apparmor=0 audit=0 lsm= slub_debug=- \
hardened_usercopy=off rodata=off 8250.nr_uarts=1 nowatchdog noreplace-smp";

/// The processor under emulation: everything but what costs every boot or every switch of tasks and helps no emulated guest.
const CPU: &str = "max,xsave=off,smap=off,smep=off,umip=off,pku=off";

/// Least memory the image boots with, MiB. 64 MiB is not enough for Debian's kernel.
const MEMORY_MIN_MIB: u32 = 96;

/// A built image.
#[derive(Debug, Clone)]
pub struct GuestImage {
    /// Its directory, with `image.yaml`, `kernel` and `initrd`.
    pub dir: PathBuf,
    /// The package the kernel came from.
    pub kernel_package: String,
    /// Size of kernel and first file system, bytes.
    pub size_bytes: u64,
}

/// Builds the image into `dest`, replacing what is there at the end in one step a file. Takes a few seconds.
///
/// # Errors
/// A tool is missing (the message says which package to install), the kernel's package can't be had, or a file can't be
/// written.
pub fn build(dest: &Path) -> Result<GuestImage, String> {
    tools()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/init.c");
    let work = dest.join("work");
    remove(&work)?;
    fs::create_dir_all(&work).map_err(|e| told(&work, &e))?;
    let package = kernel::fetch(&work)?;
    let init = work.join("init");
    run(Command::new("gcc")
        .args(["-static", "-O2", "-s", "-Wall", "-Wextra", "-o"])
        .arg(&init)
        .arg(&source))?;
    let mut initrd = archive::Archive::default();
    initrd.directory("modules");
    let drivers = kernel::files(&work.join("kernel"));
    for name in MODULES {
        let wanted = format!("{name}.ko");
        let path =
            drivers.iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy() == wanted));
        let path = path.ok_or_else(|| format!("{package} has no driver {wanted}"))?;
        let bytes = fs::read(path).map_err(|e| told(path, &e))?;
        initrd.file(&format!("modules/{wanted}"), 0o644, kernel::without_signature(&bytes));
    }
    initrd.file("init", 0o755, &fs::read(&init).map_err(|e| told(&init, &e))?);
    let initrd = initrd.finish();
    let kernel = kernel::image(&drivers)?;
    let description = format!(
        "# Built by `cargo xtask guest` from {package}.\nkernel: kernel\ninitrd: initrd\ncpu: \"{CPU}\"\nmemory_min_mib: {MEMORY_MIN_MIB}\n\
         hpet_timer: true\nkernel_arguments: \"{KERNEL_ARGUMENTS}\"\n"
    );
    for (name, bytes) in
        [("kernel", &kernel[..]), ("initrd", &initrd), ("image.yaml", description.as_bytes())]
    {
        replace(&dest.join(name), bytes)?;
    }
    remove(&work)?;
    Ok(GuestImage {
        dir: dest.to_path_buf(),
        kernel_package: package,
        size_bytes: (kernel.len() + initrd.len()) as u64,
    })
}

fn tools() -> Result<(), String> {
    let needs = [("gcc", "gcc libc6-dev"), ("dpkg-deb", "dpkg"), ("apt-get", "apt")];
    let missing: Vec<&str> =
        needs.iter().filter(|(tool, _)| !crate::run::on_path(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "missing: {0}. Run this once: sudo apt-get install --no-install-recommends {0}",
        missing.join(" ")
    ))
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn remove(dir: &Path) -> Result<(), String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(told(dir, &error)),
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(|e| told(&new, &e))?;
    fs::rename(&new, path).map_err(|e| told(path, &e))
}

fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{shown}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
