//! Writes libtorch's folder into the rpath of the fuzz programs and tests: the configuration of a run lives beside its trainer.
fn main() {
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
