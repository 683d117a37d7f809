//! Real etcd clusters on this machine, and a line to one that breaks when it is told to.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_server::store::etcd::Place;

use crate::scratch::Scratch;

/// The program: of the system, or as `cargo xtask etcd` fetches it.
fn program() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/etcd/usr/bin/etcd");
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').map(|folder| Path::new(folder).join("etcd")).chain([fetched]);
    let found = places.into_iter().find(|place| place.is_file());
    found.expect("etcd is missing: `cargo xtask etcd` fetches it, or `apt-get install etcd-server`")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port").port()
}

struct Member {
    arguments: Vec<String>,
    client: String,
    folder: PathBuf,
    child: Option<Child>,
}

/// A cluster that ends with its test.
pub struct Cluster {
    members: Vec<Member>,
    _scratch: Scratch,
}

impl Cluster {
    pub fn start(name: &str, count: usize) -> Cluster {
        Cluster::start_with(name, count, "http", &[])
    }

    /// The same with further arguments.
    pub fn start_with(name: &str, count: usize, scheme: &str, further: &[String]) -> Cluster {
        let scratch = Scratch::in_memory(&format!("etcd-{name}"));
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let peer = |at: usize| format!("http://127.0.0.1:{}", ports[at].1);
        let all: Vec<String> = (0..count).map(|at| format!("m{at}={}", peer(at))).collect();
        let members = (0..count).map(|at| {
            let client = format!("{scheme}://127.0.0.1:{}", ports[at].0);
            let folder = scratch.path().join(format!("m{at}"));
            let pairs = [
                ("name", format!("m{at}")),
                ("data-dir", folder.display().to_string()),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client.clone()),
                ("listen-peer-urls", peer(at)),
                ("initial-advertise-peer-urls", peer(at)),
                ("initial-cluster", all.join(",")),
                ("heartbeat-interval", "50".to_owned()),
                ("election-timeout", "500".to_owned()),
            ];
            let arguments = pairs.iter().map(|(name, value)| format!("--{name}={value}"));
            let arguments = arguments.chain(further.iter().cloned()).collect();
            Member { arguments, client, folder, child: None }
        });
        let mut cluster = Cluster { members: members.collect(), _scratch: scratch };
        (0..count).for_each(|member| cluster.run(member));
        cluster.wait();
        cluster
    }

    /// Starts a member that does not run.
    pub fn run(&mut self, member: usize) {
        let member = &mut self.members[member];
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(member.folder.with_extension("log"))
            .expect("a log");
        let mut command = Command::new(program());
        command.args(&member.arguments).stdout(Stdio::null()).stderr(log).env_remove("ETCD_NAME");
        // A test that is killed leaves nothing behind. It ends with the thread that started it, which is the test's own.
        // SAFETY: prctl is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        member.child = Some(command.spawn().expect("etcd starts"));
    }

    /// Waits until a majority answers.
    pub fn wait(&self) {
        let began = Instant::now();
        let listens = |member: &&Member| {
            let address = member.client.split_once("//").expect("a scheme").1;
            member.child.is_some() && TcpStream::connect(address).is_ok()
        };
        while self.members.iter().filter(listens).count() * 2 <= self.members.len() {
            assert!(began.elapsed() < Duration::from_secs(60), "etcd does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills a member, as a power cut does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Stops or continues a member.
    pub fn signal(&self, member: usize, signal: i32) {
        let child = self.members[member].child.as_ref().expect("it runs");
        // SAFETY: sends a signal to a child of this process, which has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }

    /// Where a member keeps what it has.
    pub fn folder(&self, member: usize) -> &Path {
        &self.members[member].folder
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.clone()).collect()
    }

    /// A place in this cluster.
    pub fn place(&self, prefix: &str) -> Place {
        Place {
            endpoints: self.endpoints(),
            prefix: format!("/test/{prefix}/"),
            store: "test/region".to_owned(),
            compact: true,
            patience: Duration::from_secs(30),
            lease: Duration::from_secs(1),
            ..Place::default()
        }
    }

    /// A request by hand: the answer's JSON.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let began = Instant::now();
        let address = self.members[0].client.trim_start_matches("http://").to_owned();
        loop {
            let answer = exchange(&address, path, body.to_string().as_bytes());
            let text = answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            if let (true, Some(from), Some(to)) = (text.contains(" 200 OK"), text.find('{'), text.rfind('}'))
            {
                return serde_json::from_str(&text[from..=to]).expect("JSON");
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{path}: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }
}

/// One request over HTTP/1.0, and everything that comes back.
fn exchange(address: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "POST /v3/{path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// What a line does to transactions from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The transaction with this number does not arrive, and nothing after it.
    Cut(usize),
    /// The transaction with this number is carried out, its answer does not arrive, and nothing passes after it.
    CutAfter(usize),
    /// The answer to the transaction with this number is lost; all else passes.
    Lose(usize),
    /// Until the transaction with this number has waited in vain for a while, no lease is kept alive.
    Forget(usize),
}

struct State {
    fault: Fault,
    transactions: usize,
    cut: bool,
    /// What stands in answers, and what is told instead.
    lie: Option<(String, String)>,
}

impl State {
    fn of(fault: Fault) -> State {
        State { fault, transactions: 0, cut: false, lie: None }
    }
}

/// A line to a member.
pub struct Line {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Line {
    pub fn to(endpoint: &str) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let state = Arc::new(Mutex::new(State::of(Fault::None)));
        let (target, shared) = (endpoint.trim_start_matches("http://").to_owned(), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (target, shared) = (target.clone(), shared.clone());
                std::thread::spawn(move || drop(carry(stream, &target, &shared)));
            }
        });
        Line { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Transactions are counted from 1 again.
    pub fn set(&self, fault: Fault) {
        *self.state() = State::of(fault);
    }

    /// Nothing passes until [`Line::set`].
    pub fn cut(&self) {
        self.state().cut = true;
    }

    /// Answers tell something else, of the same length, until [`Line::set`]: as of a member whose own copy has changed.
    pub fn lie(&self, instead_of: String, told: String) {
        assert_eq!(instead_of.len(), told.len());
        self.state().lie = Some((instead_of, told));
    }

    /// How many have come since.
    pub fn transactions(&self) -> usize {
        self.state().transactions
    }
}

/// Carries one request there and its answer back.
fn carry(mut from: TcpStream, target: &str, state: &Mutex<State>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body)?;
    let path = text.split_whitespace().nth(1).unwrap_or_default().trim_start_matches("/v3/").to_owned();
    let passes = {
        let mut state = state.lock().unwrap_or_else(|e| e.into_inner());
        if path == "lease/keepalive"
            && matches!(state.fault, Fault::Forget(number) if state.transactions <= number)
        {
            return Ok(());
        }
        if path == "kv/txn" && !state.cut {
            state.transactions += 1;
            let now = state.transactions;
            match state.fault {
                Fault::Cut(number) if number == now => state.cut = true,
                Fault::CutAfter(number) if number == now => {
                    state.cut = true;
                    let _ = exchange(target, &path, &body);
                }
                Fault::Forget(number) if number == now => {
                    drop(state);
                    std::thread::sleep(Duration::from_secs(4));
                    return Ok(());
                }
                Fault::Lose(number) if number == now => return exchange(target, &path, &body).map(drop),
                _ => {}
            }
        }
        !state.cut
    };
    if passes {
        let mut answer = exchange(target, &path, &body)?;
        let lie = state.lock().unwrap_or_else(|e| e.into_inner()).lie.clone();
        if let Some((instead_of, told)) = lie {
            answer = String::from_utf8_lossy(&answer).replace(&instead_of, &told).into_bytes();
        }
        from.write_all(&answer)?;
    }
    Ok(())
}
