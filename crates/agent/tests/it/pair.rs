//! Two hosts with a mover each, and the emulators that a VM moves between.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dwcp_agent::image::Image;
use dwcp_agent::mover::{Mover, Process};
use dwcp_agent::qemu::{self, ARRIVING_FILE, DISK_FILE, Machine};
use dwcp_mesh::transfer::{TransferConfig, TransferHandle, TransferLink};
use dwcp_mesh::wan::Network;
use dwcp_mesh::{Ca, Identity, LinkShape, LinkTable, PeerId, Wan};
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{Accelerator, TransferTo, VmSpec};
use dwcp_types::VmId;
use tokio::sync::mpsc;

pub const FEDERATION: &str = "test";
pub const VM: VmId = VmId(0x77);
pub const MIGRATION: u64 = 0xabc;

/// What a test's disks are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    None,
    /// Empty at first, 256 MiB.
    Own,
    /// Over a base that both hosts have.
    Overlay,
    /// Over a base of the same name, that holds something else at B.
    OtherBase,
}

pub struct Side {
    pub mover: Mover,
    pub link: TransferHandle,
    pub inputs: mpsc::UnboundedReceiver<Input>,
    pub dir: PathBuf,
    pub address: String,
    pub peer: PeerId,
    child: Option<Child>,
    generation: u64,
}

pub struct Pair {
    pub a: Side,
    pub b: Side,
    pub wan: Wan,
    pub dir: PathBuf,
    /// How much of the disk holds something before the first boot, MiB.
    pub filled_mib: u64,
    images: PathBuf,
    disk: Disk,
}

fn network(number: u8) -> (String, Network) {
    (format!("r{number}"), Network { address: [127, 92, number, 0].into(), prefix: 24 })
}

