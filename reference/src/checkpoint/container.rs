//! The file that a checkpoint is: safetensors with sorted entries and a checksum. Names, element types, shapes and bytes; no numerics.
//!
//! Two equal contents give byte-identical files: metadata and tensors are written in the order of their names. The metadata entry
//! [`CHECKSUM`] is the SHA-256 of the content, whatever its layout in the file: for every other metadata entry in the order of the
//! keys the line `key=value`, then for every tensor in the order of the names the line `name dtype [shape]` and its bytes.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::specification::InvalidInput;

/// Key of the metadata entry that holds the checksum of everything else.
pub const CHECKSUM: &str = "sha256";

/// Components of tensor names that wrappers of PyTorch add (`DataParallel`, `torch.compile`); they are read without.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];

/// No header of a network is longer, in bytes.
const LONGEST_HEADER: u64 = 16 << 20;

/// One tensor: element type, shape, and little-endian bytes in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

/// Tensors and metadata strings of a safetensors file.
#[derive(Debug, Clone, Default)]
pub struct Container<'a> {
    /// Tensors by name, wrapper components removed.
    pub tensors: BTreeMap<String, Part<'a>>,
    /// Metadata strings, the checksum among them.
    pub metadata: BTreeMap<String, String>,
    /// What the reader did beyond reading, one sentence each, to be shown to the user.
    pub notices: Vec<String>,
    /// The checksum of what was read, when the file states one.
    found: Option<String>,
}

impl<'a> Container<'a> {
    /// A file to be written.
    pub fn new(tensors: BTreeMap<String, Part<'a>>, metadata: BTreeMap<String, String>) -> Self {
        Self { tensors, metadata, ..Self::default() }
    }

    /// Parses the bytes of a file. Sizes are checked against the file's length before anything is allocated by them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InvalidInput> {
        let refuse = |error: &dyn std::fmt::Display| {
            InvalidInput::new("checkpoint", error, "a whole safetensors file")
        };
        let length = bytes.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        if length > LONGEST_HEADER.min(bytes.len() as u64) {
            return Err(refuse(&format!("a header of {length} bytes in {} bytes", bytes.len())));
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| refuse(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| refuse(&error))?;
        let metadata: BTreeMap<String, String> =
            header.metadata().clone().unwrap_or_default().into_iter().collect();
        let stored: BTreeMap<String, Part<'a>> = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let bytes = std::borrow::Cow::Borrowed(view.data());
                (name, Part { dtype: view.dtype(), shape: view.shape().to_vec(), bytes })
            })
            .collect();
        let found = metadata.contains_key(CHECKSUM).then(|| checksum(&stored, &metadata));
        let mut container = Self { metadata, found, ..Self::default() };
        let mut stripped = 0;
        for (name, part) in stored {
            let plain = without_wrappers(&name);
            stripped += usize::from(plain != name);
            if container.tensors.insert(plain.clone(), part).is_some() {
                return Err(InvalidInput::new(
                    plain,
                    "twice, with and without a wrapper",
                    "one tensor of a name",
                ));
            }
        }
        if stripped > 0 {
            container
                .notices
                .push(format!("{stripped} tensor names are read without `module.` and `_orig_mod.`"));
        }
        Ok(container)
    }

    /// Compares the content with the checksum that the file states; a file without one passes.
    pub fn verify(&self) -> Result<(), InvalidInput> {
        match (&self.found, self.metadata.get(CHECKSUM)) {
            (Some(found), Some(stated)) if found != stated => {
                let allowed =
                    format!("{stated}, as the file states: its content was changed after it was written");
                Err(InvalidInput::new("checksum", found, allowed))
            }
            _ => Ok(()),
        }
    }

    /// The file's bytes, checksum included; equal contents give equal bytes.
    pub fn serialise(&self) -> Result<Vec<u8>, InvalidInput> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Entry<'e> {
            Metadata(&'e BTreeMap<String, String>),
            Tensor { dtype: Dtype, shape: &'e [usize], data_offsets: [usize; 2] },
        }
        let mut metadata = self.metadata.clone();
        metadata.insert(CHECKSUM.to_owned(), checksum(&self.tensors, &self.metadata));
        let mut header = BTreeMap::from([("__metadata__", Entry::Metadata(&metadata))]);
        let mut end = 0;
        for (name, part) in &self.tensors {
            let start = end;
            end += part.bytes.len();
            let entry = Entry::Tensor { dtype: part.dtype, shape: &part.shape, data_offsets: [start, end] };
            header.insert(name, entry);
        }
        let mut text = serde_json::to_vec(&header)
            .map_err(|error| InvalidInput::new("metadata", error, "strings and whole numbers"))?;
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = Vec::with_capacity(8 + text.len() + end);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text);
        self.tensors.values().for_each(|part| bytes.extend(part.bytes.as_ref()));
        Ok(bytes)
    }
}

