//! Where the data set comes from: a named folder, `$PROXFLOW_MNIST`, `data/mnist`, the cache, a download; else `strokes`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use proxflow_reference::InvalidInput;
use sha2::{Digest, Sha256};

use super::{Dataset, idx, strokes};
use crate::command::Failure;

/// Which data set the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetChoice {
    /// MNIST when it can be had, else `strokes`.
    Auto,
    /// MNIST or an error.
    Mnist,
    /// The built-in drawn digits.
    Strokes,
}

impl FromStr for DatasetChoice {
    type Err = InvalidInput;
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        match text {
            "auto" => Ok(Self::Auto),
            "mnist" => Ok(Self::Mnist),
            "strokes" => Ok(Self::Strokes),
            _ => Err(InvalidInput::new("dataset", text, "auto, mnist, strokes")),
        }
    }
}

/// The canonical files as they are downloaded, with their SHA-256 digests.
const DOWNLOADS: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
];
/// The four files of a data set, by split and content, with the SHA-256 digests of MNIST unpacked.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "b61ffb6f513fd9ff8d89824731f6b4ed7863c759c33056d701efb8412469fb04"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];
/// Below a folder that is named: where it is itself, and where torchvision puts the files of its data sets.
const PLACES: [&str; 6] = ["", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "mnist"];
const MIRRORS: [&str; 2] =
    ["https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"];
/// No file of the data set is larger.
const LARGEST_FILE: u64 = 16 << 20;

/// Loads the data set; `strokes` draws `train_size` training images. A folder that is named and faulty is an error; `auto` falls back to `strokes` only when nothing was found.
pub fn load(
    choice: DatasetChoice,
    folder: Option<&Path>,
    seed: u64,
    train_size: usize,
) -> Result<Dataset, Failure> {
    let bad = |error: idx::IdxError| Failure::BadInput(error.to_string());
    if choice == DatasetChoice::Strokes {
        return Ok(drawn(seed, train_size, "built-in strokes".to_owned()));
    }
    if let Some(files) = existing(folder)? {
        return read(&files).map_err(bad);
    }
    let cache = cache_folder();
    match download(&cache, &MIRRORS) {
        Ok(()) => read(&find(&cache).map_err(|missing| Failure::Run(missing.join(", ")))?).map_err(bad),
        Err(reason) if choice == DatasetChoice::Auto => Ok(drawn(
            seed,
            train_size,
            format!("built-in strokes (MNIST not found, download failed: {reason})"),
        )),
        Err(reason) => Err(Failure::bad_input(
            "dataset",
            format!("mnist (not found, download failed: {reason})"),
            "--data DIR, $PROXFLOW_MNIST, data/mnist or a reachable mirror; strokes",
        )),
    }
}

/// The data set that needs neither a name nor a download: `$PROXFLOW_MNIST`, `data/mnist`, the cache.
pub fn at_hand() -> Result<Option<Dataset>, Failure> {
    let read = |files: Files| read(&files).map_err(|error| Failure::BadInput(error.to_string()));
    existing(None)?.map(read).transpose()
}

/// The environment variable that names the data set's folder.
const VARIABLE: &str = "PROXFLOW_MNIST";

/// The four files, in the order of [`FILES`].
type Files = [PathBuf; 4];

/// The first folder that holds the data set, in the order of resolution. A folder that is named without it is an error that says
/// which files it lacks: the user meant something.
fn existing(folder: Option<&Path>) -> Result<Option<Files>, Failure> {
    let named = |field: String, folder: &Path, or: &str| {
        find(folder).map(Some).map_err(|missing| {
            let lacks = if missing.len() == FILES.len() { "all four".to_owned() } else { missing.join(", ") };
            let value = format!("{} (lacks {lacks})", folder.display());
            // Brief enough to be printed whole: one line takes about a hundred characters of it.
            let allowed = format!(
                "{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte, .gz or plain, here or in MNIST/raw{or}"
            );
            Failure::bad_input(field, value, allowed)
        })
    };
    if let Some(folder) = folder {
        return named("data".to_owned(), folder, "");
    }
    match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(folder) => named(format!("${VARIABLE}"), &folder, ", or unset"),
        None => Ok([PathBuf::from("data/mnist"), cache_folder()].iter().find_map(|folder| find(folder).ok())),
    }
}

/// The four files in or below `folder`, or the names of those that its fullest place lacks.
fn find(folder: &Path) -> Result<Files, Vec<String>> {
    let mut fewest: Vec<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    for place in PLACES {
        let place = folder.join(place);
        let found = FILES.map(|(name, _)| file(&place, name));
        let missing: Vec<String> = FILES
            .iter()
            .zip(&found)
            .filter(|(_, path)| path.is_none())
            .map(|((name, _), _)| (*name).to_owned())
            .collect();
        if let [Some(a), Some(b), Some(c), Some(d)] = found {
            return Ok([a, b, c, d]);
        }
        if missing.len() < fewest.len() {
            fewest = missing;
        }
    }
    Err(fewest)
}

