//! Looks at what images there are.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dwcp_roles::protocol::ImageHere;
use dwcp_types::{ImageDigest, ImagePart, image_bytes, image_list, is_plain_name, is_sha256};

use super::{COPIES_DIR, FETCHES_DIR, Held, Stamp, Store, digest_of};
use crate::image;

/// What was begun and not gone on with for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Every image.
    pub here: Vec<ImageHere>,
    /// Copies that hold something else than they did, and why: they were taken away.
    pub changed: Vec<(ImageDigest, String)>,
    /// Images of the image folder that can't be read, and why.
    pub unfit: Vec<(String, String)>,
}

impl Store {
    /// Looks at the image folder and at the copies. Files that were read before are not read again. Blocks.
    pub fn look(&self) -> Looked {
        let _one = self.looking.lock().unwrap_or_else(|e| e.into_inner());
        let mut looked = Looked::default();
        let mut held = Vec::new();
        for name in names(&self.data.join("images")).filter(|name| is_plain_name(name)) {
            match self.in_folder(&name) {
                Ok(image) => held.push(image),
                Err(why) => looked.unfit.push((name, why)),
            }
        }
        for digest in self.copies() {
            match self.copy(&digest) {
                Ok(image) if image.digest == digest => held.push(image),
                Ok(_) => looked.changed.push((digest, "it holds something else than it did".to_string())),
                Err((path, e)) if e.raw_os_error() == Some(libc::EIO) => {
                    looked.changed.push((digest, format!("{}: {e}", path.display())));
                }
                // That nothing can be read now, for want of memory or of descriptors, does not speak against the copy.
                Err(_) => held.extend(self.by_digest(&digest).filter(Held::is_copy)),
            }
        }
        looked.changed.iter().for_each(|(digest, _)| self.set_back(digest));
        self.replace(held);
        looked.here = self.here();
        self.known().retain(|path, _| Path::new(path).exists());
        self.save_known();
        self.forget_fetches();
        looked
    }

    /// Every image, as it was seen last.
    pub fn here(&self) -> Vec<ImageHere> {
        let here = |held: &Held| ImageHere {
            name: held.name.clone(),
            digest: held.digest.clone(),
            bytes: image_bytes(&held.parts),
        };
        self.held().iter().map(here).collect()
    }

    /// What a look found, and copies that came meanwhile.
    fn replace(&self, mut found: Vec<Held>) {
        let mut held = self.held();
        let new = |of: &Held| !found.iter().any(|known| known.is_copy() && known.digest == of.digest);
        let new: Vec<Held> =
            held.iter().filter(|of| of.is_copy() && new(of) && of.dir.exists()).cloned().collect();
        found.extend(new);
        found.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
        *held = found;
    }

    /// A copy has come: it counts without waiting for a look, which may be reading for long. Blocks.
    pub(super) fn hold(&self, digest: &ImageDigest) {
        if let Some(copy) = self.copy(digest).ok().filter(|copy| copy.digest == *digest) {
            let mut held = self.held();
            held.retain(|of| !of.is_copy() || of.digest != *digest);
            held.push(copy);
        }
    }

    /// The copies of which every file is as it was when it was read last: nothing is read.
    pub(super) fn hold_known(&self) {
        let known = |path: PathBuf| {
            let known = self.known().get(&*path.to_string_lossy()).map(|known| known.stamp);
            known.is_some() && Stamp::of(&path).ok() == known
        };
        for digest in self.copies() {
            let dir = super::copy_dir(&self.data, &digest);
            let files = list(&dir).unwrap_or_default();
            if !files.is_empty() && files.iter().all(|file| known(dir.join(file))) {
                self.hold(&digest);
            }
        }
    }

    fn in_folder(&self, name: &str) -> Result<Held, String> {
        let dir = self.data.join("images").join(name);
        let files = image::files(&dir, name)?;
        let fault = |(path, e): Unread| format!("image {name}: {}: {e}", path.display());
        let held = self.of_files(name, &dir, files).map_err(fault)?;
        image::Image::load_from(&dir, name).map(|_| held)
    }