/// SHA-256 of the content as the head of this file defines it, in hexadecimal.
fn checksum(tensors: &BTreeMap<String, Part<'_>>, metadata: &BTreeMap<String, String>) -> String {
    let mut digest = Sha256::new();
    for (key, value) in metadata.iter().filter(|(key, _)| *key != CHECKSUM) {
        digest.update(format!("{key}={value}\n"));
    }
    for (name, part) in tensors {
        digest.update(format!("{name} {:?} {:?}\n", part.dtype, part.shape));
        digest.update(&part.bytes);
    }
    hexadecimal(&digest.finalize())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn without_wrappers(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn part(values: &[f32]) -> Part<'static> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Part { dtype: Dtype::F32, shape: vec![values.len()], bytes: bytes.into() }
    }

    fn sample() -> Container<'static> {
        let metadata = (0..20).map(|index| (format!("key-{index}"), "\"v\u{e4}lue\"\n".to_owned())).collect();
        let tensors = [("b".to_owned(), part(&[1.0, 2.0])), ("a.weight".to_owned(), part(&[3.0]))]
            .into_iter()
            .collect();
        Container { tensors, metadata, ..Container::default() }
    }

    #[test]
    fn equal_contents_give_equal_bytes_that_read_back() {
        let bytes = sample().serialise().unwrap();
        assert_eq!(bytes, sample().serialise().unwrap());
        let read = Container::parse(&bytes).unwrap();
        assert_eq!(read.tensors, sample().tensors);
        assert_eq!(read.metadata["key-3"], "\"v\u{e4}lue\"\n");
        read.verify().unwrap();
        assert_eq!(read.serialise().unwrap(), bytes);
    }

    #[test]
    fn a_changed_byte_or_metadata_value_fails_the_checksum_and_another_layout_does_not() {
        let bytes = sample().serialise().unwrap();
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(Container::parse(&changed).unwrap().verify().unwrap_err().field, "checksum");
        let mut read = Container::parse(&bytes).unwrap();
        read.metadata.insert("key-3".to_owned(), "other".to_owned());
        let views = read.tensors.iter().map(|(name, part)| {
            let view = safetensors::tensor::TensorView::new(part.dtype, part.shape.clone(), &part.bytes);
            (name.as_str(), view.unwrap())
        });
        let views: Vec<_> = views.collect();
        let metadata = |map: &BTreeMap<String, String>| Some(map.clone().into_iter().collect());
        let edited = safetensors::serialize(views.clone(), metadata(&read.metadata)).unwrap();
        assert!(Container::parse(&edited).unwrap().verify().is_err());
        let original = Container::parse(&bytes).unwrap();
        let resaved = safetensors::serialize(views, metadata(&original.metadata)).unwrap();
        Container::parse(&resaved).unwrap().verify().unwrap();
    }

    #[test]
    fn wrappers_are_removed_with_a_word_and_a_clash_is_refused() {
        let mut wrapped = sample();
        let (name, other) = ("module.potential._orig_mod.fc.0.bias", "potential.fc.0.bias");
        wrapped.tensors.insert(name.to_owned(), part(&[1.0]));
        let bytes = wrapped.serialise().unwrap();
        let read = Container::parse(&bytes).unwrap();
        assert!(read.tensors.contains_key(other));
        assert!(read.notices[0].starts_with("1 tensor names"), "{:?}", read.notices);
        read.verify().unwrap();
        wrapped.tensors.insert(other.to_owned(), part(&[2.0]));
        assert_eq!(Container::parse(&wrapped.serialise().unwrap()).unwrap_err().field, other);
    }

    #[test]
    fn damaged_files_are_refused_before_their_sizes_are_believed() {
        let bytes = sample().serialise().unwrap();
        for end in 0..bytes.len() {
            assert!(Container::parse(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Container::parse(&huge).is_err());
        let text = String::from_utf8_lossy(&bytes).replace("\"shape\":[2]", "\"shape\":[9]");
        assert!(Container::parse(text.as_bytes()).is_err());
    }
}
