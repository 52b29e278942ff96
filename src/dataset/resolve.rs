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

/// The canonical files with their SHA-256 digests.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
];
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
    if let Some(found) = existing(folder)? {
        return read(&found).map_err(bad);
    }
    if let Some(folder) = folder {
        return Err(Failure::bad_input(
            "data",
            folder.display(),
            "a folder with the four MNIST files, .gz or plain",
        ));
    }
    let cache = cache_folder();
    match download(&cache, &MIRRORS) {
        Ok(()) => read(&cache).map_err(bad),
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
    let read = |folder: PathBuf| read(&folder).map_err(|error| Failure::BadInput(error.to_string()));
    existing(None)?.map(read).transpose()
}

/// The environment variable that names the data set's folder.
const VARIABLE: &str = "PROXFLOW_MNIST";

/// The first folder that holds the data set, in the order of resolution. A variable that names a folder without it is an error: the
/// user meant something.
fn existing(folder: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    if let Some(folder) = folder {
        return Ok(Some(folder.to_owned()).filter(|folder| holds(folder)));
    }
    match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(named) if holds(&named) => Ok(Some(named)),
        Some(named) => Err(Failure::bad_input(
            format!("${VARIABLE}"),
            named.display(),
            "a folder with the four MNIST files, .gz or plain, or unset",
        )),
        None => Ok([PathBuf::from("data/mnist"), cache_folder()].into_iter().find(|folder| holds(folder))),
    }
}

fn holds(folder: &Path) -> bool {
    FILES
        .iter()
        .all(|(name, _)| folder.join(name).exists() || folder.join(name.trim_end_matches(".gz")).exists())
}

fn cache_folder() -> PathBuf {
    dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("proxflow").join("mnist")
}

fn read(folder: &Path) -> Result<Dataset, idx::IdxError> {
    Ok(Dataset {
        name: "mnist",
        origin: folder.display().to_string(),
        train: idx::read_split(folder, "train")?,
        test: idx::read_split(folder, "t10k")?,
    })
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
    for (name, digest) in FILES {
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
    }
}
