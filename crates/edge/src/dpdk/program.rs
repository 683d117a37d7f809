//! The program that filters, as the router runs it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use dwcp_decide::ddos::Net;

use super::rules::{Order, Told};
use crate::kernel::{Dropped, Early, Filter, Listen, Synced};

/// The last lines of its errors that are kept.
const COMPLAINT: usize = 32;

/// A filter that runs; it ends with this.
pub struct Program {
    child: Child,
    /// Ends with the program's input.
    orders: Option<SyncSender<String>>,
    listens: Vec<Listen>,
    has: Option<Order>,
    told: Arc<Mutex<Told>>,
    complaint: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// Between which ports, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    pub outside: String,
    pub inside: String,
    pub cores: String,
    pub huge_pages: bool,
}

impl Program {
    /// Starts it. What it lacks it says when it is handed something.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(program: &std::path::Path, ports: &Ports, listens: &[Listen]) -> Result<Program, String> {
        if let Some(all) = listens.iter().find(|listen| listen.address.is_unspecified()) {
            return Err(format!(
                "DPDK: {}: the filter does not know this machine's addresses: name the router's",
                all.address
            ));
        }
        let mut command = Command::new(program);
        command.args(["--outside", &ports.outside, "--inside", &ports.inside, "--cores", &ports.cores]);
        if ports.huge_pages {
            command.arg("--huge-pages");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| {
            format!(
                "DPDK: {}: {e}; it is built by `cargo build -p dwcp-edge --features dpdk`",
                program.display()
            )
        })?;
        let (orders, next) = sync_channel::<String>(1);
        let (told, complaint) = (Arc::<Mutex<Told>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let mut readers = Vec::new();
        if let Some(mut input) = child.stdin.take() {
            // Waits for the filter, where nobody waits for it.
            readers.push(std::thread::spawn(move || {
                while let Ok(order) = next.recv() {
                    if input.write_all(order.as_bytes()).is_err() {
                        return;
                    }
                }
            }));
        }
        if let Some(out) = child.stdout.take() {
            let told = told.clone();
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if let Ok(says) = serde_json::from_str(&line) {
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = says;
                    }
                }
            }));
        }
        if let Some(errors) = child.stderr.take() {
            let complaint = complaint.clone();
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    let mut complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
                    complaint.push(line);
                    let over = complaint.len().saturating_sub(COMPLAINT);
                    complaint.drain(..over);
                }
            }));
        }
        Ok(Program {
            child,
            orders: Some(orders),
            listens: listens.to_vec(),
            has: None,
            told,
            complaint,
            readers,
        })
    }

    /// It has taken an order: its devices are there.
    pub fn works(&self) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).orders > 0
    }

    /// Why it is no longer there; none: it is.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        // Who writes orders waits for the next one otherwise.
        self.orders = None;
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let said = complaint.iter().rfind(|line| line.starts_with("error: ")).or(complaint.last());
        Some(format!(
            "DPDK: the filter ended ({status}): {}",
            said.map_or("it did not say why", String::as_str)
        ))
    }
}

impl Early for Program {
    fn sync(&mut self, blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> Result<Synced, String> {
        if let Some(why) = self.ended() {
            return Err(why);
        }
        let (filter, left_out) = Filter::new(blocked, white, now_ms);
        let networks = filter.networks();
        let order = Order::new(&self.listens, &filter);
        if self.has.as_ref() != Some(&order) {
            let line = serde_json::to_string(&order).map_err(|e| format!("DPDK: {e}"))? + "\n";
            let orders = self.orders.as_ref().ok_or("DPDK: the filter takes no orders")?;
            match orders.try_send(line) {
                Ok(()) => {}
                // It has not taken the last one yet: this one is tried again.
                Err(TrySendError::Full(_)) => return Ok(Synced { networks, left_out }),
                Err(TrySendError::Disconnected(_)) => {
                    return Err("DPDK: the filter takes no orders".to_owned());
                }
            }
            self.has = Some(order);
        }
        Ok(Synced { networks, left_out })
    }

    fn dropped(&self) -> Result<Dropped, String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Dropped { packets: told.dropped, bytes: told.dropped_bytes })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its input ends, and so does it; soon, or at once.
        self.orders = None;
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn ports() -> Ports {
        Ports { outside: "a".into(), inside: "b".into(), cores: "0".into(), huge_pages: false }
    }

    #[test]
    fn a_filter_that_ends_is_told_and_holds_nobody_up() {
        let mut program = Program::start(Path::new("false"), &ports(), &[]).unwrap();
        let begun = Instant::now();
        let why = loop {
            match program.sync(&[], &[], 0) {
                Err(why) if why.contains("the filter ended") => break why,
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "its end is not told");
        };
        assert!(why.contains("exit status: 1") && why.contains("it did not say why"), "{why}");
        assert!(!program.works());
        let nowhere = Program::start(Path::new("/nowhere/dwcp-dpdk"), &ports(), &[]).err().unwrap();
        assert!(nowhere.contains("--features dpdk"), "{nowhere}");
        let all = Listen { address: "::".parse().unwrap(), port: 80, udp: false };
        let why = Program::start(Path::new("false"), &ports(), &[all]).err().unwrap();
        assert!(why.contains("name the router's"), "{why}");
    }
}
