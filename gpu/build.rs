//! Writes libtorch's folder into the rpath of this package's tests, and compiles the shims over libtorch where its headers are.
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/distributed");
    println!("cargo:rerun-if-changed=src/device/cuda.cpp");
    println!("cargo:rerun-if-changed=src/networks/convolution.cpp");
    println!("cargo:rustc-check-cfg=cfg(c10d)");
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    let include = Path::new(&folder).parent().unwrap_or(Path::new(&folder)).join("include");
    compiler(&include)
        .file("src/device/cuda.cpp")
        .file("src/networks/convolution.cpp")
        .compile("proxflow_shim");
    if std::env::var_os("CARGO_FEATURE_DISTRIBUTED").is_some() {
        compile_c10d(&include);
    }
}

/// A compiler set up for libtorch's headers.
fn compiler(include: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false);
    build.include(include).include(include.join("torch/csrc/api/include"));
    build
}

/// Without the headers the package is built all the same, for one process; it then says so when several are asked for.
fn compile_c10d(include: &Path) {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        println!("cargo:warning=feature distributed: tried on Linux only; building for one process");
        return;
    }
    if !include.join("torch/csrc/distributed/c10d/ProcessGroupGloo.hpp").exists() {
        println!(
            "cargo:warning=feature distributed: no c10d headers in {}; building for one process",
            include.display()
        );
        return;
    }
    let shim = compiler(include)
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("src/distributed")
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
