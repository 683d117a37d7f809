//! Disks under real guests: made as asked, never lost with a process, gone with the VM.

use std::path::{Path, PathBuf};
use std::process::Command;

use dwcp_roles::protocol::{HealthProbe, Network, Phase, Run, VmIntent, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, ask_guest, images, request, signal, wait_for};
use super::leader::Leader;
use super::wanted::{LONG, directory, intent, report, running};

const GIB: u64 = 1 << 30;

/// A boot sector: it adds one to the digit in the disk's second sector, writes that back, tells it on the serial port
/// (`disk boot 1`) and turns the machine off.
#[rustfmt::skip]
const BOOT_SECTOR: [u8; 116] = [
    0x31, 0xc0,                   // xor ax, ax
    0x8e, 0xd8, 0x8e, 0xc0,       // mov ds, ax; mov es, ax
    0x8e, 0xd0, 0xbc, 0x00, 0x7c, // mov ss, ax; mov sp, 7c00
    0xbe, 0x59, 0x7c, 0xb4, 0x42, // mov si, packet; mov ah, 42 (read)
    0xb2, 0x80, 0xcd, 0x13,       // mov dl, 80 (first disk); int 13
    0x72, 0x28,                   // jc off
    0xfe, 0x06, 0x00, 0x7e,       // inc byte [7e00]
    0xbe, 0x59, 0x7c,             // mov si, packet
    0xb8, 0x00, 0x43,             // mov ax, 4300 (write)
    0xb2, 0x80, 0xcd, 0x13,       // mov dl, 80; int 13
    0x72, 0x18,                   // jc off
    0xbe, 0x69, 0x7c,             // mov si, text
    0xac, 0x84, 0xc0, 0x74, 0x05, // next: lodsb; test al, al; jz digit
    0xe8, 0x17, 0x00, 0xeb, 0xf6, // call put; jmp next
    0xa0, 0x00, 0x7e,             // digit: mov al, [7e00]
    0xe8, 0x0f, 0x00,             // call put
    0xb0, 0x0a, 0xe8, 0x0a, 0x00, // mov al, 10; call put
    0xba, 0x04, 0x06,             // off: mov dx, 604 (power management)
    0xb8, 0x00, 0x20, 0xef,       // mov ax, 2000; out dx, ax
    0xf4, 0xeb, 0xfd,             // hlt, for ever
    0x88, 0xc3,                   // put: mov bl, al
    0xba, 0xfd, 0x03, 0xec,       // mov dx, 3fd; in al, dx
    0xa8, 0x20, 0x74, 0xf8,       // test al, 20 (ready); jz put + 2
    0x88, 0xd8, 0xba, 0xf8, 0x03, // mov al, bl; mov dx, 3f8
    0xee, 0xc3,                   // out dx, al; ret
    16, 0, 1, 0, 0x00, 0x7e, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // packet: one sector, number 1, to 7e00
    b'd', b'i', b's', b'k', b' ', b'b', b'o', b'o', b't', b' ', 0,
];