impl Side {
    fn start(ca: &Ca, wan: &Wan, dir: &Path, number: u8, test: u8) -> Side {
        let peer = PeerId::Host { region: format!("r{number}"), host: format!("h{number}") };
        let leaf = ca.issue(&peer, &[], Duration::from_secs(86_400)).expect("a leaf");
        let identity = Identity::from_pem(ca.cert_pem(), &leaf.cert_pem, &leaf.key_pem).expect("an identity");
        let link = TransferLink::start(TransferConfig {
            identity,
            federation: FEDERATION.into(),
            listen: SocketAddr::from(([127, 92, number, test], 0)),
            seed: number.into(),
            wan: Some(wan.clone()),
        })
        .expect("a link");
        let (tell, inputs) = mpsc::unbounded_channel();
        let mover = Mover::new(link.clone(), Arc::new(move |input| drop(tell.send(input))));
        let dir = dir.join(format!("h{number}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let address = format!("127.92.{number}.{test}");
        Side { mover, link, inputs, dir, address, peer, child: None, generation: number.into() }
    }

    pub fn service(&self) -> String {
        format!("{}:8080", self.address)
    }

    /// The ports by which the VM is reached here.
    pub fn forwards(&self) -> Vec<String> {
        qemu::forwards(&Pair::spec(), &self.address)
    }

    pub fn process(&self) -> Process {
        let pid = self.child.as_ref().expect("started").id();
        Process { vm: VM, generation: self.generation, pid }
    }

    /// True once the emulator has ended.
    pub fn is_gone(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    pub fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The next input that is no progress.
    pub async fn next(&mut self, what: &str) -> Input {
        let limit = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let input = tokio::time::timeout_at(limit, self.inputs.recv()).await;
            match input.unwrap_or_else(|_| panic!("waited 60 s in vain: {what}")) {
                Some(Input::TransferProgress { report, .. }) => eprintln!("{report:?}"),
                Some(input) => return input,
                None => panic!("the mover is gone: {what}"),
            }
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.kill();
    }
}

fn qemu_tool(tool: &str, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).output().expect("the tool is there");
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{arguments:?}: {}: {}", output.status, said.concat());
}

impl Pair {
    pub fn start(name: &str, images: &Path, disk: Disk, shape: LinkShape, test: u8) -> Pair {
        let dir = std::env::temp_dir().join(format!("dwcp-moves-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("temp dir");
        let ca = Ca::create(FEDERATION, Duration::from_secs(86_400)).expect("an authority");
        let mut table = LinkTable::published([network(1), network(2)]);
        for (from, to) in [("r1", "r2"), ("r2", "r1")] {
            table.links.insert((from.into(), to.into()), shape);
        }
        let wan = Wan::fixed(table);
        let a = Side::start(&ca, &wan, &dir, 1, test);
        let b = Side::start(&ca, &wan, &dir, 2, test);
        Pair { a, b, wan, dir, filled_mib: 40, images: images.to_path_buf(), disk }
    }

    pub fn spec() -> VmSpec {
        VmSpec { name: "web".into(), vcpus: 1, memory_mib: 128, ..VmSpec::default() }
    }

    /// Starts the VM at A, with something on its disk.
    pub fn boot(&mut self) {
        if matches!(self.disk, Disk::Overlay | Disk::OtherBase) {
            for (name, byte) in [("base.qcow2", "0x11"), ("other.qcow2", "0x12")] {
                let base = self.dir.join(name).to_string_lossy().into_owned();
                qemu_tool("qemu-img", &["create", "-q", "-f", "qcow2", &base, "256M"]);
                qemu_tool("qemu-io", &["-c", &format!("write -P {byte} 8M 32M"), &base]);
            }
        }
        let path = self.make_disk(&self.a.dir, DISK_FILE);
        if let Some(path) = &path {
            let fill = format!("write -P 0x22 24M {}M", self.filled_mib);
            qemu_tool("qemu-io", &["-c", &fill, &path.to_string_lossy()]);
        }
        let line = self.line(&self.a, path.as_deref(), false);
        self.a.child = Some(spawn(&self.a.dir, &line));
    }

    /// Starts the emulator at B that waits for it.
    pub fn wait_at_b(&mut self) {
        let path = self.make_disk(&self.b.dir, ARRIVING_FILE);
        let line = self.line(&self.b, path.as_deref(), true);
        self.b.child = Some(spawn(&self.b.dir, &line));
    }

    fn make_disk(&self, dir: &Path, name: &str) -> Option<PathBuf> {
        let path = dir.join(name);
        let text = path.to_string_lossy().into_owned();
        let other = self.disk == Disk::OtherBase && name == ARRIVING_FILE;
        let base = self.dir.join(if other { "other.qcow2" } else { "base.qcow2" });
        let base = base.to_string_lossy().into_owned();
        match self.disk {
            Disk::None => return None,
            Disk::Own => qemu_tool("qemu-img", &["create", "-q", "-f", "qcow2", &text, "256M"]),
            Disk::Overlay | Disk::OtherBase => {
                qemu_tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &text])
            }
        }
        Some(path)
    }

    fn line(&self, side: &Side, disk: Option<&Path>, incoming: bool) -> Vec<String> {
        let image = Image::load(&self.images, "small").expect("the image");
        qemu::command_line(&Machine {
            program: "qemu-system-x86_64",
            vm: VM,
            generation: side.generation,
            spec: &Pair::spec(),
            image: &image,
            address: &side.address,
            disk,
            accelerator: Accelerator::Tcg,
            tap: None,
            incoming,
        })
    }

    pub fn ticket(&self) -> TransferTo {
        let PeerId::Host { region, host } = &self.b.peer else { panic!("B is a host") };
        TransferTo {
            migration: MIGRATION,
            region: region.as_str().into(),
            host: host.as_str().into(),
            endpoint: self.b.link.local_addr().expect("an address").to_string(),
            generation: 2,
            max_downtime_ms: 100,
            rate_bytes_per_s: 200 << 20,
        }
    }

    /// The copy that has begun comes to its end: everything is at B, which notes it, and A hears of that.
    pub async fn copied(&mut self) {
        let whole = self.b.next("everything is at B").await;
        let ours = (VM, self.b.generation, MIGRATION);
        let Input::ArrivedWhole { vm, generation, migration } = whole else { panic!("{whole:?}") };
        assert_eq!((vm, generation, migration), ours);
        self.b.mover.say_whole(VM, generation, MIGRATION);
        let done = self.a.next("the copy").await;
        let of_ours = matches!(done, Input::TransferCompleted { generation: 1, migration: MIGRATION, .. });
        assert!(of_ours, "{done:?}");
    }

    pub fn cut(&self, cut: bool) {
        let mut table = (*self.wan.table()).clone();
        table.set_region_cut("r2", cut);
        self.wan.set(table);
    }

    /// Kills both and compares what their disks hold. A record that the guest had begun to write when it left A was written
    /// at B alone: its place is left out.
    pub fn compare_disks(&mut self) {
        self.a.kill();
        self.b.kill();
        let (a, b) = (self.a.dir.join(DISK_FILE), self.b.dir.join(DISK_FILE));
        qemu_tool("qemu-img", &["check", "-q", &b.to_string_lossy()]);
        for disk in [&a, &b] {
            qemu_tool("qemu-io", &["-c", "write -z 1M 4k", &disk.to_string_lossy()]);
        }
        qemu_tool("qemu-img", &["compare", &a.to_string_lossy(), &b.to_string_lossy()]);
    }

    pub async fn stop(mut self) {
        self.a.kill();
        self.b.kill();
        tokio::join!(self.a.link.shutdown(), self.b.link.shutdown());
        std::fs::remove_dir_all(&self.dir).expect("remove");
    }
}

fn spawn(dir: &Path, line: &[String]) -> Child {
    let log = std::fs::File::create(dir.join("stderr")).expect("a file");
    Command::new(&line[0])
        .args(&line[1..])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("an emulator")
}
