//! Developer commands of this repository: `cargo xtask help`.
//!
//! Nothing of the product is linked in here. What the commands need from the product they get by
//! running its programs, so a broken package cannot stop `down` from cleaning up.

mod bench;
mod deny;
mod docs;
mod drill;
mod etcd;
mod federation;
mod flags;
mod gates;
mod geo;
mod guest;
mod install;
mod run;
mod tidy;
mod tree;

use flags::Flags;
use run::Failure;
use std::process::ExitCode;
use tree::Tree;

const HELP: &str = "\
cargo xtask <command>

the development federation (five regions, ten hosts, real processes and VMs on this machine)
  up    [--region R] [--no-vms] [--no-build] [--store etcd]
                                               install what is missing, build, start, create six VMs
  down  [--region R] [--keep]                  stop everything it started and remove its state
  status                                       what runs, by region
  kill  --region R [--only dwcpd|agents|vms]   kill -9, for experiments
  guest                                        build the guest image only
  etcd                                         fetch the etcd program only
  geo                                          fetch the database of addresses by country

gates
  quick   format, tidy, clippy of what changed, tests of the pure packages
  test    everything that CI runs; the last line is \"N passed, N failed\"
  ci      the same as test
  tidy    the rules of the tree: package edges, sizes, names, leftovers
  deny    licences, banned and duplicate packages
  docs    [--check]   write docs/reference from the programs, or fail when it is stale

measuring
  drill [NAME…]       break the real federation in one way and watch it from outside, or list the ways
  bench [NAME]        run one benchmark, or list them
  fuzz  [NAME]        damage the input of every decoder, 20 s each, or of one; --seconds N, --seed N

exit codes: 0 done, 1 failed, 2 wrong usage
";

/// Every command, for the check that the pages name none that is not there.
const COMMANDS: [&str; 17] = [
    "help", "up", "down", "status", "kill", "guest", "quick", "test", "ci", "tidy", "deny", "docs", "drill",
    "bench", "fuzz", "etcd", "geo",
];

fn main() -> ExitCode {
    // SAFETY: before any other thread exists. `cargo xtask status | head` then ends quietly.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "help".to_owned());
    match dispatch(&command, arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("error: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(command: &str, arguments: Vec<String>) -> Result<(), Failure> {
    if matches!(command, "help" | "--help" | "-h") || arguments.iter().any(|a| a == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let tree = Tree::find()?;
    match command {
        "up" => federation::up::up(
            &tree,
            &Flags::parse(arguments, &["region", "store"], &["no-vms", "no-build"])?,
        ),
        "down" => federation::down::down(&tree, &Flags::parse(arguments, &["region"], &["keep"])?),
        "status" => federation::status(&tree, &Flags::parse(arguments, &[], &[])?),
        "kill" => federation::down::kill(&tree, &Flags::parse(arguments, &["region", "only"], &[])?),
        "guest" => federation::image::guest(&tree, &Flags::parse(arguments, &[], &[])?),
        "etcd" => etcd::ensure(&tree, std::time::Instant::now()).map(|path| println!("{}", path.display())),
        "geo" => geo::ensure(&tree, std::time::Instant::now()).map(|path| println!("{}", path.display())),
        "test" | "ci" => gates::test(&tree, &Flags::parse(arguments, &[], &["no-e2e"])?),
        "quick" => gates::quick(&tree, &Flags::parse(arguments, &[], &[])?),
        "tidy" => tidy::command(&tree, &Flags::parse(arguments, &[], &[])?),
        "deny" => deny::command(&tree, &Flags::parse(arguments, &[], &[])?),
        "docs" => docs::command(&tree, &Flags::parse(arguments, &[], &["check"])?),
        "drill" => drill::command(&tree, arguments),
        "bench" => bench::bench(&tree, &arguments),
        "fuzz" => bench::fuzz(&tree, &arguments),
        other => Err(Failure::usage(format!("no command {other:?}; `cargo xtask help` lists them"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_command() {
        for command in &COMMANDS[1..] {
            assert!(HELP.lines().any(|line| line.split_whitespace().next() == Some(command)), "{command}");
        }
    }
}
