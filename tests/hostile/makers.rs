//! The inputs: good ones, and every way in which a file can be bad.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use zip::write::SimpleFileOptions;

/// A `.npy` file of version 1 with this dictionary.
fn npy(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.bytes());
    bytes.extend(data);
    bytes
}

fn of_type(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data)
}

fn doubles(shape: &str, values: &[f64]) -> Vec<u8> {
    of_type("<f8", shape, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// An archive of members, compressed.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// `bytes` with `patch` written `offset` bytes behind the last occurrence of `mark`.
fn patched(mut bytes: Vec<u8>, mark: &[u8], offset: usize, patch: &[u8]) -> Vec<u8> {
    let at = bytes.windows(mark.len()).rposition(|window| window == mark).unwrap() + offset;
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

/// The central directory's entry of the only member, where readers look up sizes and methods.
const CENTRAL: &[u8] = b"PK\x01\x02";

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Good inputs, named in `data/*.tsv` as they are here.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let points = [0.0, 0.0, 1.0, 0.0, 0.0, 2.0];
    let flow: Vec<f64> = (0..3).flat_map(|k| points.iter().map(move |x| x + 0.1 * f64::from(k))).collect();
    let (x, p) = (doubles("(3, 2)", &points), doubles("(3,)", &[0.5, 0.25, 0.25]));
    vec![
        ("x.npy", x.clone()),
        ("p.npy", p.clone()),
        ("z.npy", doubles("(2, 2)", &[3.0, 0.0, 0.0, 1.0])),
        ("q.npy", doubles("(2,)", &[0.4, 0.6])),
        ("flow.npy", doubles("(3, 3, 2)", &flow)),
        ("cost.npy", doubles("(3, 2)", &[1.0, 2.0, 0.5, 3.0, 2.0, 0.25])),
        ("density.npy", doubles("(8,)", &[0.125; 8])),
        ("one.npz", npz(&[("points.npy", x.clone())])),
        ("two.npz", npz(&[("points.npy", x.clone()), ("weights.npy", p)])),
        (
            "flow.npz",
            npz(&[
                ("trajectories.npy", doubles("(3, 3, 2)", &flow)),
                ("times.npy", of_type("<i4", "(3,)", &[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])),
            ]),
        ),
        (
            "points.safetensors",
            safetensors("{\"points\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", &[0; 8]),
        ),
        ("whole.npy", of_type(">i2", "(3, 2)", &[0, 1, 0, 2, 0, 3, 255, 255, 0, 0, 0, 5])),
        ("half.npy", of_type("<f2", "(1, 2)", &[0, 0x3c, 0, 0xc0])),
    ]
}

/// Bad in whatever option takes an array.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let row = |value: f64| doubles("(1, 2)", &[0.0, value]);
    let header = |text: &str| npy(text, &[0; 8]);
    let one = || npz(&[("points.npy", doubles("(1, 2)", &[0.0, 1.0]))]);
    let wide = |version: u8, length: u32, text: &str| {
        [b"\x93NUMPY", &[version, 0][..], &length.to_le_bytes(), text.as_bytes()].concat()
    };
    let deep = format!("{{'shape': {}", "(".repeat(9000));
    vec![
        ("empty.npy", vec![]),
        ("text.npy", b"0 1 2\n3 4 5\n".to_vec()),
        ("pickle.npy", b"\x80\x04\x95\x0b\x00\x00\x00".to_vec()),
        ("magic.npy", b"\x93NUMP".to_vec()),
        ("magic-only.npy", b"\x93NUMPY".to_vec()),
        ("version-9.npy", [b"\x93NUMPY\x09\x00".to_vec(), vec![0; 80]].concat()),
        ("header-4gb.npy", wide(2, u32::MAX, "{}")),
        ("header-20kb.npy", wide(3, 20_000, &" ".repeat(20_000))),
        ("header-cut.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8'".to_vec()),
        ("header-latin.npy", npy("{'descr': '<f8', ", &[]).into_iter().chain([0xff; 90]).collect()),
        ("header-none.npy", header("")),
        ("header-list.npy", header("['<f8', False, (1,)]")),
        ("header-deep.npy", header(&deep)),
        (
            "header-code.npy",
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').getpid(),), }"),
        ),
        (
            "shape-twice.npy",
            header("{'descr': '<f8', 'shape': (1,), 'fortran_order': False, 'shape': (1000000, 1000000), }"),
        ),
        ("shape-missing.npy", header("{'descr': '<f8', 'fortran_order': False, }")),
        ("shape-negative.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 1), }")),
        ("shape-float.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1.5, 1), }")),
        ("shape-8tb.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }")),
        (
            "shape-216tb.npy",
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (300000, 300000, 300), }"),
        ),
        (
            "shape-overflow.npy",
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 16), }"),
        ),
        (
            "shape-axes.npy",
            header(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", "1,".repeat(65))),
        ),
        ("order-number.npy", header("{'descr': '<f8', 'fortran_order': 2, 'shape': (1, 1), }")),
        ("key-more.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), 'x': 1}")),
        ("key-escape.npy", header("{'\x1b[31mdescr': '<f8', 'fortran_order': False, 'shape': (1, 1)}")),
        ("type-object.npy", of_type("|O", "(1, 1)", &[0; 8])),
        ("type-complex.npy", of_type("<c16", "(1, 1)", &[0; 16])),
        ("type-text.npy", of_type("<U2", "(1, 1)", &[0; 8])),
        ("type-bytes.npy", of_type("|S8", "(1, 1)", &[0; 8])),
        ("type-date.npy", of_type("<M8[ns]", "(1, 1)", &[0; 8])),
        ("type-void.npy", of_type("|V8", "(1, 1)", &[0; 8])),
        ("type-long.npy", of_type("<f16", "(1, 1)", &[0; 16])),
        ("type-none.npy", of_type("", "(1, 1)", &[0; 8])),
        ("type-nonsense.npy", of_type("<f3", "(1, 1)", &[0; 3])),
        ("type-record.npy", header("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,), }")),
        ("short.npy", doubles("(1, 2)", &[0.0, 1.0])[..60].to_vec()),
        ("short-by-one.npy", {
            let mut bytes = row(1.0);
            bytes.pop();
            bytes
        }),
        ("long-by-one.npy", [row(1.0), vec![0]].concat()),
        ("no-data.npy", doubles("(1, 2)", &[])),
        ("nan.npy", row(f64::NAN)),
        ("inf.npy", row(f64::INFINITY)),
        ("minus-inf.npy", row(f64::NEG_INFINITY)),
        ("nan-single.npy", of_type("<f4", "(1, 2)", &[0, 0, 0, 0, 0, 0, 0xc0, 0x7f])),
        ("inf-half.npy", of_type(">f2", "(1, 2)", &[0, 0, 0x7c, 0])),
        ("whole-inexact.npy", of_type("<i8", "(1, 1)", &(i64::MAX - 1).to_le_bytes())),
        ("zero-rows.npy", doubles("(0, 2)", &[])),
        ("zero-huge.npy", doubles("(0, 9223372036854775807)", &[])),
        ("scalar.npy", doubles("()", &[1.0])),
        ("text.npz", b"0 1 2".to_vec()),
        ("nothing.npz", npz(&[])),
        ("cut.npz", {
            let bytes = one();
            bytes[..bytes.len() / 2].to_vec()
        }),
        ("end-only.npz", [b"PK\x05\x06".to_vec(), vec![0xff; 18]].concat()),
        ("many.npz", npz(&[("a.npy", row(0.0)), ("b.npy", row(1.0))])),
        ("member-text.npz", npz(&[("points.npy", b"text".to_vec())])),
        (
            "member-bomb.npz",
            npz(&[(
                "points.npy",
                header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
            )]),
        ),
        ("member-nan.npz", npz(&[("points.npy", row(f64::NAN))])),
        ("sum-wrong.npz", patched(one(), CENTRAL, 16, &[1, 2, 3, 4])),
        ("size-lie.npz", patched(one(), CENTRAL, 24, &u32::MAX.to_le_bytes())),
        ("method-none.npz", patched(one(), CENTRAL, 10, &[99, 0])),
        ("locked.npz", patched(one(), CENTRAL, 8, &[1, 0])),
        ("offset-lie.npz", patched(one(), CENTRAL, 42, &0x7fff_ffff_u32.to_le_bytes())),
        (
            "cut.safetensors",
            safetensors("{\"points\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", &[0; 7]),
        ),
        ("bomb.safetensors", [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        (
            "claim.safetensors",
            safetensors(
                "{\"points\":{\"dtype\":\"F64\",\"shape\":[1000000,1000000],\"data_offsets\":[0,8000000000000]}}",
                &[0; 8],
            ),
        ),
        (
            "type.safetensors",
            safetensors("{\"points\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", &[0; 2]),
        ),
        ("nothing.safetensors", safetensors("{}", &[])),
    ]
}

