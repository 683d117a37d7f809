//! QEMU's command line for one VM.

use std::path::Path;

use dwcp_roles::protocol::{Accelerator, Network, VmSpec};
use dwcp_types::VmId;
use serde_json::json;

use crate::image::Image;

/// Everything that decides the command line.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// The emulator's program.
    pub program: &'a str,
    /// The VM.
    pub vm: VmId,
    /// Its generation; the guest reads it on its kernel's command line.
    pub generation: u64,
    /// What it is.
    pub spec: &'a VmSpec,
    /// What it boots.
    pub image: &'a Image,
    /// Its address on the host.
    pub address: &'a str,
    /// Its disk, when it has one.
    pub disk: Option<&'a Path>,
    /// How it runs.
    pub accelerator: Accelerator,
    /// Name of its tap device, when it has one.
    pub tap: Option<&'a str>,
    /// It waits for the memory of a VM that runs elsewhere, and never runs by itself. All else is as if it booted: both
    /// ends of a move must have the same machine.
    pub incoming: bool,
}

/// Name of the QMP socket, in the VM's directory.
pub const QMP_SOCKET: &str = "qmp.sock";
/// Name of a second one, which the agent keeps a session with: a monitor serves one client a socket.
pub const MOVER_SOCKET: &str = "mover.sock";
/// Name of the network in the emulator.
pub const NETWORK: &str = "net0";
/// Name of the disk in the emulator.
pub const DISK_NODE: &str = "disk0";
/// Name of the disk's file, in the VM's directory.
pub const DISK_FILE: &str = "disk.qcow2";
/// Its name while it comes from another host: what is not whole must not be taken for the VM's disk.
pub const ARRIVING_FILE: &str = "arriving.qcow2";
/// Name of the console's file, in the VM's directory.
pub const CONSOLE_FILE: &str = "console.log";

/// Name of the file for what the emulator complains of, in the VM's directory.
pub const ERRORS_FILE: &str = "qemu.err";

/// The hardware address of a VM's network card: locally administered and derived from its id.
pub fn hardware_address(vm: VmId) -> String {
    let b = vm.0.to_be_bytes();
    format!("52:54:{:02x}:{:02x}:{:02x}:{:02x}", b[0] ^ b[4], b[1] ^ b[5], b[2] ^ b[6], b[3] ^ b[7])
}