fn qemu_img(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img");
    assert!(output.status.success(), "qemu-img {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `qemu-img` says of a disk, also of one in use.
fn disk_info(path: &Path) -> serde_json::Value {
    let told = qemu_img(&["info", "-U", "--output=json", &path.to_string_lossy()]);
    serde_json::from_slice(&told).expect("JSON")
}

fn vm_dir(host: &Host, vm: u64) -> PathBuf {
    host.dir.join("data/vms").join(VmId(vm).to_string())
}

fn with_disk(vm: u64, generation: u64, run: Run, disk_gib: u64) -> VmIntent {
    let plain = intent(vm, generation, run);
    VmIntent { spec: VmSpec { disk_gib, ..plain.spec.clone() }, ..plain }
}

async fn start(dir: &Path, images: &Path, base: &str) -> (Leader, Host) {
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let host = Host::start(dir, &leader, images, base, &["--stop-vms"]);
    (leader, host)
}

/// Waits until nothing of the VM is left, neither in its place nor among what waits for its deletion.
async fn wait_gone(host: &Host, vm: u64) {
    let data = host.dir.join("data");
    let gone = || (!vm_dir(host, vm).exists() && !data.join("removed").exists()).then_some(());
    wait_for("its directory to go", LONG, gone).await;
}

async fn record(address: &str) -> (u16, String) {
    let (status, body) =
        wait_for("the record", LONG, || request(address, "GET", "/record", b"").filter(|(s, _)| *s != 503))
            .await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn write(address: &str, text: &str) {
    let put = || request(address, "PUT", "/record", text.as_bytes()).filter(|(s, _)| *s != 503);
    let (status, body) = wait_for("the write", LONG, put).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_on_a_disk_outlives_worker_stop_and_kill_but_not_the_vm_or_a_move() {
    let Some(images) = images() else { return };
    let dir = directory("disk");
    let (leader, mut host) = start(&dir, &images, "127.91.3").await;
    let address = "127.91.3.32:8080";
    leader.want(vec![with_disk(7, 1, Run::Running, 1)]);
    running(&leader, 7, 1).await;
    let sized = || ask_guest(address).filter(|told| told["disk_bytes"] == GIB);
    let first = wait_for("a disk of 1 GiB in the guest", LONG, sized).await;
    let info = disk_info(&vm_dir(&host, 7).join("disk.qcow2"));
    assert_eq!((info["virtual-size"].as_u64(), info["backing-filename"].as_str()), (Some(GIB), None));
    assert!(info["actual-size"].as_u64() < Some(16 << 20), "it takes what is written: {info}");
    assert_eq!(record(address).await, (404, "the disk has no record\n".to_string()));
    write(address, "one").await;
    assert_eq!(record(address).await, (200, "one".to_string()));

    // The worker dies: the VM is not touched.
    let (worker, qemu, incarnation) =
        (host.children("worker")[0], host.children("qemu-system"), leader.incarnation());
    signal(worker, libc::SIGKILL);
    wait_for("a new worker's hello", LONG, || (leader.incarnation() > incarnation).then_some(())).await;
    running(&leader, 7, 1).await;
    assert_eq!(host.children("qemu-system"), qemu);
    let same = wait_for("an answer", LONG, || ask_guest(address)).await;
    assert_eq!(same["boot_id"], first["boot_id"]);
    assert_eq!(record(address).await, (200, "one".to_string()));

    // Stopped and started.
    leader.want(vec![with_disk(7, 1, Run::Stopped, 1)]);
    wait_for("the VM to stop", LONG, || report(&leader, 7, |r| r.phase == Phase::Stopped)).await;
    leader.want(vec![with_disk(7, 1, Run::Running, 1)]);
    running(&leader, 7, 1).await;
    let again = wait_for("an answer", LONG, || ask_guest(address)).await;
    assert_ne!(again["boot_id"], first["boot_id"]);
    assert_eq!(record(address).await, (200, "one".to_string()));

    // Killed right after the write was acknowledged.
    write(address, "two").await;
    signal(host.children("qemu-system")[0], libc::SIGKILL);
    let other = || ask_guest(address).filter(|told| told["boot_id"] != again["boot_id"]);
    wait_for("another boot", LONG, other).await;
    assert_eq!(record(address).await, (200, "two".to_string()));
    assert_eq!(host.log().matches("disk-made").count(), 1, "one disk for all its boots");

    // Its next generation is elsewhere: an empty disk there, which is said, and nothing is left here.
    leader.want(Vec::new());
    wait_gone(&host, 7).await;
    let there = directory("disk-elsewhere");
    let (other_leader, mut other_host) = start(&there, &images, "127.91.4").await;
    other_leader.want(vec![with_disk(7, 2, Run::Running, 1)]);
    running(&other_leader, 7, 2).await;
    assert_eq!(record("127.91.4.32:8080").await, (404, "the disk has no record\n".to_string()));
    let log = other_host.log();
    let said = log.lines().find(|line| line.contains("disk-made")).unwrap_or_default();
    for part in ["\"generation\":2", "empty, 1 GiB", "what earlier generations wrote elsewhere"] {
        assert!(said.contains(part), "{part}: {log}");
    }
    assert!(host.stop() && other_host.stop());
    drop((host, other_host));
    std::fs::remove_dir_all(dir).expect("remove");
    std::fs::remove_dir_all(there).expect("remove");
}

/// Images `boot`, with the boot sector, and `large`, of 2 GiB; returns their folder and the base disk of `boot`.
fn boot_images(dir: &Path) -> (PathBuf, PathBuf) {
    let images = dir.join("images");
    let mut sectors = vec![0; 1 << 20];
    sectors[..BOOT_SECTOR.len()].copy_from_slice(&BOOT_SECTOR);
    sectors[510..513].copy_from_slice(&[0x55, 0xaa, b'0']);
    for name in ["boot", "large"] {
        std::fs::create_dir_all(images.join(name)).expect("image dir");
        std::fs::write(images.join(name).join("image.yaml"), "disk: disk.qcow2\n").expect("image.yaml");
    }
    let (raw, base) = (dir.join("raw"), images.join("boot/disk.qcow2"));
    std::fs::write(&raw, sectors).expect("raw disk");
    qemu_img(&["convert", "-O", "qcow2", &raw.to_string_lossy(), &base.to_string_lossy()]);
    qemu_img(&["create", "-q", "-f", "qcow2", &images.join("large/disk.qcow2").to_string_lossy(), "2G"]);
    (images, base)
}

fn of_image(vm: u64, generation: u64, image: &str, disk_gib: u64) -> VmIntent {
    let plain = with_disk(vm, generation, Run::Running, disk_gib);
    let spec = VmSpec {
        image: image.into(),
        probe: HealthProbe::Process,
        network: Network::User,
        ..plain.spec.clone()
    };
    VmIntent { spec, ..plain }
}

async fn wait_console(host: &Host, vm: u64, line: &str) {
    let path = vm_dir(host, vm).join("console.log");
    let told = || std::fs::read_to_string(&path).ok().filter(|text| text.contains(line));
    wait_for(line, LONG, told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_kernel_boots_from_an_overlay_and_its_base_is_never_written() {
    if images().is_none() {
        return;
    }
    let dir = directory("boot-disk");
    let (images, base) = boot_images(&dir);
    let before = std::fs::read(&base).expect("base");
    let (leader, mut host) = start(&dir, &images, "127.91.5").await;
    leader.want(vec![of_image(8, 1, "boot", 1), of_image(9, 1, "boot", 0), of_image(10, 1, "large", 1)]);

    // Every boot finds what the one before wrote: the overlay is kept.
    wait_console(&host, 8, "disk boot 1\ndisk boot 2\ndisk boot 3\n").await;
    wait_console(&host, 9, "disk boot 1\n").await;
    for (vm, size) in [(8, GIB), (9, 1 << 20)] {
        let info = disk_info(&vm_dir(&host, vm).join("disk.qcow2"));
        assert_eq!(info["virtual-size"].as_u64(), Some(size), "{info}");
        let backing = info["full-backing-filename"].as_str().map(|name| Path::new(name).canonicalize());
        assert_eq!(backing.map(|path| path.expect("there")), Some(base.canonicalize().expect("there")));
    }

    // A disk that would cut the image's off is refused with what to ask for.
    let refused = |r: &dwcp_roles::protocol::VmReport| r.phase == Phase::Failed;
    let report = wait_for("the refusal", LONG, || report(&leader, 10, refused)).await;
    assert!(report.reason.contains("smaller than the image's own (2048 MiB); ask for 2 GiB"), "{report:?}");

    leader.want(Vec::new());
    for vm in [8, 9, 10] {
        wait_gone(&host, vm).await;
    }
    // Another VM of the image, and the same one as the next generation on another host, begin where the base is.
    let there = directory("boot-disk-elsewhere");
    let (other_leader, mut other_host) = start(&there, &images, "127.91.6").await;
    other_leader.want(vec![of_image(8, 2, "boot", 1)]);
    wait_console(&other_host, 8, "disk boot 1\n").await;
    let log = other_host.log();
    assert!(log.lines().any(|line| line.contains("disk-made") && line.contains("overlay over")), "{log}");
    assert!(host.stop() && other_host.stop());
    assert!(std::fs::read(&base).expect("base") == before, "the base was written");
    drop((host, other_host));
    std::fs::remove_dir_all(dir).expect("remove");
    std::fs::remove_dir_all(there).expect("remove");
}