    /// The digests of the copies; those of before when they can't be looked at.
    fn copies(&self) -> Vec<ImageDigest> {
        match list(&self.data.join(COPIES_DIR)) {
            Ok(names) => {
                names.iter().filter(|name| is_sha256(name)).map(|name| name.as_str().into()).collect()
            }
            Err(_) => {
                self.held().iter().filter(|held| held.is_copy()).map(|held| held.digest.clone()).collect()
            }
        }
    }

    /// A copy, whatever it holds.
    fn copy(&self, digest: &ImageDigest) -> Result<Held, Unread> {
        let dir = super::copy_dir(&self.data, digest);
        let files = list(&dir).map_err(|e| (dir.clone(), e))?;
        self.of_files("", &dir, files)
    }

    fn of_files(&self, name: &str, dir: &Path, files: Vec<String>) -> Result<Held, Unread> {
        let (mut parts, mut stamps) = (Vec::new(), Vec::new());
        for file in files {
            let path = dir.join(&file);
            let (stamp, sha256) = self.sha256(&path).map_err(|e| (path, e))?;
            parts.push(ImagePart { file, bytes: stamp.bytes, sha256 });
            stamps.push(stamp);
        }
        let digest = digest_of(&image_list(&parts));
        Ok(Held { name: name.to_string(), digest, dir: dir.to_path_buf(), parts, stamps })
    }

    /// A copy that is no longer what it was is one that is not whole: what is good of it need not come again.
    fn set_back(&self, digest: &ImageDigest) {
        let to = self.data.join(FETCHES_DIR).join(digest.as_str());
        let _ = std::fs::create_dir_all(self.data.join(FETCHES_DIR));
        let _ = std::fs::remove_dir_all(&to);
        let _ = std::fs::rename(super::copy_dir(&self.data, digest), to);
    }

