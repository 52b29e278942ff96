//! Arrays written here, by ndarray-npy and byte by byte are read equal or refused in one line.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use ndarray::{Array2, Array3, ArrayD, array};

use super::*;
use crate::memory;

fn line(outcome: Result<impl Sized, InvalidInput>) -> String {
    match outcome {
        Ok(_) => panic!("bad input was accepted"),
        Err(error) => error.to_string(),
    }
}

fn path(file: &Path) -> ArrayPath {
    file.into()
}

/// A `.npy` file of `data` behind a header of version 1 with the given dictionary.
fn npy(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn arrays_round_trip_through_npy_and_npz() {
    let folder = tempfile::tempdir().unwrap();
    let points = array![[0.1, -2.0], [3.5, 1e-300], [5.0, 6.0]];
    let file = folder.path().join("points.npy");
    write_array(&file, &points).unwrap();
    assert_eq!(read_points(&path(&file)).unwrap(), points);
    // A transposed view is written in Fortran order, read back the same and kept in row order.
    write_array(&file, &points.t()).unwrap();
    let read = read_points(&path(&file)).unwrap();
    assert_eq!(read, points.t());
    assert!(read.is_standard_layout());

    let archive = folder.path().join("both.npz");
    let vector = array![0.25, 0.75];
    write_arrays(&archive, &[("points", points.clone().into_dyn()), ("weights", vector.clone().into_dyn())])
        .unwrap();
    let name = archive.to_str().unwrap();
    assert_eq!(read_points(&format!("{name}:points").as_str().into()).unwrap(), points);
    assert_eq!(read_weights(&format!("{name}:weights").as_str().into(), 2).unwrap(), vector.to_vec());
    let message = line(read_array(&name.into()));
    assert!(message.contains("2 arrays") && message.contains("points, weights"), "{message}");
    assert!(line(read_array(&format!("{name}:other").as_str().into())).contains("array other"));
}

#[test]
fn equal_archives_have_equal_bytes_and_hold_text_and_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.npz", "b.npz"].map(|name| folder.path().join(name));
    for file in &files {
        write_columns(file, &[("row", Column::Whole(vec![3, -1])), ("format", Column::Text("coo"))]).unwrap();
    }
    assert_eq!(std::fs::read(&files[0]).unwrap(), std::fs::read(&files[1]).unwrap());
    let row = ArrayPath { member: Some("row".into()), ..path(&files[0]) };
    assert_eq!(read_vector(&row).unwrap(), array![3.0, -1.0]);
    let text = ArrayPath { member: Some("format".into()), ..path(&files[0]) };
    assert!(line(read_array(&text)).contains("dtype '|S3' (text)"));
}

#[test]
fn safetensors_are_read_by_name_in_every_real_type() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let (single, half) =
        ([1.5_f32, -2.0].map(f32::to_le_bytes).concat(), [0x3f80_u16, 0x4000].map(u16::to_le_bytes).concat());
    let tensors = [
        ("single", TensorView::new(Dtype::F32, vec![1, 2], &single).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![2], &half).unwrap()),
    ];
    std::fs::write(&file, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let name = file.to_str().unwrap();
    assert_eq!(read_points(&format!("{name}:single").as_str().into()).unwrap(), array![[1.5, -2.0]]);
    assert_eq!(read_vector(&format!("{name}:brain").as_str().into()).unwrap(), array![1.0, 2.0]);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(line(read_array(&name.into())).contains("safetensors"));
    std::fs::write(&file, u64::MAX.to_le_bytes()).unwrap();
    assert!(line(read_array(&name.into())).contains("safetensors"));
}

#[test]
fn bad_files_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    ndarray_npy::write_npy(place("cube.npy"), &Array3::<f64>::zeros((2, 2, 2))).unwrap();
    ndarray_npy::write_npy(place("empty.npy"), &Array2::<f64>::zeros((0, 3))).unwrap();
    ndarray_npy::write_npy(place("nan.npy"), &array![[0.0, f64::NAN]]).unwrap();
    ndarray_npy::write_npy(place("weights.npy"), &array![0.5, 0.6]).unwrap();
    ndarray_npy::write_npy(place("negative.npy"), &array![1.5, -0.5]).unwrap();
    std::fs::write(place("text.npy"), "1 2 3").unwrap();
    std::fs::write(place("text.npz"), "1 2 3").unwrap();
    std::fs::write(place("nothing.npy"), "").unwrap();
    let whole = std::fs::read(place("nan.npy")).unwrap();
    std::fs::write(place("short.npy"), &whole[..whole.len() - 1]).unwrap();
    std::fs::write(place("long.npy"), [&whole[..], &[0; 8]].concat()).unwrap();
    for (name, fragments) in [
        ("missing.npy", vec!["missing.npy", "readable"]),
        ("cube.npy", vec!["cube.npy", "[2, 2, 2]", "(n, d)"]),
        ("empty.npy", vec!["[0, 3]"]),
        ("nan.npy", vec!["NaN at [0, 1]", "finite"]),
        ("text.npy", vec!["text.npy", "a .npy file"]),
        ("text.npz", vec!["archive"]),
        ("nothing.npy", vec!["an empty file"]),
        ("short.npy", vec!["15 bytes", "[1, 2]"]),
        ("long.npy", vec!["24 bytes", "[1, 2]"]),
        ("", vec!["a folder"]),
    ] {
        let message = line(read_points(&path(&place(name))));
        assert!(!message.contains('\n'));
        for fragment in fragments {
            assert!(message.contains(fragment), "{name}: {message}");
        }
    }
    ndarray_npy::write_npy(place("still.npy"), &Array3::<f64>::zeros((1, 2, 2))).unwrap();
    assert_eq!(read_trajectories(&path(&place("cube.npy"))).unwrap().dim(), (2, 2, 2));
    for name in ["still.npy", "empty.npy", "weights.npy"] {
        assert!(line(read_trajectories(&path(&place(name)))).contains("(N + 1, n, d)"), "{name}");
    }
    let weights = path(&place("weights.npy"));
    assert!(line(read_weights(&weights, 2)).contains("1.1"));
    assert!(line(read_weights(&weights, 3)).contains("3 weights"));
    assert!(line(read_weights(&path(&place("negative.npy")), 2)).contains("-0.5"));
    assert_eq!(read_counts(&weights, 2).unwrap(), [0.5, 0.6]);
    assert!(line(read_counts(&weights, 3)).contains("2 weights"));
    assert!(line(read_counts(&path(&place("negative.npy")), 2)).contains("-0.5 at [1]"));
}