/// The command line. It is to be run in the VM's directory: sockets and the console are relative, so that their paths
/// never outgrow the 108 bytes a socket's path may have.
pub fn command_line(machine: &Machine<'_>) -> Vec<String> {
    let mut line = vec![machine.program.to_string()];
    let mut add = |words: &[&str]| line.extend(words.iter().map(|word| word.to_string()));
    let spec = machine.spec;
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-name", &machine.vm.to_string()]);
    // An emulator that is broken out of may neither start programs nor gain rights.
    add(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    // A guest that resets itself ends its process, so that every boot is counted and reported.
    add(&["-no-reboot"]);
    match machine.accelerator {
        // A larger translation cache costs memory, a smaller one time: 32 MiB is the knee.
        Accelerator::Tcg => add(&["-accel", "tcg,thread=multi,tb-size=32", "-cpu", &machine.image.cpu]),
        Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
    }
    add(&["-smp", &spec.vcpus.max(1).to_string()]);
    add(&["-m", &spec.memory_mib.max(16).to_string()]);
    let hpet = if has_hpet_timer(machine) { "on" } else { "off" };
    add(&["-M", &format!("pc,vmport=off,usb=off,hpet={hpet}")]);
    if let Some(kernel) = &machine.image.kernel {
        add(&["-bios", "qboot.rom", "-kernel", &kernel.to_string_lossy()]);
        if let Some(initrd) = &machine.image.initrd {
            add(&["-initrd", &initrd.to_string_lossy()]);
        }
        add(&["-append", &kernel_line(machine)]);
    }
    add(&[
        "-chardev",
        &format!("file,id=console,path={CONSOLE_FILE},append=on"),
        "-serial",
        "chardev:console",
    ]);
    for socket in [QMP_SOCKET, MOVER_SOCKET] {
        add(&["-qmp", &format!("unix:{socket},server=on,wait=off")]);
    }
    add(&["-netdev", &netdev(machine)]);
    let mac = hardware_address(machine.vm);
    add(&["-device", &format!("virtio-net-pci,netdev={NETWORK},romfile=,mac={mac}")]);
    if let Some(disk) = machine.disk {
        let file = json!({"driver": "file", "filename": disk.to_string_lossy(), "discard": "unmap"});
        // A disk that was another host's copy is raw.
        let format = if disk.extension().is_some_and(|ending| ending == "raw") { "raw" } else { "qcow2" };
        let node = json!({"driver": format, "node-name": DISK_NODE, "discard": "unmap", "file": file});
        add(&["-blockdev", &node.to_string()]);
        add(&["-device", &format!("virtio-blk-pci,drive={DISK_NODE}")]);
    }
    add(&["-device", "virtio-balloon-pci,id=balloon0"]);
    if machine.incoming {
        add(&["-incoming", "defer", "-S"]);
    }
    line
}

/// A kernel that is to take the HPET for its timer need not find out how fast its processor's own is, for which it spins 100 ms.
/// More than one processor would have to wake each other by it, which costs far more; by the kernel finding out is cheap.
fn has_hpet_timer(machine: &Machine<'_>) -> bool {
    machine.image.hpet_timer && machine.spec.vcpus <= 1 && machine.accelerator == Accelerator::Tcg
}

fn kernel_line(machine: &Machine<'_>) -> String {
    let mut words = vec![
        machine.image.kernel_arguments.clone(),
        format!("dwcp.vm={}", machine.vm),
        format!("dwcp.generation={}", machine.generation),
    ];
    if has_hpet_timer(machine) {
        words.push("noapictimer".to_string());
    }
    if machine.tap.is_some() {
        words.push(format!("dwcp.address={} dwcp.gateway=0.0.0.0", machine.address));
    }
    if machine.disk.is_some() {
        words.push("dwcp.disk=1".to_string());
    }
    words.join(" ").trim().to_string()
}

fn netdev(machine: &Machine<'_>) -> String {
    if let (Network::Tap(_), Some(tap)) = (&machine.spec.network, machine.tap) {
        return format!("tap,id={NETWORK},ifname={tap},script=no,downscript=no");
    }
    let mut netdev = format!("user,id={NETWORK}");
    // Whoever reaches a guest that is not there yet waits in vain: they are added when it goes on.
    if !machine.incoming {
        for forward in forwards(machine.spec, machine.address) {
            netdev.push_str(&format!(",hostfwd={forward}"));
        }
    }
    netdev
}

/// The ports by which a VM is reached at this address through its emulator, as the emulator takes them; none for a VM on
/// a bridge, whose address is its own.
pub fn forwards(spec: &VmSpec, address: &str) -> Vec<String> {
    if spec.network != Network::User {
        return Vec::new();
    }
    let forward = |port| format!("tcp:{address}:{}-:{port}", spec.outside_port(port));
    spec.forwarded_ports().into_iter().map(forward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(spec: &VmSpec, tap: Option<&str>) -> String {
        let image = Image {
            kernel: Some("/images/small/kernel".into()),
            initrd: None,
            disk: None,
            kernel_arguments: "quiet".into(),
            cpu: "max".into(),
            memory_min_mib: 96,
            hpet_timer: true,
        };
        let machine = Machine {
            program: "qemu",
            vm: VmId(5),
            generation: 7,
            spec,
            image: &image,
            address: "127.77.1.40",
            disk: None,
            accelerator: Accelerator::Tcg,
            tap,
            incoming: false,
        };
        command_line(&machine).join(" ")
    }

    #[test]
    fn ports_are_forwarded_from_the_address_of_the_vm_only() {
        let spec = VmSpec { memory_mib: 128, ports: vec![22, 80], ..VmSpec::default() };
        let line = line(&spec, None);
        assert!(
            line.contains("user,id=net0,hostfwd=tcp:127.77.1.40:22-:22,hostfwd=tcp:127.77.1.40:8080-:80 "),
            "{line}"
        );
        assert!(line.contains("-accel tcg,"), "{line}");
        assert!(line.contains("quiet dwcp.vm=vm_0000000000005 dwcp.generation=7"), "{line}");
        assert!(line.contains("-m 128 "), "what was reserved, no more: {line}");
    }

    #[test]
    fn a_vm_on_a_bridge_has_no_ports_forwarded() {
        let spec = VmSpec { network: Network::Tap("br0".into()), ports: vec![22], ..VmSpec::default() };
        assert_eq!(forwards(&spec, "127.77.1.40"), [""; 0]);
    }

    #[test]
    fn only_an_emulated_guest_with_one_processor_takes_the_hpet_for_its_timer() {
        let one = line(&VmSpec { vcpus: 1, ..VmSpec::default() }, None);
        assert!(one.contains("hpet=on") && one.contains(" noapictimer"), "{one}");
        let two = line(&VmSpec { vcpus: 2, ..VmSpec::default() }, None);
        assert!(two.contains("hpet=off") && !two.contains("noapictimer"), "{two}");
    }

    #[test]
    fn a_tap_gives_the_guest_its_address() {
        let spec = VmSpec { network: Network::Tap("br0".into()), ..VmSpec::default() };
        let line = line(&spec, Some("dwcp1x40"));
        assert!(line.contains("tap,id=net0,ifname=dwcp1x40,script=no,downscript=no"), "{line}");
        assert!(line.contains("dwcp.address=127.77.1.40"), "{line}");
    }
}