/// `name`, also with a dot before `idx` as some programs write it, packed or plain.
fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    [format!("{name}.gz"), name.to_owned(), format!("{dotted}.gz"), dotted]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists())
}

fn cache_folder() -> PathBuf {
    dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("proxflow").join("mnist")
}

/// Reads the four files; what is not MNIST itself is called `idx`, with the digest of its training images beside the folder.
fn read(files: &Files) -> Result<Dataset, idx::IdxError> {
    let [train_images, train_labels, test_images, test_labels] = files;
    let train = idx::read_split(train_images, train_labels)?;
    let test = idx::read_split(test_images, test_labels)?;
    let digests = files.iter().map(|path| idx::digest(path)).collect::<Result<Vec<_>, _>>()?;
    let canonical = digests.iter().zip(FILES).all(|(found, (_, digest))| found == digest);
    let folder = train_images.parent().unwrap_or(Path::new(".")).display().to_string();
    let (name, origin) = if canonical {
        ("mnist", folder)
    } else {
        ("idx", format!("{folder}, not MNIST itself: SHA-256 of the training images {}", digests[0]))
    };
    Ok(Dataset { name, origin, train, test })
}

/// Held-out images of `strokes`.
const DRAWN_TEST: usize = 2000;

/// Drawn digits: `train_size` training images by stream 0, held-out ones by stream 1 of the seed.
fn drawn(seed: u64, train_size: usize, origin: String) -> Dataset {
    let (train, test) = (strokes::draw(train_size, seed, 0), strokes::draw(DRAWN_TEST, seed, 1));
    Dataset { name: "strokes", origin, train, test }
}

/// Fetches the four files; each is kept only when its digest is the canonical one.
fn download(folder: &Path, mirrors: &[&str]) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(io)?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(Duration::from_secs(300)))
        .build()
        .into();
    for (name, digest) in DOWNLOADS {
        let mut found = Err("no mirror".to_owned());
        for mirror in mirrors {
            found = fetch(&agent, &format!("{mirror}/{name}"), digest);
            if found.is_ok() {
                break;
            }
        }
        let bytes = found?;
        crate::command::write_atomically(&folder.join(name), &bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn fetch(agent: &ureq::Agent, address: &str, digest: &str) -> Result<Vec<u8>, String> {
    let mut response = agent.get(address).call().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    let found = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if found == digest { Ok(bytes) } else { Err(format!("SHA-256 of {address}: {found} is not {digest}")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn a_download_with_another_digest_is_refused_and_nothing_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong")
                .unwrap();
        });
        let folder = tempfile::tempdir().unwrap();
        let error = download(folder.path(), &[&address]).unwrap_err();
        assert!(error.contains("SHA-256"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        server.join().unwrap();
    }

    #[test]
    fn a_named_folder_without_the_files_is_bad_input_and_never_replaced_by_strokes() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(DatasetChoice::Auto, Some(folder.path()), 1, 10).unwrap_err();
        assert!(matches!(error, Failure::BadInput(_)));
        let error = error.to_string();
        assert!(error.contains("(lacks all four)"), "{error}");
        assert!(
            error
                .contains("{train,t10k}-{images-idx3,labels-idx1}-ubyte, .gz or plain, here or in MNIST/raw"),
            "{error}"
        );
    }

    fn write_files(folder: &Path, rename: impl Fn(&str) -> String) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, _) in FILES {
            let mut bytes = vec![0, 0, 8, if name.contains("idx3") { 3 } else { 1 }, 0, 0, 0, 1];
            if name.contains("idx3") {
                bytes.extend([0, 0, 0, 28, 0, 0, 0, 28]);
                bytes.extend([7; super::super::PIXELS]);
            } else {
                bytes.push(3);
            }
            std::fs::write(folder.join(rename(name)), bytes).unwrap();
        }
    }

    #[test]
    fn dotted_names_and_torchvision_roots_are_read_and_a_missing_file_is_named() {
        let load = |folder: &Path| load(DatasetChoice::Mnist, Some(folder), 1, 1);
        for place in ["", "MNIST/raw", "FashionMNIST/raw"] {
            for rename in [|name: &str| name.to_owned(), |name: &str| name.replace("-idx", ".idx")] {
                let folder = tempfile::tempdir().unwrap();
                write_files(&folder.path().join(place), rename);
                let found = load(folder.path()).unwrap();
                assert_eq!((found.name, found.train.labels.as_slice()), ("idx", [3].as_slice()));
                assert!(found.origin.contains("not MNIST itself: SHA-256"), "{}", found.origin);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        write_files(&folder.path().join("MNIST/raw"), str::to_owned);
        std::fs::remove_file(folder.path().join("MNIST/raw/t10k-labels-idx1-ubyte")).unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("(lacks t10k-labels-idx1-ubyte)"), "{error}");
    }
}
