//! Every target on the committed corpus, and on random changes of it. `make fuzz` is guided by coverage; this is what runs everywhere.
#![allow(clippy::unwrap_used)]

use std::panic::catch_unwind;
use std::path::Path;

use proxflow_fuzz::TARGETS;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CHANGED: usize = 20_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One to four changes: a byte, a bit, a cut, a repetition, a piece of another file.
fn changed(random: &mut ChaCha8Rng, files: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = files[random.random_range(0..files.len())].clone();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..17)).min(bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &files[random.random_range(0..files.len())];
                let from = random.random_range(0..=other.len());
                bytes.splice(at..end, other[from..(from + 24).min(other.len())].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn the_corpus_and_changes_of_it_are_read_or_refused() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let changed = (0..CHANGED).map(|_| changed(&mut random, &files));
        for bytes in files.iter().cloned().chain(changed) {
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{name}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
