//! `certify` and `torus` start without libtorch, whose 500 MB would cost more than most of their work.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::process::Command;

/// The shared libraries that the loader would map for `program`.
fn libraries(program: &str) -> String {
    let output = Command::new("ldd").arg(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_oracle_link_no_libtorch() {
    for program in [env!("CARGO_BIN_EXE_certify"), env!("CARGO_BIN_EXE_torus")] {
        let found = libraries(program);
        assert!(found.contains("libc.so"), "{program}: {found}");
        for unwanted in ["torch", "libc10", "libcudart", "libgomp-"] {
            assert!(!found.contains(unwanted), "{program} links {unwanted}: {found}");
        }
    }
}
