//! The IDX format of MNIST: big-endian magic `00 00 08 D` (unsigned bytes, D dimensions), D sizes, then the data.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use ndarray::Array2;

use super::{Images, PIXELS, SIDE};

/// Why an IDX file was refused.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {field}: {value} is not allowed (allowed: {allowed})", path = .path.display())]
pub struct IdxError {
    /// The file.
    pub path: PathBuf,
    /// Which part of it.
    pub field: &'static str,
    /// What was found.
    pub value: String,
    /// What would have been allowed.
    pub allowed: String,
}

/// Reads an image file (`.gz` or plain) of 28x28 images; pixels are scaled from `0..=255` to `[0, 1]`.
pub fn read_images(path: &Path) -> Result<Array2<f32>, IdxError> {
    let (sizes, bytes) = read(path, 3)?;
    if sizes[1] != SIDE || sizes[2] != SIDE {
        return Err(fault(path, "image size", format!("{}x{}", sizes[1], sizes[2]), "28x28"));
    }
    let pixels = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    Array2::from_shape_vec((sizes[0], PIXELS), pixels)
        .map_err(|error| fault(path, "image count", error, "whole images"))
}

/// Reads a label file (`.gz` or plain) of digits `0..=9`.
pub fn read_labels(path: &Path) -> Result<Vec<u8>, IdxError> {
    let (_, bytes) = read(path, 1)?;
    match bytes.iter().find(|&&label| label > 9) {
        Some(label) => Err(fault(path, "label", label, "0..=9")),
        None => Ok(bytes),
    }
}

/// Reads `{split}-images-idx3-ubyte[.gz]` and `{split}-labels-idx1-ubyte[.gz]` of a folder; counts must agree.
pub fn read_split(folder: &Path, split: &str) -> Result<Images, IdxError> {
    let find = |stem: String| {
        let packed = folder.join(format!("{stem}.gz"));
        if packed.exists() { packed } else { folder.join(stem) }
    };
    let labels_path = find(format!("{split}-labels-idx1-ubyte"));
    let pixels = read_images(&find(format!("{split}-images-idx3-ubyte")))?;
    let labels = read_labels(&labels_path)?;
    if labels.len() != pixels.nrows() {
        return Err(fault(
            &labels_path,
            "label count",
            labels.len(),
            format!("{}, one per image", pixels.nrows()),
        ));
    }
    if labels.is_empty() {
        return Err(fault(&labels_path, "label count", 0, ">= 1"));
    }
    Ok(Images { pixels, labels })
}

/// Sizes and data of an IDX file with `dimensions` dimensions.
fn read(path: &Path, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>), IdxError> {
    let raw = std::fs::read(path)
        .map_err(|error| fault(path, "file", error, "a readable IDX file, plain or .gz"))?;
    let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(raw.as_slice())
            .read_to_end(&mut unpacked)
            .map_err(|error| fault(path, "gzip stream", error, "a whole gzip file"))?;
        unpacked
    } else {
        raw
    };
    let header = 4 + 4 * dimensions;
    let expected = [0, 0, 8, dimensions as u8];
    match bytes.get(..4) {
        Some(magic) if magic == expected => {}
        Some(magic) => {
            let what = if dimensions == 3 { "images" } else { "labels" };
            return Err(fault(path, "magic", format!("{magic:02x?}"), format!("{expected:02x?} for {what}")));
        }
        None => {
            return Err(fault(
                path,
                "length",
                format!("{} bytes", bytes.len()),
                format!(">= {header} bytes"),
            ));
        }
    }
    if bytes.len() < header {
        return Err(fault(path, "length", format!("{} bytes", bytes.len()), format!(">= {header} bytes")));
    }
    let sizes: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize)
        .collect();
    let promised = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let found = bytes.len() - header;
    if promised != Some(found) {
        let shape = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let kind = if promised.is_none_or(|count| count > found) { "truncated" } else { "trailing" };
        return Err(fault(
            path,
            "data",
            format!("{found} bytes ({kind})"),
            format!("{shape} bytes as the header says"),
        ));
    }
    Ok((sizes, bytes[header..].to_vec()))
}

fn fault(path: &Path, field: &'static str, value: impl ToString, allowed: impl ToString) -> IdxError {
    IdxError { path: path.to_owned(), field, value: value.to_string(), allowed: allowed.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn image_file(count: u32, bytes: usize) -> Vec<u8> {
        let mut file = vec![0, 0, 8, 3];
        for size in [count, 28, 28] {
            file.extend(size.to_be_bytes());
        }
        file.extend((0..bytes).map(|n| (n % 256) as u8));
        file
    }

    fn label_file(labels: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, 1];
        file.extend((labels.len() as u32).to_be_bytes());
        file.extend(labels);
        file
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn images_of(bytes: &[u8]) -> Result<Array2<f32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        std::fs::write(&path, bytes).unwrap();
        read_images(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn plain_and_packed_files_give_the_same_images() {
        let file = image_file(3, 3 * PIXELS);
        let images = images_of(&file).unwrap();
        assert_eq!(images.dim(), (3, PIXELS));
        assert_eq!(images[(0, 255)], 1.0);
        assert_eq!(images, images_of(&gz(&file)).unwrap());
    }

    #[test]
    fn every_fault_is_one_line_that_names_the_field() {
        let whole = image_file(3, 3 * PIXELS);
        let packed = gz(&whole);
        for (bytes, expected) in [
            (image_file(3, 3 * PIXELS - 1), "truncated"),
            (image_file(3, 3 * PIXELS + 1), "trailing"),
            (image_file(u32::MAX, 5), "truncated"),
            (label_file(&[1, 2, 3]), "magic"),
            (vec![0, 0], "length"),
            (vec![0, 0, 8, 3, 0], "length"),
            (packed[..packed.len() / 2].to_vec(), "gzip stream"),
            (b"<html>not found</html>".to_vec(), "magic"),
        ] {
            let error = images_of(&bytes).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        assert!(read_images(Path::new("/nonexistent")).unwrap_err().to_string().contains("file"));
    }

    #[test]
    fn splits_need_one_digit_per_image() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("t10k-images-idx3-ubyte.gz", &gz(&image_file(2, 2 * PIXELS)));
        write("t10k-labels-idx1-ubyte", &label_file(&[3, 9]));
        assert_eq!(read_split(folder.path(), "t10k").unwrap().labels, [3, 9]);
        write("t10k-labels-idx1-ubyte", &label_file(&[3]));
        assert!(read_split(folder.path(), "t10k").unwrap_err().to_string().contains("label count"));
        write("t10k-labels-idx1-ubyte", &label_file(&[3, 10]));
        assert!(read_split(folder.path(), "t10k").unwrap_err().to_string().contains("label: 10"));
        write("t10k-labels-idx1-ubyte", &image_file(2, 2 * PIXELS));
        assert!(read_split(folder.path(), "t10k").unwrap_err().to_string().contains("for labels"));
    }
}
