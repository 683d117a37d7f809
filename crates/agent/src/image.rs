//! Images on a host: `<data>/images/<name>/image.yaml` beside kernel, initrd and disk. What the federation distributes is
//! kept elsewhere, by digest: see [`crate::images`].

use std::path::{Path, PathBuf};

use dwcp_types::{IMAGE_FILE, is_plain_name};
use serde::Deserialize;

/// What a VM boots whose specification names no image.
pub const DEFAULT_IMAGE: &str = "small";

/// What `image.yaml` says. Every file is optional, but an image needs a kernel or a disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ImageFile {
    kernel: Option<String>,
    initrd: Option<String>,
    disk: Option<String>,
    kernel_arguments: String,
    cpu: Option<String>,
    memory_min_mib: u64,
    hpet_timer: bool,
}

impl ImageFile {
    fn read(dir: &Path, name: &str) -> Result<ImageFile, String> {
        let path = dir.join(IMAGE_FILE);
        let fault = |error: String| format!("image {name}: {}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| fault(e.to_string()))?;
        serde_saphyr::from_str(&text).map_err(|e| fault(e.to_string()))
    }
}

/// The files that an image in a folder is made of, each once.
///
/// # Errors
/// There is none, or it names a file that lies elsewhere.
pub fn files(dir: &Path, name: &str) -> Result<Vec<String>, String> {
    let ImageFile { kernel, initrd, disk, .. } = ImageFile::read(dir, name)?;
    let mut files = vec![IMAGE_FILE.to_string()];
    files.extend([kernel, initrd, disk].into_iter().flatten());
    files.sort();
    files.dedup();
    match files.iter().find(|file| !is_plain_name(file)) {
        Some(file) => Err(format!("image {name}: `{file}` is no name of a file beside {IMAGE_FILE}")),
        None => Ok(files),
    }
}

/// An image that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Kernel for direct boot.
    pub kernel: Option<PathBuf>,
    /// Its first file system.
    pub initrd: Option<PathBuf>,
    /// Base disk, qcow2, never written: VMs get an overlay. A VM of an image without one gets an empty disk when it asks for
    /// a size.
    pub disk: Option<PathBuf>,
    /// Arguments of the kernel; the agent adds the VM's.
    pub kernel_arguments: String,
    /// CPU model under emulation.
    pub cpu: String,
    /// Least memory it boots with, MiB.
    pub memory_min_mib: u64,
    /// Whether its kernel is to take the HPET for its timer where that is cheaper: emulated, with one processor.
    pub hpet_timer: bool,
}

impl Image {
    /// Reads an image.
    ///
    /// # Errors
    /// The name, the file or what it points to is not fit; the message names it.
    pub fn load(images: &Path, name: &str) -> Result<Image, String> {
        let name = if name.is_empty() { DEFAULT_IMAGE } else { name };
        if !is_plain_name(name) {
            return Err(format!("image name `{name}` is not letters, digits, - _ ."));
        }
        Image::load_from(&images.join(name), name)
    }

    /// Reads the image in a folder; its name is for people.
    ///
    /// # Errors
    /// The file or what it points to is not fit; the message names it.
    pub fn load_from(dir: &Path, name: &str) -> Result<Image, String> {
        let file = ImageFile::read(dir, name)?;
        let part = |what: Option<String>| match what {
            None => Ok(None),
            Some(file) if dir.join(&file).is_file() => Ok(Some(dir.join(file))),
            Some(file) => Err(format!("image {name}: {} is missing", dir.join(file).display())),
        };
        let image = Image {
            kernel: part(file.kernel)?,
            initrd: part(file.initrd)?,
            disk: part(file.disk)?,
            kernel_arguments: file.kernel_arguments,
            cpu: file.cpu.unwrap_or_else(|| "max".to_string()),
            memory_min_mib: file.memory_min_mib,
            hpet_timer: file.hpet_timer,
        };
        if image.kernel.is_none() && image.disk.is_none() {
            return Err(format!("image {name} has neither a kernel nor a disk"));
        }
        Ok(image)
    }
}
