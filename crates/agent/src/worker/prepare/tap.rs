//! A VM's tap device on a bridge of the host.

use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::Path;

use super::run;

const TOOL: &str = "ip";
const PACKAGE: &str = "iproute2";
const TUN: &str = "/dev/net/tun";

/// Name of the tap device of an address. Devices are named by the last two numbers of the address, within 15 letters.
fn name(address: &str) -> String {
    let mut numbers: Vec<&str> = address.rsplit('.').take(2).collect();
    numbers.reverse();
    format!("dwcp{}", numbers.join("x"))
}

fn device(name: &str) -> std::path::PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// Makes the device of an address, up and on the bridge; returns its name.
pub(super) fn ensure(bridge: &str, address: &str) -> Result<String, String> {
    if let Err(error) = OpenOptions::new().read(true).write(true).open(TUN) {
        return Err(format!("network tap: this host's {TUN} can't be opened ({error}); use network user"));
    }
    if !device(bridge).join("bridge").is_dir() {
        return Err(format!(
            "network tap: this host has no bridge `{bridge}`; make it (ip link add {bridge} type bridge; \
             ip link set {bridge} up) or use network user"
        ));
    }
    if address.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()) {
        return Err(format!(
            "network tap: {address} is a loopback address, which can't be a guest's on a bridge; set vm_addresses in host.yaml \
             to the network of `{bridge}` or use network user"
        ));
    }
    let name = name(address);
    if !device(&name).exists() {
        run(TOOL, PACKAGE, &["tuntap", "add", "dev", &name, "mode", "tap"])?;
    }
    run(TOOL, PACKAGE, &["link", "set", "dev", &name, "master", bridge, "up"])?;
    Ok(name)
}

/// Takes the device away; one that is gone already, as after a restart of the host, is no error.
pub(super) fn remove(address: &str) -> Result<(), String> {
    let name = name(address);
    if !device(&name).exists() {
        return Ok(());
    }
    run(TOOL, PACKAGE, &["link", "delete", "dev", &name]).map(|_| ())
}
