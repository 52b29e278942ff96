//! What `numpy.load` and `safetensors` (Python) read is read equal, bit for bit.
//!
//! `scripts/differential.py` writes random files and, beside each array, what Python reads from it as f64; it calls this test with the
//! folder in `PROXFLOW_DIFFERENTIAL`. Without it (no numpy at hand) the test says so on standard error.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proxflow_io::array::ArrayFile;

#[test]
fn arrays_are_read_as_python_reads_them() {
    let Some(folder) = std::env::var_os("PROXFLOW_DIFFERENTIAL") else {
        eprintln!(
            "SKIPPED arrays_are_read_as_python_reads_them: run `make differential`, which needs Python's numpy and safetensors"
        );
        return;
    };
    let folder = Path::new(&folder);
    // Tab-separated: file, member, shape or `refused`, file of the expected f64 values.
    let list = std::fs::read_to_string(folder.join("list.tsv")).unwrap();
    let (mut equal, mut refused) = (0, 0);
    for line in list.lines() {
        let [file, member, shape, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let found = ArrayFile::open(&folder.join(file)).and_then(|mut file| file.read(member));
        if shape == "refused" {
            let error = found.expect_err(line).to_string();
            assert!(error.contains("allowed"), "{error}");
            refused += 1;
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{line}: {error}"));
        let shape: Vec<usize> =
            shape.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        assert_eq!(found.shape(), shape, "{line}");
        let bytes = std::fs::read(folder.join(expected)).unwrap();
        let expected: Vec<u64> =
            bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let found: Vec<u64> = found.iter().map(|value| value.to_bits()).collect();
        // A NaN may change its payload on the way from single precision.
        let same =
            |(a, b): (&u64, &u64)| a == b || (f64::from_bits(*a).is_nan() && f64::from_bits(*b).is_nan());
        assert!(found.len() == expected.len() && found.iter().zip(&expected).all(same), "{line}");
        equal += 1;
    }
    eprintln!("{equal} arrays equal, {refused} refused");
    assert!(equal > 0);
}
