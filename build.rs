//! Writes libtorch's folder into the rpath of this package's binaries and tests, and the commit into the build.
#[path = "build/commit.rs"]
mod commit;

fn main() {
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
    commit::announce();
}
