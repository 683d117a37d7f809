//! The program `dwcp-cli`.

fn main() -> std::process::ExitCode {
    dwcp_cli::run(std::env::args_os().collect())
}