/// Of a wrong shape or with wrong values for some options, right for others.
fn misplaced() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("vector.npy", doubles("(3,)", &[0.2, 0.3, 0.5])),
        ("matrix.npy", doubles("(3, 2)", &[0.1; 6])),
        ("cube.npy", doubles("(2, 2, 2)", &[0.125; 8])),
        ("hypercube.npy", doubles("(2, 2, 2, 2)", &[0.0625; 16])),
        ("five-wide.npy", doubles("(2, 5)", &[0.1; 10])),
        ("far.npy", doubles("(1, 2)", &[1.7e308, 1.7e308])),
        ("large.npy", doubles("(1, 2)", &[1e170, 0.0])),
        ("huge.npy", doubles("(1, 2)", &[1e300, 0.0])),
        ("far-flow.npy", doubles("(2, 1, 2)", &[0.0, 0.0, 1e200, 0.0])),
        ("forbidden.npy", doubles("(2, 2)", &[f64::INFINITY, 1.0, 2.0, 3.0])),
        ("impossible.npy", doubles("(2, 2)", &[f64::INFINITY, 1.0, f64::INFINITY, 3.0])),
        ("one-time.npy", doubles("(1, 3, 2)", &[0.0; 6])),
        ("negative-weight.npy", doubles("(3,)", &[1.5, -0.25, -0.25])),
        ("heavy.npy", doubles("(3,)", &[0.9, 0.9, 0.9])),
        ("weightless.npy", doubles("(3,)", &[0.0; 3])),
        ("many-weights.npy", doubles("(4,)", &[0.25; 4])),
        ("few-weights.npy", doubles("(1,)", &[1.0])),
        ("negative-mass.npy", doubles("(8,)", &[0.5, -0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])),
        ("massless.npy", doubles("(8,)", &[0.0; 8])),
        ("short-density.npy", doubles("(7,)", &[0.125; 7])),
    ]
}

