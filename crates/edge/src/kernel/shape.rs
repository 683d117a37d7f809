//! What goes out of an interface, shaped: each class of services has its share of the rate, and what one leaves the others get (HTB,
//! tc-htb(8)).

use std::os::fd::AsRawFd;

use dwcp_decide::route::{Qos, Shares};
use socket2::Socket;

/// The number of our queues at an interface; nobody else's have it.
const HANDLE: u32 = 0xdc0c;
/// The class that shares its rate among the others.
const ALL: u32 = 0xff;

/// Our queues at an interface; they go with this.
pub struct Shaper {
    at: Interface,
    has: Shares,
}

/// Where queues are, or are to be.
struct Interface {
    name: String,
    rate_mbit: u64,
    /// What runs `tc`: the program and its first arguments.
    command: Vec<String>,
}

impl Shaper {
    /// Puts queues at an interface, in place of some that we left behind.
    ///
    /// # Errors
    /// There is no `tc`, it may not, the kernel has no HTB, or somebody else's queues are there: then nothing is shaped.
    pub fn start(
        interface: &str,
        rate_mbit: u64,
        shares: Shares,
        command: Vec<String>,
    ) -> Result<Shaper, String> {
        let at = Interface { name: interface.to_owned(), rate_mbit, command };
        let there = at.tc(&["qdisc", "show", "dev", interface], "")?;
        let root = there.lines().find(|line| line.contains(" root ")).unwrap_or_default();
        let ours = format!(" {HANDLE:x}: ");
        // What the kernel puts there by itself has the number 0.
        if !root.is_empty() && !root.contains(" 0: ") && !root.contains(&ours) {
            return Err(format!("shaping: {interface} has queues already, which stay: {}", root.trim()));
        }
        if root.contains(&ours) {
            at.clear()?;
        }
        let rest = class(Qos::Standard);
        let begin = format!("qdisc add dev {interface} root handle {HANDLE:x}: htb default {rest:x}\n");
        at.tc(&["-batch", "-"], &begin)?;
        // From here on they go with it, whatever the kernel says of the classes.
        let shaper = Shaper { at, has: shares };
        shaper.at.tc(&["-batch", "-"], &shaper.at.classes("add", shares))?;
        Ok(shaper)
    }

    /// Other shares from now on.
    ///
    /// # Errors
    /// What `tc` said; the next call tries again.
    pub fn share(&mut self, shares: Shares) -> Result<(), String> {
        if shares != self.has {
            self.at.tc(&["-batch", "-"], &self.at.classes("change", shares))?;
            self.has = shares;
        }
        Ok(())
    }

    /// What a socket sends goes into its class's queue wherever it leaves through an interface that is shaped. Not every socket
    /// may: it needs the right to administer the network, as the queues do.
    pub fn sort(socket: &Socket, of: Qos) {
        let priority = match of {
            Qos::Standard => 0,
            of => HANDLE << 16 | class(of),
        };
        // SAFETY: reads one integer of ours.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PRIORITY,
                (&raw const priority).cast(),
                size_of::<u32>() as libc::socklen_t,
            );
        }
    }
}

impl Interface {
    /// The lines of `tc` that add or change the classes.
    fn classes(&self, what: &str, shares: Shares) -> String {
        let (interface, all_kbit) = (&self.name, self.rate_mbit * 1_000);
        let line = |of: u32, under: &str, kbit: u64, rank: u32| {
            // A class may send so much at once: what the rate carries in 10 ms, and some whole packets.
            let burst = kbit * 10 / 8 + 16_000;
            let burst_all = all_kbit * 10 / 8 + 16_000;
            format!(
                "class {what} dev {interface} parent {HANDLE:x}:{under} classid {HANDLE:x}:{of:x} htb rate {kbit}kbit \
                 ceil {all_kbit}kbit burst {burst} cburst {burst_all} prio {rank} quantum 15000\n"
            )
        };
        let part = |percent: u32| (all_kbit * u64::from(percent) / 100).max(1);
        let under = format!("{ALL:x}");
        line(ALL, "", all_kbit, 0)
            + &line(class(Qos::Critical), &under, part(shares.critical), 0)
            + &line(class(Qos::Standard), &under, part(shares.standard), 1)
            + &line(class(Qos::Bulk), &under, part(shares.bulk), 2)
    }

    fn clear(&self) -> Result<(), String> {
        // With its number: what somebody else has put there by now stays.
        self.tc(&["qdisc", "del", "dev", &self.name, "root", "handle", &format!("{HANDLE:x}:")], "").map(drop)
    }

    fn tc(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        super::run(&self.command, arguments, input).map_err(|why| format!("shaping: {why}"))
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        // An interface that is gone took them with it.
        let _ = self.at.clear();
    }
}

fn class(of: Qos) -> u32 {
    match of {
        Qos::Critical => 1,
        Qos::Standard => 2,
        Qos::Bulk => 3,
    }
}