    fn forget_fetches(&self) {
        let dir = self.data.join(FETCHES_DIR);
        for name in names(&dir) {
            let path = dir.join(name);
            let files = names(&path).map(|file| path.join(file));
            let changed =
                files.chain([path.clone()]).filter_map(|path| path.metadata().ok()?.modified().ok()).max();
            let age = changed.and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > FORGOTTEN) {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

/// A file that could not be read, and why.
type Unread = (PathBuf, io::Error);

/// Names in a folder, in order; those that are no text are left out. A folder that is not there is an empty one.
fn list(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    list(dir).unwrap_or_default().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(test: &str) -> PathBuf {
        let data = std::env::temp_dir().join(format!("dwcp-images-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(data.join("images/web")).expect("temp dir");
        std::fs::write(data.join("images/web/image.yaml"), "kernel: vmlinuz\n").expect("written");
        std::fs::write(data.join("images/web/vmlinuz"), "kernel").expect("written");
        data
    }

    fn only(looked: &Looked) -> &ImageHere {
        assert_eq!(looked.here.len(), 1, "{looked:?}");
        &looked.here[0]
    }

    #[test]
    fn the_digest_is_of_what_the_image_holds_and_of_nothing_else() {
        let (data, other) = (folder("digest"), folder("digest-too"));
        std::fs::write(other.join("images/web/notes.txt"), "no part of it").expect("written");
        std::fs::rename(other.join("images/web"), other.join("images/shop")).expect("renamed");
        let (one, two) = (Store::open(&data).look(), Store::open(&other).look());
        assert_eq!((only(&one).name.as_str(), only(&two).name.as_str()), ("web", "shop"));
        assert_eq!((only(&one).bytes, &only(&one).digest), (22, &only(&two).digest));
        std::fs::write(other.join("images/shop/vmlinuz"), "kernEl").expect("written");
        assert_ne!(only(&Store::open(&other).look()).digest, only(&one).digest);
        for dir in [data, other] {
            std::fs::remove_dir_all(dir).expect("removed");
        }
    }

    #[test]
    fn a_file_that_did_not_change_is_not_read_again_by_another_process_either() {
        let data = folder("known");
        let first = Store::open(&data).look();
        let path = data.join("images/web/vmlinuz");
        let before = path.metadata().and_then(|meta| meta.modified()).expect("its time");
        std::fs::write(&path, "KERNEL").expect("written");
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(before))
            .expect("set");
        assert_eq!(Store::open(&data).look(), first, "same size, time and inode");
        std::fs::write(&path, "KERNEL").expect("written");
        assert_ne!(Store::open(&data).look(), first);
        std::fs::remove_dir_all(data).expect("removed");
    }

    #[test]
    fn what_can_not_be_read_or_lies_elsewhere_has_no_digest() {
        let data = folder("unfit");
        std::fs::write(data.join("images/web/image.yaml"), "kernel: ../../etc/passwd\n").expect("written");
        let looked = Store::open(&data).look();
        assert!(looked.here.is_empty() && looked.unfit[0].1.contains("no name of a file"), "{looked:?}");
        std::fs::write(data.join("images/web/image.yaml"), "kernel: missing\n").expect("written");
        assert!(Store::open(&data).look().unfit[0].1.contains("missing"));
        std::fs::remove_dir_all(data).expect("removed");
    }

    #[test]
    fn copies_count_while_a_look_reads_for_long_and_in_the_next_process_before_its_first_look() {
        let data = folder("at-once");
        let store = Store::open(&data);
        let digest = only(&store.look()).digest.clone();
        let looking = store.looking.lock().expect("no panic");
        let copy = super::super::copy_dir(&data, &digest);
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
        std::fs::rename(data.join("images/web"), &copy).expect("moved");
        store.hold(&digest);
        assert_eq!(store.dir(&digest).as_ref(), Ok(&copy));
        // That look found nothing of it yet.
        store.replace(Vec::new());
        assert_eq!(store.dir(&digest).as_ref(), Ok(&copy));
        drop(looking);
        assert!(only(&store.look()).is_copy());
        assert!(Store::open(&data).here() == store.here());
        std::fs::write(copy.join("vmlinuz"), "kernEl").expect("written");
        assert_eq!(Store::open(&data).here(), [], "what may have changed is read first");
        std::fs::remove_dir_all(data).expect("removed");
    }

    #[test]
    fn a_copy_that_can_not_be_looked_at_now_is_still_there() {
        let data = folder("unseen");
        let digest = only(&Store::open(&data).look()).digest.clone();
        let copies = data.join(COPIES_DIR);
        std::fs::create_dir_all(&copies).expect("made");
        std::fs::rename(data.join("images/web"), copies.join(digest.as_str())).expect("moved");
        let store = Store::open(&data);
        let before = store.look();
        assert!(only(&before).is_copy());
        // What is in the way is no folder: reading it fails, as it does without a free descriptor.
        for of in [copies.clone(), copies.join(digest.as_str())] {
            let aside = data.join("aside");
            std::fs::rename(&of, &aside).expect("moved");
            std::fs::write(&of, "").expect("written");
            assert_eq!(store.look(), before, "{}", of.display());
            std::fs::remove_file(&of).expect("removed");
            std::fs::rename(&aside, &of).expect("moved back");
            assert_eq!(store.look(), before);
        }
        std::fs::remove_dir_all(data).expect("removed");
    }

    #[test]
    fn a_copy_that_changed_is_none_any_more_and_what_is_good_of_it_stays_for_the_next_fetch() {
        let data = folder("changed");
        let digest = only(&Store::open(&data).look()).digest.clone();
        let copy = super::super::copy_dir(&data, &digest);
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
        std::fs::rename(data.join("images/web"), &copy).expect("moved");
        let store = Store::open(&data);
        assert!(only(&store.look()).is_copy());
        std::fs::write(copy.join("vmlinuz"), "kernEl").expect("written");
        let looked = store.look();
        assert!(looked.here.is_empty() && looked.changed[0].0 == digest, "{looked:?}");
        assert!(!copy.exists() && data.join(FETCHES_DIR).join(digest.as_str()).join("image.yaml").exists());
        assert_eq!(store.look(), Looked::default(), "it is told once");
        std::fs::remove_dir_all(data).expect("removed");
    }
}