/// Writes every input into `folder`, and places that are no files: a folder, a pipe, links to nothing and to themselves.
pub fn make(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for (name, bytes) in good().into_iter().chain(bad()).chain(misplaced()) {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    std::fs::create_dir(folder.join("folder.npy")).unwrap();
    symlink("nowhere", folder.join("dangling.npy")).unwrap();
    symlink("loop.npy", folder.join("loop.npy")).unwrap();
    symlink("/dev/zero", folder.join("zero.npy")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.join("pipe.npy")).status().unwrap().success());
    let sparse = std::fs::File::create(folder.join("sparse.npy")).unwrap();
    (&sparse).write_all(&of_type("|u1", "(300000000000, 1)", &[])).unwrap();
    let length = sparse.metadata().unwrap().len();
    sparse.set_len(length + 300_000_000_000).unwrap();
}

/// What is in `folder`: regular files of ordinary size by their bytes, everything else by its length and kind.
pub fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let found = entry.path().symlink_metadata().unwrap();
            let content = match found.is_file() && found.len() < 1 << 20 {
                true => std::fs::read(entry.path()).unwrap(),
                false => format!("{:?} {}", found.file_type(), found.len()).into_bytes(),
            };
            (entry.file_name().to_string_lossy().into_owned(), content)
        })
        .collect()
}

const KEPT: &[u8] = b"kept";

/// The folder of one row: the inputs as `in`, and files that outputs may be aimed at as `kept`.
pub fn prepare(place: &Path, inputs: &Path) {
    let kept = place.join("kept");
    std::fs::create_dir_all(kept.join("folder")).unwrap();
    symlink(inputs, place.join("in")).unwrap();
    std::fs::copy(inputs.join("x.npy"), kept.join("x.npy")).unwrap();
    symlink("x.npy", kept.join("link.npy")).unwrap();
    std::fs::hard_link(kept.join("x.npy"), kept.join("hard.npy")).unwrap();
    symlink("nowhere", kept.join("dangling")).unwrap();
    symlink("loop", kept.join("loop")).unwrap();
    for name in ["read-only", "report.json"] {
        std::fs::write(kept.join(name), KEPT).unwrap();
    }
    std::fs::set_permissions(kept.join("read-only"), std::fs::Permissions::from_mode(0o444)).unwrap();
}

/// Whether everything under `kept` is as [`prepare`] left it.
pub fn unchanged(place: &Path) -> Result<(), String> {
    let kept = place.join("kept");
    let same = |name: &str, bytes: &[u8]| std::fs::read(kept.join(name)).is_ok_and(|found| found == bytes);
    let points = std::fs::read(place.join("in/x.npy")).map_err(|error| error.to_string())?;
    for (name, bytes) in
        [("x.npy", &points[..]), ("hard.npy", &points), ("read-only", KEPT), ("report.json", KEPT)]
    {
        if !same(name, bytes) {
            return Err(format!("kept/{name} was changed"));
        }
    }
    let links = ["link.npy", "dangling", "loop"].iter().all(|name| kept.join(name).is_symlink());
    let entries = std::fs::read_dir(&kept).map_err(|error| error.to_string())?.count();
    let inside = std::fs::read_dir(kept.join("folder")).map_err(|error| error.to_string())?.count();
    if !links || entries != 8 || inside != 0 {
        return Err(format!("kept was changed: {entries} entries, {inside} in its folder"));
    }
    Ok(())
}
