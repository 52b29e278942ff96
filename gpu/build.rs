//! Writes libtorch's folder into the rpath of this package's tests, and compiles the shim over c10d where its headers are.
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/distributed");
    println!("cargo:rustc-check-cfg=cfg(c10d)");
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    if std::env::var_os("CARGO_FEATURE_DISTRIBUTED").is_some() {
        compile_shim(Path::new(&folder));
    }
}

/// Without the headers the package is built all the same, for one process; it then says so when several are asked for.
fn compile_shim(folder: &Path) {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        println!("cargo:warning=feature distributed: tried on Linux only; building for one process");
        return;
    }
    let include = folder.parent().unwrap_or(folder).join("include");
    if !include.join("torch/csrc/distributed/c10d/ProcessGroupGloo.hpp").exists() {
        println!(
            "cargo:warning=feature distributed: no c10d headers in {}; building for one process",
            include.display()
        );
        return;
    }
    let shim = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("src/distributed")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/distributed/c10d.cpp")
        .try_compile("proxflow_c10d");
    match shim {
        Ok(()) => println!("cargo:rustc-cfg=c10d"),
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            println!(
                "cargo:warning=feature distributed: the shim over c10d does not compile ({line}); building for one process"
            );
        }
    }
}
