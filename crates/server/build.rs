//! Finds the files of the web console that are to be built into the program: what `npm run build` left in `console/dist`.
//! A console that was not built is no error; the program then serves a page that says how to build it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let var = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let dist = var("CARGO_MANIFEST_DIR")?.join("../../console/dist");
    // The folder is there in every checkout, empty or not: a path that is missing would be looked at in every build.
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &dist, &mut files)?;
        files.sort();
    }
    let mut code = String::from("&[\n");
    for (name, path) in &files {
        let gzip = path.with_file_name(format!("{}.gz", file_name(path)));
        let gzip = gzip.is_file().then(|| format!("Some(include_bytes!({gzip:?}))"));
        // Writing to a string does not fail.
        let _ =
            writeln!(code, "({name:?}, include_bytes!({path:?}), {}),", gzip.as_deref().unwrap_or("None"));
    }
    code.push_str("]\n");
    fs::write(var("OUT_DIR")?.join("web_console_files.rs"), code)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Every file below `folder` as its path in a URL and on the disk; compressed copies go with what they are of.
fn collect(dist: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(dist, &path, files)?;
        } else if !file_name(&path).starts_with('.')
            && path.extension().is_none_or(|extension| extension != "gz")
        {
            let parts = path.strip_prefix(dist).map_err(io::Error::other)?;
            let parts: Vec<_> = parts.iter().map(|part| part.to_string_lossy()).collect();
            files.push((format!("/{}", parts.join("/")), path.canonicalize()?));
        }
    }
    Ok(())
}
