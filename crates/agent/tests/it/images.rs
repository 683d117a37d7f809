//! Images between two hosts over their agents' real links.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_agent::images::{Fetcher, Giver, Store, copy_dir};
use dwcp_mesh::transfer::{Admission, Kind, TransferConfig, TransferHandle, TransferLink};
use dwcp_mesh::{Ca, Identity, PeerId};
use dwcp_roles::agent::FetchFault;
use dwcp_roles::protocol::ImageSource;
use dwcp_types::ImageDigest;
use tokio::io::AsyncWriteExt;

/// Bytes of the image's disk: several ranges, and some seconds at the rate at which images are given.
const DISK_BYTES: usize = 40 << 20;

struct Host {
    data: PathBuf,
    store: Arc<Store>,
    giver: Giver,
    fetcher: Fetcher,
    link: TransferHandle,
    source: ImageSource,
}

/// Hosts of one federation, the first with an image `web`.
struct Hosts {
    dir: PathBuf,
    all: Vec<Host>,
    digest: ImageDigest,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn link(ca: &Ca, name: &str) -> (TransferHandle, ImageSource) {
    let peer = PeerId::Host { region: "r".into(), host: name.into() };
    let leaf = ca.issue(&peer, &[], Duration::from_secs(86_400)).expect("a leaf");
    let identity = Identity::from_pem(ca.cert_pem(), &leaf.cert_pem, &leaf.key_pem).expect("an identity");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = TransferConfig { identity, federation: "test".into(), listen, seed: 1, wan: None };
    let link = TransferLink::start(config).expect("a link");
    let endpoint = link.local_addr().expect("an address").to_string();
    (link, ImageSource { region: "r".into(), host: name.into(), endpoint })
}

fn make_image(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("image.yaml"), "kernel: vmlinuz\ndisk: disk.qcow2\n").expect("written");
    std::fs::write(folder.join("vmlinuz"), "a kernel").expect("written");
    let content: Vec<u8> =
        (0..DISK_BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    std::fs::write(folder.join("disk.qcow2"), content).expect("written");
}

impl Hosts {
    fn start(test: &str, count: usize) -> Hosts {
        let dir = std::env::temp_dir().join(format!("dwcp-image-links-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let ca = Ca::create("test", Duration::from_secs(86_400)).expect("an authority");
        let host = |number: usize| {
            let data = dir.join(format!("h{number}"));
            std::fs::create_dir_all(data.join("images")).expect("a folder");
            let (link, source) = link(&ca, &format!("h{number}"));
            let store = Arc::new(Store::open(&data));
            let (giver, fetcher) =
                (Giver::start(store.clone(), &link), Fetcher::new(store.clone(), link.clone()));
            Host { data, store, giver, fetcher, link, source }
        };
        let all: Vec<Host> = (0..count).map(host).collect();
        make_image(&all[0].data.join("images/web"));
        all.iter().skip(1).for_each(|host| assert!(host.store.look().here.is_empty()));
        let digest = all[0].store.look().here[0].digest.clone();
        Hosts { dir, all, digest }
    }

    async fn fetch(&self, to: usize, from: usize) -> Result<(), FetchFault> {
        self.all[to].fetcher.fetch(&self.digest, Some(&self.all[from].source), |_, _| ()).await
    }

    fn copies(&self, host: usize) -> usize {
        let here = self.all[host].store.look().here;
        here.iter().filter(|image| image.is_copy() && image.digest == self.digest).count()
    }

    fn files(&self, host: usize) -> BTreeMap<String, Vec<u8>> {
        let dir = copy_dir(&self.all[host].data, &self.digest);
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                let content = std::fs::read(entry.path()).expect("read");
                (entry.file_name().to_string_lossy().into_owned(), content)
            })
            .collect()
    }

