//! Writes the commit into the build.
#[path = "../../build/commit.rs"]
mod commit;

fn main() {
    commit::announce();
}
