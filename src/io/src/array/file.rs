//! One file of arrays, whatever its format: opened, its kind told from its first bytes, its members read by name.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Dimension};
use proxflow_reference::InvalidInput;
use zip::ZipArchive;

use super::element::{ALLOWED, Element};
use super::npy;
use crate::memory;

/// An array in a file: `FILE`, or `FILE:NAME` for one array of an `.npz` archive or a `.safetensors` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayPath {
    /// The file.
    pub file: PathBuf,
    /// The array's name in it, where one is given.
    pub member: Option<String>,
}

impl From<OsString> for ArrayPath {
    fn from(text: OsString) -> Self {
        let whole = PathBuf::from(&text);
        let split = text.to_str().filter(|_| !whole.exists()).and_then(|text| {
            [".npz:", ".safetensors:"].iter().find_map(|mark| {
                let (stem, name) = text.split_once(mark)?;
                Some((format!("{stem}{}", mark.trim_end_matches(':')), name.to_owned()))
            })
        });
        match split {
            Some((file, name)) => Self { file: file.into(), member: Some(name) },
            None => Self { file: whole, member: None },
        }
    }
}

impl From<&str> for ArrayPath {
    fn from(text: &str) -> Self {
        OsString::from(text).into()
    }
}

impl From<&Path> for ArrayPath {
    fn from(file: &Path) -> Self {
        Self { file: file.to_owned(), member: None }
    }
}

impl fmt::Display for ArrayPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        self.member.iter().try_for_each(|name| write!(formatter, ":{name}"))
    }
}

/// An open file of arrays.
pub struct ArrayFile {
    path: PathBuf,
    content: Content,
}

/// A file, or its bytes in memory.
trait Source: Read + Seek + Send {}

impl<S: Read + Seek + Send> Source for S {}

enum Content {
    /// One array without a name; the length where the file has one.
    Npy(Box<dyn Source>, Option<u64>),
    Npz(Box<ZipArchive<Box<dyn Source>>>, Vec<String>),
    /// The whole file, its tensors checked against its length.
    Safetensors(Vec<u8>, Vec<String>),
}

impl ArrayFile {
    /// Opens `path` and tells `.npy`, `.npz` and safetensors apart by their first bytes.
    pub fn open(path: &Path) -> Result<Self, InvalidInput> {
        let (file, length) = open(path)?;
        let source = Box::new(BufReader::new(file));
        match length {
            Some(length) => Self::recognise(path, source, length),
            // A pipe cannot be read twice: it holds one array.
            None => Ok(Self { path: path.to_owned(), content: Content::Npy(source, None) }),
        }
    }

    /// The content of a file that is in memory already, called `path` in messages.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, InvalidInput> {
        let length = bytes.len() as u64;
        Self::recognise(path, Box::new(Cursor::new(bytes)), length)
    }

    fn recognise(path: &Path, mut file: Box<dyn Source>, length: u64) -> Result<Self, InvalidInput> {
        let refuse =
            |value: &dyn fmt::Display, allowed: &str| InvalidInput::new(path.display(), value, allowed);
        let mut start = Vec::new();
        let unread = |error: std::io::Error| refuse(&error, "a readable file");
        file.by_ref().take(9).read_to_end(&mut start).map_err(unread)?;
        file.seek(SeekFrom::Start(0)).map_err(unread)?;
        let named = |extension: &str| path.extension().is_some_and(|found| found == extension);
        let content = if start.starts_with(npy::MAGIC) {
            Content::Npy(file, Some(length))
        } else if start.starts_with(b"PK") || named("npz") {
            let archive = ZipArchive::new(file)
                .map_err(|error| refuse(&error, "a .npz archive, as numpy.savez writes it"))?;
            let mut names: Vec<String> = archive.file_names().map(without_suffix).collect();
            names.sort();
            Content::Npz(Box::new(archive), names)
        } else if named("safetensors") || start.get(8) == Some(&b'{') {
            memory::require(&path.display().to_string(), "a safetensors file", Some(length))?;
            let mut bytes = Vec::new();
            bytes
                .try_reserve_exact(length as usize)
                .map_err(|_| refuse(&"too large for memory", "a smaller file"))?;
            file.read_to_end(&mut bytes).map_err(unread)?;
            let names = tensors(path, &bytes)?.names().into_iter().map(str::to_owned).collect();
            Content::Safetensors(bytes, names)
        } else {
            let value = if length == 0 { "an empty file" } else { "no .npy header" };
            return Err(refuse(&value, "a .npy file, a .npz archive or a safetensors file"));
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Names of the arrays, sorted; one empty name for a `.npy` file.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Npy(..) => vec![String::new()],
            Content::Npz(_, names) | Content::Safetensors(_, names) => names.clone(),
        }
    }

    /// Whether arrays have names here.
    pub fn is_archive(&self) -> bool {
        !matches!(self.content, Content::Npy(..))
    }

    /// The array `name` (of [`names`](Self::names)); its numbers need not be finite.
    pub fn read(&mut self, name: &str) -> Result<ArrayD<f64>, InvalidInput> {
        let field = match name {
            "" => self.path.display().to_string(),
            _ => format!("{}: {name}", self.path.display()),
        };
        match &mut self.content {
            Content::Npy(file, length) => npy::read(&field, file, *length),
            Content::Npz(archive, _) => {
                let broken =
                    |error: zip::result::ZipError| InvalidInput::new(&field, error, "a .npz archive");
                let index = archive.file_names().position(|member| without_suffix(member) == name);
                let index =
                    index.ok_or_else(|| InvalidInput::new(&field, "missing", "an array of the archive"))?;
                let member = archive.by_index(index).map_err(broken)?;
                let length = member.size();
                npy::read(&field, member, Some(length))
            }
            Content::Safetensors(bytes, _) => {
                let file = tensors(&self.path, bytes)?;
                let tensor = file
                    .tensor(name)
                    .map_err(|error| InvalidInput::new(&field, error, "a tensor of the file"))?;
                let element = Element::from_safetensors(tensor.dtype()).ok_or_else(|| {
                    InvalidInput::new(&field, format!("dtype {:?}", tensor.dtype()), ALLOWED)
                })?;
                let described = format!("shape {:?} of {:?}", tensor.shape(), tensor.dtype());
                let numbers = tensor.data().len() / element.width();
                memory::require(&field, &described, (numbers as u64).checked_mul(8))?;
                let values = npy::decode(&field, &mut tensor.data(), element, numbers, &described)?;
                npy::arrange(&field, values, tensor.shape(), false)
            }
        }
    }

    /// The array that `path` means in this file: the member it names, or the only one; its numbers need not be finite.
    pub fn read_one(&mut self, path: &ArrayPath) -> Result<ArrayD<f64>, InvalidInput> {
        let names = self.names();
        match (&path.member, names.as_slice()) {
            (Some(name), _) if self.is_archive() && names.contains(name) => self.read(name),
            (None, [name]) => self.read(name),
            (member, _) => {
                let value = match member {
                    Some(name) => format!("array {name}"),
                    None => format!("{} arrays", names.len()),
                };
                let allowed = match (self.is_archive(), names.is_empty()) {
                    (true, true) => "an archive that holds an array".to_owned(),
                    (true, false) => {
                        format!("{}:NAME, NAME one of {}", path.file.display(), names.join(", "))
                    }
                    (false, _) => "a file with one array, without :NAME".to_owned(),
                };
                Err(InvalidInput::new(path, value, allowed))
            }
        }
    }
}