    /// Another byte in the middle of a file, which looks as it did before.
    fn damage(path: &Path) {
        let file = std::fs::File::options().read(true).write(true).open(path).expect("opened");
        let before = file.metadata().and_then(|meta| meta.modified()).expect("its time");
        let at = file.metadata().expect("its size").len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 1], at).expect("written");
        file.set_modified(before).expect("its time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_comes_from_another_host_and_is_given_on_from_there() {
    let hosts = Hosts::start("on", 3);
    assert_eq!(hosts.fetch(1, 0).await, Ok(()));
    assert_eq!(hosts.copies(1), 1);
    let folder = hosts.all[0].data.join("images/web");
    let files = hosts.files(1);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["disk.qcow2", "image.yaml", "vmlinuz"]);
    assert!(
        files.iter().all(|(name, content)| std::fs::read(folder.join(name)).is_ok_and(|of| of == *content))
    );
    hosts.all[0].link.shutdown().await;
    assert_eq!(hosts.fetch(2, 1).await, Ok(()));
    assert_eq!((hosts.copies(2), hosts.files(2) == files), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_makes_a_copy_of_its_own_image_that_does_not_change_with_it() {
    let hosts = Hosts::start("own", 1);
    assert_eq!(hosts.all[0].fetcher.fetch(&hosts.digest, None, |_, _| ()).await, Ok(()));
    std::fs::write(hosts.all[0].data.join("images/web/vmlinuz"), "a newer kernel").expect("written");
    assert_eq!(hosts.copies(0), 1);
    assert_eq!(hosts.files(0)["vmlinuz"], b"a kernel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_was_changed_in_the_image_folder_is_no_damage_and_no_vm_starts_from_it() {
    let hosts = Hosts::start("edited", 1);
    let host = &hosts.all[0];
    let folder = host.data.join("images/web");
    assert_eq!(host.store.dir(&hosts.digest).as_ref(), Ok(&folder));
    std::fs::write(folder.join("vmlinuz"), "A KERNEL").expect("written");
    assert!(host.store.dir(&hosts.digest).is_err_and(|why| why.contains("has just changed")));
    let fault = host.fetcher.fetch(&hosts.digest, None, |_, _| ()).await;
    assert!(matches!(&fault, Err(FetchFault::Failed(why)) if why.contains("vmlinuz")), "{fault:?}");
    assert_eq!(hosts.copies(0), 0);
    std::fs::write(folder.join("vmlinuz"), "a kernel").expect("written");
    host.store.look();
    assert_eq!(host.fetcher.fetch(&hosts.digest, None, |_, _| ()).await, Ok(()));
    host.store.look();
    assert_eq!(
        host.store.dir(&hosts.digest),
        Ok(copy_dir(&host.data, &hosts.digest)),
        "the copy comes first"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_vms_move_at_either_end_images_take_two_megabytes_a_second() {
    // At the end that gives, by the piece; at the end that fetches, by the range.
    for (name, gives, ahead) in [("give-gently", true, 400_000), ("fetch-gently", false, 5 << 20)] {
        let hosts = Hosts::start(name, 2);
        let (giver, fetcher) = (hosts.all[0].giver.clone(), hosts.all[1].fetcher.clone());
        if gives {
            giver.set_gentle(true)
        } else {
            fetcher.set_gentle(true)
        }
        let (digest, source) = (hosts.digest.clone(), hosts.all[0].source.clone());
        let begun = Instant::now();
        let going = fetcher.clone();
        let task = tokio::spawn(async move { going.fetch(&digest, Some(&source), |_, _| ()).await });
        tokio::time::sleep(Duration::from_secs(7)).await;
        let given = giver.given();
        let most = (2_100_000.0 * begun.elapsed().as_secs_f64()) as u64 + ahead;
        assert!(
            (1..=most).contains(&given),
            "{name}: {given} bytes, at most {most} in {:?}",
            begun.elapsed()
        );
        giver.set_gentle(false);
        fetcher.set_gentle(false);
        assert_eq!(task.await.expect("no panic"), Ok(()), "{name}: and then the rest");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_broke_off_goes_on_where_it_was_also_in_another_process() {
    let hosts = Hosts::start("resumed", 2);
    let disk = hosts.all[1].data.join("image-fetches").join(hosts.digest.as_str()).join("disk.qcow2");
    let (fetcher, digest, source) =
        (hosts.all[1].fetcher.clone(), hosts.digest.clone(), hosts.all[0].source.clone());
    let task = tokio::spawn(async move { fetcher.fetch(&digest, Some(&source), |_, _| ()).await });
    let here = || disk.metadata().map_or(0, |meta| meta.len());
    let begun = Instant::now();
    while here() < 12 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(60) && !task.is_finished(), "{} bytes", here());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    assert!(task.await.is_err(), "it had not ended");
    assert_eq!(hosts.copies(1), 0, "what is not whole is not seen");
    let (kept, given) = (here(), hosts.all[0].giver.given());
    assert!(kept < DISK_BYTES as u64);
    // Another process: another store, which knows only what lies on the disk.
    let again = Fetcher::new(Arc::new(Store::open(&hosts.all[1].data)), hosts.all[1].link.clone());
    assert_eq!(again.fetch(&hosts.digest, Some(&hosts.all[0].source), |_, _| ()).await, Ok(()));
    assert_eq!(hosts.copies(1), 1);
    let more = hosts.all[0].giver.given() - given;
    assert!(more <= DISK_BYTES as u64 - kept + (1 << 20), "{more} bytes came for {kept} that were there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_that_is_not_what_it_was_is_noticed_and_the_image_comes_from_another_host() {
    let hosts = Hosts::start("damaged", 3);
    assert_eq!(hosts.fetch(1, 0).await, Ok(()));
    Hosts::damage(&copy_dir(&hosts.all[1].data, &hosts.digest).join("disk.qcow2"));
    assert_eq!(hosts.copies(1), 1, "size, time and inode are as they were: it does not know");
    let fault = hosts.fetch(2, 1).await;
    assert!(matches!(&fault, Err(FetchFault::Wrong(why)) if why.contains("disk.qcow2")), "{fault:?}");
    assert_eq!((hosts.copies(2), hosts.files(2).len()), (0, 0));
    let looked = hosts.all[1].store.look();
    assert_eq!(looked.changed.len(), 1, "it was told, and has read its copy again: {looked:?}");
    assert_eq!((hosts.copies(1), hosts.fetch(1, 0).await, hosts.copies(1)), (0, Ok(()), 1));
    assert_eq!(hosts.fetch(2, 0).await, Ok(()));
    assert_eq!(hosts.copies(2), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_beginning_from_one_host_does_not_speak_against_the_next() {
    let hosts = Hosts::start("pieces", 2);
    let begun = hosts.all[1].data.join("image-fetches").join(hosts.digest.as_str());
    std::fs::create_dir_all(&begun).expect("a folder");
    std::fs::write(begun.join("disk.qcow2"), vec![7; 10 << 20]).expect("written");
    std::fs::write(begun.join("no-part"), "left over").expect("written");
    assert_eq!(hosts.fetch(1, 0).await, Ok(()));
    assert_eq!(hosts.files(1).len(), 3, "the parts and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_gives_another_list_or_more_than_was_asked_for_is_not_believed() {
    let hosts = Hosts::start("lies", 2);
    let lie = |text: String| {
        let say = move || {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().map_err(|e| e.to_string())?;
            let text = text.clone();
            tokio::spawn(async move { ours.write_all(text.as_bytes()).await });
            Ok(Admission::Stream(theirs))
        };
        hosts.all[0].link.register(Kind::Image, None, Arc::new(move |_, _| say()));
    };
    lie("dwcp-image 1\n".into());
    let fault = hosts.fetch(1, 0).await;
    assert!(matches!(&fault, Err(FetchFault::Wrong(why)) if why.contains("another image's")), "{fault:?}");
    lie("x".repeat(1 << 20));
    let fault = hosts.fetch(1, 0).await;
    assert!(matches!(&fault, Err(FetchFault::Failed(why)) if why.contains("more than")), "{fault:?}");
    assert_eq!(hosts.copies(1), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_has_not_or_has_changed_it_does_not_give() {
    let hosts = Hosts::start("refused", 2);
    let other = ImageDigest::from("b".repeat(64).as_str());
    let fault = hosts.all[1].fetcher.fetch(&other, Some(&hosts.all[0].source), |_, _| ()).await;
    assert!(matches!(&fault, Err(FetchFault::Failed(why)) if why.contains("is not here")), "{fault:?}");
    std::fs::write(hosts.all[0].data.join("images/web/vmlinuz"), "a newer kernel").expect("written");
    let fault = hosts.fetch(1, 0).await;
    assert!(matches!(&fault, Err(FetchFault::Failed(_))), "changed since it was looked at: {fault:?}");
    hosts.all[0].link.shutdown().await;
    assert!(matches!(hosts.fetch(1, 0).await, Err(FetchFault::Failed(_))));
    assert_eq!(hosts.copies(1), 0);
}
