//! The IDX format of MNIST: big-endian magic `00 00 08 D` (unsigned bytes, D dimensions), D sizes, then the data.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use ndarray::Array2;
use proxflow_reference::checkpoint::container::hexadecimal;
use sha2::{Digest, Sha256};

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
    images(path, open(path)?)
}

/// [`read_images`] of a file that is in memory already, called `path` in messages.
pub fn images_from_bytes(path: &Path, bytes: &[u8]) -> Result<Array2<f32>, IdxError> {
    images(path, unpacked(Box::new(bytes)).map_err(|error| fault(path, "file", error, "an IDX file"))?)
}

fn images(path: &Path, reader: Box<dyn Read + '_>) -> Result<Array2<f32>, IdxError> {
    let (sizes, bytes) = read(path, reader, 3)?;
    if sizes[1] != SIDE || sizes[2] != SIDE {
        return Err(fault(path, "image size", format!("{}x{}", sizes[1], sizes[2]), "28x28"));
    }
    let pixels = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    Array2::from_shape_vec((sizes[0], PIXELS), pixels)
        .map_err(|error| fault(path, "image count", error, "whole images"))
}

/// Reads a label file (`.gz` or plain) of digits `0..=9`.
pub fn read_labels(path: &Path) -> Result<Vec<u8>, IdxError> {
    labels(path, open(path)?)
}

/// [`read_labels`] of a file that is in memory already, called `path` in messages.
pub fn labels_from_bytes(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, IdxError> {
    labels(path, unpacked(Box::new(bytes)).map_err(|error| fault(path, "file", error, "an IDX file"))?)
}

fn labels(path: &Path, reader: Box<dyn Read + '_>) -> Result<Vec<u8>, IdxError> {
    let (_, bytes) = read(path, reader, 1)?;
    match bytes.iter().find(|&&label| label > 9) {
        Some(label) => Err(fault(path, "label", label, "0..=9")),
        None => Ok(bytes),
    }
}

/// Reads an image file and a label file; counts must agree.
pub fn read_split(images: &Path, labels: &Path) -> Result<Images, IdxError> {
    let pixels = read_images(images)?;
    let digits = read_labels(labels)?;
    if digits.len() != pixels.nrows() {
        let allowed = format!("{}, one per image", pixels.nrows());
        return Err(fault(labels, "label count", digits.len(), allowed));
    }
    if digits.is_empty() {
        return Err(fault(labels, "label count", 0, ">= 1"));
    }
    Ok(Images { pixels, labels: digits })
}

/// No file of a data set is larger, unpacked, in bytes.
const LARGEST: u64 = 640 << 20;

/// SHA-256 of the unpacked content, in hexadecimal: the same for `.gz` and plain files.
pub fn digest(path: &Path) -> Result<String, IdxError> {
    let mut reader = open(path)?.take(LARGEST);
    let mut digest = Sha256::new();
    std::io::copy(&mut reader, &mut digest).map_err(|error| fault(path, "file", error, "a whole file"))?;
    Ok(hexadecimal(&digest.finalize()))
}

/// The content of a regular file, unpacked when it is a gzip stream.
fn open(path: &Path) -> Result<Box<dyn Read>, IdxError> {
    let unreadable = |error: std::io::Error| fault(path, "file", error, "a readable IDX file, plain or .gz");
    // Before it is opened: a named pipe without a writer would be waited for.
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() || about.len() > LARGEST {
        let found =
            if about.is_file() { format!("{} bytes", about.len()) } else { "no regular file".to_owned() };
        return Err(fault(path, "file", found, format!("a regular file of at most {LARGEST} bytes")));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    unpacked(Box::new(std::io::BufReader::new(file))).map_err(unreadable)
}

fn unpacked<'a>(mut file: Box<dyn BufRead + 'a>) -> std::io::Result<Box<dyn Read + 'a>> {
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Sizes and data of an IDX file with `dimensions` dimensions. Nothing is read beyond what the header promises, and no
/// promise beyond [`LARGEST`] is believed: a small file that unpacks without end costs no memory.
fn read(
    path: &Path,
    mut reader: Box<dyn Read + '_>,
    dimensions: usize,
) -> Result<(Vec<usize>, Vec<u8>), IdxError> {
    let broken = |error: std::io::Error| fault(path, "gzip stream", error, "a whole gzip file");
    let length = 4 + 4 * dimensions;
    let mut header = Vec::new();
    reader.by_ref().take(length as u64).read_to_end(&mut header).map_err(broken)?;
    let expected = [0, 0, 8, dimensions as u8];
    if let Some(magic) = header.first_chunk::<4>()
        && *magic != expected
    {
        let what = if dimensions == 3 { "images" } else { "labels" };
        return Err(fault(path, "magic", format!("{magic:02x?}"), format!("{expected:02x?} for {what}")));
    }
    if header.len() < length {
        return Err(fault(path, "length", format!("{} bytes", header.len()), format!(">= {length} bytes")));
    }
    let sizes: Vec<usize> = header[4..]
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize)
        .collect();
    let promised = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size as u64));
    let most = promised.map_or(LARGEST, |promised| promised.min(LARGEST));
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes).map_err(broken)?;
    let found = bytes.len() as u64;
    if promised == Some(found) {
        return Ok((sizes, bytes));
    }
    let shape = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let (value, allowed) = if found > LARGEST {
        (format!("more than {LARGEST} bytes"), format!("at most {LARGEST} bytes"))
    } else if promised.is_none_or(|promised| promised > found) {
        (format!("{found} bytes (truncated)"), format!("{shape} bytes as the header says"))
    } else {
        (format!("more than {most} bytes (trailing)"), format!("{shape} bytes as the header says"))
    };
    Err(fault(path, "data", value, allowed))
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
        write("images.gz", &gz(&image_file(2, 2 * PIXELS)));
        let read = || {
            let found = read_split(&folder.path().join("images.gz"), &folder.path().join("labels"));
            found.map(|images| images.labels).map_err(|error| error.to_string())
        };
        write("labels", &label_file(&[3, 9]));
        assert_eq!(read().unwrap(), [3, 9]);
        write("labels", &label_file(&[3]));
        assert!(read().unwrap_err().contains("label count"));
        write("labels", &label_file(&[3, 10]));
        assert!(read().unwrap_err().contains("label: 10"));
        write("labels", &image_file(2, 2 * PIXELS));
        assert!(read().unwrap_err().contains("for labels"));
    }

    #[test]
    fn a_bomb_is_read_no_further_than_its_header_promises() {
        // 64 MiB of zeros behind a header of one image, in about 64 KiB.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&image_file(1, PIXELS)).unwrap();
        for _ in 0..64 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 1 << 17);
        let error = images_of(&bomb).unwrap_err();
        assert!(error.contains("more than 784 bytes (trailing)"), "{error}");
        assert!(read_images(Path::new("/dev/zero")).unwrap_err().to_string().contains("regular file"));
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| {
            let path = folder.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            digest(&path).unwrap()
        };
        assert_eq!(of(b"abc"), of(&gz(b"abc")));
        assert!(of(b"abc").starts_with("ba7816bf8f01cfea"), "the test vector of FIPS 180-2");
    }
}
