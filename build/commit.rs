//! The commit a program is built from, for the build scripts of the packages whose commands print it.
use std::process::Command;

/// Sets `PROXFLOW_COMMIT` for the compiler: the commit, `-dirty` behind it where files differ, `unknown` outside a checkout.
pub fn announce() {
    let git = |arguments: &[&str]| -> Option<String> {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    println!("cargo:rustc-env=PROXFLOW_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
}