/// The array of `path` with finite numbers.
pub fn read_finite(path: &ArrayPath) -> Result<ArrayD<f64>, InvalidInput> {
    let array = ArrayFile::open(&path.file)?.read_one(path)?;
    require_finite(&path.to_string(), &array)?;
    Ok(array)
}

/// Refuses NaN and infinities, naming the first.
pub fn require_finite(field: &str, array: &ArrayD<f64>) -> Result<(), InvalidInput> {
    match array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => {
            Err(InvalidInput::new(field, format!("{value} at {:?}", index.slice()), "finite numbers"))
        }
        None => Ok(()),
    }
}

/// The bytes of a file of another format, at most `limit` and at most what memory holds; what is no file or pipe is refused.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, InvalidInput> {
    let (file, length) = open(path)?;
    let field = path.display().to_string();
    let too_large =
        |found: String| InvalidInput::new(&field, found, format!("at most {}", memory::in_words(limit)));
    if let Some(length) = length.filter(|length| *length > limit) {
        return Err(too_large(memory::in_words(length)));
    }
    memory::require(&field, "a file", length.or(Some(0)))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| InvalidInput::new(&field, error, "a readable file"))?;
    if bytes.len() as u64 > limit { Err(too_large("more".into())) } else { Ok(bytes) }
}

/// The file and its length; `None` for the length of a pipe. Folders, devices, sockets and pipes without a process at the
/// other end are refused: they would be read without end, or for ever.
fn open(path: &Path) -> Result<(File, Option<u64>), InvalidInput> {
    let refuse = |value: &dyn fmt::Display| InvalidInput::new(path.display(), value, "a readable file");
    let found = path.metadata().map_err(|error| refuse(&error))?;
    if found.is_dir() {
        return Err(refuse(&"a folder"));
    }
    let pipe = !found.is_file();
    if pipe && !is_pipe_of_this_process(path, &found) {
        return Err(refuse(&"a device, socket or named pipe"));
    }
    let file = File::open(path).map_err(|error| refuse(&error))?;
    Ok((file, (!pipe).then_some(found.len())))
}

#[cfg(unix)]
fn is_pipe_of_this_process(path: &Path, found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_fifo() && (path.starts_with("/dev") || path.starts_with("/proc"))
}

#[cfg(not(unix))]
fn is_pipe_of_this_process(_: &Path, _: &std::fs::Metadata) -> bool {
    false
}

fn without_suffix(member: &str) -> String {
    member.strip_suffix(".npy").unwrap_or(member).to_owned()
}

fn tensors<'a>(path: &Path, bytes: &'a [u8]) -> Result<safetensors::SafeTensors<'a>, InvalidInput> {
    safetensors::SafeTensors::deserialize(bytes)
        .map_err(|error| InvalidInput::new(path.display(), error, "a complete safetensors file"))
}
