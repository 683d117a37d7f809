//! What the kernel drops before anybody reads it: the networks that nothing is served to, at the router's own addresses and ports.
//!
//! The kernel only saves work. What it does not know, because there is no `nft`, or it may not be asked, or the lists are too
//! long, the proxy refuses by itself; and it never drops anybody whom the proxy would serve.

mod filter;
mod render;
mod shape;
mod xdp;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use dwcp_decide::ddos::Net;
use serde_json::Value;

pub(crate) use filter::Filter;
pub use shape::Shaper;
pub use xdp::Xdp;

/// What drops packets before anybody reads them.
pub trait Early: Send {
    /// Hands over who is dropped until when, and who never is.
    ///
    /// # Errors
    /// Why that could not be; the next time everything is handed over anew.
    fn sync(&mut self, blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> Result<Synced, String>;

    /// Everything that it has dropped.
    ///
    /// # Errors
    /// Why it does not say.
    fn dropped(&self) -> Result<Dropped, String>;
}

/// An address and port that the router serves at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// `0.0.0.0` and `::` stand for every address of this machine.
    pub address: IpAddr,
    pub port: u16,
    /// UDP; otherwise TCP.
    pub udp: bool,
}

/// What a set of the kernel dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub packets: u64,
    pub bytes: u64,
}

/// What was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Networks that the kernel drops.
    pub networks: usize,
    /// Those that were too many for it.
    pub left_out: usize,
}

/// A table of the kernel; it goes with this.
pub struct Kernel {
    name: String,
    listens: Vec<Listen>,
    /// What runs `nft`: the program and its first arguments.
    command: Vec<String>,
    /// What the kernel has; none: not even the table.
    has: Option<Filter>,
}

impl Kernel {
    /// Makes the table `dwcp-NAME`, in place of one that was left behind. `command` is how `nft` is run, usually just that.
    ///
    /// # Errors
    /// The name cannot be one, `nft` is missing, or it refuses: the proxy goes on alone.
    pub fn start(name: &str, listens: Vec<Listen>, command: Vec<String>) -> Result<Kernel, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
            return Err(format!("{name:?} cannot be a table's name: lower case letters, digits and - can"));
        }
        let mut kernel = Kernel { name: format!("dwcp-{name}"), listens, command, has: None };
        kernel.run(&["-f", "-"], &render::table(&kernel.name, &kernel.listens))?;
        kernel.has = Some(Filter::default());
        Ok(kernel)
    }

    /// Hands over who is dropped until when, and who never is. All of it takes effect at once, or nothing. Waits for `nft`.
    ///
    /// # Errors
    /// What `nft` said; the next time everything is handed over anew.
    pub fn sync(&mut self, blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> Result<Synced, String> {
        let (next, left_out) = Filter::new(blocked, white, now_ms);
        let networks = next.networks();
        let text = match &self.has {
            Some(has) => render::changes(&self.name, &has.lasting(now_ms), &next, now_ms),
            None => {
                let table = render::table(&self.name, &self.listens);
                table + &render::changes(&self.name, &Filter::default(), &next, now_ms)
            }
        };
        if !text.is_empty() {
            self.has = None;
            self.run(&["-f", "-"], &text)?;
        }
        self.has = Some(next);
        Ok(Synced { networks, left_out })
    }

    /// What each set has dropped.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn dropped_by_set(&self) -> Result<BTreeMap<String, Dropped>, String> {
        let text = self.run(&["-j", "list", "counters", "table", "inet", &self.name], "")?;
        read_counters(&text)
            .ok_or_else(|| format!("nft -j wrote what is not understood: {} bytes", text.len()))
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        run(&self.command, arguments, input).map_err(|why| format!("{why}; the proxy refuses by itself"))
    }
}

/// What a program of the system says to this input. `command` is the program and its first arguments.
fn run(command: &[String], arguments: &[&str], input: &str) -> Result<String, String> {
    let (program, first) = command.split_first().ok_or("no command to run")?;
    let mut child = Command::new(program)
        .args(first)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {program}: {e}"))?;
    // It reads everything before it writes, unless it fails: then it says why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let out = child.wait_with_output().map_err(|e| format!("{program}: {e}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let first: String = said.lines().next().unwrap_or_default().chars().take(300).collect();
    Err(format!("{program} refuses ({}): {first}", out.status))
}

impl Early for Kernel {
    fn sync(&mut self, blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> Result<Synced, String> {
        Kernel::sync(self, blocked, white, now_ms)
    }

    fn dropped(&self) -> Result<Dropped, String> {
        Ok(self.dropped_by_set()?.into_values().sum())
    }
}

impl std::iter::Sum for Dropped {
    fn sum<I: Iterator<Item = Dropped>>(all: I) -> Dropped {
        all.fold(Dropped::default(), |sum, one| Dropped {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
        })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // A table that is gone already is gone.
        let _ = self.run(&["delete", "table", "inet", &self.name], "");
    }
}

fn read_counters(text: &str) -> Option<BTreeMap<String, Dropped>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let counters = value.get("nftables")?.as_array()?.iter().filter_map(|one| one.get("counter"));
    let read = |counter: &Value| {
        let number = |name: &str| counter.get(name)?.as_u64();
        let name = counter.get("name")?.as_str()?.to_owned();
        Some((name, Dropped { packets: number("packets")?, bytes: number("bytes")? }))
    };
    counters.map(read).collect()
}

#[cfg(test)]
mod tests;
