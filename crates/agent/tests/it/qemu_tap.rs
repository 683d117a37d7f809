//! A guest on a bridge, in a network namespace of the test's own.

use std::ffi::CString;
use std::process::Command;

use dwcp_roles::protocol::{Network, Phase, Run, VmIntent, VmReport, VmSpec};

use super::agent::{Host, ask_guest, images, wait_for};
use super::leader::Leader;
use super::wanted::{LONG, directory, intent, report, running};

const BRIDGE: &str = "dwcp0";

/// Gives the calling thread, and all it starts from now on, a network and mounts of its own. The kernel takes both away
/// with their last process. `None`, with the reason told, where this process may not.
fn isolated() -> Option<()> {
    // SAFETY: a plain number; the thread shares nothing that the call would take from others.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
    if done != 0 {
        eprintln!("skipped: no namespace of its own: {}", std::io::Error::last_os_error());
        return None;
    }
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE);
    // The old one shows the old network's devices.
    mount("sysfs", "/sys", "sysfs", 0);
    Some(())
}

fn mount(what: &str, to: &str, kind: &str, flags: libc::c_ulong) {
    let text = |text: &str| CString::new(text).expect("no zero byte");
    let (what, target, kind) = (text(what), text(to), text(kind));
    // SAFETY: three C strings that live through the call.
    let done = unsafe { libc::mount(what.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) };
    assert_eq!(done, 0, "mount on {to}: {}", std::io::Error::last_os_error());
}

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().expect("ip");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn on_bridge(vm: u64, generation: u64, bridge: &str) -> VmIntent {
    let plain = intent(vm, generation, Run::Running);
    VmIntent { spec: VmSpec { network: Network::Tap(bridge.into()), ..plain.spec.clone() }, ..plain }
}

async fn refused(leader: &Leader, vm: u64, generation: u64) -> String {
    let fits = |r: &VmReport| r.phase == Phase::Failed && r.generation == generation;
    wait_for("a refusal", LONG, || report(leader, vm, fits)).await.reason
}

async fn with_tap(dir: std::path::PathBuf, images: std::path::PathBuf) {
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start(&dir, &leader, &images, "10.91.7", &["--stop-vms"]);

    // Without the bridge it is refused, with what to type.
    leader.want(vec![on_bridge(3, 1, BRIDGE)]);
    let reason = refused(&leader, 3, 1).await;
    assert!(
        reason.contains("no bridge `dwcp0`") && reason.contains("ip link add dwcp0 type bridge"),
        "{reason}"
    );

    // With it the guest answers at its own address and port, over its own device on that bridge.
    ip("link add dwcp0 type bridge");
    ip("addr add 10.91.7.1/24 dev dwcp0");
    ip("link set dwcp0 up");
    leader.want(vec![on_bridge(3, 2, BRIDGE)]);
    let told = running(&leader, 3, 2).await;
    assert_eq!(told.address, "10.91.7.32:80");
    let answer = wait_for("the guest's answer", LONG, || ask_guest(&told.address)).await;
    assert_eq!(answer["generation"], 2);
    assert!(ip("-o link show master dwcp0").contains(" dwcp7x32:"), "the device is on the bridge");
    let neighbours = ip("neigh show dev dwcp0");
    assert!(neighbours.contains("10.91.7.32 lladdr 52:54:"), "reached over the bridge: {neighbours}");

    // A device that is gone already does not keep the rest from going.
    leader.want(Vec::new());
    let gone = || (!dir.join("data/vms").join(told.vm.to_string()).exists()).then_some(());
    wait_for("its directory to go", LONG, gone).await;
    assert!(!ip("-o link").contains("dwcp7x32"), "{}", ip("-o link"));
    leader.want(vec![on_bridge(3, 3, BRIDGE)]);
    running(&leader, 3, 3).await;
    ip("link delete dwcp7x32");
    leader.want(Vec::new());
    wait_for("its directory to go", LONG, gone).await;

    // A loopback address can't be a guest's on a bridge.
    assert!(host.stop());
    drop(host);
    let mut host = Host::start(&dir, &leader, &images, "127.91.7", &["--stop-vms"]);
    leader.want(vec![on_bridge(3, 4, BRIDGE)]);
    let reason = refused(&leader, 3, 4).await;
    assert!(
        reason.contains("127.91.7.32 is a loopback address") && reason.contains("vm_addresses"),
        "{reason}"
    );
    leader.want(Vec::new());
    wait_for("its directory to go", LONG, gone).await;

    // Without the kernel's door to tap devices it says so.
    mount("none", "/dev/net", "tmpfs", 0);
    assert!(host.stop());
    drop(host);
    let mut host = Host::start(&dir, &leader, &images, "10.91.7", &["--stop-vms"]);
    leader.want(vec![on_bridge(3, 5, BRIDGE)]);
    let reason = refused(&leader, 3, 5).await;
    assert!(reason.contains("/dev/net/tun can't be opened"), "{reason}");
    leader.want(Vec::new());
    wait_for("its directory to go", LONG, gone).await;
    let left = ip("-o link");
    assert_eq!(left.lines().count(), 2, "only the loopback and the test's bridge are left: {left}");
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[test]
fn a_guest_with_a_tap_device_answers_over_its_bridge_and_leaves_no_device_behind() {
    let Some(images) = images() else { return };
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: no `ip` (Debian's package iproute2)");
        return;
    }
    // A thread of its own, so that no other test finds itself in another network.
    let inside = std::thread::spawn(move || {
        isolated()?;
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(with_tap(directory("tap"), images));
        Some(())
    });
    inside.join().expect("the test's thread");
}