#[test]
fn headers_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.npy");
    let deep = format!("{{'shape': {}", "(".repeat(9000));
    for (dictionary, words) in [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (999999, 999999), }", "[999999, 999999]"),
        (
            "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }",
            "too many to count",
        ),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 18446744073709551615), }", "cannot"),
        (
            "{'descr': '<f8', 'shape': (1,), 'fortran_order': False, 'shape': (999999, 999999), }",
            "two keys 'shape'",
        ),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "pickle"),
        ("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,), }", "structured"),
        ("{'descr': '<f8', 'fortran_order': 1, 'shape': (1,), }", "damaged header"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", "damaged header"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", "the key 'more'"),
        ("{'descr': '<f8', 'shape': (1,), }", "without 'fortran_order'"),
        (&deep, "damaged header"),
        ("", "damaged header"),
    ] {
        std::fs::write(&file, npy(dictionary, &[0; 8])).unwrap();
        let message = line(read_array(&path(&file)));
        let allowed = words == "cannot" && message.contains("18446744073709551615");
        assert!(allowed || message.contains(words), "{dictionary}: {message}");
    }
    // A version 2 header may be four gigabytes long, says its length.
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    std::fs::write(&file, &long).unwrap();
    assert!(line(read_array(&path(&file))).contains("4294967295 bytes"));
}

#[test]
fn a_compressed_member_is_checked_against_the_limit_before_it_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bomb.npz");
    let count = memory::ARRAY_LIMIT / 8 + 1;
    let dictionary = format!("{{'descr': '|b1', 'fortran_order': False, 'shape': ({count},), }}");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&file).unwrap());
    writer.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut writer, &npy(&dictionary, &[0; 64])).unwrap();
    writer.finish().unwrap();
    // The archive's own length of the member disagrees with the header.
    assert!(line(read_array(&path(&file))).contains("64 bytes of data"));
    // A sparse file whose length agrees is too large for the stated limit.
    let sparse = folder.path().join("sparse.npy");
    let header = npy(&dictionary, &[]);
    std::fs::write(&sparse, &header).unwrap();
    let open = std::fs::OpenOptions::new().write(true).open(&sparse).unwrap();
    open.set_len(header.len() as u64 + count).unwrap();
    assert!(line(read_array(&path(&sparse))).contains("8.0 GiB"));
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_without_end_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.npy");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in [Path::new("/dev/zero"), &pipe] {
        assert!(line(read_array(&path(file))).contains("a device, socket or named pipe"));
        assert!(read_bytes(file, 100).is_err());
    }
    assert!(read_bytes(Path::new("/etc/passwd"), 1).unwrap_err().to_string().contains("at most 1 bytes"));
}

#[test]
fn names_that_are_no_unicode_are_paths_too() {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(std::ffi::OsString::from_vec(b"\xff.npy".to_vec()));
        write_array(&file, &array![1.0]).unwrap();
        assert_eq!(read_vector(&file.clone().into_os_string().into()).unwrap(), array![1.0]);
    }
    let named = ArrayPath::from("a.npz:b");
    assert_eq!((named.file.to_str(), named.member.as_deref()), (Some("a.npz"), Some("b")));
    assert_eq!(named.to_string(), "a.npz:b");
}

#[test]
fn a_scalar_has_no_axes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scalar.npy");
    std::fs::write(&file, npy("{'descr': '<i4', 'fortran_order': False, 'shape': (), }", &[7, 0, 0, 0]))
        .unwrap();
    assert_eq!(read_array(&path(&file)).unwrap(), ArrayD::from_elem(vec![], 7.0));
    assert!(line(read_points(&path(&file))).contains("shape []"));
}
