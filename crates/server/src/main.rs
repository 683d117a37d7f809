//! `dwcpd`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dwcp_backup::FederationKey;
use dwcp_mesh::pki::DEFAULT_LEAF_VALIDITY;
use dwcp_mesh::{Ca, PeerId, San};
use dwcp_server::controller::{self, ControllerOptions};
use dwcp_server::dev::{self, DevPlan};
use dwcp_server::program::signature;
use dwcp_server::restore::{self, RestoreOptions};
use dwcp_server::run::{self, RunOptions};

/// The control plane of one region of a federation.
#[derive(Parser)]
#[command(name = "dwcpd", version = dwcp_types::VERSION)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the control plane of this region until SIGTERM.
    Run {
        /// The region's settings, `dwcpd.yaml`.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The disk of this region's store was replaced: join as a region whose state comes back from the others.
        /// Without this an empty store is taken for that of a new federation.
        #[arg(long)]
        state_lost: bool,
        /// Write what the node begins from and everything that goes into it to this file; `dwcp-sim replay FILE` runs it
        /// again. Files of earlier starts are kept as FILE.1 to FILE.3.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
    /// Decides where VMs go, for the node of this host's region, until it lets go of it. An agent starts it.
    Controller(ControllerArguments),
    /// Certificates of a federation.
    #[command(subcommand)]
    Pki(Pki),
    /// Makes a key for backups: 256 random bits in a file that only its owner may read. Copy it to every server, and to
    /// where no server is: without it no backup opens.
    BackupKey {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Makes a key for signing programs, in a file that only its owner may read; prints the public part, which each region's
    /// `dwcpd.yaml` names under `upgrade: keys:`. Keep the file off servers.
    ReleaseKey {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Signs a program for `dwcp-cli federation release publish`; without a file, this one.
    SignRelease {
        /// The key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Another program, with its version and level.
        #[arg(long, value_name = "FILE", requires_all = ["version", "level"])]
        program: Option<PathBuf>,
        /// Its version.
        #[arg(long)]
        version: Option<String>,
        /// The highest level that it knows.
        #[arg(long)]
        level: Option<u64>,
        /// Where the signed description goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Makes this region's store from a backup, when the stores of all regions are gone. Run it in every region before any node
    /// is started; the first prints what to type in the others. Nothing is written unless the whole backup is read and sound.
    Restore {
        /// The region's settings, `dwcpd.yaml`.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The destination of the backups: s3://BUCKET/PREFIX or file:///FOLDER.
        #[arg(long, value_name = "DEST")]
        from: String,
        /// The backup's number; the newest without this.
        #[arg(long, value_name = "N")]
        backup: Option<u64>,
        /// The newest entry that the chain must have, as `federation state backup status` shows it: a place that shows an older
        /// state of itself is refused.
        #[arg(long, value_name = "HEAD", default_value = "")]
        expect_head: String,
        /// What the first `dwcpd restore` printed: nodes of different restorations take no part in one federation.
        #[arg(long, value_name = "NUMBER")]
        restoration: Option<u64>,
        /// Only say what would be written, how that differs from the backup, and what is lost.
        #[arg(long)]
        dry_run: bool,
    },
    /// Development federations on one machine.
    #[command(subcommand)]
    Dev(Dev),
}

#[derive(clap::Args)]
struct ControllerArguments {
    /// Folder of ca.pem and the host's certificate and key.
    #[arg(long, value_name = "DIR")]
    pki: PathBuf,
    /// Name of the host's files there.
    #[arg(long)]
    name: String,
    /// The number of the region's node.
    #[arg(long, value_name = "N")]
    node: u64,
    /// Its mesh.
    #[arg(long, value_name = "IP:PORT")]
    mesh: std::net::SocketAddr,
    /// Which of the host's controllers this one is.
    #[arg(long, value_name = "N")]
    slot: u8,
    /// Local UDP address.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:0")]
    bind: std::net::SocketAddr,
    /// File of the emulated links, development only.
    #[arg(long, value_name = "FILE")]
    wan: Option<PathBuf>,
    /// End as soon as the standard input ends: with whoever holds its other end.
    #[arg(long)]
    until_stdin_ends: bool,
}

impl From<ControllerArguments> for ControllerOptions {
    fn from(given: ControllerArguments) -> ControllerOptions {
        let ControllerArguments { pki, name, node, mesh, slot, bind, wan, until_stdin_ends } = given;
        ControllerOptions { pki, name, node, mesh, slot, bind, wan, until_stdin_ends }
    }
}

#[derive(Subcommand)]
enum Pki {
    /// Makes the federation's certificate authority: ca.pem and ca.key. Keep ca.key off servers.
    Init {
        /// The federation's name.
        #[arg(long)]
        federation: String,
        /// Folder of the files.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issues a certificate for a region's server, or for a host's agent.
    Issue {
        /// Folder of ca.pem and ca.key; the new files go there too.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The region.
        #[arg(long)]
        region: String,
        /// The region's number in the federation, for its server's certificate.
        #[arg(long, value_name = "N", required_unless_present = "host")]
        number: Option<u64>,
        /// The host, for an agent's certificate.
        #[arg(long, conflicts_with = "number")]
        host: Option<String>,
        /// Addresses that clients reach the server by.
        #[arg(long, value_name = "IP", value_delimiter = ',')]
        ip: Vec<std::net::IpAddr>,
        /// Names that clients reach the server by.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        dns: Vec<String>,
        /// How long it is valid, in days; a day without this.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        days: Option<u64>,
        /// Name of the files; the region, or region-host, without this.
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Subcommand)]
enum Dev {
    /// Writes keys, configuration and the list of processes of a development federation. Keeps what is there.
    Init {
        /// Its folder.
        #[arg(long, value_name = "DIR", default_value = ".dwcp")]
        dir: PathBuf,
        /// Regions.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=8))]
        regions: u8,
        /// Hosts of each region.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=7))]
        hosts_per_region: u8,
        /// Host pools of one host each, whose regions can be deployed; with the regions at most 8.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=7))]
        pools: u8,
        /// Where the servers keep their state: in a file, or in an etcd cluster of each region, of three members in the first
        /// one and of one in the others.
        #[arg(long, value_enum, default_value_t = dev::Kept::Embedded)]
        store: dev::Kept,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config, state_lost, record } => run::run(&config, RunOptions { state_lost, record }),
        Command::Restore { config, from, backup, expect_head, restoration, dry_run } => {
            let options = RestoreOptions { from, backup, expect_head, restoration, dry_run };
            restore::restore(&config, &options).map(|lines| lines.iter().for_each(|line| println!("{line}")))
        }
        Command::Controller(given) => controller::run(given.into()),
        Command::Pki(pki) => certificates(pki),
        Command::BackupKey { out } => backup_key(&out),
        Command::ReleaseKey { out } => signature::make_key(&out).map(|key| println!("{key}")),
        Command::SignRelease { key, program, version, level, out } => {
            sign_release(&key, program, (version, level), &out)
        }
        Command::Dev(Dev::Init { dir, regions, hosts_per_region, pools, store }) => {
            dev::init(&dir, DevPlan { regions, hosts_per_region, pools, store })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sign_release(
    key: &std::path::Path,
    program: Option<PathBuf>,
    (version, level): (Option<String>, Option<u64>),
    out: &std::path::Path,
) -> Result<(), String> {
    let own = || std::env::current_exe().map_err(|e| format!("this program: {e}"));
    let program = program.map_or_else(own, Ok)?;
    let text = signature::sign(key, &program, version.as_deref(), level)?;
    std::fs::write(out, text).map_err(|e| format!("{}: {e}", out.display()))
}

fn backup_key(out: &std::path::Path) -> Result<(), String> {
    let key = FederationKey::random();
    key.write_file(out).map_err(|e| e.to_string())?;
    println!("{}", key.id());
    Ok(())
}

fn certificates(pki: Pki) -> Result<(), String> {
    match pki {
        Pki::Init { federation, dir } => {
            if dir.join("ca.key").exists() {
                return Err(format!(
                    "{} has an authority already; another one would not be trusted",
                    dir.display()
                ));
            }
            let ca = Ca::create(&federation, dev::CA_VALIDITY).map_err(|e| e.to_string())?;
            ca.store(&dir).map_err(|e| e.to_string())?;
            println!("{}", dir.join("ca.pem").display());
        }
        Pki::Issue { dir, region, number, host, ip, dns, days, name } => {
            let ca = Ca::load(&dir).map_err(|e| e.to_string())?;
            let file = name.unwrap_or_else(|| match &host {
                Some(host) => format!("{region}-{host}"),
                None => region.clone(),
            });
            let peer = match host {
                Some(host) => PeerId::Host { region, host },
                None => PeerId::Region { region, number: number.ok_or("--number is missing")? },
            };
            let sans: Vec<San> = ip.into_iter().map(San::Ip).chain(dns.into_iter().map(San::Dns)).collect();
            let validity = days.map_or(DEFAULT_LEAF_VALIDITY, |days| Duration::from_secs(days * 86_400));
            let issued = ca.issue(&peer, &sans, validity).map_err(|e| e.to_string())?;
            issued.store(&dir, &file).map_err(|e| e.to_string())?;
            println!("{}", dir.join(format!("{file}.pem")).display());
        }
    }
    Ok(())
}
